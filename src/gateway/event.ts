/** A request as a trigger event. Query and headers are read only when an expression asks for them. */

import type { TriggerEvent } from '../core/engine/state.ts';
import { Bare } from '../core/json.ts';

/** Credentials never reach a chain: they would end in journals and records. */
const CREDENTIAL_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'x-api-key',
  'cf-access-jwt-assertion',
  'cf-access-client-secret',
  'cf-access-jwt-assertion',
]);

export function httpEvent(
  request: Request,
  params: TriggerEvent['params'],
  body: unknown,
  receivedAt: number,
): TriggerEvent {
  let query: Record<string, string> | undefined;
  let headers: Record<string, string> | undefined;
  return {
    type: 'http',
    params,
    body,
    receivedAt,
    get query() {
      return (query ??= queryOf(request.url));
    },
    get headers() {
      return (headers ??= headersOf(request.headers));
    },
  };
}

/** The part of a URL between the origin and the query, as received. */
export function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('//') + 2);
  const query = url.indexOf('?', start);
  return url.slice(start, query === -1 ? url.length : query);
}

/** The host of a URL, without its port. */
export function hostnameOf(url: string): string {
  const start = url.indexOf('//') + 2;
  const end = url.indexOf('/', start);
  const host = url.slice(start, end === -1 ? url.length : end);
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
  for (const [name, value] of headers) if (!CREDENTIAL_HEADERS.has(name)) plain[name] = value;
  return plain;
}
