/** What may be stored, and in what form: RFC 9111, sections 3 and 4.1. */

import { secondsOf, type Directives } from './directives.ts';
import { initialAgeOf, lifetimeOf, type Freshness, type Rules, type Times } from './freshness.ts';

export interface StoringRules extends Rules {
  readonly statuses: ReadonlySet<number>;
  /** The origin's directives count. */
  readonly respectOrigin: boolean;
  /** `Set-Cookie` may be stored; only where nobody else is given the response. */
  readonly cookies: boolean;
  readonly staleWhileRevalidateMilliseconds: number | undefined;
  readonly staleIfErrorMilliseconds: number | undefined;
}

export interface Asked {
  readonly directives: Directives;
  /** It carried a credential: `Authorization`, a cookie, a key. */
  readonly hasCredentials: boolean;
}

/** Statuses that RFC 9110, section 15.1 calls cacheable by default, except 206. */
export const CACHEABLE_STATUSES: readonly number[] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/** The reason not to store a response, for `Cache-Status`; undefined where it may be stored. */
export function refusalOf(
  asked: Asked,
  status: number,
  headers: Headers,
  directives: Directives,
  rules: StoringRules,
): string | undefined {
  if (asked.directives.has('no-store')) return 'request-no-store';
  if (status === 206 || status === 304 || !rules.statuses.has(status)) return 'status';
  if (headers.has('set-cookie') && (rules.shared || !rules.cookies)) return 'set-cookie';
  if (varyOf(headers) === '*') return 'vary';
  // A stream of events never ends.
  if (headers.get('content-type')?.startsWith('text/event-stream') === true) return 'stream';
  if (!rules.respectOrigin) return undefined;
  // Section 5.2.2.3: `statuses` are the ones that are understood, and then no-store does not count.
  if (directives.has('no-store') && !directives.has('must-understand')) return 'no-store';
  if (rules.shared && directives.has('private')) return 'private';
  // Section 3.5.
  const isAllowed = directives.has('public') || directives.has('s-maxage') || directives.has('must-revalidate');
  if (rules.shared && asked.hasCredentials && !isAllowed) return 'authorization';
  return undefined;
}

/** Undefined where nothing says how long it is fresh, and it cannot be validated either. */
export function freshnessOf(
  headers: Headers,
  directives: Directives,
  times: Times,
  rules: StoringRules,
): Freshness | undefined {
  const initialAge = initialAgeOf(headers, times);
  const own = rules.ttlMilliseconds;
  // The route's own time begins when the response comes, however old that is already.
  const given = own === undefined ? lifetimeOf(headers, directives, times.responseAt, rules) : own + initialAge;
  if (given === undefined && !isValidatable(headers)) return undefined;
  const said = rules.respectOrigin ? directives : new Map<string, string>();
  const tolerated = (field: number | undefined, name: string): number => field ?? (secondsOf(said, name) ?? 0) * 1000;
  return {
    ...times,
    initialAge,
    lifetime: given ?? 0,
    validateAlways: said.has('no-cache'),
    mustRevalidate: said.has('must-revalidate') || (rules.shared && said.has('proxy-revalidate')),
    refusesMaxStale: rules.shared && said.has('s-maxage'),
    staleWhileRevalidate: tolerated(rules.staleWhileRevalidateMilliseconds, 'stale-while-revalidate'),
    staleIfError: tolerated(rules.staleIfErrorMilliseconds, 'stale-if-error'),
  };
}

export const isValidatable = (headers: Headers): boolean => headers.has('etag') || headers.has('last-modified');

/** Section 3.1, and those that the runtime makes anew for each response. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization'],
  ...['proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'content-length', 'cache-tag', 'age'],
  // Told anew to each caller.
  'cache-status',
]);

export type Fields = readonly (readonly [name: string, value: string])[];

export function storedFields(headers: Headers): Fields {
  const named = new Set((headers.get('connection') ?? '').toLowerCase().split(/[\s,]+/));
  return [...headers].filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name));
}

/** The header names of `Vary` in lower case and in order, each once. */
export function varyOf(headers: Headers): readonly string[] | '*' {
  const names = (headers.get('vary') ?? '').toLowerCase().split(/[\s,]+/);
  return names.includes('*') ? '*' : [...new Set(names)].filter((name) => name !== '').sort();
}

/** Section 4.1: what a request has for those headers, so that only the same selects the same response. */
export const selectingFields = (names: readonly string[], headers: Headers): Fields =>
  names.map((name) => {
    const value = headers.get(name);
    // A header that is missing matches only one that is missing; no header is called by this text.
    return value === null ? [name, '\0'] : [name, value.trim().replaceAll(/\s*,\s*/g, ', ')];
  });
