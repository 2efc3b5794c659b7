/**
 * Signed requests: what a signature says of itself, and the text that it signs.
 *
 * `message-signatures` is RFC 9421 with one signature per request. Guarantee: a signature counts only where it
 * covers the method, the address with its query, and the body by `Content-Digest` (RFC 9530); what it leaves
 * out could be changed on the way. Accepted weakness: components with parameters, several signatures, and
 * other spellings than the canonical one of RFC 8941 are refused, though the standard allows them.
 *
 * `simple` signs `<timestamp>\n<method>\n<path with query>\n<body>`. Line breaks, since none can stand in the
 * first three: by dots, a part of the path could be passed off as the beginning of the body.
 */

import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/** Parts of a request that signatures are made of. */
export interface SignedParts {
  readonly method: string;
  readonly url: string;
  readonly headers: Pick<Headers, 'get'>;
  readonly hasBody: boolean;
}

export interface SignatureClaim {
  readonly keyId: string;
  /** What the signer says; it must be that of the key. */
  readonly algorithm: string | undefined;
  /** Unix seconds. */
  readonly createdSeconds: number;
  readonly expiresSeconds: number | undefined;
  /** Good for one request; the signature itself where the signer sent none. */
  readonly nonce: string;
  /** As sent: base64 or hex. */
  readonly signature: string;
  readonly encoding: 'base64' | 'hex';
  /** What is signed; the body comes behind it where `signsBody`. */
  readonly base: string;
  readonly signsBody: boolean;
  /** `Content-Digest` as sent, where it is covered. */
  readonly digest: string | undefined;
}

const invalid = (message: string): Result<never> => fail('auth.invalid', message);

const INPUT =
  /^(?<label>[a-z*][a-z0-9_.*-]{0,63})=(?<params>\((?<items>"[^"()\\]+"(?: "[^"()\\]+")*)\)(?<rest>(?:;[a-z]+=(?:"[\x20-\x21\x23-\x5b\x5d-\x7e]*"|\d{1,15}))*))$/;
const PARAMETER = /;([a-z]+)=(?:"([^"]*)"|(\d+))/g;
const SIGNATURE = /^(?<label>[a-z*][a-z0-9_.*-]{0,63})=:(?<value>[A-Za-z0-9+/]+={0,2}):$/;
const FIELD = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** Undefined where the request has no signature of this kind. */
export function readMessageSignature(parts: SignedParts): Result<SignatureClaim> | undefined {
  const input = parts.headers.get('signature-input');
  const sent = parts.headers.get('signature');
  if (input === null && sent === null) return undefined;
  const tooLong = (input?.length ?? 0) + (sent?.length ?? 0) > LIMITS.signatureCharacters;
  const read = tooLong ? undefined : INPUT.exec(input ?? '')?.groups;
  const signature = tooLong ? undefined : SIGNATURE.exec(sent ?? '')?.groups;
  if (read === undefined || signature === undefined || read['label'] !== signature['label']) {
    return invalid('Send one signature by RFC 9421: `Signature-Input` and `Signature`, with the same label.');
  }
  const { items = '', params = '', rest = '' } = read;
  const names = items.slice(1, -1).split('" "');
  const lines = componentLines(names, parts);
  if (!lines.ok) return lines;
  const missing = uncovered(names, parts);
  if (missing !== undefined) return invalid(`The signature must cover ${missing}.`);
  const given = new Map<string, string>();
  for (const [, name = '', quoted, number] of rest.matchAll(PARAMETER)) {
    if (given.has(name)) return invalid(`The parameter "${name}" stands twice in Signature-Input.`);
    given.set(name, quoted ?? number ?? '');
  }
  const [created, keyId, expires] = [given.get('created'), given.get('keyid'), given.get('expires')];
  if (created === undefined || keyId === undefined) return invalid('Signature-Input needs "created" and "keyid".');
  return ok({
    keyId,
    algorithm: given.get('alg'),
    createdSeconds: Number(created),
    expiresSeconds: expires === undefined ? undefined : Number(expires),
    nonce: given.get('nonce') ?? '',
    signature: signature['value'] ?? '',
    encoding: 'base64',
    base: [...lines.value, `"@signature-params": ${params}`].join('\n'),
    signsBody: false,
    digest: names.includes('content-digest') ? (parts.headers.get('content-digest') ?? undefined) : undefined,
  });
}

