/**
 * API keys of the callers of chains.
 *
 * Guarantee: a key is known only by its SHA-256; what a caller presents is hashed before it is compared,
 * so that timing tells nothing of a stored key.
 * Accepted weakness: keys that were right are remembered in isolate memory, unhashed, until the next change
 * of the configuration; whoever reads that memory reads the requests as well.
 */

import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { checkConfiguration, type Configuration } from '../runtime/configuration.ts';
import type { KeyRow } from '../store/configuration.ts';
import { hashKey, keyAllows } from '../vault/api-key.ts';

/** By the credential as it was presented. */
const verified = new WeakMap<Configuration, Map<string, KeyRow>>();
const BEARER = /^bearer /i;

/** Synchronous for a key that this isolate has seen under this configuration. */
export function authenticate(
  env: Env,
  configuration: Configuration,
  headers: Headers,
  target: string,
  now: number,
): Result<KeyRow> | Promise<Result<KeyRow>> {
  const found = keyOf(env, configuration, headers, now);
  return found instanceof Promise ? found.then((key) => allowed(key, target)) : allowed(found, target);
}

/** The valid key that a request presents, whatever it may call. */
export function keyOf(
  env: Env,
  configuration: Configuration,
  headers: Headers,
  now: number,
): Result<KeyRow> | Promise<Result<KeyRow>> {
  const authorization = headers.get('authorization');
  const bearer = authorization !== null && BEARER.test(authorization);
  const presented = bearer ? authorization : (headers.get('x-api-key') ?? '');
  const known = verified.get(configuration)?.get(presented);
  if (known !== undefined) return current(known, now);
  const key = bearer ? presented.replace(BEARER, '').trim() : presented;
  if (key === '') {
    return fail('auth.missing', 'This route needs an API key: send `Authorization: Bearer <key>` or `X-API-Key`.');
  }
  return lookUp(env, configuration, { key, presented }, now);
}

async function lookUp(
  env: Env,
  configuration: Configuration,
  { key, presented }: { readonly key: string; readonly presented: string },
  now: number,
): Promise<Result<KeyRow>> {
  const hash = await hashKey(key);
  let within = configuration;
  let row = within.keys.get(hash);
  if (row === undefined) {
    within = await checkConfiguration(env, LIMITS.configurationMissMilliseconds);
    row = within.keys.get(hash);
  }
  if (row === undefined) return fail('auth.invalid', 'The API key is not known.');
  const keys = verified.get(within) ?? new Map<string, KeyRow>();
  verified.set(within, keys.set(presented, row));
  return current(row, now);
}

const current = (key: KeyRow, now: number): Result<KeyRow> =>
  key.expiresAt !== null && key.expiresAt <= now ? fail('auth.invalid', 'The API key has expired.') : ok(key);

function allowed(key: Result<KeyRow>, target: string): Result<KeyRow> {
  if (!key.ok || keyAllows(key.value.scopes, target)) return key;
  return fail('auth.forbidden', `The API key lacks the scope ${target}.`);
}
