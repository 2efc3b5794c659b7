/** Whose tokens they are, and the client that they belong to. */

import type { TokenObject } from './token-object.ts';
import { openSecrets } from '../connection-secrets.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { missingSecret, type OAuthClient } from '../../core/oauth/settings.ts';
import type { Reader } from '../../core/seal.ts';
import type { Env } from '../../env.ts';
import { loadConnection } from '../../store/connections.ts';
import { sha256, toBase64Url } from '../../vault/bytes.ts';

/** A connection, as its object is told. */
export interface Place {
  readonly tenant: string;
  readonly name: string;
}

/** In the access log of the vault. */
export const READER: Reader = { kind: 'gateway', actor: 'oauth' };

/** JSON separates the two, whatever characters they hold. */
export const tokensOf = (env: Env, { tenant, name }: Place): DurableObjectStub<TokenObject> =>
  env.TOKENS.getByName(JSON.stringify([tenant, name]));

export interface LoadedClient extends OAuthClient {
  /** Of the row, in unix milliseconds. */
  readonly updatedAt: number;
  /**
   * What its tokens are bound to: the connection itself, the server, the client, the grant, and where they are
   * sent. Tokens of another are not used, so nobody gets them by changing an address.
   */
  readonly fingerprint: string;
}

/** Straight from D1: once for each version of the connection. Faults `connection.*`, `vault.*`. */
export async function loadClient(env: Env, { tenant, name }: Place): Promise<Result<LoadedClient>> {
  const row = await loadConnection(env.DB, tenant, name);
  if (row === undefined) return fail('connection.not-found', `There is no connection named ${name}.`);
  const opened = await openSecrets(env, row, READER);
  if (!opened.ok) return opened;
  const { facts, settings, secrets } = opened.value;
  const client = facts.oauth?.(settings, secrets);
  if (client === undefined) return noOAuth(name);
  const missing = missingSecret(client);
  if (missing !== undefined) return fail('connection.invalid', missing);
  // When a token is renewed changes nothing about whose it is.
  const { renewIdleDays: _, ...identity } = client.settings;
  const bound = JSON.stringify([row.connector, row.createdAt, identity, client.origins]);
  return ok({ ...client, updatedAt: row.updatedAt, fingerprint: toBase64Url(await sha256(bound)) });
}

const noOAuth = (name: string): Result<never> =>
  fail('connection.invalid', `The connection ${name} does not get its tokens by OAuth; give it settings.oauth.`);
