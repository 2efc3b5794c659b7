/**
 * API keys as credentials: as a bearer, in `X-API-Key`, or as the password of Basic authentication.
 *
 * Guarantee: a key is known only by its SHA-256; what a caller presents is hashed before it is compared,
 * so that timing tells nothing of a stored key. A key counts only under a configuration that was confirmed.
 * Accepted weakness: keys that were right are remembered in isolate memory, unhashed, until the next change
 * of the configuration; whoever reads that memory reads the requests as well.
 */

import { bearerOf, lackingScope, type Check } from './attempt.ts';
import { noteUse } from './uses.ts';
import { scopesAllow } from '../../core/route/key.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import {
  checkConfiguration,
  confirmConfiguration,
  isConfirmed,
  type Configuration,
} from '../../runtime/configuration.ts';
import type { KeyRow } from '../../store/configuration.ts';
import { hashKey, isWellFormedKey, looksLikeKey } from '../../vault/api-key.ts';
import { fromBase64 } from '../../vault/bytes.ts';
import { Generations } from '../../vault/generations.ts';
import type { Exchange, Identity } from '../exchange.ts';

export interface KnownKey {
  readonly row: KeyRow;
  readonly identity: Identity;
  /** Unix milliseconds; infinite where the key does not expire. */
  readonly until: number;
}

/** By the credential as it was presented. */
const known = new WeakMap<Configuration, Generations<KnownKey>>();

export const byKey: Check<'key'> = ({ scopes }, { exchange, authorization }) => {
  const presented = bearerOf(authorization) ?? exchange.headers.get('x-api-key') ?? '';
  const found = recall(exchange, presented);
  if (found !== undefined) return allowed(found, scopes, exchange);
  if (presented === '' || isToken(presented)) {
    return fail('auth.missing', 'This route needs an API key: send `Authorization: Bearer <key>` or `X-API-Key`.');
  }
  return lookUp(exchange, { kind: 'key', presented, key: presented }, scopes);
};

/** Two dots make a token; it may be meant for another rule. */
const isToken = (text: string): boolean => text.split('.', 4).length === 3;

/** Room for an id, a key and what base64 adds: who pads a credential is not remembered by it. */
const BASIC = /^basic +([A-Za-z0-9+/]{1,320}={0,2})$/i;

export const byBasic: Check<'basic'> = ({ scopes }, { exchange, authorization }) => {
  const encoded = authorization === null ? undefined : BASIC.exec(authorization)?.[1];
  if (encoded === undefined) {
    return fail('auth.missing', 'This route needs Basic authentication: the id of an API key, and the key.');
  }
  const presented = `basic ${encoded}`;
  const found = recall(exchange, presented);
  if (found !== undefined) return allowed(found, scopes, exchange);
  const bytes = fromBase64(encoded, 'base64');
  const [id = '', key = ''] = new TextDecoder().decode(bytes).split(':', 2);
  return lookUp(exchange, { kind: 'basic', presented, key, id }, scopes);
};

function recall({ configuration, receivedAt }: Exchange, presented: string): KnownKey | undefined {
  const found = known.get(configuration)?.get(presented);
  return found !== undefined && isConfirmed(receivedAt) ? found : undefined;
}

interface Presented {
  readonly kind: 'key' | 'basic';
  readonly presented: string;
  readonly key: string;
  /** Whose key it has to be. */
  readonly id?: string;
}

async function lookUp(
  exchange: Exchange,
  { kind, presented, key, id }: Presented,
  scopes: readonly string[],
): Promise<Result<Identity>> {
  // Most wrong keys are told by their checksum, and make nobody ask D1.
  if (!looksLikeKey(key) || !(await isWellFormedKey(key))) return unknown;
  const hash = await hashKey(key);
  const { row, within } = await confirmed(exchange, ({ keys }) => keys.get(hash));
  if (row === undefined || (id !== undefined && id !== row.id)) return unknown;
  const found: KnownKey = { row, identity: identityOf(kind, row), until: endOf(row, hash) };
  let keys = known.get(within);
  if (keys === undefined) known.set(within, (keys = new Generations(LIMITS.keysInMemory)));
  keys.set(presented, found);
  return allowed(found, scopes, exchange);
}

const unknown = fail('auth.invalid', 'The API key is not known.');
const expired = fail('auth.invalid', 'The API key has expired.');

/** @param hash of the key that was presented: this one, or the one that it replaced */
const endOf = (row: KeyRow, hash: string): number =>
  Math.min(row.expiresAt ?? Infinity, hash === row.hash ? Infinity : replacedAt(row));

/** The valid key that a request presents as `byKey` takes it, whatever it may call. */
export async function keyOf(configuration: Configuration, headers: Headers, now: number): Promise<Result<KeyRow>> {
  const presented = bearerOf(headers.get('authorization')) ?? headers.get('x-api-key') ?? '';
  const hash = await hashKey(presented);
  const row = configuration.keys.get(hash);
  if (row === undefined) return unknown;
  return endOf(row, hash) <= now ? expired : ok(row);
}

/** When the key that a rotation replaced ends. */
export const replacedAt = ({ previousExpiresAt }: KeyRow): number => previousExpiresAt ?? 0;

/** What a configuration that counts has, and which that is; one that has nothing is compared with D1. */
export async function confirmed(
  { configuration, receivedAt, env, ctx }: Exchange,
  find: (configuration: Configuration) => KeyRow | undefined,
): Promise<{ readonly row: KeyRow | undefined; readonly within: Configuration }> {
  let within = isConfirmed(receivedAt) ? configuration : await confirmConfiguration(env, ctx);
  let row = find(within);
  if (row === undefined) {
    within = await checkConfiguration(env, LIMITS.configurationMissMilliseconds);
    row = find(within);
  }
  return { row, within };
}

export const identityOf = (kind: Identity['kind'], row: KeyRow): Identity => ({
  kind,
  id: `key:${row.id}`,
  tenant: row.tenant ?? undefined,
  scopes: row.scopes,
  key: row,
});

/** The last questions, asked of each request: the time, and the scopes. */
export function allowed(
  { row, identity, until }: KnownKey,
  scopes: readonly string[],
  exchange: Exchange,
): Result<Identity> {
  const { receivedAt, target } = exchange;
  if (until <= receivedAt) return expired;
  const lacking = scopesAllow(row.scopes, target) ? scopes.find((scope) => !scopesAllow(row.scopes, scope)) : target;
  if (lacking !== undefined) return lackingScope('API key', lacking);
  noteUse(row.id, exchange);
  return ok(identity);
}
