/**
 * One HTTP request with everything around it: redirects, credentials, bounds, and errors as values.
 *
 * Guarantee: credentials stay with the origin that they were meant for; a reply never takes more memory
 * than `LIMITS.responseBodyBytes`, also where it was compressed; nothing is thrown.
 */

import { readChunks } from '../../core/bytes.ts';
import { fail, faultOf, FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { hostOf, plainOrigin } from '../../core/url.ts';

export interface HttpRequest {
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Names among the headers that a connection gave; not sent to another origin. */
  readonly secretHeaders?: ReadonlySet<string>;
  readonly body?: string | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  /** False: a redirect is a reply like any other. Default true. */
  readonly follow?: boolean;
  /** How the body of a reply with this content type is handed over. */
  readonly readAs: (contentType: string | null) => 'text' | 'bytes';
}

export interface HttpReply {
  readonly status: number;
  readonly headers: Headers;
  readonly contentType: string | null;
  readonly body: string | Uint8Array;
}

/** The runtime itself frames the message and names the host; a second opinion is request smuggling. */
const FRAMING_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const HEADER_VALUE = /^(?:\t|[^\p{Cc}\u{100}-\u{10ffff}])*$/u;
const CONTROL = /\p{Cc}/u;

/** Fault `request.invalid` for what is no absolute URL, also for line breaks, which `URL` would drop silently. */
function urlFault(url: string): Result<never> | undefined {
  if (CONTROL.test(url)) return fail('request.invalid', 'url: Must not contain line breaks or control characters.');
  if (plainOrigin(url) !== undefined || URL.canParse(url)) return undefined;
  return fail('request.invalid', `url: "${url.slice(0, 200)}" is no absolute URL.`);
}

/**
 * Sends the request and reads the reply, whatever its status.
 *
 * @param fetch the guarded one: it checks each hop
 * Faults: `request.invalid` for an address or a header that cannot be sent, `egress.refused`, `upstream.unreachable`,
 * `upstream.too-large`, `upstream.rejected` for too many redirects, `step.timeout` when the signal aborts.
 */
export async function request(fetch: typeof globalThis.fetch, given: HttpRequest): Promise<Result<HttpReply>> {
  const refused = urlFault(given.url) ?? headerFault(given.headers);
  if (refused !== undefined) return refused;
  let current = given;
  try {
    for (let hop = 0; ; hop++) {
      const response = await fetch(current.url, initOf(current));
      const location = given.follow === false ? null : redirectOf(response);
      if (location === null) return await read(response, current);
      if (hop === LIMITS.redirects) {
        return fail('upstream.rejected', `${hostOf(given.url)} redirected more than ${LIMITS.redirects} times.`);
      }
      await response.body?.cancel();
      const url = URL.parse(location, current.url);
      if (url === null) return fail('upstream.invalid', `${hostOf(current.url)} redirected to what is no URL.`);
      current = redirected(current, url, response.status);
    }
  } catch (thrown) {
    return trafficFault(thrown, current);
  }
}

/** The reply to a request whose body, where it is a success, is left to be read. */
export interface OpenReply extends HttpReply {
  readonly stream?: ReadableStream<Uint8Array>;
}

/**
 * As {@link request}, but follows no redirect and leaves the body of a success as a stream, of any length. One whose
 * length is not known, since it was not said or is that of its compressed form, is read as by {@link request}.
 *
 * @param leave `any`: also one that may have no end
 */
export async function openRequest(
  fetch: typeof globalThis.fetch,
  given: HttpRequest,
  leave: 'measured' | 'any' = 'measured',
): Promise<Result<OpenReply>> {
  const refused = urlFault(given.url) ?? headerFault(given.headers);
  if (refused !== undefined) return refused;
  try {
    const response = await fetch(given.url, initOf(given));
    const { ok: isSuccess, body, status, headers } = response;
    const isLeft = leave === 'any' || (headers.has('content-length') && !headers.has('content-encoding'));
    if (!isSuccess || body === null || !isLeft) return await read(response, given);
    return ok({ status, headers, contentType: headers.get('content-type'), body: '', stream: body });
  } catch (thrown) {
    return trafficFault(thrown, given);
  }
}

function headerFault(headers: HttpRequest['headers']): Result<never> | undefined {
  for (const name in headers) {
    if (!HEADER_NAME.test(name)) return fail('request.invalid', `headers: "${name.slice(0, 100)}" is no header name.`);
    if (FRAMING_HEADERS.has(name)) return fail('request.invalid', `headers.${name}: Is set by the gateway; remove it.`);
    if (!HEADER_VALUE.test(headers[name] ?? '')) {
      return fail('request.invalid', `headers.${name}: Must not contain line breaks or characters beyond Latin-1.`);
    }
  }
  return undefined;
}

const initOf = ({ method, headers, body, signal }: HttpRequest): RequestInit => ({
  method,
  headers,
  redirect: 'manual',
  ...(body !== undefined && { body }),
  ...(signal !== undefined && { signal }),
});

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

// By its fields only where they are needed: each costs a call into the runtime.
const redirectOf = (response: Response): string | null =>
  response.ok || !REDIRECTS.has(response.status) ? null : response.headers.get('location');

/** Headers whose names say that they are a credential, even where the author of a chain wrote them. */
const CREDENTIAL_NAME = /auth|cookie|token|secret|password|signature|api-?key/;
const BODY_HEADERS = /^content-/;

/** RFC 9110, section 15.4: which method goes on; and what may not leave the origin. */
function redirected(from: HttpRequest, url: URL, status: number): HttpRequest {
  const { method } = from;
  const toGet = status === 303 ? method !== 'GET' && method !== 'HEAD' : status <= 302 && method === 'POST';
  const crossOrigin = url.origin !== URL.parse(from.url)?.origin;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(from.headers)) {
    if (toGet && BODY_HEADERS.test(name)) continue;
    if (crossOrigin && (CREDENTIAL_NAME.test(name) || from.secretHeaders?.has(name))) continue;
    headers[name] = value;
  }
  return { ...from, url: url.href, headers, ...(toGet && { method: 'GET', body: undefined }) };
}

