/** From the parameters of a step to the request that is sent. */

import { Buffer } from 'node:buffer';
import type { HttpParams, HttpSecrets, HttpSettings, QueryFields } from './schemas.ts';
import type { ActionContext } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { HttpRequest } from '../../drivers/http/request.ts';

/** Settings and secrets are undefined where the step names no connection. */
export type HttpContext = ActionContext<HttpSettings | undefined, HttpSecrets | undefined>;

/** What of it makes the request. */
export type OutgoingContext = Pick<HttpContext, 'connection' | 'idempotencyKey' | 'signal'>;

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:/i;
const ABSOLUTE_WEB = /^https?:\/\//i;
const BODIES = ['json', 'form', 'text', 'base64'] as const;

/** Faults `step.params`, `request.invalid`, `egress.refused`. */
export function outgoing(
  method: string,
  params: HttpParams,
  context: OutgoingContext,
): Result<Omit<HttpRequest, 'readAs' | 'follow'>> {
  const connection = connectionParts(context.connection);
  const url = urlOf(params, connection);
  if (!url.ok) return url;
  const headers: Record<string, string> = { 'user-agent': 'Tidegate' };
  for (const name in params.headers) headers[name.toLowerCase()] = String(params.headers[name]);
  const body = bodyOf(method, params, headers);
  if (!body.ok) return body;
  if (method === 'POST' || method === 'PATCH') headers['idempotency-key'] ??= context.idempotencyKey;
  if (connection !== undefined) Object.assign(headers, connection.headers);
  return ok({
    method,
    url: url.value,
    headers,
    body: body.value,
    signal: context.signal,
    ...(connection !== undefined && { secretHeaders: connection.names }),
  });
}

interface ConnectionParts {
  readonly name: string;
  readonly baseUrl: string;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly names: ReadonlySet<string>;
}

/** Opened connections live as long as the configuration, so their headers are built once. */
const partsByConnection = new WeakMap<HttpContext['connection'], ConnectionParts>();

function connectionParts(connection: HttpContext['connection']): ConnectionParts | undefined {
  if (connection.settings === undefined) return undefined;
  let parts = partsByConnection.get(connection);
  if (parts === undefined) {
    parts = buildParts(connection.name, connection.settings, connection.secrets);
    partsByConnection.set(connection, parts);
  }
  return parts;
}

function buildParts(name: string, settings: HttpSettings, secrets: HttpSecrets | undefined): ConnectionParts {
  const headers: Record<string, string> = {};
  for (const [header, value] of Object.entries({ ...settings.headers, ...secrets?.headers })) {
    headers[header.toLowerCase()] = value;
  }
  if (secrets !== undefined && 'bearer' in secrets) headers['authorization'] = `Bearer ${secrets.bearer}`;
  if (secrets !== undefined && 'basic' in secrets) {
    const { username, password } = secrets.basic;
    headers['authorization'] = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }
  const baseUrl = settings.baseUrl.replace(/\/+$/, '');
  return { name, baseUrl, origin: URL.parse(baseUrl)?.origin ?? '', headers, names: new Set(Object.keys(headers)) };
}

function urlOf({ url: text, query }: HttpParams, connection: ConnectionParts | undefined): Result<string> {
  let full = text;
  if (connection !== undefined && !ABSOLUTE_WEB.test(text)) {
    full = connection.baseUrl + (text.startsWith('/') || text.startsWith('?') ? text : `/${text}`);
  } else if (connection === undefined && !ABSOLUTE.test(text)) {
    return fail('request.invalid', 'url: Must be absolute; a path needs a connection with a `baseUrl`.');
  }
  const url = query === undefined ? full : withQuery(full, query);
  if (connection === undefined || isAt(url, connection.origin)) return ok(url);
  return fail('egress.refused', `url: The connection ${connection.name} may be used for ${connection.origin} only.`);
}

/** Without a parser where the origin is there as it is written, and ends. */
const isAt = (url: string, origin: string): boolean =>
  (url.startsWith(origin) && '/?#'.includes(url.charAt(origin.length))) || URL.parse(url)?.origin === origin;

function withQuery(url: string, query: QueryFields): string {
  const [address = ''] = url.split('#', 1);
  const text = formText(query);
  if (text === '') return address;
  return `${address}${address.includes('?') ? '&' : '?'}${text}`;
}

function formText(fields: QueryFields): string {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (Array.isArray(value)) for (const item of value) form.append(name, String(item));
    else if (value !== null) form.append(name, String(value));
  }
  return form.toString();
}

/** Sets the content type where the author did not. */
function bodyOf(
  method: string,
  params: HttpParams,
  headers: Record<string, string>,
): Result<string | Uint8Array | undefined> {
  const [kind, another] = BODIES.filter((name) => params[name] !== undefined);
  if (kind === undefined) return ok(undefined);
  if (another !== undefined) return fail('step.params', `${kind} and ${another} are both given; keep one of them.`);
  if (method === 'GET' || method === 'HEAD') return fail('step.params', `${kind}: ${method} takes no body; remove it.`);
  switch (kind) {
    case 'json':
      headers['content-type'] ??= 'application/json';
      return ok(JSON.stringify(params.json));
    case 'form':
      headers['content-type'] ??= 'application/x-www-form-urlencoded';
      return ok(formText(params.form ?? {}));
    case 'text':
      headers['content-type'] ??= 'text/plain;charset=UTF-8';
      return ok(params.text);
    case 'base64': {
      headers['content-type'] ??= 'application/octet-stream';
      const { base64 = '' } = params;
      // `Buffer` skips what it cannot read, so the alphabet is checked first.
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) return fail('step.params', 'base64: Is not base64.');
      return ok(new Uint8Array(Buffer.from(base64, 'base64')));
    }
  }
}
