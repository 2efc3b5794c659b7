/**
 * API keys: `tg_`, 32 random bytes in base64url, a checksum of 4 characters. Management tokens: the same
 * behind `tgm_`.
 *
 * Guarantee: only the SHA-256 of a key is stored, so a copy of the database opens nothing; a key has
 * 256 bits of entropy, so its plain hash cannot be searched.
 * Accepted weakness: a key is a bearer credential; whoever reads it uses it until it expires or is
 * revoked. Its checksum is shown in lists, for people to tell keys apart; it says nothing of the rest.
 */

import { randomBytes, sha256, toBase64Url, toHex } from './bytes.ts';
import { Secret } from './secret.ts';

/** Secret scanners find leaked keys by these shapes. */
const SHAPE = /^(tgm?_[A-Za-z0-9_-]{43})([A-Za-z0-9_-]{4})$/;
const KEY_CHARACTERS = 50;

const checksumOf = async (body: string): Promise<string> => toBase64Url((await sha256(body)).slice(0, 3));

/** SHA-256 in hex, as stored: 64 characters. */
export const hashKey = async (key: string): Promise<string> => toHex(await sha256(key));

export interface NewKey {
  readonly key: Secret;
  readonly hash: string;
  /** For lists, e.g. `tg_…x7Qa`. */
  readonly hint: string;
}

export async function makeKey(prefix: 'tg' | 'tgm' = 'tg'): Promise<NewKey> {
  const body = `${prefix}_${toBase64Url(randomBytes(32))}`;
  const checksum = await checksumOf(body);
  const key = body + checksum;
  return { key: new Secret(key), hash: await hashKey(key), hint: `${prefix}_…${checksum}` };
}

/** Whether a text may be an API key: a look at its form, without hashing. */
export const looksLikeKey = (text: string): boolean =>
  text.length === KEY_CHARACTERS && text.startsWith('tg_') && SHAPE.test(text);

export const looksLikeManagementToken = (text: string): boolean => text.startsWith('tgm_') && SHAPE.test(text);

/** False for a mistyped or cut key; true says nothing of whether the key exists. */
export async function isWellFormedKey(key: string): Promise<boolean> {
  const [, body, checksum] = SHAPE.exec(key) ?? [];
  return body !== undefined && checksum === (await checksumOf(body));
}
