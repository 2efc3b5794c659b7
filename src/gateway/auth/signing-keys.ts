/** API keys by id, and with what their owners sign. */

import { replacedAt } from './keys.ts';
import { ok, type Result } from '../../core/errors.ts';
import type { Env } from '../../env.ts';
import { vaultOf, type Configuration } from '../../runtime/configuration.ts';
import type { KeyRow } from '../../store/configuration.ts';
import type { Bytes } from '../../vault/bytes.ts';
import { importEd25519, importHmac, openSigningSecret, readPublicKey } from '../../vault/signing.ts';

const byId = new WeakMap<Configuration, ReadonlyMap<string, KeyRow>>();

export function keyById(configuration: Configuration, id: string): KeyRow | undefined {
  let rows = byId.get(configuration);
  if (rows === undefined) {
    rows = new Map([...configuration.keys.values()].map((row) => [row.id, row]));
    byId.set(configuration, rows);
  }
  return rows.get(id);
}

interface Opened {
  readonly secrets: readonly Bytes[];
  readonly keys: readonly CryptoKey[];
}

/** Opened secrets live as long as the configuration that their row belongs to. */
const opened = new WeakMap<KeyRow, Opened>();

/** The secret of a key, and while it lasts the one before; empty where the key signs by no secret. */
export async function signingSecretsOf(env: Env, row: KeyRow, now: number): Promise<Result<readonly Bytes[]>> {
  const found = await open(env, row);
  return found.ok ? ok(current(row, found.value.secrets, now)) : found;
}

/** What signatures of this key are verified by; empty where it signs nothing. */
export async function verifiersOf(env: Env, row: KeyRow, now: number): Promise<Result<readonly CryptoKey[]>> {
  const found = await open(env, row);
  return found.ok ? ok(current(row, found.value.keys, now)) : found;
}

const current = <T>(row: KeyRow, items: readonly T[], now: number): readonly T[] =>
  items.length > 1 && replacedAt(row) <= now ? items.slice(0, 1) : items;

async function open(env: Env, row: KeyRow): Promise<Result<Opened>> {
  const known = opened.get(row);
  if (known !== undefined) return ok(known);
  const { signing } = row;
  const secrets: Bytes[] = [];
  if (signing?.algorithm === 'hmac-sha256') {
    for (const sealed of [signing.sealed, ...(signing.previous === undefined ? [] : [signing.previous])]) {
      const secret = await openSigningSecret(vaultOf(env), row.id, sealed);
      if (!secret.ok) return secret;
      secrets.push(secret.value);
    }
  }
  const publicKey = signing?.algorithm === 'ed25519' ? readPublicKey(signing.publicKey) : undefined;
  const keys = await Promise.all(publicKey === undefined ? secrets.map(importHmac) : [importEd25519(publicKey)]);
  const value = { secrets, keys };
  opened.set(row, value);
  return ok(value);
}
