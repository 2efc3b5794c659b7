/**
 * A webhook source made ready: its scheme resolved, its secrets imported as keys.
 *
 * Guarantee: a source without a usable secret is never made, so nothing can be verified against nothing.
 */

import { ALGORITHMS, type Algorithm } from './algorithms.ts';
import { compileContent, type ContentTemplate } from './content.ts';
import { decode, utf8 } from './encoding.ts';
import { hmacScheme } from './hmac.ts';
import type { KeyForm, Scheme, SecretForm } from './scheme.ts';
import { FIXED_SCHEMES } from './schemes.ts';
import { suggestion } from '../chain/names.ts';
import { fail, ok, type Result } from '../errors.ts';
import { isObject } from '../json.ts';

export interface PreparedKey {
  readonly form: KeyForm;
  readonly algorithm: Algorithm;
  readonly key: CryptoKey;
}

export interface PreparedSource {
  readonly name: string;
  readonly scheme: Scheme;
  readonly content: ContentTemplate;
  /** Not empty. */
  readonly keys: readonly PreparedKey[];
}

export interface SourceDescription {
  readonly name: string;
  /** One of {@link schemeNames}. */
  readonly scheme: string;
  /** Each of them verifies, so that a rotation may overlap. */
  readonly secrets: readonly string[];
  readonly settings?: unknown;
}

/** By name: what a source's settings make of it. Fault `source.invalid`. */
type SchemeRow = (settings: unknown) => Result<Scheme>;

const fixed =
  (scheme: Scheme): SchemeRow =>
  (settings) =>
    settings === undefined || settings === null || (isObject(settings) && Object.keys(settings).length === 0)
      ? ok(scheme)
      : fail('source.invalid', `settings: ${scheme.title} takes no settings; remove them.`);

export const SCHEMES: ReadonlyMap<string, SchemeRow> = new Map([
  ...Object.entries(FIXED_SCHEMES).map(([name, scheme]): [string, SchemeRow] => [name, fixed(scheme)]),
  ['hmac', hmacScheme],
]);

export const schemeNames: readonly string[] = [...SCHEMES.keys()];

/** The scheme of that name with these settings. Fault `source.invalid`. */
export function schemeOf(name: string, settings?: unknown): Result<Scheme> {
  const row = SCHEMES.get(name);
  if (row === undefined)
    return fail('source.invalid', `scheme: There is no scheme "${name}".${suggestion(name, schemeNames)}`);
  return row(settings);
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
  if (secrets.length === 0) {
    return fail('source.invalid', `secret: Is missing; give the secret that ${scheme.title} signs with.`);
  }
  const keys: PreparedKey[] = [];
  for (const secret of secrets) {
    const key = await importSecret(scheme, secret, 'verify');
    if (!key.ok) return key;
    keys.push(key.value);
  }
  return ok({ name, scheme, content: compileContent(scheme.content), keys });
}

export async function importSecret(
  scheme: Scheme,
  secret: string,
  use: 'sign' | 'verify',
): Promise<Result<PreparedKey>> {
  if (secret.trim() === '') return fail('source.invalid', 'secret: Must not be empty.');
  if (secret.trim() !== secret) {
    return fail('source.invalid', 'secret: Begins or ends with a space or a line break; remove it.');
  }
  const tagOf = (form: SecretForm): string => (use === 'sign' && form.signingTag) || (form.tag ?? '');
  const form =
    scheme.keys.find((candidate) => candidate.secret.tag !== undefined && secret.startsWith(tagOf(candidate.secret))) ??
    scheme.keys.find(({ secret: { tag, tagOptional } }) => tag === undefined || tagOptional === true);
  const malformed = fail(
    'source.invalid',
    `secret: Is not of the form that ${scheme.title} gives out${formsOf(scheme)}.`,
  );
  if (form === undefined) return malformed;
  const tag = tagOf(form.secret);
  const bytes = keyBytes(secret.startsWith(tag) ? secret.slice(tag.length) : secret, form.secret);
  if (bytes === undefined) return malformed;
  const algorithm = ALGORITHMS[form.algorithm];
  try {
    return ok({ form, algorithm, key: await algorithm.importKey(bytes, use) });
  } catch {
    return malformed;
  }
}

const keyBytes = (text: string, { encoding }: SecretForm): Uint8Array | undefined =>
  encoding === 'text' ? utf8(text) : decode(text, encoding);

function formsOf(scheme: Scheme): string {
  const forms = scheme.keys.map(({ secret }) => `${secret.tag ?? ''}<${secret.encoding}>`);
  return `: ${forms.join(' or ')}`;
}
