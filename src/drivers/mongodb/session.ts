/**
 * A session with the primary of a MongoDB: one socket, opened for one attempt and closed with it.
 *
 * Guarantees: sockets go to the hosts of the connection only, whatever a server says of others; the password does
 * not leave (SCRAM-SHA-256), and a server that does not know it gets no command; nothing that a caller has given up
 * goes on in the server longer than a minute.
 * Accepted weakness: each call connects anew, as the platform binds a socket to the request that opened it.
 */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { fail, FaultError, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { SocketHost } from '../../core/policy/egress.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import { loadBson, type Bson, type Document } from './bson.ts';
import { replyFault } from './faults.ts';
import { createScram } from './scram.ts';
import { ConnectionLost, Wire } from './wire.ts';

export interface MongoTarget {
  /** Members of one replica set, or `mongos`, or one server; at least one. */
  readonly hosts: readonly SocketHost[];
  readonly database: string;
  readonly authSource: string;
  readonly user: string;
  readonly password: string;
  readonly tls: 'verify' | 'disable';
}

export interface MongoWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

export interface Session {
  readonly bson: Bson;
  readonly database: string;
  /** @throws FaultError where the reply tells of a failure; ConnectionLost */
  command(command: Document, database?: string): Promise<Document>;
  /** A command whose outcome concerns nobody. */
  tell(command: Document): Promise<void>;
  /** All of it or nothing: what `use` does is aborted where it throws. */
  transaction<T>(use: () => Promise<T>): Promise<T>;
}

/** MongoDB 4.4, the first that speaks OP_MSG from the first message on. */
const LEAST_WIRE_VERSION = 9;
const NONCE_BYTES = 24;
const MECHANISM = 'SCRAM-SHA-256';

/** @throws nothing: what `use` throws becomes the fault */
export async function inSession<T>(
  target: MongoTarget,
  wire: MongoWire,
  use: (session: Session) => Promise<T>,
): Promise<Result<T>> {
  const { signal } = wire;
  const place = target.hosts[0]?.hostname ?? '';
  const outOfTime = fault('step.timeout', `${place} did not answer in time.`);
  if (signal?.aborted === true) return { ok: false, fault: outOfTime };
  const bson = await loadBson();
  const id = new bson.UUID().toBinary();
  const aborted = rejectionOf(signal, outOfTime);
  let open: Opened | undefined;
  try {
    const opening = openPrimary(target, wire.connect, bson);
    opening.then(
      (late) => late.ok && signal?.aborted === true && late.value.wire.close(),
      () => undefined,
    );
    const opened = await Promise.race([opening, aborted.promise]);
    if (!opened.ok) return opened;
    open = opened.value;
    const session = sessionOf(open.wire, target, open.hasSessions ? id : undefined);
    const value = await Promise.race([use(session), aborted.promise]);
    // Frees what the server keeps for it, half an hour otherwise; nothing waits for it.
    if (open.hasSessions) await open.wire.tell({ endSessions: [{ id }], $db: 'admin' }).catch(() => undefined);
    return ok(value);
  } catch (thrown) {
    const found = faultFrom(thrown, place);
    const isLeftOver = found === outOfTime || found.code === 'upstream.unavailable' || found.code === 'step.ambiguous';
    if (isLeftOver && open?.hasSessions === true) await kill(target, wire.connect, bson, id);
    return { ok: false, fault: found };
  } finally {
    aborted.forget();
    open?.wire.close();
  }
}

function faultFrom(thrown: unknown, place: string): Fault {
  if (!(thrown instanceof ConnectionLost)) return faultOf(thrown);
  return fault('upstream.unavailable', `The connection to ${place} was lost.`, { detail: thrown });
}

function rejectionOf(
  signal: AbortSignal | undefined,
  reason: Fault,
): { readonly promise: Promise<never>; forget(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  const abort = (): void => reject(new FaultError(reason));
  signal?.addEventListener('abort', abort, { once: true });
  return { promise, forget: () => signal?.removeEventListener('abort', abort) };
}

/**
 * Without it the server would go on for a caller that has left, and an open transaction would hold its documents;
 * where it fails, the limit of a minute ends them.
 */
async function kill(target: MongoTarget, connect: GuardedConnect, bson: Bson, id: unknown): Promise<void> {
  const late = AbortSignal.timeout(LIMITS.databaseCancelMilliseconds);
  const aborted = rejectionOf(late, fault('step.timeout', 'The server was not told in time.'));
  const killing = openPrimary(target, connect, bson).then(async (opened) => {
    if (!opened.ok) return;
    const { wire } = opened.value;
    late.addEventListener('abort', () => wire.close(), { once: true });
    await wire.ask({ killSessions: [{ id }], $db: 'admin' });
    wire.close();
  });
  await Promise.race([killing, aborted.promise]).catch(() => undefined);
  aborted.forget();
}

interface Opened {
  readonly wire: Wire;
  readonly hasSessions: boolean;
}

/** The first host that takes writes. One that cannot be reached is passed by; a wrong password ends it. */
async function openPrimary(target: MongoTarget, connect: GuardedConnect, bson: Bson): Promise<Result<Opened>> {
  const left = [...target.hosts];
  let last: Fault | undefined;
  for (let host = left.shift(); host !== undefined; host = left.shift()) {
    const opened = await openHost(host, target, connect, bson);
    if (opened.ok) {
      if ('wire' in opened.value) return ok(opened.value);
      const { primary } = opened.value;
      last ??= fault('upstream.unavailable', 'None of the hosts of the connection is the primary at the moment.');
      const next = left.findIndex(({ hostname, port }) => `${hostname}:${port}` === primary);
      if (next > 0) left.unshift(...left.splice(next, 1));
    } else if (PASSED_BY.has(opened.fault.code)) last = opened.fault;
    else return opened;
  }
  return { ok: false, fault: last ?? fault('connection.invalid', 'The connection names no host.') };
}

const PASSED_BY: ReadonlySet<string> = new Set(['upstream.unreachable', 'upstream.timeout', 'upstream.unavailable']);

interface Elsewhere {
  readonly primary: string | undefined;
}

async function openHost(
  host: SocketHost,
  target: MongoTarget,
  connect: GuardedConnect,
  bson: Bson,
): Promise<Result<Opened | Elsewhere>> {
  const socket = connect(host, { secureTransport: target.tls === 'verify' ? 'on' : 'off', allowHalfOpen: false });
  if (!socket.ok) return socket;
  const wire = new Wire(socket.value, bson);
  const late = AbortSignal.timeout(LIMITS.databaseConnectMilliseconds);
  const tooLate = rejectionOf(late, fault('upstream.timeout', `${host.hostname} could not be reached in time.`));
  let kept = false;
  try {
    const greeted = await Promise.race([greet(wire, target), tooLate.promise]);
    kept = greeted.ok && 'wire' in greeted.value;
    return greeted;
  } catch (thrown) {
    if (!(thrown instanceof ConnectionLost)) return { ok: false, fault: faultOf(thrown) };
    const message = `${host.hostname} could not be reached, or does not speak ${target.tls === 'verify' ? 'TLS with a certificate that is valid for this name' : 'the protocol of MongoDB'}.`;
    return fail('upstream.unreachable', message, { detail: thrown });
  } finally {
    tooLate.forget();
    if (!kept) wire.close();
  }
}

const conversationSchema = v.object({
  conversationId: v.unknown(),
  done: v.boolean(),
  payload: v.object({ buffer: v.instance(Uint8Array) }),
});

const helloSchema = v.object({
  ok: v.literal(1),
  isWritablePrimary: v.optional(v.boolean(), false),
  primary: v.optional(v.string()),
  maxWireVersion: v.number(),
  logicalSessionTimeoutMinutes: v.nullish(v.number()),
  speculativeAuthenticate: v.nullish(conversationSchema),
});

/** Asks who is there, with the first word of the login, so that it takes no round trip of its own. */
async function greet(wire: Wire, target: MongoTarget): Promise<Result<Opened | Elsewhere>> {
  const { bson } = wire;
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES))).toString('base64');
  const scram = createScram(target.user, target.password, nonce);
  const start = {
    saslStart: 1,
    mechanism: MECHANISM,
    payload: new bson.Binary(Buffer.from(scram.first)),
    options: { skipEmptyExchange: true },
  };
  const reply = await wire.ask({
    hello: 1,
    client: { driver: { name: 'tidegate', version: '1' }, os: { type: 'workerd' } },
    speculativeAuthenticate: { ...start, db: target.authSource },
    $db: 'admin',
  });
  const refused = replyFault(reply);
  if (refused !== undefined) return { ok: false, fault: refused };
  const hello = v.safeParse(helloSchema, reply);
  if (!hello.success || hello.output.maxWireVersion < LEAST_WIRE_VERSION) {
    return fail('upstream.invalid', 'The server is no MongoDB from 4.4 on.');
  }
  const { isWritablePrimary, primary, logicalSessionTimeoutMinutes, speculativeAuthenticate } = hello.output;
  if (!isWritablePrimary) return ok({ primary });
  const ask = async (command: Document) => {
    const answer = await wire.ask({ ...command, $db: target.authSource });
    const refused = replyFault(answer);
    if (refused !== undefined) throw new FaultError(refused);
    return v.parse(conversationSchema, answer);
  };
  const challenge = speculativeAuthenticate ?? (await ask(start));
  const final = await scram.final(textOf(challenge));
  if (!final.ok) return final;
  const { conversationId } = challenge;
  const outcome = await ask({ saslContinue: 1, conversationId, payload: new bson.Binary(Buffer.from(final.value)) });
  if (!scram.verify(textOf(outcome))) {
    return fail('upstream.unauthorized', 'The server does not know the password that it was asked to prove.');
  }
  // An older server ends the conversation with one more, empty exchange.
  if (!outcome.done) await ask({ saslContinue: 1, conversationId, payload: new bson.Binary(new Uint8Array()) });
  return ok({ wire, hasSessions: typeof logicalSessionTimeoutMinutes === 'number' });
}

