/**
 * The stage `cache`: RFC 9111 for one route.
 *
 * Guarantee: a caller is given a stored response only where key, `Vary`, freshness and purges allow it; what
 * cannot be shared is not stored; an aborted or too large body is not stored; the origin is asked once for all
 * who wait (see flights.ts).
 * Accepted weakness: an unsafe request invalidates in its own data centre only, and in other isolates there
 * after `cacheMemoryMilliseconds`.
 */

import { answered, ask, reasonOf, type Asking, type Origin } from './asking.ts';
import { notStored } from './entry.ts';
import { isPassed, told } from './origin.ts';
import { purgesFor } from './purges.ts';
import { confirm, invalidate, lookUp, recall } from './store.ts';
import type { Exchange, Identity } from '../exchange.ts';
import { NO_DIRECTIVES, parseDirectives, type Directives } from '../../core/http-cache/directives.ts';
import { keyOf, partitionOf } from '../../core/http-cache/key.ts';
import { LIMITS } from '../../core/limits.ts';
import type { CachePlan } from '../../core/route/cache.ts';
import { pathStart } from '../../core/url.ts';

/** Synchronous where memory has a response that is fresh. */
export function throughCache(
  plan: CachePlan,
  exchange: Exchange,
  identity: Identity | undefined,
  origin: Origin,
): Response | Promise<Response> {
  const { method, headers, url, path, target, version } = exchange;
  const start = pathStart(url);
  const site = start === -1 ? url : url.slice(0, start);
  const address = site + path;
  if (method !== 'GET' && method !== 'HEAD') return changing(exchange, site, address, origin);
  // A WebSocket has no response that could be stored.
  if (headers.has('upgrade')) return origin(exchange.request);
  if (plan.bypass.some((name) => headers.has(name))) return past(exchange, origin, 'fwd=bypass');
  const partition = partitionOf(plan.scope, { identity, headers });
  if (partition === undefined) return past(exchange, origin, 'fwd=bypass; detail=credentials');
  const mark = url.indexOf('?', site.length);
  const search = mark === -1 ? '' : url.slice(mark);
  const key = keyOf(partition, { target, version, origin: site, path, search, headers }, plan.query, plan.vary);
  const directives = requestDirectives(headers);
  const asking: Asking = { plan, exchange, identity, partition, key, address, directives, origin };

  const { held } = recall(key, headers);
  const configuration = held?.entry === undefined ? undefined : purgesFor(exchange);
  if (held?.entry !== undefined && configuration !== undefined && !(configuration instanceof Promise)) {
    const isConfirmed = exchange.receivedAt - held.checkedAt < LIMITS.cacheMemoryMilliseconds;
    const answer = isConfirmed ? answered(asking, held.entry, configuration) : undefined;
    if (answer !== undefined) return answer;
  }
  return searched(asking);
}

function requestDirectives(headers: Headers): Directives {
  const header = headers.get('cache-control');
  if (header !== null) return parseDirectives(header);
  // Section 5.4: what HTTP/1.0 said instead.
  return headers.get('pragma')?.includes('no-cache') === true ? parseDirectives('no-cache') : NO_DIRECTIVES;
}

async function searched(asking: Asking): Promise<Response> {
  const { exchange, key, address, directives, origin } = asking;
  const { headers, receivedAt } = exchange;
  const configuration = await purgesFor(exchange);
  const { held } = recall(key, headers);
  if (held?.entry !== undefined && receivedAt - held.checkedAt >= LIMITS.cacheMemoryMilliseconds) {
    await confirm(held, address);
  }
  const entry = recall(key, headers).held?.entry;
  const answer = entry && answered(asking, entry, configuration);
  if (answer !== undefined) return answer;
  if (!isUnsharable(asking)) return ask(asking, configuration);
  const found = await lookUp(key, address, headers);
  const late = found && answered(asking, found, configuration);
  if (late !== undefined) return late;
  const reason = reasonOf(found, asking);
  if (directives.has('only-if-cached')) {
    return notStored('The caller takes a stored response only, and there is none that may be used.', `fwd=${reason}`);
  }
  return past(exchange, origin, `fwd=${reason}`);
}

/** Requests whose answer is not the whole representation, or must not be stored. */
function isUnsharable({ exchange: { method, headers, receivedAt }, directives, key }: Asking): boolean {
  const isPart =
    method === 'HEAD' || headers.has('range') || headers.has('if-match') || headers.has('if-unmodified-since');
  const isAlone = directives.has('no-store') || directives.has('only-if-cached');
  return isPart || isAlone || isPassed(key, receivedAt);
}

const past = async ({ request }: Exchange, origin: Origin, status: string): Promise<Response> =>
  told(await origin(request), status);

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY', 'REPORT']);

/** Section 4.4: after a success, what is stored of the address, and of those that the response names, is of before. */
async function changing(exchange: Exchange, site: string, address: string, origin: Origin): Promise<Response> {
  const response = await origin(exchange.request);
  if (SAFE.has(exchange.method) || response.status < 200 || response.status >= 400) return response;
  const changed = new Set([address]);
  for (const name of ['location', 'content-location']) {
    const given = response.headers.get(name);
    const named = given === null ? null : URL.parse(given, exchange.url);
    // Of its own origin only, or anybody could invalidate anything.
    if (named?.origin === site) changed.add(named.origin + named.pathname);
  }
  const now = Date.now();
  const marking = Promise.all([...changed].map((each) => invalidate(each, now)));
  exchange.ctx.waitUntil(
    marking.catch((thrown: unknown) => console.error('the cache could not be invalidated', thrown)),
  );
  return response;
}
