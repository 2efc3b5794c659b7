/**
 * A real OpenID provider on loopback, of whom programs get tokens by `client_credentials` (RFC 6749, 4.4): signed
 * JWTs (RFC 9068) for the resource that they name (RFC 8707). `client` may have them.
 */

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import { freePort, listen, type Running } from './process.ts';

export interface OidcServer extends Running {
  readonly issuer: string;
}

/** Of the tests; it guards nothing. */
export const CLIENT = { id: 'client', secret: 'secret-of-the-client' } as const;

const TOKEN_SECONDS = 300;

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
    scopes: ['orders:read', 'orders:write'],
    ttl: { ClientCredentials: TOKEN_SECONDS },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          audience: resource,
          scope: 'orders:read orders:write',
          accessTokenFormat: 'jwt',
          accessTokenTTL: TOKEN_SECONDS,
        }),
      },
    },
  });
  const answer = provider.callback();
  const { stop } = await listen(
    createServer((request, response) => void answer(request, response)),
    port,
  );
  return { issuer, stop };
}
