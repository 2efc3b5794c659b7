/**
 * API keys: `tg_`, 32 random bytes in base64url, a checksum of 4 characters.
 *
 * Guarantee: only the SHA-256 of a key is stored, so a copy of the database opens nothing; a key has
 * 256 bits of entropy, so its plain hash cannot be searched.
 * Accepted weakness: a key is a bearer credential; whoever reads it uses it until it expires or is
 * revoked, and an isolate may honour a revoked one until it refreshes its configuration.
 */

import { randomBytes, sha256, toBase64Url, toHex } from './bytes.ts';
import { Secret } from './secret.ts';

/** Secret scanners find leaked keys by this shape. */
const SHAPE = /^(tg_[A-Za-z0-9_-]{43})([A-Za-z0-9_-]{4})$/;

const checksumOf = async (body: string): Promise<string> => toBase64Url((await sha256(body)).slice(0, 3));

/** SHA-256 in hex, as stored: 64 characters. */
export const hashKey = async (key: string): Promise<string> => toHex(await sha256(key));

export async function makeKey(): Promise<{ readonly key: Secret; readonly hash: string }> {
  const body = `tg_${toBase64Url(randomBytes(32))}`;
  const key = body + (await checksumOf(body));
  return { key: new Secret(key), hash: await hashKey(key) };
}

/** False for a mistyped or cut key; true says nothing of whether the key exists. */
export async function isWellFormedKey(key: string): Promise<boolean> {
  const [, body, checksum] = SHAPE.exec(key) ?? [];
  return body !== undefined && checksum === (await checksumOf(body));
}

/** What a key may call: every chain or route, or the one of that name. */
export const KEY_SCOPE = /^(?:chain|route):(?:\*|[a-z][a-z0-9]*(?:-[a-z0-9]+)*)$/;

/** @param target `chain:<name>` or `route:<name>` */
export const keyAllows = (scopes: readonly string[], target: string): boolean =>
  scopes.includes(target) || scopes.includes(`${target.slice(0, target.indexOf(':'))}:*`);
