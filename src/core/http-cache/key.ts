/**
 * Under which key a response is stored.
 *
 * Guarantee: two callers have the same key only where the route says so (`scope`), or where neither of them
 * shows a credential of any kind. A key is the JSON of a list, so no value can run into the next one.
 * Accepted weakness: credentials that stand in a query parameter which the route does not count are not seen.
 */

import { selectingFields, type Fields } from './storing.ts';

export const SCOPES = ['identity', 'tenant', 'public'] as const;
export type CacheScope = (typeof SCOPES)[number];

/** Headers by which a caller shows who it is, to the gateway or to what lies behind it. */
const CREDENTIAL_HEADERS = [
  ...['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'cf-access-jwt-assertion'],
];

/** Who shares a response. `shared`: more than one caller may, so the rules of shared caches hold. */
export interface Partition {
  readonly key: Fields;
  readonly shared: boolean;
}

export interface Caller {
  /** Undefined where the route asks nobody who they are. */
  readonly identity: { readonly id: string; readonly tenant: string | undefined } | undefined;
  readonly headers: Headers;
}

export const hasCredentials = (headers: Headers): boolean => CREDENTIAL_HEADERS.some((name) => headers.has(name));

export const credentialsOf = (headers: Headers): Fields =>
  CREDENTIAL_HEADERS.flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });

/** Undefined where the caller shows a credential that nobody has checked: then nothing may be shared. */
export function partitionOf(scope: CacheScope, { identity, headers }: Caller): Partition | undefined {
  if (scope === 'public') return { key: [['scope', 'public']], shared: true };
  if (identity === undefined) {
    return hasCredentials(headers) ? undefined : { key: [['scope', 'anonymous']], shared: true };
  }
  if (scope === 'tenant' && identity.tenant !== undefined) {
    return {
      key: [
        ['scope', 'tenant'],
        ['tenant', identity.tenant],
      ],
      shared: true,
    };
  }
  // One key may speak for many people, whom what lies behind tells apart by a cookie or a token of its own.
  return { key: [['scope', 'identity'], ['identity', identity.id], ...credentialsOf(headers)], shared: false };
}

export interface Addressed {
  readonly target: string;
  /** Of the target, as far as it is chosen already. */
  readonly version: string;
  /** Scheme and host, as received. */
  readonly origin: string;
  readonly path: string;
  /** With its question mark; empty where there is none. */
  readonly search: string;
  readonly headers: Headers;
}

/** What of the query counts, in an order of its own where the route names the parameters. */
export function countedQuery(search: string, query: 'all' | readonly string[]): string {
  if (query === 'all') return search;
  const given = new URLSearchParams(search);
  return JSON.stringify(query.map((name) => given.getAll(name)));
}

/** @param query names in the order in which they are to be compared */
export const keyOf = (
  partition: Partition,
  { target, version, origin, path, search, headers }: Addressed,
  query: 'all' | readonly string[],
  vary: readonly string[],
): string =>
  JSON.stringify([
    ...[partition.key, target, version, origin, path, query, countedQuery(search, query)],
    selectingFields(vary, headers),
  ]);
