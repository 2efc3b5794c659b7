/**
 * Proof by a shared secret that is sent as it is.
 *
 * Accepted weakness: whoever reads one request may send any other. It is only as good as TLS and the
 * places where requests are logged; the vendors that do this offer nothing better.
 */

import { encode, equalInConstantTime, hash, sha256, utf8 } from './encoding.ts';
import { unverified, type Prover } from './proof.ts';
import { nameOf, textAt, unitsOf } from './request.ts';
import type { TokenScheme } from './scheme.ts';
import { ok, type Result } from '../errors.ts';

/** Hashes are compared, since the length of a secret is not public. */
export async function equalSecrets(expected: string, candidate: string): Promise<boolean> {
  return equalInConstantTime(await hash(utf8(expected)), await hash(utf8(candidate)));
}

export async function prepareToken(scheme: TokenScheme, secrets: readonly string[]): Promise<Result<Prover>> {
  const expected = await Promise.all(secrets.map((secret) => hash(utf8(secret))));
  const { token: place, prefix = '' } = scheme;
  return ok(async (reading) => {
    const units = unitsOf(scheme.items, reading);
    if (units === undefined) return unverified(`The list ${scheme.items?.list} of the body is missing or empty.`);
    for (const unit of units) {
      const text = textAt(place, reading, unit);
      if (text === undefined) return unverified(`${nameOf(place)} is missing.`);
      if (!text.startsWith(prefix)) return unverified(`${nameOf(place)} is malformed; it must hold "${prefix}…".`);
      const candidate = encode(await sha256(utf8(text.slice(prefix.length))), 'hex');
      let matched = false;
      for (const one of expected) matched = equalInConstantTime(one, candidate) || matched;
      if (!matched) return unverified(`${nameOf(place)} is not the secret of the source.`);
    }
    return ok({ id: '', content: undefined, key: undefined });
  });
}
