/** What a caller asks of the cache: what may be given at once, and who asks the origin for the rest. */

import { answerOf, type Entry } from './entry.ts';
import { Flights, type Flight } from './flights.ts';
import { askOrigin, told } from './origin.ts';
import { isPurged } from './purges.ts';
import { lookUp, recall } from './store.ts';
import type { Exchange, Identity } from '../exchange.ts';
import type { Directives } from '../../core/http-cache/directives.ts';
import { reuseOf, stalenessOf, standsIn } from '../../core/http-cache/freshness.ts';
import type { Partition } from '../../core/http-cache/key.ts';
import { selectingFields } from '../../core/http-cache/storing.ts';
import { LIMITS } from '../../core/limits.ts';
import type { CachePlan } from '../../core/route/cache.ts';
import type { Configuration } from '../../runtime/configuration.ts';

/** What lies behind the cache. */
export type Origin = (request: Request) => Promise<Response>;

export interface Asking {
  readonly plan: CachePlan;
  readonly exchange: Exchange;
  readonly identity: Identity | undefined;
  readonly partition: Partition;
  readonly key: string;
  /** Origin and path. */
  readonly address: string;
  /** Of the request. */
  readonly directives: Directives;
  readonly origin: Origin;
}

export interface Wish {
  /** What is to be validated, and may stand in where the origin fails. */
  readonly stored: Entry | undefined;
  readonly reason: Reason;
  /** Nobody waits for the answer. */
  readonly background: boolean;
}

/** Why the origin is asked: RFC 9211, section 2.2. */
type Reason = 'miss' | 'request' | 'stale';

/** What those who wait are given. */
export interface Shared {
  readonly entry: Entry;
  /** `stand-in`: stale, in place of an origin that fails. */
  readonly how: 'found' | 'asked' | 'stand-in';
}

const flights = new Flights<Shared>();

/** The answer of what is stored, where it may be given as it is; undefined where the origin must be asked. */
export function answered(asking: Asking, entry: Entry, configuration: Configuration): Response | undefined {
  const { exchange, directives } = asking;
  const now = exchange.receivedAt;
  if (isPurged(entry, configuration)) return undefined;
  const reuse = reuseOf(entry, directives, now);
  if (reuse === 'validate-request' || reuse === 'validate-stale') return undefined;
  if (reuse === 'stale-while-revalidate') {
    const renewing = ask(asking, configuration, true);
    exchange.ctx.waitUntil(renewing.catch((thrown: unknown) => console.error('a response was not renewed', thrown)));
  }
  return answerOf(entry, exchange, now, `hit; ttl=${Math.trunc(-stalenessOf(entry, now) / 1000)}`);
}

export function reasonOf(entry: Entry | undefined, { directives, exchange }: Asking): Reason {
  if (entry === undefined) return 'miss';
  return reuseOf(entry, directives, exchange.receivedAt) === 'validate-request' ? 'request' : 'stale';
}

/** Joins whoever asks for the same, or asks. */
export async function ask(asking: Asking, configuration: Configuration, background = false): Promise<Response> {
  const { exchange, key, origin } = asking;
  for (let lost = 0, turns = 0; lost <= LIMITS.cacheTakeovers && turns < LIMITS.cacheTurns; turns++) {
    const { variant, held } = recall(key, exchange.headers);
    // Stored since this request came.
    const arrived = held?.entry !== undefined && held.entry.responseAt >= exchange.receivedAt && !background;
    if (arrived && held.entry !== undefined) return collapsed(held.entry, exchange);
    const flight = flights.find(variant);
    if (flight === undefined) return lead(asking, configuration, flights.begin(variant), background);
    if (background) return new Response(null);
    const outcome = await flight.wait();
    if (outcome.kind === 'alone') break;
    if (outcome.kind === 'lost') lost++;
    else {
      const { entry, how } = outcome.value;
      // Only now it is known which headers tell responses apart; who has others asks again, together with its like.
      if (!selects(entry, exchange.headers)) continue;
      if (how === 'asked' || (how === 'stand-in' && standsIn(entry, exchange.receivedAt))) {
        return collapsed(entry, exchange);
      }
      const answer = answered(asking, entry, configuration);
      if (answer !== undefined) return answer;
    }
  }
  return told(await origin(exchange.request), 'fwd=miss');
}

const collapsed = (entry: Entry, exchange: Exchange): Response =>
  answerOf(entry, exchange, Date.now(), 'fwd=miss; collapsed');

const selects = ({ vary, selecting }: Entry, headers: Headers): boolean =>
  JSON.stringify(selecting) === JSON.stringify(selectingFields(vary, headers));

/**
 * Asks for everybody. It goes on when its own caller leaves: others may wait, and what has been asked for is
 * worth storing.
 */
function lead(
  asking: Asking,
  configuration: Configuration,
  flight: Flight<Shared>,
  background: boolean,
): Promise<Response> {
  const leading = led(asking, configuration, flight, background).catch((thrown: unknown) => {
    flight.settle({ kind: 'lost' });
    throw thrown;
  });
  asking.exchange.ctx.waitUntil(leading.catch(() => undefined));
  return leading;
}

async function led(
  asking: Asking,
  configuration: Configuration,
  flight: Flight<Shared>,
  background: boolean,
): Promise<Response> {
  const { exchange, key, address, directives } = asking;
  const { headers, receivedAt } = exchange;
  const inMemory = recall(key, headers).held?.entry;
  // Another isolate may have a newer one.
  const found = await lookUp(key, address, headers);
  const entry = found !== undefined && found.responseAt >= (inMemory?.responseAt ?? 0) ? found : inMemory;
  const stored = entry === undefined || isPurged(entry, configuration) ? undefined : entry;
  const reuse = stored && reuseOf(stored, directives, receivedAt);
  const mayBeStale = !background && (reuse === 'stale' || reuse === 'stale-while-revalidate');
  if (stored !== undefined && (reuse === 'fresh' || mayBeStale)) {
    // First, so that a stale response is renewed by a flight of its own.
    flight.settle({ kind: 'done', value: { entry: stored, how: 'found' } });
    const answer = answered(asking, stored, configuration);
    if (answer !== undefined) return answer;
  }
  return askOrigin(asking, { stored, reason: reasonOf(stored, asking), background }, flight);
}
