/**
 * With what the owner of an API key signs requests: a shared secret, sealed, or a public key of theirs.
 *
 * Guarantee: a secret stands in the database only sealed, bound to its key; signatures are compared by WebCrypto,
 * in constant time.
 */

import { fromBase64, randomBytes, toBase64Url, utf8, type Bytes } from './bytes.ts';
import { Secret } from './secret.ts';
import type { Vault } from './vault.ts';
import { signingContext } from '../core/seal.ts';
import { fail, ok, type Result } from '../core/errors.ts';

const SECRET_BYTES = 32;

export const makeSigningSecret = (): Secret => new Secret(`tgs_${toBase64Url(randomBytes(SECRET_BYTES))}`);

export const sealSigningSecret = (vault: Vault, key: string, secret: Secret): Promise<string> =>
  vault.seal(signingContext(key), secret.reveal());

/** The secret as bytes: its text in UTF-8, as it was shown. */
export async function openSigningSecret(vault: Result<Vault>, key: string, sealed: string): Promise<Result<Bytes>> {
  if (!vault.ok) return vault;
  const opened = await vault.value.open(signingContext(key), sealed, { kind: 'gateway', actor: 'signature' });
  if (!opened.ok) return opened;
  return typeof opened.value === 'string' ? ok(utf8(opened.value)) : fail('vault.unreadable', 'It holds no secret.');
}

/** 32 bytes in base64 or base64url; undefined for anything else. */
export function readPublicKey(text: string): Bytes | undefined {
  const bytes = fromBase64(text, 'base64') ?? fromBase64(text, 'base64url');
  return bytes?.length === 32 ? bytes : undefined;
}

export const importHmac = (secret: Bytes): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);

export const importEd25519 = (publicKey: Bytes): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify']);
