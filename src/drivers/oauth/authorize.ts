/** How somebody consents: by a code in the browser (RFC 6749, 4.1, with PKCE) or on another device (RFC 8628). */

import * as v from 'valibot';
import { post, requestToken } from './client.ts';
import type { OAuthPort, Server } from './server.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { isSafeEndpoint, type OAuthClient } from '../../core/oauth/settings.ts';
import type { TokenGrant } from '../../core/oauth/tokens.ts';
import { hostOf } from '../../core/url.ts';

/** @param challenge of PKCE: the base64url SHA-256 of the verifier */
export function authorizationUrl(
  { settings }: OAuthClient,
  server: Server,
  given: { readonly state: string; readonly challenge: string; readonly redirectUri: string },
): Result<string> {
  const { clientId, scopes, audience, resource = [], parameters } = settings;
  if (server.authorization === undefined) {
    return fail('oauth.failed', 'The server has no authorization endpoint; give endpoints.authorization.');
  }
  const url = new URL(server.authorization);
  const fields = {
    ...parameters?.authorization,
    ...(audience !== undefined && { audience }),
    ...(scopes !== undefined && { scope: scopes.join(' ') }),
    response_type: 'code',
    client_id: clientId,
    redirect_uri: given.redirectUri,
    state: given.state,
    code_challenge: given.challenge,
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value);
  for (const each of resource) url.searchParams.append('resource', each);
  return ok(url.href);
}

export interface Code {
  readonly code: string;
  readonly verifier: string;
  readonly redirectUri: string;
}

export const redeemCode = (
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  { code, verifier, redirectUri }: Code,
): Promise<Result<TokenGrant>> =>
  requestToken(client, server, port, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    code_verifier: verifier,
  });

/**
 * RFC 9207, section 2.4: whether the response comes from the server that was asked. A server that says that it
 * names itself in each of them must have done so.
 */
export function isFrom(server: Pick<Server, 'issuer' | 'namesItself'>, iss: string | undefined): boolean {
  if (iss === undefined) return !server.namesItself;
  return server.issuer === undefined || iss === server.issuer;
}

const deviceSchema = v.object({
  device_code: v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.oauthTokenCharacters)),
  user_code: v.pipe(v.string(), v.regex(/^[\x20-\x7e]{1,64}$/)),
  verification_uri: v.pipe(v.string(), v.check(isSafeEndpoint)),
  verification_uri_complete: v.optional(v.pipe(v.string(), v.check(isSafeEndpoint))),
  expires_in: v.pipe(v.number(), v.minValue(1)),
  interval: v.optional(v.pipe(v.number(), v.minValue(0))),
});

export interface Device {
  readonly deviceCode: string;
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete: string | undefined;
  readonly expiresAt: number;
  readonly intervalMilliseconds: number;
}

/** RFC 8628, section 3.1. */
export async function startDevice(client: OAuthClient, server: Server, port: OAuthPort): Promise<Result<Device>> {
  const { deviceAuthorization: url } = server;
  if (url === undefined) return fail('oauth.failed', 'The server has no device endpoint; give it in the settings.');
  const { clientId, scopes, audience, resource, parameters } = client.settings;
  const reply = await post(client, server, port, url, {
    ...parameters?.authorization,
    audience,
    resource,
    scope: scopes?.join(' '),
    client_id: clientId,
  });
  if (!reply.ok) return reply;
  const parsed = v.safeParse(deviceSchema, reply.value);
  if (!parsed.success) return fail('oauth.failed', `${hostOf(url)} answered without a usable device code.`);
  const given = parsed.output;
  const interval = Math.min(given.interval ?? LIMITS.devicePollSeconds, LIMITS.devicePollLongestSeconds);
  return ok({
    deviceCode: given.device_code,
    userCode: given.user_code,
    verificationUri: given.verification_uri,
    verificationUriComplete: given.verification_uri_complete,
    expiresAt: port.now() + Math.min(given.expires_in, LIMITS.deviceLongestSeconds) * 1000,
    intervalMilliseconds: Math.max(interval, 1) * 1000,
  });
}

/** RFC 8628, section 3.4. Until somebody has consented, a fault with the error `authorization_pending`. */
export const redeemDevice = (
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  deviceCode: string,
): Promise<Result<TokenGrant>> =>
  requestToken(client, server, port, {
    grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
    device_code: deviceCode,
    client_id: client.settings.clientId,
  });
