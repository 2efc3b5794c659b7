/**
 * The client's side of the token endpoint: how it says who it is, and what it asks for.
 *
 * Guarantee: a request goes to the endpoints of its own client and nowhere else; no fault quotes a request or a
 * reply, so none holds a credential.
 */

import { Buffer } from 'node:buffer';
import { importPKCS8, SignJWT } from 'jose';
import { send, type OAuthPort, type Server } from './server.ts';
import { fail, FaultError, faultOf, fault, ok, type Result } from '../../core/errors.ts';
import type { Grant, OAuthClient } from '../../core/oauth/settings.ts';
import { errorFault, errorOf, fieldsOf, readGrant, type TokenGrant } from '../../core/oauth/tokens.ts';
import { hostOf } from '../../core/url.ts';
import { textOf } from '../kit/exchange.ts';

type Fields = Readonly<Record<string, string | readonly string[] | undefined>>;

const ASSERTION_SECONDS = 60;
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const scopeOf = ({ settings }: OAuthClient): string | undefined => settings.scopes?.join(' ');

/** What each grant that needs nobody's consent sends. */
const MACHINE_GRANTS: Readonly<
  Partial<Record<Grant, (client: OAuthClient, server: Server, port: OAuthPort) => Promise<Fields>>>
> = {
  client_credentials: async (client) => ({ grant_type: 'client_credentials', scope: scopeOf(client) }),

  // RFC 7523, section 2.1. Google reads the scopes from the assertion.
  async jwt_bearer(client, server, port) {
    const { clientId, assertion = {}, scopes } = client.settings;
    const issuer = assertion.issuer ?? clientId;
    return {
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      scope: scopeOf(client),
      assertion: await sign(client, port, {
        issuer,
        subject: assertion.subject ?? issuer,
        audience: assertion.audience ?? server.token,
        ...(scopes !== undefined && { claims: { scope: scopes.join(' ') } }),
      }),
    };
  },

  // RFC 8693, section 2.1.
  token_exchange: async ({ settings, secrets }) => ({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    scope: settings.scopes?.join(' '),
    subject_token: secrets.subjectToken,
    subject_token_type: settings.exchange?.subjectTokenType ?? ACCESS_TOKEN,
    actor_token: secrets.actorToken,
    actor_token_type: secrets.actorToken && (settings.exchange?.actorTokenType ?? ACCESS_TOKEN),
    requested_token_type: settings.exchange?.requestedTokenType,
  }),
};

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

/** A token by a grant that needs nobody's consent. */
export async function requestByGrant(
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
): Promise<Result<TokenGrant>> {
  const fieldsFor = MACHINE_GRANTS[client.settings.grant];
  if (fieldsFor === undefined) return fail('connection.unauthorized', 'Somebody has to authorize the connection.');
  return guarded(async () => requestToken(client, server, port, await fieldsFor(client, server, port)));
}

/** RFC 6749, section 6. Without a scope: what was granted, never more. */
export const refreshGrant = (
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  refreshToken: string,
): Promise<Result<TokenGrant>> =>
  guarded(() => requestToken(client, server, port, { grant_type: 'refresh_token', refresh_token: refreshToken }));

/** Faults `oauth.failed`, `oauth.unavailable`, `egress.refused`. */
export async function requestToken(
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  fields: Fields,
): Promise<Result<TokenGrant>> {
  const { audience, resource, parameters } = client.settings;
  const reply = await post(client, server, port, server.token, {
    ...parameters?.token,
    audience,
    resource,
    ...fields,
  });
  return reply.ok ? readGrant(hostOf(server.token), reply.value) : reply;
}

