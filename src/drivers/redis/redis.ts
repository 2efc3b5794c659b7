/**
 * Redis over HTTP: Upstash's REST protocol, which Upstash and the bridge speak.
 *
 * Not through @upstash/redis: it calls the global fetch past the guard, repeats a command up to five times
 * by itself, and answers an aborted call with the result "Aborted".
 */

import { quoteLargeIntegers } from '../../core/data/exact-json.ts';
import { isObject } from '../../core/json.ts';
import { fail, fault, ok, type ErrorCode, type Fault, type Result } from '../../core/errors.ts';
import { exchange, jsonOf, refusal, textOf, type Wire } from '../kit/exchange.ts';

export interface RedisConnection {
  readonly url: string;
  readonly token: string;
}

export type Command = readonly (string | number)[];

interface PipelineOptions {
  /** MULTI/EXEC: no other caller's command runs between, and none runs when one cannot be queued. */
  readonly atomic?: boolean;
}

export interface RedisDriver {
  /** The reply as JSON; an integer beyond 2^53 is a text. */
  command(command: Command): Promise<Result<unknown>>;
  /** The replies in order. A failure names the first command that failed; the others have run. */
  pipeline(commands: readonly Command[], options?: PipelineOptions): Promise<Result<readonly unknown[]>>;
}

export function createRedisDriver(connection: RedisConnection, wire: Wire): RedisDriver {
  const base = connection.url.replace(/\/+$/, '');

  async function post(path: string, body: unknown): Promise<Result<unknown>> {
    const reply = await exchange(wire, {
      url: `${base}${path}`,
      method: 'POST',
      headers: { authorization: `Bearer ${connection.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!reply.ok) return reply;
    // 400 is Redis' own error, unless something else answers there.
    const { status } = reply.value;
    if (status !== 200 && status !== 400) return { ok: false, fault: refusal('Redis', reply.value, wire.now()) };
    const text = textOf(reply.value.bytes);
    return jsonOf('Redis', /[:,[]-?\d{16}/.test(text) ? quoteLargeIntegers(text) : text);
  }

  return {
    async command(command) {
      const reply = await post('/', command);
      return reply.ok ? replyOf(reply.value) : reply;
    },
    async pipeline(commands, options = {}) {
      if (commands.length === 0) return ok([]);
      const reply = await post(options.atomic === true ? '/multi-exec' : '/pipeline', commands);
      if (!reply.ok) return reply;
      if (!Array.isArray(reply.value)) {
        const whole = replyOf(reply.value);
        return whole.ok ? UNREADABLE : whole;
      }
      const results: unknown[] = [];
      for (const [index, item] of reply.value.entries()) {
        const result = replyOf(item);
        if (!result.ok) {
          const message = `Command ${index} (${commands[index]?.[0]}): ${result.fault.message}`;
          return { ok: false, fault: { ...result.fault, message, data: { command: index, replies: reply.value } } };
        }
        results.push(result.value);
      }
      return results.length === commands.length ? ok(results) : UNREADABLE;
    },
  };
}

const UNREADABLE = fail('upstream.invalid', 'Redis sent something that is not its REST protocol; check `url`.');

function replyOf(reply: unknown): Result<unknown> {
  if (!isObject(reply)) return UNREADABLE;
  if (typeof reply['error'] === 'string') return { ok: false, fault: redisFault(reply['error']) };
  return 'result' in reply ? ok(reply['result']) : UNREADABLE;
}

/** By the first word of the error; anything else is a mistake of the command. */
const ERROR_WORDS: Readonly<Record<string, ErrorCode>> = {
  NOAUTH: 'upstream.unauthorized',
  WRONGPASS: 'upstream.unauthorized',
  NOPERM: 'upstream.unauthorized',
  LOADING: 'upstream.unavailable',
  BUSY: 'upstream.unavailable',
  CLUSTERDOWN: 'upstream.unavailable',
  MASTERDOWN: 'upstream.unavailable',
  TRYAGAIN: 'upstream.unavailable',
  READONLY: 'upstream.unavailable',
  OOM: 'upstream.unavailable',
};

function redisFault(error: string): Fault {
  const word = /^[A-Z]+/.exec(error)?.[0] ?? '';
  const limited = /max (daily )?requests? limit exceeded/i.test(error);
  const code = limited ? 'upstream.rate-limited' : (ERROR_WORDS[word] ?? 'upstream.rejected');
  return fault(code, `Redis: ${error}`);
}
