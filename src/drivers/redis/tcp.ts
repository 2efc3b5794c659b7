/**
 * Redis over TCP, in the protocol that Redis itself speaks.
 *
 * Guarantee: a call has a session of its own, so that no login, database or watched key reaches another.
 * Accepted weakness: each call pays for a handshake and a login (docs/design/redis.md).
 */

import { Buffer } from 'node:buffer';
import { faultOf, fault, FaultError, type Result } from '../../core/errors.ts';
import { redisFault, resultsOf, type Outcome, type PipelineOptions, type RedisDriver, type Watched } from './driver.ts';
import { bufferOf, Push, RedisError, type Command, type Reply } from './resp.ts';
import { RedisSession, type RedisAddress, type SessionWire } from './session.ts';

export function createTcpDriver(address: RedisAddress, wire: SessionWire): RedisDriver {
  const inSession = <T>(use: (session: RedisSession) => Promise<Result<T>>): Promise<Result<T>> =>
    withSession(address, wire, use);
  return {
    command: (command, { binary = false } = {}) =>
      inSession(async (session) => {
        const [reply = null] = await session.send([command]);
        return reply instanceof RedisError
          ? { ok: false, fault: redisFault(reply.message) }
          : { ok: true, value: shown(reply, binary) };
      }),
    pipeline: (commands, options = {}) =>
      commands.length === 0
        ? Promise.resolve({ ok: true, value: [] })
        : inSession((session) => run(session, commands, options)),
    transaction: (watched, commands) =>
      inSession(async (session) => {
        if (!(await isAsExpected(session, watched))) return { ok: true, value: undefined };
        return atomically(session, commands, false);
      }),
  };
}

async function withSession<T>(
  address: RedisAddress,
  wire: SessionWire,
  use: (session: RedisSession) => Promise<Result<T>>,
): Promise<Result<T>> {
  let session: RedisSession | undefined;
  try {
    session = await RedisSession.open(address, wire);
    return await use(session);
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  } finally {
    session?.close();
  }
}

async function run(
  session: RedisSession,
  commands: readonly Command[],
  { atomic = false, binary = false }: PipelineOptions,
): Promise<Result<readonly unknown[]>> {
  if (!atomic) return resultsOf(commands, outcomesOf(await session.send(commands), binary));
  const done = await atomically(session, commands, binary);
  if (!done.ok) return done;
  // Only what is watched makes it nothing.
  if (done.value === undefined) throw new FaultError(fault('upstream.invalid', 'Redis ran nothing of a transaction.'));
  return { ok: true, value: done.value };
}

async function atomically(
  session: RedisSession,
  commands: readonly Command[],
  binary: boolean,
): Promise<Result<readonly unknown[] | undefined>> {
  const replies = await session.send([['MULTI'], ...commands, ['EXEC']]);
  const last = replies.at(-1);
  if (Array.isArray(last)) return resultsOf(commands, outcomesOf(last, binary));
  if (last === null) return { ok: true, value: undefined };
  // One could not be queued, and none ran; its own error says more than that of EXEC.
  const queued = resultsOf(commands, outcomesOf(replies.slice(1, -1), binary));
  if (!queued.ok) return queued;
  return { ok: false, fault: redisFault(last instanceof RedisError ? last.message : 'the transaction was refused') };
}

/** Keys are watched first: what changes after it was looked at undoes the transaction. */
async function isAsExpected(session: RedisSession, watched: readonly Watched[]): Promise<boolean> {
  if (watched.length === 0) return true;
  const replies = await session.send([
    ['WATCH', ...watched.map(({ key }) => key)],
    ...watched.map(({ command }) => command),
  ]);
  for (const reply of replies) if (reply instanceof RedisError) throw new FaultError(redisFault(reply.message));
  return watched.every(({ equals }, index) => isSame(shown(replies[index + 1] ?? null, false), equals));
}

/** A number and its text are the same: Redis keeps both as text. */
const isSame = (reply: unknown, expected: Watched['equals']): boolean =>
  reply === expected ||
  ((typeof reply === 'string' || typeof reply === 'number') && String(reply) === String(expected));

const outcomesOf = (replies: readonly Reply[], binary: boolean): Outcome[] =>
  replies.map((reply) => (reply instanceof RedisError ? { error: reply.message } : { result: shown(reply, binary) }));

/** A reply as JSON, as the REST protocol writes it: with `binary` every text but `OK` is base64. */
export function shown(reply: Reply, binary: boolean): unknown {
  if (reply instanceof Uint8Array) return bufferOf(reply).toString(binary ? 'base64' : 'utf8');
  if (typeof reply === 'string') return binary && reply !== 'OK' ? Buffer.from(reply).toString('base64') : reply;
  if (typeof reply === 'bigint') return String(reply);
  if (typeof reply === 'number') return Number.isFinite(reply) ? reply : String(reply);
  if (reply instanceof RedisError) return reply.message;
  if (reply instanceof Push) return reply.items.map((item) => shown(item, binary));
  if (reply === null || typeof reply === 'boolean') return reply;
  return reply.map((item) => shown(item, binary));
}
