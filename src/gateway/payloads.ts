/**
 * Payloads that went by reference, for whoever has the link: `GET /_/payloads/{token}`.
 *
 * Guarantee: a link opens one payload, as one endpoint gets it, until it expires.
 * Accepted weakness: it is a bearer link; who forwards it, forwards the right.
 */

import { fail, fault, faultOf, problemResponse, type Result } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { endpointOf } from '../runtime/outbound/objects.ts';
import { createPayloadLinks } from '../vault/links.ts';

const HEADERS = {
  'content-type': 'application/json',
  'cache-control': 'private, no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

export async function handlePayload(request: Request, env: Env, path: string): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return problemResponse(fault('request.method', 'A payload takes GET.', { allow: ['GET'] }));
  }
  try {
    const payload = await payloadOf(env, path.slice('/_/payloads/'.length));
    if (!payload.ok) return problemResponse(payload.fault);
    return new Response(request.method === 'HEAD' ? null : payload.value, { headers: HEADERS });
  } catch (thrown) {
    console.error('a payload could not be read', thrown);
    return problemResponse(faultOf(thrown));
  }
}

async function payloadOf(env: Env, token: string): Promise<Result<string>> {
  const links = createPayloadLinks(env.TIDEGATE_MASTER_KEY);
  if (!links.ok) return links;
  const linked = await links.value.verify(token);
  if (!linked.ok) return linked;
  const { endpoint, sequence, expiresAt } = linked.value;
  if (expiresAt <= Date.now())
    return fail('auth.invalid', 'This link has expired; ask for the message to be sent again.');
  const payload = await endpointOf(env, endpoint).payload(sequence);
  if (payload === null) return fail('message.not-found', 'The payload is not kept any more.');
  return { ok: true, value: payload };
}