const textOf = ({ payload }: v.InferOutput<typeof conversationSchema>): string =>
  Buffer.from(payload.buffer).toString();

/** Where no answer to the commit came, or one that leaves it open, a repetition could do everything twice. */
function uncommitted(thrown: unknown): unknown {
  const found = thrown instanceof ConnectionLost ? undefined : faultOf(thrown);
  if (found !== undefined && found.code !== 'upstream.unavailable') return thrown;
  const message = 'The connection was lost during the commit; the transaction may have taken effect.';
  return new FaultError(fault('step.ambiguous', message, { detail: thrown }));
}

function sessionOf(wire: Wire, { database }: MongoTarget, id: unknown): Session {
  const { bson } = wire;
  const common = { ...(id !== undefined && { lsid: { id } }) };
  let running: Document = {};
  let begins = false;
  const ask = async (command: Document, $db: string): Promise<Document> => {
    const start = begins ? { startTransaction: true } : {};
    begins = false;
    const reply = await wire.ask({ ...command, ...common, ...running, ...start, $db });
    const refused = replyFault(reply);
    if (refused !== undefined) throw new FaultError(refused);
    return reply;
  };
  return {
    bson,
    database,
    command: (command, $db = database) => ask(command, $db),
    tell: (command) => wire.tell({ ...command, ...common, $db: database }),
    async transaction(use) {
      if (id === undefined) {
        throw new FaultError(fault('upstream.rejected', 'The server has no sessions, which transactions need.'));
      }
      begins = true;
      running = { txnNumber: bson.Long.fromNumber(1), autocommit: false };
      const end = (how: 'commitTransaction' | 'abortTransaction') => ask({ [how]: 1 }, 'admin');
      let value;
      try {
        value = await use();
      } catch (thrown) {
        // Where it cannot be told, the server aborts it when the session is killed, or by itself after a minute.
        if (!(begins || thrown instanceof ConnectionLost)) await end('abortTransaction').catch(() => undefined);
        throw thrown;
      }
      if (begins) return value;
      await end('commitTransaction').catch((thrown: unknown) => {
        throw uncommitted(thrown);
      });
      return value;
    },
  };
}
