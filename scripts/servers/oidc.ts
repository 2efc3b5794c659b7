/**
 * A real OpenID provider on loopback. Programs get tokens by `client_credentials` (RFC 6749, 4.4): signed JWTs
 * (RFC 9068) for the resource that they name (RFC 8707). `client` may have them; others register themselves
 * (`POST /reg`, RFC 7591). People sign in and consent without being asked. Refresh tokens rotate, and one that is
 * used twice takes its grant with it. For tests:
 *
 * - `https://<anything>/seconds/<n>` is a resource whose tokens live so long;
 * - a client with the name `late` gets the answers of the token endpoint a second after they took effect;
 * - `GET /_grants/<client>` tells how many requests at the token endpoint succeeded and failed;
 * - `GET /_forget/<access token>` makes it invalid, and nothing else (a revocation takes the grant with it).
 */

import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import Provider, { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { freePort, listen, type Running } from './process.ts';

export interface OidcServer extends Running {
  readonly issuer: string;
}

/** Of the tests; it guards nothing. */
export const CLIENT = { id: 'client', secret: 'secret-of-the-client' } as const;

const TOKEN_SECONDS = 300;
const LOGIN_SECONDS = 3_600;

export async function start(): Promise<OidcServer> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'signing' }] },
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_basic',
      },
    ],
    scopes: ['openid', 'offline_access', 'orders:read', 'orders:write'],
    ttl: {
      ClientCredentials: TOKEN_SECONDS,
      AccessToken: TOKEN_SECONDS,
      Interaction: LOGIN_SECONDS,
      Session: LOGIN_SECONDS,
      Grant: LOGIN_SECONDS,
      RefreshToken: LOGIN_SECONDS,
      DeviceCode: LOGIN_SECONDS,
      IdToken: LOGIN_SECONDS,
    },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_context, { uid }) => `${INTERACTION}${uid}` },
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          audience: resource,
          scope: 'orders:read orders:write',
          accessTokenFormat: 'jwt',
          accessTokenTTL: Number(/\/seconds\/(\d+)$/.exec(resource)?.[1] ?? TOKEN_SECONDS),
        }),
      },
    },
  });
  const counts = countGrants(provider);
  addGrants(provider, issuer);
  const answer = provider.callback();
  const { stop } = await listen(
    createServer((request, response) => {
      const { url = '' } = request;
      if (url.startsWith(INTERACTION)) void agree(provider, request, response);
      else if (url.startsWith('/_forget/')) void forget(provider, url.slice('/_forget/'.length), response);
      else if (url.startsWith('/_grants/')) response.end(JSON.stringify(counts(url.slice('/_grants/'.length))));
      else void answer(request, response);
    }),
    port,
  );
  return { issuer, stop };
}

const INTERACTION = '/interaction/';
const LATE_MILLISECONDS = 1_000;

interface Counts {
  succeeded: number;
  failed: number;
}

function countGrants(provider: Provider): (client: string) => Counts {
  const counts = new Map<string, Counts>();
  const of = (client: string): Counts => {
    let found = counts.get(client);
    if (found === undefined) counts.set(client, (found = { succeeded: 0, failed: 0 }));
    return found;
  };
  const clientOf = (context: KoaContextWithOIDC): string => context.oidc.client?.clientId ?? '';
  provider.on('grant.success', (context) => (of(clientOf(context)).succeeded += 1));
  provider.on('grant.error', (context) => (of(clientOf(context)).failed += 1));
  provider.use(async (context, next) => {
    await next();
    const { path, oidc }: { path: string; oidc?: KoaContextWithOIDC['oidc'] } = context;
    if (path === '/token' && oidc?.client?.clientName === 'late') await delay(LATE_MILLISECONDS);
  });
  return of;
}

async function forget(provider: Provider, token: string, response: ServerResponse): Promise<void> {
  await (await provider.AccessToken.find(token))?.destroy();
  response.end();
}

/** RFC 7523 and RFC 8693, as far as a client needs them: whatever is presented is verified. */
function addGrants(provider: Provider, issuer: string): void {
  const issue = async (context: KoaContextWithOIDC): Promise<void> => {
    const { client, params } = context.oidc;
    if (client === undefined) throw new errors.InvalidClient('no client');
    const token = new provider.ClientCredentials({ client, scope: String(params?.['scope'] ?? '') });
    context.body = {
      access_token: await token.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: token.expiration,
    };
  };
  provider.registerGrantType(
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
    async (context) => {
      const { client, params } = context.oidc;
      const keys = createLocalJWKSet((client?.jwks ?? { keys: [] }) as unknown as JSONWebKeySet);
      const expected = { issuer: client?.clientId ?? '', audience: `${issuer}/token`, requiredClaims: ['exp', 'jti'] };
      await jwtVerify(String(params?.['assertion']), keys, expected).catch(() => {
        throw new errors.InvalidGrant('the assertion is not valid');
      });
      await issue(context);
    },
    ['assertion', 'scope'],
  );
  provider.registerGrantType(
    'urn:ietf:params:oauth:grant-type:token-exchange',
    async (context) => {
      const subject = await provider.ClientCredentials.find(String(context.oidc.params?.['subject_token']));
      if (subject === undefined) throw new errors.InvalidGrant('there is no such subject token');
      await issue(context);
    },
    ['subject_token', 'subject_token_type', 'scope'],
  );
}

/** What a person would do on the pages of the provider. */
async function agree(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: 'ada' } });
  }
  const known = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const clientId = String(params['client_id']);
  const grant = known ?? new provider.Grant({ accountId: session?.accountId ?? '', clientId });
  const { missingOIDCScope, missingResourceScopes } = prompt.details;
  if (Array.isArray(missingOIDCScope)) grant.addOIDCScope(missingOIDCScope.join(' '));
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, [scopes].flat().join(' '));
  }
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}
