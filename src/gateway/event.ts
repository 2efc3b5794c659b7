/** A request as a trigger event. Query and headers are read only when an expression asks for them. */

import type { RunIdentity, TriggerEvent } from '../core/engine/state.ts';
import type { Identity } from './exchange.ts';
import { Bare } from '../core/json.ts';
import { HOPS_HEADER, hopsOf } from '../core/policy/hops.ts';
import { pathStart } from '../core/url.ts';

/**
 * Credentials never reach a chain: they would end in journals and records. By their names, since everybody has
 * one of their own (`x-auth-token`, `x-gitlab-token`). Signatures are none: they are good for one body.
 */
const CREDENTIAL_NAME = /authoriz|cookie|token|secret|password|api-?key|jwt|(?:^|-)auth(?:-|$)/;

export function httpEvent(
  request: Request,
  params: TriggerEvent['params'],
  body: unknown,
  receivedAt: number,
  identity: Identity | undefined,
): TriggerEvent {
  let query: Record<string, string> | undefined;
  let headers: Record<string, string> | undefined;
  return {
    type: 'http',
    params,
    body,
    receivedAt,
    tenant: identity?.tenant,
    identity: identity && shownIdentity(identity),
    get query() {
      return (query ??= queryOf(request.url));
    },
    get headers() {
      return (headers ??= headersOf(request.headers));
    },
    get hops() {
      return hopsOf(request.headers.get(HOPS_HEADER));
    },
  };
}

/** A run keeps it in its journal, so the key itself, its limits and its hash stay behind. */
const shownIdentity = ({ kind, id, tenant, scopes, claims }: Identity): RunIdentity => ({
  kind,
  id,
  tenant,
  scopes,
  claims,
});

/** The part of a URL between the origin and the query, as received. */
export function pathOf(url: string): string {
  const start = pathStart(url);
  const query = url.indexOf('?', start);
  return url.slice(start, query === -1 ? url.length : query);
}

/** The host of a URL, with its port where it has one; the header `Host` says the same. */
export function authorityOf(url: string): string {
  const end = pathStart(url);
  return url.slice(url.indexOf('//') + 2, end === -1 ? url.length : end);
}

/** The host of a URL, without its port. */
export function hostnameOf(url: string): string {
  const host = authorityOf(url);
  const port = host.startsWith('[') ? host.indexOf(']:') + 1 : host.indexOf(':');
  return port > 0 ? host.slice(0, port) : host;
}

/** Of a repeated parameter the last one counts. */
export function queryOf(url: string): Record<string, string> {
  const query = new Bare<string>();
  const start = url.indexOf('?');
  if (start === -1) return query;
  for (const [name, value] of new URLSearchParams(url.slice(start))) query[name] = value;
  return query;
}

export function headersOf(headers: Headers): Record<string, string> {
  const plain = new Bare<string>();
  for (const [name, value] of headers) if (!CREDENTIAL_NAME.test(name)) plain[name] = value;
  return plain;
}
