/** Carries out the edits of a route. */

import { readBytes } from './body.ts';
import type { Outgoing } from './proxy/forward.ts';
import { scopeOf, type Around } from './scope.ts';
import { parseJson } from '../core/data/exact-json.ts';
import { fault, FaultError, ok, type Result } from '../core/errors.ts';
import type { Scope } from '../core/expression/types.ts';
import { LIMITS } from '../core/limits.ts';
import { isJson } from '../core/media-type.ts';
import type { HeaderEdits, RequestEdits, ResponseEdits } from '../core/route/edits.ts';

/** Synchronous where only the path is another. */
export function editedRequest(
  edits: RequestEdits,
  around: Around,
  values: readonly string[],
): Result<Outgoing> | Promise<Result<Outgoing>> {
  const { url, path: given } = around.exchange;
  const path = edits.path === undefined ? given : joined(edits.path, values);
  const start = url.indexOf('?');
  const query = start === -1 ? '' : url.slice(start);
  const isPath = edits.query === undefined && edits.headers === undefined && edits.body === undefined;
  return isPath ? ok({ path: path + query }) : editedWhole(edits, around, path, query);
}

async function editedWhole(
  edits: RequestEdits,
  around: Around,
  path: string,
  query: string,
): Promise<Result<Outgoing>> {
  const { exchange, route } = around;
  const { request } = exchange;
  const scope = scopeOf(around);
  let headers: Headers | undefined;
  if (edits.headers !== undefined || edits.body !== undefined) headers = new Headers(exchange.headers);
  let body: string | undefined;
  if (edits.body !== undefined) {
    const bytes = await readBytes(request, Math.min(route.bodyLimitBytes ?? Infinity, LIMITS.requestBodyBytes));
    if (!bytes.ok) return bytes;
    const given = valueOf(bytes.value, exchange.headers.get('content-type'));
    if (!given.ok) return given;
    const value = await edits.body.evaluate({
      ...scope,
      request: { ...scope.request, body: given.value },
    });
    body = textOf(value, headers);
    headers?.delete('content-length');
    headers?.delete('content-encoding');
  }
  if (headers !== undefined && edits.headers !== undefined) await editHeaders(edits.headers, scope, headers);
  return ok({
    path: path + (await editedQuery(edits.query, scope, query)),
    headers,
    body,
  });
}

const joined = (parts: readonly (string | number)[], values: readonly string[]): string => {
  let path = '';
  for (const part of parts) path += typeof part === 'string' ? part : (values[part] ?? '');
  return path;
};

async function editedQuery(edits: RequestEdits['query'], scope: Scope, query: string): Promise<string> {
  if (edits === undefined) return query;
  const parameters = new URLSearchParams(query);
  for (const name of edits.remove) parameters.delete(name);
  for (const [name, template] of edits.set) {
    const value = await template.evaluate(scope);
    if (value !== undefined) parameters.set(name, plainText(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

async function editHeaders({ set, remove }: HeaderEdits, scope: Scope, headers: Headers): Promise<void> {
  for (const name of remove) headers.delete(name);
  for (const [name, template] of set) {
    const value = await template.evaluate(scope);
    if (value === undefined) continue;
    try {
      headers.set(name, plainText(value));
    } catch {
      throw new FaultError(fault('route.failed', `The value of the header ${name} cannot stand in a header.`));
    }
  }
}

export async function editedResponse(edits: ResponseEdits, around: Around, reply: Response): Promise<Response> {
  if (reply.webSocket) return reply;
  const headers = new Headers(reply.headers);
  const { status } = reply;
  const scope = { ...scopeOf(around), response: { status, headers: Object.fromEntries(headers) } };
  let body: BodyInit | null = reply.body;
  if (edits.body !== undefined && body !== null) {
    const bytes = await readBytes(reply, LIMITS.responseBodyBytes);
    if (!bytes.ok) throw new FaultError(fault('upstream.too-large', 'The reply is too large to be changed.'));
    const given = valueOf(bytes.value, headers.get('content-type'));
    const value = await edits.body.evaluate({
      ...scope,
      response: {
        ...scope.response,
        body: given.ok ? given.value : new TextDecoder().decode(bytes.value),
      },
    });
    body = textOf(value, headers);
    headers.delete('content-length');
    headers.delete('content-encoding');
    headers.delete('etag');
  }
  if (edits.headers !== undefined) await editHeaders(edits.headers, scope, headers);
  return new Response(body, { status, statusText: reply.statusText, headers });
}

function valueOf(bytes: Uint8Array, type: string | null): Result<unknown> {
  const text = new TextDecoder().decode(bytes);
  if (text === '') return ok(undefined);
  return isJson(type) ? parseJson(text) : ok(text);
}

/** A text is sent as it is, anything else as JSON. */
function textOf(value: unknown, headers: Headers | undefined): string {
  if (typeof value === 'string') return value;
  headers?.set('content-type', 'application/json');
  return JSON.stringify(value ?? null);
}

const plainText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