/** A form to an endpoint of the server, with the client's authentication; the fields of a reply without error. */
export async function post(
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  url: string,
  fields: Fields,
): Promise<Result<Readonly<Record<string, unknown>>>> {
  const form = new URLSearchParams();
  const headers: Record<string, string> = {
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
    'user-agent': 'Tidegate',
  };
  for (const [name, value] of Object.entries({ ...fields, ...(await authenticate(client, server, port, headers)) })) {
    if (value !== undefined) for (const item of [value].flat()) form.append(name, item);
  }
  const reply = await send(port, { url, method: 'POST', headers, body: form.toString() });
  if (!reply.ok) return reply;
  const { status, bytes } = reply.value;
  const answered = bytes.byteLength === 0 ? {} : fieldsOf(textOf(bytes));
  const error = answered && errorOf(answered);
  const fine = status >= 200 && status < 300;
  if (error !== undefined) {
    return { ok: false, fault: errorFault(hostOf(url), error, status, answered?.['error_description']) };
  }
  if (!fine) return { ok: false, fault: errorFault(hostOf(url), `http_${status}`, status) };
  return answered === undefined
    ? fail('oauth.failed', `${hostOf(url)} answered with neither JSON nor a form.`)
    : ok(answered);
}

/** RFC 6749, section 2.3.1, and RFC 7523, section 2.2. Writes a header, or gives fields. */
async function authenticate(
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  headers: Record<string, string>,
): Promise<Fields> {
  const { clientId, authentication, grant } = client.settings;
  const { clientSecret, privateKey } = client.secrets;
  // The key of `jwt_bearer` signs the assertion of the grant; it says who the client is only where asked to.
  const byKey = privateKey !== undefined && grant !== 'jwt_bearer' ? 'private_key_jwt' : undefined;
  const method = authentication ?? byKey ?? (clientSecret === undefined ? 'none' : 'client_secret_basic');
  switch (method) {
    case 'client_secret_basic': {
      const credentials = `${formEncode(clientId)}:${formEncode(clientSecret ?? '')}`;
      headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
      return {};
    }
    case 'client_secret_post':
      return { client_id: clientId, client_secret: clientSecret };
    case 'private_key_jwt': {
      // The issuer rather than the endpoint: so an assertion is of use at this server only.
      const audience = server.issuer ?? server.token;
      const assertion = await sign(client, port, { issuer: clientId, subject: clientId, audience });
      return { client_id: clientId, client_assertion_type: JWT_BEARER, client_assertion: assertion };
    }
    case 'none':
      return { client_id: clientId };
  }
}

const formEncode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);

interface Assertion {
  readonly issuer: string;
  readonly subject: string;
  readonly audience: string;
  readonly claims?: Readonly<Record<string, string>>;
}

async function sign({ settings, secrets }: OAuthClient, port: OAuthPort, given: Assertion): Promise<string> {
  const algorithm = settings.key?.algorithm ?? 'RS256';
  const now = Math.floor(port.now() / 1000);
  let key;
  try {
    key = await importPKCS8(secrets.privateKey ?? '', algorithm);
  } catch {
    // What a parser says of a key may quote it.
    throw new FaultError(fault('connection.invalid', `oauth.privateKey: Is no key for ${algorithm}; store it again.`));
  }
  return new SignJWT(given.claims)
    .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(settings.key?.id !== undefined && { kid: settings.key.id }) })
    .setIssuer(given.issuer)
    .setSubject(given.subject)
    .setAudience(given.audience)
    .setIssuedAt(now)
    .setExpirationTime(now + ASSERTION_SECONDS)
    .setJti(port.randomId())
    .sign(key);
}

/** RFC 7009. A server without the endpoint cannot be told; then it is false. */
export async function revokeToken(
  client: OAuthClient,
  server: Server,
  port: OAuthPort,
  token: string,
  kind: 'refresh_token' | 'access_token',
): Promise<Result<boolean>> {
  const { revocation } = server;
  if (revocation === undefined) return ok(false);
  const reply = await guarded(() => post(client, server, port, revocation, { token, token_type_hint: kind }));
  return reply.ok ? ok(true) : reply;
}

async function guarded<T>(work: () => Promise<Result<T>>): Promise<Result<T>> {
  try {
    return await work();
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  }
}
