/**
 * Redis over HTTP: Upstash's REST protocol, which Upstash and the bridge speak.
 *
 * Not through @upstash/redis: it calls the global fetch past the guard, repeats a command up to five times
 * by itself, and answers an aborted call with the result "Aborted".
 */

import { quoteLargeIntegers } from '../../core/data/exact-json.ts';
import { isObject } from '../../core/json.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { exchange, jsonOf, refusal, textOf, type Wire } from '../kit/exchange.ts';
import { redisFault, resultsOf, type Outcome, type RedisDriver } from './driver.ts';
import type { Command } from './resp.ts';

export interface HttpConnection {
  readonly url: string;
  readonly token: string;
}

export function createHttpDriver(connection: HttpConnection, wire: Wire): RedisDriver {
  const base = connection.url.replace(/\/+$/, '');

  async function post(path: string, body: unknown, binary = false): Promise<Result<unknown>> {
    const reply = await exchange(wire, {
      url: `${base}${path}`,
      method: 'POST',
      headers: {
        authorization: `Bearer ${connection.token}`,
        'content-type': 'application/json',
        ...(binary && { 'upstash-encoding': 'base64' }),
      },
      body: JSON.stringify(body),
    });
    if (!reply.ok) return reply;
    // 400 is Redis' own error, unless something else answers there.
    const { status } = reply.value;
    if (status !== 200 && status !== 400) return { ok: false, fault: refusal('Redis', reply.value, wire.now()) };
    const text = textOf(reply.value.bytes);
    return jsonOf('Redis', /[:,[]-?\d{16}/.test(text) ? quoteLargeIntegers(text) : text);
  }

  const driver: RedisDriver = {
    async command(command, { binary } = {}) {
      if (hasBytes(command)) return NO_BYTES;
      const reply = await post('/', command, binary);
      if (!reply.ok) return reply;
      const outcome = outcomeOf(reply.value);
      if (outcome === undefined) return UNREADABLE;
      return 'error' in outcome ? { ok: false, fault: redisFault(outcome.error) } : ok(outcome.result);
    },
    async pipeline(commands, { atomic = false, binary } = {}) {
      if (commands.length === 0) return ok([]);
      if (commands.some(hasBytes)) return NO_BYTES;
      const reply = await post(atomic ? '/multi-exec' : '/pipeline', commands, binary);
      if (!reply.ok) return reply;
      if (!Array.isArray(reply.value)) {
        const whole = outcomeOf(reply.value);
        return whole !== undefined && 'error' in whole ? { ok: false, fault: redisFault(whole.error) } : UNREADABLE;
      }
      const outcomes = reply.value.map(outcomeOf).filter((outcome) => outcome !== undefined);
      return outcomes.length === commands.length ? resultsOf(commands, outcomes) : UNREADABLE;
    },
    transaction: (watched, commands) =>
      watched.length === 0 ? driver.pipeline(commands, { atomic: true }) : Promise.resolve(NO_WATCH),
  };
  return driver;
}

const hasBytes = (command: Command): boolean => command.some((word) => typeof word === 'object');

const UNREADABLE = fail('upstream.invalid', 'Redis sent something that is not its REST protocol; check `url`.');
const NO_BYTES = fail('step.params', 'Bytes can be sent over TCP only: give the connection a `url` of redis://.');
const NO_WATCH = fail('step.params', '`watch` works over TCP only: give the connection a `url` of redis://.');

function outcomeOf(reply: unknown): Outcome | undefined {
  if (!isObject(reply)) return undefined;
  if (typeof reply['error'] === 'string') return { error: reply['error'] };
  return 'result' in reply ? { result: reply['result'] } : undefined;
}
