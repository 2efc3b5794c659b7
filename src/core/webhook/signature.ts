/** Proof by a signature: headers, time, id, and then the exact bytes. */

import { ALGORITHMS, type Key } from './algorithms.ts';
import { compileContent, type ContentFields, type ContentTemplate } from './content.ts';
import { decode, equalInConstantTime, hash, utf8 } from './encoding.ts';
import { publicKeyOfCertificate } from './der.ts';
import { malformedSecret, unverified, type Proven, type Prover } from './proof.ts';
import { isAllowed, remote, type Remote } from './remote.ts';
import { firstHeader, nameOf, textAt, unitsOf, type Reading } from './request.ts';
import type { CertificatePlace, KeyForm, SecretForm, SignatureScheme } from './scheme.ts';
import { readTimestamp } from './timestamp.ts';
import { ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/** Longer ids, which no vendor sends, are refused: an id becomes part of a key. */
const LONGEST_ID_CHARACTERS = 256;

export interface PreparedKey {
  readonly form: KeyForm;
  /** Undefined where each request points at its certificate. */
  readonly key: Key | undefined;
  /** Fills `{secret}`. */
  readonly secret: string;
}

interface Prepared {
  readonly scheme: SignatureScheme;
  readonly templates: readonly ContentTemplate[];
  readonly keys: readonly PreparedKey[];
  readonly certificates: ReadonlyMap<KeyForm, Remote<Key>>;
}

/** Imports the keys, once for the life of the source. Fault `source.invalid`. */
export async function prepareSignature(scheme: SignatureScheme, secrets: readonly string[]): Promise<Result<Prover>> {
  const keys: PreparedKey[] = [];
  for (const secret of scheme.secretFrom === 'none' ? [''] : secrets) {
    const key = await importSecret(scheme, secret, 'verify');
    if (!key.ok) return key;
    keys.push(key.value);
  }
  const templates = templatesOf(scheme);
  const certificates = new Map(
    scheme.certificate === undefined ? [] : scheme.keys.map((form) => [form, certificateKeys(form)]),
  );
  const prepared: Prepared = { scheme, templates, keys, certificates };
  return ok((reading) => prove(prepared, reading));
}

export const templatesOf = ({ content }: SignatureScheme): readonly ContentTemplate[] =>
  (typeof content === 'string' ? [content] : content).map(compileContent);

/** @param use for Ed25519, ECDSA and RSA the private key signs */
export async function importSecret(
  scheme: SignatureScheme,
  secret: string,
  use: 'sign' | 'verify',
): Promise<Result<PreparedKey>> {
  const tagOf = (form: SecretForm): string => (use === 'sign' && form.signingTag) || (form.tag ?? '');
  const form =
    scheme.keys.find((candidate) => candidate.secret.tag !== undefined && secret.startsWith(tagOf(candidate.secret))) ??
    scheme.keys.find(({ secret: { tag, tagOptional } }) => tag === undefined || tagOptional === true);
  const forms = scheme.keys.map((key) => `${key.secret.tag ?? ''}<${key.secret.encoding}>`).join(' or ');
  if (form === undefined) return malformedSecret(scheme.title, forms);
  if (scheme.certificate !== undefined) return ok({ form, key: undefined, secret });
  const tag = tagOf(form.secret);
  const text = secret.startsWith(tag) ? secret.slice(tag.length) : secret;
  const bytes = form.secret.encoding === 'text' ? utf8(text) : decode(text, form.secret.encoding);
  if (bytes === undefined) return malformedSecret(scheme.title, forms);
  try {
    return ok({ form, key: await ALGORITHMS[form.algorithm].importKey(bytes, use), secret });
  } catch {
    return malformedSecret(scheme.title, forms);
  }
}

const certificateKeys = (form: KeyForm): Remote<Key> =>
  remote(async (pem) => {
    const info = publicKeyOfCertificate(pem);
    try {
      return info && (await ALGORITHMS[form.algorithm].importKey(info, 'verify'));
    } catch {
      return undefined;
    }
  });

async function prove(prepared: Prepared, reading: Reading): Promise<Result<Proven>> {
  const { scheme } = prepared;
  if (scheme.items === undefined) return proveUnit(prepared, reading, undefined);
  const units = unitsOf(scheme.items, reading);
  if (units === undefined) return unverified(`The list ${scheme.items.list} of the body is missing or empty.`);
  const contents: Uint8Array[] = [];
  let key: Key | undefined;
  for (const unit of units) {
    const proven = await proveUnit(prepared, reading, unit);
    if (!proven.ok) return proven;
    contents.push(proven.value.content ?? new Uint8Array(0));
    key = proven.value.key;
  }
  const lengths = contents.map(({ length }) => length).join(',');
  return ok({ id: '', content: new Uint8Array(await new Blob([lengths, ...contents]).arrayBuffer()), key });
}

/** @param item the item of a list that is signed by itself; undefined for the body as a whole */
async function proveUnit(prepared: Prepared, reading: Reading, item: unknown): Promise<Result<Proven>> {
  const { scheme, templates } = prepared;
  const { request } = reading;
  const entries = signatureEntries(scheme, reading, item);
  if (!entries.ok) return entries;

  let timestamp = '';
  if (scheme.timestamp !== undefined) {
    const checked = readTimestamp(scheme.timestamp, entries.value, reading);
    if (!checked.ok) return checked;
    timestamp = checked.value;
  }
  let id = '';
  if (scheme.idHeaders !== undefined) {
    const given = firstHeader(request.headers, scheme.idHeaders);
    if (given === undefined) return unverified(`The header ${scheme.idHeaders[0]} is missing.`);
    const isAmbiguous = templates.some(({ idEnd }) => idEnd !== '' && given.includes(idEnd));
    if (isAmbiguous || given.length > LONGEST_ID_CHARACTERS) {
      return unverified(`The header ${scheme.idHeaders[0]} is malformed.`);
    }
    id = given;
  }
  let bodyIsHashed = false;
  if (scheme.bodyHashQuery !== undefined) {
    const expected = textAt({ query: scheme.bodyHashQuery }, reading);
    bodyIsHashed = expected !== undefined;
    if (expected !== undefined && !equalInConstantTime(await hash(request.body), expected)) {
      return unverified(`The body is not the one whose hash is in the URL (${scheme.bodyHashQuery}).`);
    }
  }
  const signatureQuery = 'query' in scheme.signature ? scheme.signature.query : undefined;
  return matchOne(prepared, entries.value, { id, timestamp, reading, item, signatureQuery, bodyIsHashed });
}

function signatureEntries(scheme: SignatureScheme, reading: Reading, item: unknown): Result<readonly string[]> {
  const { signature: place, separator } = scheme;
  const values: string[] = [];
  if ('headers' in place) {
    for (const name of place.headers) {
      const value = reading.request.headers.get(name);
      if (value !== null) values.push(value);
    }
  } else {
    const value = textAt(place, reading, item);
    if (value !== undefined) values.push(value);
  }
  if (values.length === 0) return unverified(`${nameOf(place)} is missing.`);
  // One more than allowed is enough to know that there are too many.
  const entries =
    separator === undefined ? values : values.flatMap((value) => value.split(separator, LIMITS.webhookSignatures + 1));
  if (entries.length > LIMITS.webhookSignatures) {
    return unverified(`${nameOf(place)} has more than ${LIMITS.webhookSignatures} entries.`);
  }
  if (!scheme.keys.some(({ prefix }) => entries.some((entry) => entry.startsWith(prefix)))) {
    const forms = scheme.keys.map(({ prefix }) => `"${prefix}…"`).join(' or ');
    return unverified(`${nameOf(place)} is malformed; it must hold ${forms}.`);
  }
  return ok(entries);
}

async function matchOne(
  { scheme, templates, keys, certificates }: Prepared,
  entries: readonly string[],
  fields: ContentFields,
): Promise<Result<Proven>> {
  for (const template of templates) {
    let content: Uint8Array | undefined;
    for (const { form, key: own, secret } of keys) {
      if (content === undefined || template.usesSecret) content = template.build(fields, secret);
      if (content === undefined) break;
      const candidates: string[] = [];
      for (const entry of entries) if (entry.startsWith(form.prefix)) candidates.push(entry.slice(form.prefix.length));
      if (candidates.length === 0) continue;
      let key = own;
      if (key === undefined) {
        const fetched = await certificateKey(scheme.certificate, certificates.get(form), fields.reading);
        if (!fetched.ok) return fetched;
        key = fetched.value;
      }
      if (await key.matches(content, candidates, form.encoding)) return ok({ id: fields.id, content, key });
    }
  }
  return unverified('The signature does not match.');
}

async function certificateKey(
  place: CertificatePlace | undefined,
  certificates: Remote<Key> | undefined,
  reading: Reading,
): Promise<Result<Key>> {
  if (place === undefined || certificates === undefined) return unverified('The scheme has no key.');
  const url = textAt(place.url, reading);
  if (url === undefined) return unverified(`${nameOf(place.url)} is missing.`);
  if (!isAllowed(url, place.allowed)) return unverified(`${nameOf(place.url)} is not an address of the sender.`);
  return certificates.get(url, url, reading);
}
