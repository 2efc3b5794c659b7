/** Keys that webhooks are signed with, in the forms of Standard Webhooks. */

import { Buffer } from 'node:buffer';
import { fromBase64, randomBytes, type Bytes } from './bytes.ts';
import { Secret } from './secret.ts';

export type SigningAlgorithm = 'hmac-sha256' | 'ed25519';

const HMAC_BYTES = 32;
const SEED_BYTES = 32;

/** `whsec_` for HMAC-SHA256; `whsk_` with seed and public key, as libsodium writes it, for Ed25519. */
export async function makeSigningKey(algorithm: SigningAlgorithm): Promise<Secret> {
  if (algorithm === 'hmac-sha256') return new Secret(`whsec_${base64(randomBytes(HMAC_BYTES))}`);
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error('Ed25519 keys come in pairs');
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.exportKey('pkcs8', pair.privateKey),
    crypto.subtle.exportKey('raw', pair.publicKey),
  ]);
  if (!(privateKey instanceof ArrayBuffer) || !(publicKey instanceof ArrayBuffer)) throw new Error('no raw keys');
  // RFC 8410: the seed is at the end of the PKCS #8 form.
  const seed = new Uint8Array(privateKey).slice(-SEED_BYTES);
  return new Secret(`whsk_${base64(new Uint8Array([...seed, ...new Uint8Array(publicKey)]))}`);
}

/** What the receiver needs: the same secret for HMAC, the public key (`whpk_`) for Ed25519. */
export function verificationKeyOf(secret: string): Secret {
  const bytes = secret.startsWith('whsk_') ? fromBase64(secret.slice('whsk_'.length), 'base64') : undefined;
  return new Secret(bytes === undefined ? secret : `whpk_${base64(bytes.slice(SEED_BYTES))}`);
}

/** Whether a key that somebody brings along is of a form and strength that may sign. */
export function isSigningKey(secret: string): boolean {
  const [, tag, text = ''] = /^(whsec|whsk)_(.+)$/.exec(secret) ?? [];
  const length = fromBase64(text, 'base64')?.byteLength ?? 0;
  // Standard Webhooks: between 24 and 64 random bytes.
  return tag === 'whsk' ? length === 2 * SEED_BYTES : tag === 'whsec' && length >= 24 && length <= 64;
}

const base64 = (bytes: Bytes): string => Buffer.from(bytes).toString('base64');
