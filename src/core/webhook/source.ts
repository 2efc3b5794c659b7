/**
 * A webhook source made ready: its scheme resolved, its secrets imported as keys.
 *
 * Guarantee: a source without a usable secret is never made, so nothing can be verified against nothing.
 * Where the vendor brings the secret in a handshake, the source without one takes that handshake only.
 */

import type { Prover } from './proof.ts';
import { unverified } from './proof.ts';
import type { Scheme } from './scheme.ts';
import { prepareJwt } from './jwt.ts';
import { prepareSignature } from './signature.ts';
import { prepareToken } from './token.ts';
import { SCHEMES } from './vendors/index.ts';
import { suggestion } from '../chain/names.ts';
import { fail, ok, type Result } from '../errors.ts';

export interface PreparedSource {
  readonly name: string;
  readonly scheme: Scheme;
  /** The vendor has yet to bring the secret; until then nothing can be proven. */
  readonly awaitsSecret: boolean;
  readonly prove: Prover;
}

export interface SourceDescription {
  readonly name: string;
  /** One of {@link schemeNames}. */
  readonly scheme: string;
  /** Each of them verifies, so that a rotation may overlap. */
  readonly secrets: readonly string[];
  readonly settings?: unknown;
}

export const schemeNames: readonly string[] = [...SCHEMES.keys()];

/** The scheme of that name with these settings. Fault `source.invalid`. */
export function schemeOf(name: string, settings?: unknown): Result<Scheme> {
  const row = SCHEMES.get(name);
  if (row === undefined)
    return fail('source.invalid', `scheme: There is no scheme "${name}".${suggestion(name, schemeNames)}`);
  return row.schemeFor(settings);
}

/** Imports the keys, once for the life of the source. Fault `source.invalid`, which never repeats a secret. */
export async function prepareSource(description: SourceDescription): Promise<Result<PreparedSource>> {
  const scheme = schemeOf(description.scheme, description.settings);
  return scheme.ok ? prepareScheme(description.name, scheme.value, description.secrets) : scheme;
}

export async function prepareScheme(
  name: string,
  scheme: Scheme,
  secrets: readonly string[],
): Promise<Result<PreparedSource>> {
  const mistake = mistakeIn(scheme, secrets);
  if (mistake !== undefined) return fail('source.invalid', `secret: ${mistake}`);
  if (secrets.length === 0 && scheme.secretFrom === 'handshake') {
    return ok({ name, scheme, awaitsSecret: true, prove: () => Promise.resolve(AWAITING) });
  }
  const prove = await proverOf(scheme, secrets);
  return prove.ok ? ok({ name, scheme, awaitsSecret: false, prove: prove.value }) : prove;
}

const AWAITING = unverified('The source has no secret yet; the handshake of the sender brings it.');

function mistakeIn({ title, secretFrom, secretIs }: Scheme, secrets: readonly string[]): string | undefined {
  if (secretFrom === 'none') return secrets.length === 0 ? undefined : `${title} takes none; remove it.`;
  if (secrets.length === 0) return secretFrom === 'handshake' ? undefined : `Is missing; give ${secretIs}.`;
  for (const secret of secrets) {
    if (secret.trim() === '') return 'Must not be empty.';
    if (/^\s|\s$/.test(secret)) return 'Begins or ends with a space or a line break; remove it.';
  }
  return undefined;
}

async function proverOf(scheme: Scheme, secrets: readonly string[]): Promise<Result<Prover>> {
  switch (scheme.proof) {
    case 'signature':
      return prepareSignature(scheme, secrets);
    case 'token':
      return prepareToken(scheme, secrets);
    case 'jwt':
      return prepareJwt(scheme, secrets);
  }
}
