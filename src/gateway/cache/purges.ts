/** What of the cache counts no more: purged by the management API, or invalidated by an unsafe request. */

import { Flights } from './flights.ts';
import type { Entry } from './entry.ts';
import type { Exchange } from '../exchange.ts';
import { LIMITS } from '../../core/limits.ts';
import { checkConfiguration, configurationConfirmedAt, type Configuration } from '../../runtime/configuration.ts';
import { EVERYTHING } from '../../store/purges.ts';

export const scopesOf = (target: string, address: string, tags: readonly string[]): readonly string[] => [
  ...[EVERYTHING, `target:${target}`, `url:${address}`],
  ...tags.map((tag) => `tag:${tag}`),
];

export function isPurged({ scopes, revision }: Entry, { purges }: Configuration): boolean {
  return purges.size > 0 && scopes.some((scope) => (purges.get(scope) ?? 0) > revision);
}

const looks = new Flights<Configuration>();
let failedAt = 0;

/**
 * The configuration by whose purges a response is judged. An isolate that had nothing to do looks for newer
 * ones first, so that none is overlooked for longer than `cachePurgeMilliseconds`.
 */
export function purgesFor(exchange: Exchange): Configuration | Promise<Configuration> {
  const { receivedAt, configuration } = exchange;
  const isRecent = receivedAt - configurationConfirmedAt() <= LIMITS.cachePurgeMilliseconds;
  return isRecent || receivedAt - failedAt < LIMITS.configurationAgeMilliseconds ? configuration : look(exchange);
}

async function look({ env, configuration }: Exchange): Promise<Configuration> {
  const other = looks.find('');
  if (other !== undefined) {
    const outcome = await other.wait();
    return outcome.kind === 'done' ? outcome.value : configuration;
  }
  const flight = looks.begin('');
  try {
    const value = await checkConfiguration(env, 0);
    flight.settle({ kind: 'done', value });
    return value;
  } catch (thrown) {
    // A cache that forgot all it has whenever D1 is away would take the origin down with it.
    console.error('cached responses are used without a look at newer purges', thrown);
    failedAt = Date.now();
    flight.settle({ kind: 'lost' });
    return configuration;
  }
}

/** By address, when it was last changed by a request that came through this isolate. */
const invalidated = new Map<string, number>();
/** Everything asked for before this counts as changed: marks of that time are forgotten. */
let forgottenAt = 0;

export function noteInvalidated(address: string, at: number): void {
  if (at <= (invalidated.get(address) ?? 0)) return;
  invalidated.delete(address);
  invalidated.set(address, at);
  if (invalidated.size <= LIMITS.cacheMarks) return;
  for (const [oldest, time] of invalidated) {
    invalidated.delete(oldest);
    forgottenAt = Math.max(forgottenAt, time);
    return;
  }
}

/** RFC 9111, section 4.4. A response that was under way while its address changed may be of before. */
export const isInvalidated = ({ address, requestAt }: Pick<Entry, 'address' | 'requestAt'>): boolean =>
  requestAt <= Math.max(forgottenAt, invalidated.get(address) ?? 0);
