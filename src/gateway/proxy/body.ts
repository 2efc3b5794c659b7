/** Bodies on their way back: watched by timeouts, or compressed, where a route asks for it. */

import { edited } from '../response.ts';
import { LIMITS } from '../../core/limits.ts';

export interface BodyTimeouts {
  /** The longest silence. */
  readonly idleMilliseconds: number | undefined;
  /** What is left until the reply must have ended. */
  readonly totalMilliseconds: number | undefined;
}

/**
 * The reply with a body that breaks off when it is silent for too long, or takes too long; the caller can tell,
 * since the end of the body is then missing. Each chunk passes through JavaScript, and a compressed body is
 * unpacked and packed again: bodies without timeouts do not go this way.
 */
export function withTimeouts(reply: Response, timeouts: BodyTimeouts): Response {
  if (reply.body === null || reply.webSocket) return reply;
  const reader = reply.body.getReader();
  const { idleMilliseconds = Infinity, totalMilliseconds = Infinity } = timeouts;
  const endsAt = Date.now() + totalMilliseconds;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const milliseconds = Math.min(idleMilliseconds, endsAt - Date.now());
      const { promise: late, resolve } = Promise.withResolvers<undefined>();
      const timer = setTimeout(resolve, Math.max(0, milliseconds), undefined);
      const chunk = await Promise.race([reader.read(), late]).finally(() => clearTimeout(timer));
      if (chunk === undefined) {
        const reason = new Error('the upstream took too long to send its reply');
        controller.error(reason);
        await reader.cancel(reason);
      } else if (chunk.done) controller.close();
      else controller.enqueue(chunk.value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, reply);
}

const TEXTS =
  /^(?:text\/(?!event-stream)|application\/(?:[a-z0-9.+-]*\+)?(?:json|xml|javascript|yaml|graphql)\b|image\/svg)/i;
const GZIP = /(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+\s*)?(?:,|$)/i;

/**
 * The reply packed by gzip, where the upstream sent a text as it is, it is worth it, and the caller takes it.
 * The runtime packs while it sends, since `Content-Encoding` says so.
 */
export function compressed(reply: Response, method: string, acceptEncoding: string | null): Response {
  const { headers } = reply;
  const length = Number(headers.get('content-length') ?? 0);
  if (reply.status !== 200 || method === 'HEAD' || length < LIMITS.compressFromBytes) return reply;
  if (headers.has('content-encoding') || !TEXTS.test(headers.get('content-type') ?? '')) return reply;
  if (/\bno-transform\b/i.test(headers.get('cache-control') ?? '')) return reply;
  const accepts = acceptEncoding !== null && GZIP.test(acceptEncoding);
  return edited(reply, (told) => {
    // Also of the reply that is not packed: a cache must not give it to those who could have had the other.
    told.append('vary', 'accept-encoding');
    if (!accepts) return;
    told.set('content-encoding', 'gzip');
    told.delete('content-length');
    told.delete('accept-ranges');
    const tag = told.get('etag');
    if (tag?.startsWith('"') === true) told.set('etag', `W/${tag}`);
  });
}
