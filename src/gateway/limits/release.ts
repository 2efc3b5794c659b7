/**
 * The end of a response: when its body has been sent, or its reader is gone.
 *
 * Accepted weakness: a WebSocket counts until it is open, since nothing tells the gateway of its end.
 */

/** The same response, which calls `release` when it has ended. Bytes do not pass through JavaScript. */
export function releaseAtEnd(
  response: Response,
  release: () => void,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
): Response {
  const { body, headers } = response;
  if (body === null || response.webSocket) {
    release();
    return response;
  }
  const length = headers.get('content-length');
  // The length of an encoded body is not that of what is read from it.
  const isPlain = length !== null && /^\d+$/.test(length) && !headers.has('content-encoding');
  const { readable, writable } = isPlain ? new FixedLengthStream(Number(length)) : new IdentityTransformStream();
  ctx.waitUntil(body.pipeTo(writable).then(release, release));
  return new Response(readable, response);
}
