/**
 * Kafka through an HTTP proxy: version 2 of the REST API of Confluent's REST Proxy, which Redpanda's HTTP Proxy
 * shares in part. https://docs.confluent.io/platform/current/kafka-rest/api.html
 *
 * Guarantee: every request goes below the address of the connection, also where a reply names another one; names
 * are held to their grammar by whoever calls, so that no path is made of what could leave it.
 */

import * as v from 'valibot';
import { fail, ok, type Fault, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { exchange, jsonOf, refusal, textOf, type Incoming, type Wire } from '../kit/exchange.ts';

export type { Wire };

/** The proxies differ in what they offer, and in what a committed offset is. */
export type ProxyKind = 'confluent' | 'redpanda';

export interface Proxy {
  readonly url: string;
  readonly kind: ProxyKind;
  readonly authorization?: string | undefined;
}

export const METADATA = 'application/vnd.kafka.v2+json';
/**
 * Keys and values travel in base64 always: one record that is not JSON makes a proxy refuse a whole reply in the
 * format `json`, again and again, and that format quotes keys.
 */
export const BINARY = 'application/vnd.kafka.binary.v2+json';

export interface ProxyRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Segments after the address. */
  readonly path: readonly string[];
  readonly query?: Readonly<Record<string, number>>;
  readonly json?: unknown;
  /** Of what is sent. */
  readonly contentType?: string;
  readonly accept?: string;
}

export const NO_INSTANCE = 40_403;
export const INSTANCE_EXISTS = 40_902;

const SAID_CHARACTERS = 500;

/** The proxy's own number for an error. */
export const errorCodeOf = ({ data }: Fault): unknown => (isObject(data) ? data['errorCode'] : undefined);

function proxyFault(reply: Incoming, now: number): Fault {
  const body = jsonOf('Kafka', textOf(reply.bytes));
  const { error_code: errorCode, message } = body.ok && isObject(body.value) ? body.value : {};
  const said = typeof message === 'string' ? message.slice(0, SAID_CHARACTERS).replace(/\.$/, '') : undefined;
  return refusal("Kafka's proxy", reply, now, said, { errorCode, message: said });
}

/** The reply's JSON, `{}` for none. Faults: those of `exchange` and `refusal`, `upstream.invalid`. */
export async function call(proxy: Proxy, wire: Wire, request: ProxyRequest): Promise<Result<unknown>> {
  const { method, path, query, json, accept = METADATA, contentType = METADATA } = request;
  const search =
    query === undefined ? '' : `?${new URLSearchParams(Object.entries(query).map(([k, n]) => [k, `${n}`]))}`;
  const reply = await exchange(wire, {
    url: `${proxy.url.replace(/\/+$/, '')}/${path.map(encodeURIComponent).join('/')}${search}`,
    method,
    headers: {
      accept,
      // Redpanda wants it also where nothing is sent.
      ...(method !== 'GET' && { 'content-type': contentType }),
      ...(proxy.authorization !== undefined && { authorization: proxy.authorization }),
    },
    ...(json !== undefined && { body: JSON.stringify(json) }),
  });
  if (!reply.ok) return reply;
  const { status, bytes } = reply.value;
  if (status < 200 || status > 299) return { ok: false, fault: proxyFault(reply.value, wire.now()) };
  return bytes.byteLength === 0 ? ok({}) : jsonOf("Kafka's proxy", textOf(bytes));
}

export function parsed<S extends v.GenericSchema>(schema: S, reply: Result<unknown>): Result<v.InferOutput<S>> {
  if (!reply.ok) return reply;
  const known = v.safeParse(schema, reply.value);
  return known.success ? ok(known.output) : UNREADABLE;
}

const UNREADABLE = fail(
  'upstream.invalid',
  "Kafka's proxy sent something that is not version 2 of the REST API; check `url` and `proxy`.",
);

/** The same wire, with a deadline of its own. @param signal what ends it besides; none for what must still be said */
export const within = (wire: Wire, milliseconds: number, signal?: AbortSignal): Wire => {
  const deadline = AbortSignal.timeout(milliseconds);
  return { ...wire, signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]) };
};