async function read(response: Response, { method, url, readAs }: HttpRequest): Promise<Result<HttpReply>> {
  const { status, headers } = response;
  const contentType = headers.get('content-type');
  const as = readAs(contentType);
  const reply = (body: string | Uint8Array): Result<HttpReply> => ok({ status, headers, contentType, body });
  if (method === 'HEAD') return reply(as === 'text' ? '' : new Uint8Array(0));
  const declared = headers.get('content-length');
  if (declared !== null && Number(declared) > LIMITS.responseBodyBytes) {
    await response.body?.cancel();
    return tooLarge(url);
  }
  // The runtime enforces a declared length, but for a compressed body that is not the length of the content.
  // `response.body` is not touched before: that makes a stream, which costs more than all else here.
  if (declared !== null && headers.get('content-encoding') === null) {
    return reply(as === 'text' ? await response.text() : new Uint8Array(await response.arrayBuffer()));
  }
  const bytes = await readChunks(response.body, LIMITS.responseBodyBytes);
  if (bytes === undefined) return tooLarge(url);
  return reply(as === 'text' ? new TextDecoder().decode(bytes) : bytes);
}

const tooLarge = (url: string): Result<never> =>
  fail('upstream.too-large', `The reply of ${hostOf(url)} is larger than ${LIMITS.responseBodyBytes} bytes.`);

/** Whatever `fetch` or the reading of a body threw. */
function trafficFault(thrown: unknown, { url, signal }: HttpRequest): Result<never> {
  if (thrown instanceof FaultError) return { ok: false, fault: faultOf(thrown) };
  return interrupted(thrown, signal, hostOf(url));
}

/** What ended traffic before its end. @param other the other side, as the message names it */
export function interrupted(thrown: unknown, signal: AbortSignal | undefined, other: string): Result<never> {
  if (signal?.aborted) {
    if (signal.reason instanceof FaultError) return { ok: false, fault: signal.reason.fault };
    return fail('step.timeout', `${other} did not answer in time.`);
  }
  return fail('upstream.unreachable', `${other} could not be reached, or broke off its reply.`, { detail: thrown });
}
