/**
 * An authorization server as its metadata describes it (RFC 8414).
 *
 * Guarantee: the metadata is the issuer's own (it names the issuer that was asked, section 3.3), every endpoint in
 * it is https, and it is read through the guarded `fetch`, which follows no redirect; so no document leads a
 * credential into a private network or over plain HTTP.
 */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { isSafeEndpoint, type OAuthSettings } from '../../core/oauth/settings.ts';
import { fieldsOf } from '../../core/oauth/tokens.ts';
import { hostOf } from '../../core/url.ts';
import { exchange, textOf, type Incoming, type Outgoing } from '../kit/exchange.ts';

/** What talking to an authorization server needs of the world. */
export interface OAuthPort {
  /** The guarded one. */
  readonly fetch: typeof fetch;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Base64url of 32 random bytes. */
  readonly randomId: () => string;
}

export interface Server {
  readonly issuer: string | undefined;
  readonly token: string;
  readonly authorization: string | undefined;
  readonly deviceAuthorization: string | undefined;
  readonly revocation: string | undefined;
  /** RFC 9207: whether each of its authorization responses names it. */
  readonly namesItself: boolean;
}

const endpoint = v.optional(v.pipe(v.string(), v.check(isSafeEndpoint)));

const metadataSchema = v.object({
  issuer: v.string(),
  authorization_endpoint: endpoint,
  token_endpoint: endpoint,
  device_authorization_endpoint: endpoint,
  revocation_endpoint: endpoint,
  code_challenge_methods_supported: v.optional(v.array(v.string())),
  authorization_response_iss_parameter_supported: v.optional(v.boolean()),
});

type Metadata = v.InferOutput<typeof metadataSchema>;

/** Faults `oauth.failed` and those of the traffic. */
export async function findServer(settings: OAuthSettings, port: OAuthPort): Promise<Result<Server>> {
  const { issuer, endpoints = {} } = settings;
  const found = issuer === undefined ? ok(undefined) : await discover(issuer, port);
  if (!found.ok) return found;
  const metadata = found.value;
  const methods = metadata?.code_challenge_methods_supported;
  if (settings.grant === 'authorization_code' && methods !== undefined && !methods.includes('S256')) {
    return fail('oauth.failed', `${issuer} does not support PKCE with S256, without which no code is asked for.`);
  }
  const token = endpoints.token ?? metadata?.token_endpoint;
  if (token === undefined) return fail('oauth.failed', `${issuer} names no token endpoint; give endpoints.token.`);
  return ok({
    issuer,
    token,
    authorization: endpoints.authorization ?? metadata?.authorization_endpoint,
    deviceAuthorization: endpoints.deviceAuthorization ?? metadata?.device_authorization_endpoint,
    revocation: endpoints.revocation ?? metadata?.revocation_endpoint,
    namesItself: metadata?.authorization_response_iss_parameter_supported === true,
  });
}

/** RFC 8414, section 3.1, and where that finds nothing the place of OpenID Connect Discovery, section 4. */
async function discover(issuer: string, port: OAuthPort): Promise<Result<Metadata>> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const places = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
  let refused: Result<never> = fail('oauth.failed', `${issuer} has no metadata; give its endpoints.`);
  for (const url of places) {
    const reply = await send(port, { url, method: 'GET', headers: { accept: 'application/json' } });
    if (!reply.ok) return reply;
    if (reply.value.status >= 500) {
      refused = fail('oauth.unavailable', `The metadata of ${issuer} cannot be read: status ${reply.value.status}.`);
    }
    if (reply.value.status !== 200) continue;
    const parsed = v.safeParse(metadataSchema, fieldsOf(textOf(reply.value.bytes)));
    if (!parsed.success) {
      const field = String(parsed.issues[0].path?.[0]?.key ?? 'The document');
      return fail('oauth.failed', `The metadata of ${issuer} cannot be used: ${field} is missing or no https address.`);
    }
    if (parsed.output.issuer !== issuer) return fail('oauth.failed', `The metadata of ${issuer} is of another issuer.`);
    return ok(parsed.output);
  }
  return refused;
}

/** One request, with a time and a size that an authorization server has to keep to. */
export async function send(port: OAuthPort, outgoing: Outgoing): Promise<Result<Incoming>> {
  const signal = AbortSignal.timeout(LIMITS.oauthTimeoutMilliseconds);
  const reply = await exchange({ ...port, signal }, outgoing);
  if (!reply.ok) {
    const { code, detail } = reply.fault;
    if (code !== 'upstream.unreachable' && code !== 'step.timeout') return reply;
    return fail('oauth.unavailable', `${hostOf(outgoing.url)} did not answer.`, { detail });
  }
  if (reply.value.bytes.byteLength > LIMITS.oauthReplyBytes) {
    return fail('oauth.failed', `${hostOf(outgoing.url)} answered with more than ${LIMITS.oauthReplyBytes} bytes.`);
  }
  return reply;
}
