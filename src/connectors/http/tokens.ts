/** Requests of a connection that gets its tokens by OAuth. */

import type { HttpContext } from './outgoing.ts';
import type { AccessToken } from '../kit/types.ts';
import type { Result } from '../../core/errors.ts';
import { request, type HttpReply, type HttpRequest } from '../../drivers/http/request.ts';

/**
 * A 401 brings about one refresh and one repetition: who refuses a credential has not looked at the request.
 * It takes the place of whatever `authorization` the author wrote, as that of any connection does.
 */
export async function sendAuthorized(context: HttpContext, outgoing: HttpRequest): Promise<Result<HttpReply>> {
  const { tokens } = context.connection;
  if (tokens === undefined) return request(context.fetch, outgoing);
  const found = tokens.get();
  const token = found instanceof Promise ? await found : found;
  if (!token.ok) return token;
  const reply = await request(context.fetch, withToken(outgoing, token.value));
  if (!reply.ok || reply.value.status !== 401) return reply;
  const other = await tokens.get(token.value);
  if (!other.ok) return other;
  if (other.value.generation === token.value.generation) return reply;
  return request(context.fetch, withToken(outgoing, other.value));
}

const withToken = (outgoing: HttpRequest, { token }: AccessToken): HttpRequest => ({
  ...outgoing,
  headers: { ...outgoing.headers, authorization: `Bearer ${token}` },
  secretHeaders: new Set([...(outgoing.secretHeaders ?? []), 'authorization']),
});
