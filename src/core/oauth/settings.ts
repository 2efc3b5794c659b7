/**
 * How a connection gets its tokens: the part `oauth` of its settings, and of its secrets.
 *
 * Guarantee: every address is https (or this very machine), so that no token is sent in the clear, and no extra
 * parameter takes the place of one that the protocol's safety rests on.
 */

import * as v from 'valibot';
import { LIMITS } from '../limits.ts';

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(2_048));

/** RFC 6749, section 3.2: an endpoint may have a query, and no fragment. */
export function isSafeEndpoint(given: string): boolean {
  const url = URL.parse(given);
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
}

const endpoint = v.pipe(
  text,
  v.check(isSafeEndpoint, 'Must be an https:// address without user name, password and fragment.'),
);

/** What the protocol says itself; an extra parameter of that name would weaken or redirect it. */
const RESERVED: ReadonlySet<string> = new Set([
  'actor_token',
  'assertion',
  'client_assertion',
  'client_assertion_type',
  'client_id',
  'client_secret',
  'code',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'device_code',
  'grant_type',
  'redirect_uri',
  'refresh_token',
  'request',
  'request_uri',
  'response_mode',
  'response_type',
  'scope',
  'state',
  'subject_token',
]);

const parameters = v.optional(
  v.pipe(
    v.record(text, v.string()),
    v.check((given) => !Object.keys(given).some((name) => RESERVED.has(name)), 'Holds a parameter of the protocol.'),
  ),
);

export const GRANTS = [
  'authorization_code',
  'client_credentials',
  'device_code',
  'jwt_bearer',
  'token_exchange',
] as const;

export type Grant = (typeof GRANTS)[number];

/** Those that somebody has to consent to; the others the gateway repeats by itself. */
export const isInteractive = (grant: Grant): boolean => grant === 'authorization_code' || grant === 'device_code';

const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const;

export const oauthSettings = v.pipe(
  v.strictObject({
    grant: v.picklist(GRANTS),
    issuer: v.optional(
      v.pipe(
        endpoint,
        v.check((given) => !given.includes('?'), 'Must have no query.'),
        v.description('Its metadata (RFC 8414) names the endpoints that are not given, and `iss` is held to it.'),
      ),
    ),
    endpoints: v.optional(
      v.strictObject({
        authorization: v.optional(endpoint),
        token: v.optional(endpoint),
        deviceAuthorization: v.optional(endpoint),
        revocation: v.optional(endpoint),
      }),
    ),
    clientId: text,
    authentication: v.optional(
      v.pipe(
        v.picklist(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']),
        v.description('By default what the secrets allow: the key, else the client secret by Basic, else none.'),
      ),
    ),
    scopes: v.optional(v.array(v.pipe(v.string(), v.regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'Is no scope.')))),
    audience: v.optional(text),
    resource: v.optional(v.pipe(v.array(endpoint), v.description('RFC 8707.'))),
    renewIdleDays: v.optional(
      v.pipe(
        v.number(),
        v.integer(),
        v.minValue(1),
        v.maxValue(LIMITS.oauthIdleLongestDays),
        v.description(
          `After how many days without use a refresh token is renewed, before its server forgets it; by default ${LIMITS.oauthIdleDays}.`,
        ),
      ),
    ),
    parameters: v.optional(v.strictObject({ authorization: parameters, token: parameters })),
    key: v.optional(
      v.strictObject({
        algorithm: v.picklist(ALGORITHMS),
        id: v.optional(text),
      }),
    ),
    assertion: v.optional(
      v.pipe(
        v.strictObject({ issuer: v.optional(text), subject: v.optional(text), audience: v.optional(text) }),
        v.description('Claims of the assertion of `jwt_bearer`; by default the client id and the token endpoint.'),
      ),
    ),
    exchange: v.optional(
      v.strictObject({
        subjectTokenType: v.optional(text, 'urn:ietf:params:oauth:token-type:access_token'),
        actorTokenType: v.optional(text, 'urn:ietf:params:oauth:token-type:access_token'),
        requestedTokenType: v.optional(text),
      }),
    ),
  }),
  v.check(
    ({ issuer, endpoints }) => issuer !== undefined || endpoints?.token !== undefined,
    'Needs an `issuer`, or `endpoints.token`.',
  ),
);

export const oauthSecrets = v.strictObject({
  clientSecret: v.optional(text),
  privateKey: v.optional(
    v.pipe(v.string(), v.startsWith('-----BEGIN PRIVATE KEY-----', 'Must be a private key in PEM (PKCS #8).')),
  ),
  subjectToken: v.optional(v.pipe(v.string(), v.minLength(1))),
  actorToken: v.optional(v.pipe(v.string(), v.minLength(1))),
});

export type OAuthSettings = v.InferOutput<typeof oauthSettings>;
export type OAuthSecrets = v.InferOutput<typeof oauthSecrets>;

/** One client of one authorization server, as a connection describes it. */
export interface OAuthClient {
  readonly settings: OAuthSettings;
  readonly secrets: OAuthSecrets;
  /** Where its tokens may be sent; tokens that were got for another place are not used. */
  readonly origins: readonly string[];
}

/** What is missing for the grant; undefined where the secrets are there. */
export function missingSecret({ settings, secrets }: Pick<OAuthClient, 'settings' | 'secrets'>): string | undefined {
  const { grant, authentication, key } = settings;
  const needsKey = grant === 'jwt_bearer' || authentication === 'private_key_jwt';
  if (needsKey && secrets.privateKey === undefined) return 'oauth.privateKey: Is needed for this grant.';
  if (secrets.privateKey !== undefined && key === undefined) return 'oauth.key: Name the algorithm of the key.';
  if (grant === 'token_exchange' && secrets.subjectToken === undefined) {
    return 'oauth.subjectToken: Is needed for token_exchange.';
  }
  const needsSecret = authentication === 'client_secret_basic' || authentication === 'client_secret_post';
  return needsSecret && secrets.clientSecret === undefined ? 'oauth.clientSecret: Is needed.' : undefined;
}
