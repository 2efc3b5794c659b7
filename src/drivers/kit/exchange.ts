/**
 * One request of a protocol driver, and what its refusal means. No message ever holds a credential, an
 * address with its query, or a connection string.
 */

import { fail, fault, ok, type Fault, type Result } from '../../core/errors.ts';
import { openRequest, request } from '../http/request.ts';
import { retryAfter } from '../http/status.ts';

/** What a driver needs of the attempt that calls it. */
export interface Wire {
  /** The guarded one. */
  readonly fetch: typeof fetch;
  readonly signal?: AbortSignal | undefined;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

export interface Outgoing {
  readonly url: string;
  readonly method: string;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface Incoming {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

/** Text of an upstream's reply that an author may read in `fault.data`, in characters. */
const EXCERPT_CHARACTERS = 2_000;

/** Any reply, whatever its status. Faults: those of {@link request}. A redirect is a reply. */
export async function exchange(wire: Wire, outgoing: Outgoing): Promise<Result<Incoming>> {
  const reply = await request(wire.fetch, {
    ...outgoing,
    signal: wire.signal,
    follow: false,
    readAs: () => 'bytes',
  });
  if (!reply.ok) return reply;
  const { status, headers, body } = reply.value;
  return ok({ status, headers, bytes: typeof body === 'string' ? new TextEncoder().encode(body) : body });
}

/** A success whose body is left to be read, or a refusal without `stream`. */
export interface OpenIncoming extends Incoming {
  readonly stream?: ReadableStream<Uint8Array>;
}

export async function openExchange(wire: Wire, outgoing: Outgoing): Promise<Result<OpenIncoming>> {
  const reply = await openRequest(wire.fetch, { ...outgoing, signal: wire.signal, readAs: () => 'bytes' });
  if (!reply.ok) return reply;
  const { status, headers, body, stream } = reply.value;
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return ok({ status, headers, bytes, ...(stream !== undefined && { stream }) });
}

/** The body of a success, with the length that it will have. */
export const bodyOf = ({ stream, bytes, headers }: OpenIncoming) =>
  stream === undefined
    ? { stream: new Blob([bytes]).stream(), streamBytes: bytes.byteLength }
    : { stream, streamBytes: Number(headers.get('content-length')) };

export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** @param system the name of the other side in messages, e.g. `Redis` */
export function jsonOf(system: string, text: string): Result<unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return ok(value);
  } catch {
    return fail('upstream.invalid', `${system} sent something that is not JSON; check the address of the connection.`);
  }
}

/**
 * The fault for a reply that is no success.
 * @param said what the other side gave as the reason
 * @param data what an author may read of it, where the beginning of the body will not do
 */
export function refusal(
  system: string,
  reply: Incoming,
  now: number,
  said?: string,
  data: Readonly<Record<string, unknown>> = { body: textOf(reply.bytes).slice(0, EXCERPT_CHARACTERS) },
): Fault {
  const { status } = reply;
  const because = said === undefined ? '' : `: ${said}`;
  const retryAfterMilliseconds = retryAfter(reply.headers.get('retry-after'), now);
  const extra = { data: { status, ...data }, ...(retryAfterMilliseconds !== undefined && { retryAfterMilliseconds }) };
  if (status === 401 || status === 403) {
    return fault('upstream.unauthorized', `${system} did not accept the credentials${because}.`, extra);
  }
  if (status === 429) return fault('upstream.rate-limited', `${system} limits the rate of requests${because}.`, extra);
  if (status < 400) {
    return fault('upstream.invalid', `${system} answered with status ${status}; give its final address.`, extra);
  }
  const isLasting = status === 501;
  const code = (status >= 500 && !isLasting) || status === 408 ? 'upstream.unavailable' : 'upstream.rejected';
  return fault(code, `${system} answered with status ${status}${because}.`, extra);
}
