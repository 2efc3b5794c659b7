/** One request with an access token, and what Google says when it refuses it. */

import { isObject } from '../../core/json.ts';
import type { Fault, Result } from '../../core/errors.ts';
import {
  exchange,
  jsonOf,
  openExchange,
  refusal,
  textOf,
  type Incoming,
  type OpenIncoming,
  type Outgoing,
  type Wire,
} from '../kit/exchange.ts';
import { accessToken, forgetToken, type GcsConnection } from './token.ts';

export interface GcsRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** By name in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export const call = (connection: GcsConnection, wire: Wire, request: GcsRequest): Promise<Result<Incoming>> =>
  authorized(connection, wire, request, exchange);

/** As {@link call}, with the body left to be read. */
export const openMedia = (connection: GcsConnection, wire: Wire, request: GcsRequest): Promise<Result<OpenIncoming>> =>
  authorized(connection, wire, request, openExchange);

async function authorized<T extends Incoming>(
  connection: GcsConnection,
  wire: Wire,
  { method, path, query, headers, body }: GcsRequest,
  send: (wire: Wire, outgoing: Outgoing) => Promise<Result<T>>,
): Promise<Result<T>> {
  const token = await accessToken(connection, wire);
  if (!token.ok) return token;
  const search = new URLSearchParams(query).toString();
  const reply = await send(wire, {
    url: `${connection.endpoint.replace(/\/+$/, '')}${path}${search === '' ? '' : `?${search}`}`,
    method,
    headers: { ...headers, authorization: `Bearer ${token.value}` },
    ...(body !== undefined && { body }),
  });
  if (!reply.ok) return reply;
  const { status } = reply.value;
  // It may have been revoked before its time.
  if (status === 401) forgetToken(connection.serviceAccount);
  return status >= 200 && status < 300 ? reply : { ok: false, fault: gcsFault(reply.value, wire.now()) };
}

/** The JSON API gives a reason, such as `notFound`, for each of its errors. */
export function gcsFault(reply: Incoming, now: number): Fault {
  const body = jsonOf('Google', textOf(reply.bytes));
  const error = body.ok && isObject(body.value) && isObject(body.value['error']) ? body.value['error'] : {};
  const first: unknown = Array.isArray(error['errors']) ? error['errors'][0] : undefined;
  const reason = isObject(first) && typeof first['reason'] === 'string' ? first['reason'] : undefined;
  const message = typeof error['message'] === 'string' ? error['message'].replace(/\.$/, '') : undefined;
  const said = [reason, message].filter(Boolean).join(', ');
  return refusal('Google', reply, now, said === '' ? undefined : said, { reason, message });
}

/** What {@link gcsFault} kept. */
export const causeOf = (fault: Fault): { readonly status?: unknown; readonly reason?: unknown } =>
  isObject(fault.data) ? fault.data : {};