/** What a signature leaves open to change, or undefined. */
function uncovered(names: readonly string[], { url, hasBody }: SignedParts): string | undefined {
  const covers = (name: string): boolean => names.includes(name);
  if (!covers('@method')) return '"@method"';
  const whole = covers('@target-uri');
  if (!whole && !covers('@authority')) return '"@authority" (or "@target-uri")';
  if (!whole && !covers('@path')) return '"@path" (or "@target-uri")';
  if (!whole && !covers('@query') && new URL(url).search !== '') return '"@query" (or "@target-uri")';
  if (hasBody && !covers('content-digest')) return '"content-digest", as the request has a body';
  return undefined;
}

/** By name, the derived components of RFC 9421, section 2.2. */
const DERIVED: Readonly<Record<string, (url: URL, parts: SignedParts) => string>> = {
  '@method': (_url, { method }) => method,
  '@target-uri': (_url, { url }) => url,
  '@authority': ({ host }) => host,
  '@scheme': ({ protocol }) => protocol.slice(0, -1),
  '@path': ({ pathname }) => pathname,
  '@query': ({ search }) => (search === '' ? '?' : search),
};

function componentLines(names: readonly string[], parts: SignedParts): Result<string[]> {
  const url = new URL(parts.url);
  const lines: string[] = [];
  if (new Set(names).size < names.length) return invalid('A component stands twice in Signature-Input.');
  for (const name of names) {
    const derive = Object.hasOwn(DERIVED, name) ? DERIVED[name] : undefined;
    const value = derive?.(url, parts) ?? (FIELD.test(name) ? parts.headers.get(name) : null);
    if (value === null) return invalid(`The signature covers "${name}", which the request does not have.`);
    lines.push(`"${name}": ${value}`);
  }
  return ok(lines);
}

const SECONDS = /^\d{1,12}$/;
const HEX_SIGNATURE = /^[0-9a-f]{64}$/;

/** Undefined where the request has no signature of this kind. */
export function readSimpleSignature(parts: SignedParts): Result<SignatureClaim> | undefined {
  const [keyId = '', timestamp = '', signature = ''] = ['key', 'timestamp', 'signature'].map(
    (name) => parts.headers.get(`tidegate-${name}`) ?? '',
  );
  if (keyId + timestamp + signature === '') return undefined;
  if (keyId === '' || !SECONDS.test(timestamp) || !HEX_SIGNATURE.test(signature)) {
    return invalid(
      'Send `Tidegate-Key` (the id), `Tidegate-Timestamp` (unix seconds) and `Tidegate-Signature` (HMAC-SHA-256 in lower-case hex).',
    );
  }
  const { pathname, search } = new URL(parts.url);
  return ok({
    keyId,
    algorithm: 'hmac-sha256',
    createdSeconds: Number(timestamp),
    expiresSeconds: undefined,
    nonce: '',
    signature,
    encoding: 'hex',
    base: `${timestamp}\n${parts.method}\n${pathname}${search}\n`,
    signsBody: true,
    digest: undefined,
  });
}

/** The reason why a signature of that time does not count now, or undefined. */
export function untimely(
  { createdSeconds, expiresSeconds }: SignatureClaim,
  windowMilliseconds: number,
  now: number,
): string | undefined {
  const ageMilliseconds = now - createdSeconds * 1000;
  if (Math.abs(ageMilliseconds) > windowMilliseconds) {
    return `The signature is too old, or of the future: a signature counts for ${windowMilliseconds / 1000} s.`;
  }
  return expiresSeconds !== undefined && expiresSeconds * 1000 <= now ? 'The signature has expired.' : undefined;
}

const DIGEST = /^(sha-256|sha-512)=:([A-Za-z0-9+/]+={0,2}):$/;

/** The digests in `Content-Digest`, RFC 9530, in base64; undefined where one cannot be read or none is known. */
export function readContentDigest(header: string): readonly { algorithm: string; value: string }[] | undefined {
  const members = header.split(',').map((member) => DIGEST.exec(member.trim()));
  const known = members.flatMap((member) => {
    const [, algorithm, value] = member ?? [];
    return algorithm === undefined || value === undefined ? [] : [{ algorithm, value }];
  });
  return known.length === members.length && known.length > 0 ? known : undefined;
}
