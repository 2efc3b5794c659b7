/** How long a response is fresh and how old it is: RFC 9111, section 4.2. */

import { parseHttpDate, secondsOf, type Directives } from './directives.ts';
import { LIMITS } from '../limits.ts';

/** When a response was asked for and when its head came, in unix milliseconds. */
export interface Times {
  readonly requestAt: number;
  readonly responseAt: number;
}

export interface Rules {
  /** More than one caller may be given the response. */
  readonly shared: boolean;
  /** Instead of what the origin says. */
  readonly ttlMilliseconds: number | undefined;
  readonly heuristic: boolean;
}

/** Section 4.2.1. `undefined`: the response does not say, and nothing may be guessed. */
export function lifetimeOf(
  headers: Headers,
  directives: Directives,
  responseAt: number,
  { shared, heuristic }: Rules,
): number | undefined {
  const seconds = (shared ? secondsOf(directives, 's-maxage') : undefined) ?? secondsOf(directives, 'max-age');
  if (seconds !== undefined) return seconds * 1000;
  const date = parseHttpDate(headers.get('date')) ?? responseAt;
  const expires = headers.get('expires');
  // Section 5.3: what is no date, `0` above all, lies in the past.
  if (expires !== null) return Math.max(0, (parseHttpDate(expires) ?? 0) - date);
  const modified = heuristic ? parseHttpDate(headers.get('last-modified')) : undefined;
  if (modified === undefined) return undefined;
  return Math.min(Math.max(0, date - modified) / 10, LIMITS.cacheHeuristicMilliseconds);
}

/** Section 4.2.3: `corrected_initial_age`, in milliseconds. */
export function initialAgeOf(headers: Headers, { requestAt, responseAt }: Times): number {
  const date = parseHttpDate(headers.get('date')) ?? responseAt;
  // Section 5.1: of a list the first member counts; what is no number is ignored.
  const given = /^\s*(\d+)\s*(?:,|$)/.exec(headers.get('age') ?? '')?.[1];
  const age = given === undefined ? 0 : Math.min(Number(given), 2 ** 31) * 1000;
  return Math.max(0, responseAt - date, age + Math.max(0, responseAt - requestAt));
}

/** What the rules of reuse need of a stored response; all times in milliseconds. */
export interface Freshness extends Times {
  readonly initialAge: number;
  readonly lifetime: number;
  /** Asked of the origin each time (`no-cache`). */
  readonly validateAlways: boolean;
  /** Never given away stale, whatever else allows it. */
  readonly mustRevalidate: boolean;
  /** `s-maxage`: a caller's `max-stale` does not count (section 5.2.2.10). */
  readonly refusesMaxStale: boolean;
  readonly staleWhileRevalidate: number;
  readonly staleIfError: number;
}

/** Whole seconds would do for `Age`; freshness is told exactly. */
export const ageOf = (stored: Freshness, now: number): number =>
  stored.initialAge + Math.max(0, now - stored.responseAt);

export const stalenessOf = (stored: Freshness, now: number): number => ageOf(stored, now) - stored.lifetime;

export type Reuse =
  | 'fresh'
  /** To be given away as it is. */
  | 'stale'
  /** To be given away while it is asked for anew: RFC 5861, section 3. */
  | 'stale-while-revalidate'
  /** To be asked for, because it is stale or the caller wants it so. */
  | 'validate-stale'
  | 'validate-request';

/** Sections 4.2.4 and 5.2.1. */
export function reuseOf(stored: Freshness, request: Directives, now: number): Reuse {
  const age = ageOf(stored, now);
  const staleness = age - stored.lifetime;
  const maxAge = secondsOf(request, 'max-age');
  const minFresh = secondsOf(request, 'min-fresh');
  const tooOld = maxAge !== undefined && age > maxAge * 1000;
  const demands = request.has('no-cache') || tooOld || (minFresh !== undefined && -staleness < minFresh * 1000);
  if (stored.validateAlways) return 'validate-stale';
  if (request.has('no-cache')) return 'validate-request';
  if (staleness < 0 && !demands) return 'fresh';
  if (stored.mustRevalidate) return staleness < 0 ? 'validate-request' : 'validate-stale';
  if (staleness >= 0 && !stored.refusesMaxStale && isWithinMaxStale(request, staleness) && !tooOld) return 'stale';
  if (staleness >= 0 && staleness < stored.staleWhileRevalidate && !demands) return 'stale-while-revalidate';
  return staleness < 0 ? 'validate-request' : 'validate-stale';
}

/** Without an argument any staleness will do (section 5.2.1.2). */
function isWithinMaxStale(request: Directives, staleness: number): boolean {
  const text = request.get('max-stale');
  return text === '' || (text !== undefined && staleness <= (secondsOf(request, 'max-stale') ?? 0) * 1000);
}

/** Section 4.2.4 and RFC 5861, section 4: whether it may stand in for an origin that fails. */
export const standsIn = (stored: Freshness, now: number): boolean =>
  !stored.mustRevalidate && !stored.validateAlways && stalenessOf(stored, now) < stored.staleIfError;
