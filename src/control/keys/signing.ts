/** With what the owner of a key signs: made, taken over, replaced. */

import { refuse } from '../issues.ts';
import type { newKeySchema } from './schemas.ts';
import type { InferOutput } from 'valibot';
import type { KeySigning } from '../../core/route/key.ts';
import { ok, type Result } from '../../core/errors.ts';
import type { KeyRow } from '../../store/keys.ts';
import { Secret } from '../../vault/secret.ts';
import { makeSigningSecret, readPublicKey, sealSigningSecret } from '../../vault/signing.ts';
import type { Vault } from '../../vault/vault.ts';

interface Made {
  readonly signing: KeySigning | null;
  /** What the caller does not have yet. */
  readonly shown: { readonly signingSecret?: string };
}

export async function makeSigning(
  vault: Result<Vault>,
  key: string,
  given: InferOutput<typeof newKeySchema>['signing'],
): Promise<Result<Made>> {
  if (given === undefined) return ok({ signing: null, shown: {} });
  if (given.algorithm === 'ed25519') {
    const { algorithm, publicKey } = given;
    if (readPublicKey(publicKey) !== undefined) return ok({ signing: { algorithm, publicKey }, shown: {} });
    const message = 'An Ed25519 public key is 32 bytes in base64.';
    return refuse('request.invalid', [{ path: 'signing.publicKey', message }]);
  }
  if (!vault.ok) return vault;
  const { algorithm } = given;
  const secret = given.secret === undefined ? makeSigningSecret() : new Secret(given.secret);
  const sealed = await sealSigningSecret(vault.value, key, secret);
  const shown = given.secret === undefined ? { signingSecret: secret.reveal() } : {};
  return ok({ signing: { algorithm, sealed }, shown });
}

/** A public key stays: its owner replaces it by making another API key. */
export async function rotateSigning(vault: Result<Vault>, { id, signing }: KeyRow): Promise<Result<Made>> {
  if (signing?.algorithm !== 'hmac-sha256') return ok({ signing, shown: {} });
  const made = await makeSigning(vault, id, { algorithm: signing.algorithm });
  if (!made.ok || made.value.signing?.algorithm !== 'hmac-sha256') return made;
  return ok({ ...made.value, signing: { ...made.value.signing, previous: signing.sealed } });
}
