/** `Response` throws where one of these has a body. */
export const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/** The same response with other headers. That of a WebSocket stays as it is: nobody reads its headers. */
export function edited(response: Response, edit: (headers: Headers) => void): Response {
  if (response.webSocket) return response;
  const copy = new Response(response.body, response);
  edit(copy.headers);
  return copy;
}
