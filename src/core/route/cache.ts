/** The policy `cache` of a route or HTTP trigger: what is stored, for whom, and for how long. */

import * as v from 'valibot';
import { DURATION, formatDuration, parseDuration } from '../chain/duration.ts';
import { at, type IssueList } from '../chain/issues.ts';
import { checkTemplate } from '../chain/scopes.ts';
import type { Template } from '../expression/types.ts';
import { SCOPES, type CacheScope } from '../http-cache/key.ts';
import { CACHEABLE_STATUSES } from '../http-cache/storing.ts';
import { LIMITS } from '../limits.ts';

const duration = (description: string) =>
  v.optional(v.pipe(v.string(), v.regex(DURATION), v.examples(['30s', '5m', '1h']), v.description(description)));

const header = v.pipe(v.string(), v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/), v.examples(['accept-language']));

const headers = (description: string) =>
  v.optional(v.pipe(v.array(header), v.maxLength(LIMITS.cacheHeaders), v.description(description)), []);

const longest = formatDuration(LIMITS.cacheLongestMilliseconds);

export const cachePolicy = v.strictObject({
  ttl: duration(`How long a response is fresh, whatever the origin says of it; at most ${longest}.`),
  scope: v.optional(
    v.pipe(
      v.picklist(SCOPES),
      v.description(
        'Who shares a response. `identity`: nobody; each caller has its own. `tenant`: all callers of one tenant. `public`: everybody.',
      ),
    ),
    'identity',
  ),
  vary: headers('Request headers that tell responses apart, besides those that the origin names in `Vary`.'),
  query: v.optional(
    v.pipe(
      v.union([v.literal('all'), v.pipe(v.array(v.string()), v.maxLength(LIMITS.cacheQueryNames))]),
      v.description(
        'Query parameters that tell responses apart. Others reach the origin, but choose no other response.',
      ),
    ),
    'all',
  ),
  statuses: v.optional(
    v.pipe(
      v.array(v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599))),
      v.description('Statuses that are stored.'),
    ),
    [...CACHEABLE_STATUSES],
  ),
  maxBytes: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(LIMITS.cacheBodyLargestBytes),
      v.description('The largest body that is stored.'),
    ),
    LIMITS.cacheBodyBytes,
  ),
  tags: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.cacheTagCharacters))),
      v.maxLength(LIMITS.cacheTags),
      v.examples([['orders', 'order-{{ params.id }}']]),
      v.description('Names under which responses can be purged; templates over `params` and `identity`.'),
    ),
    [],
  ),
  staleWhileRevalidate: duration('How long a stale response is still given away while it is asked for anew.'),
  staleIfError: duration('How long a stale response stands in for an origin that fails.'),
  respectOrigin: v.optional(
    v.pipe(
      v.boolean(),
      v.description('Obey `Cache-Control` of the origin. False stores also what it calls `private` or `no-store`.'),
    ),
    true,
  ),
  heuristic: v.optional(
    v.pipe(
      v.boolean(),
      v.description('Guess the time from `Last-Modified` where the origin says nothing (RFC 9111, section 4.2.2).'),
    ),
    false,
  ),
  cookies: v.optional(
    v.pipe(v.boolean(), v.description('Store responses that set cookies. Only with the scope `identity`.')),
    false,
  ),
  bypass: headers('A request with one of these headers goes past the cache.'),
});

export type CacheDocument = v.InferOutput<typeof cachePolicy>;

export interface CachePlan {
  readonly scope: CacheScope;
  readonly ttlMilliseconds: number | undefined;
  /** In lower case and in order. */
  readonly vary: readonly string[];
  readonly query: 'all' | readonly string[];
  readonly statuses: ReadonlySet<number>;
  readonly maxBytes: number;
  /** Undefined where there are none; else it gives a list of texts. */
  readonly tags: Template | undefined;
  readonly staleWhileRevalidateMilliseconds: number | undefined;
  readonly staleIfErrorMilliseconds: number | undefined;
  readonly respectOrigin: boolean;
  readonly heuristic: boolean;
  readonly cookies: boolean;
  readonly bypass: readonly string[];
}

/** @param path of the policy in its document */
export function compileCache(document: CacheDocument, path: string, issues: IssueList): CachePlan {
  const time = (field: 'ttl' | 'staleWhileRevalidate' | 'staleIfError'): number | undefined => {
    const text = document[field];
    const milliseconds = text === undefined ? undefined : parseDuration(text);
    if (milliseconds !== undefined && milliseconds > LIMITS.cacheLongestMilliseconds) {
      issues.add(at(path, field), `At most ${longest}.`);
    }
    return milliseconds;
  };
  const { scope, cookies, respectOrigin, heuristic, maxBytes, tags, query } = document;
  if (cookies && scope !== 'identity') {
    issues.add(at(path, 'cookies'), `A cookie is for one caller: leave it out, or set "scope" to "identity".`);
  }
  if (!respectOrigin && document.ttl === undefined) {
    issues.add(
      at(path, 'ttl'),
      'Needed where "respectOrigin" is false: nothing else says how long a response is fresh.',
    );
  }
  for (const [index, status] of document.statuses.entries()) {
    if (status !== 206 && status !== 304) continue;
    issues.add(at(path, 'statuses', index), `A ${status} is no whole response; remove it.`);
  }
  return {
    ...{ scope, cookies, respectOrigin, heuristic, maxBytes },
    ttlMilliseconds: time('ttl'),
    staleWhileRevalidateMilliseconds: time('staleWhileRevalidate'),
    staleIfErrorMilliseconds: time('staleIfError'),
    vary: inOrder(document.vary),
    bypass: inOrder(document.bypass),
    query: query === 'all' ? query : [...new Set(query)].sort(),
    statuses: new Set(document.statuses),
    tags:
      tags.length === 0
        ? undefined
        : checkTemplate(tags, at(path, 'tags'), { roots: ['params', 'identity'], steps: [] }, issues),
  };
}

const inOrder = (names: readonly string[]): readonly string[] =>
  [...new Set(names.map((name) => name.toLowerCase()))].sort();
