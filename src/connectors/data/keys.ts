/**
 * The keys with which data is signed and encrypted.
 *
 * Guarantee: a key comes from a connection only, and serves the one algorithm that the connection names, so that no
 * token chooses how it is checked. Faults never hold a key.
 */

import type { CryptoKey, JWK } from 'jose';
import * as v from 'valibot';
import { decode, type Encoding } from './formats/bytes.ts';
import type { ActionContext } from '../kit/types.ts';
import { parseJson } from '../../core/data/exact-json.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';

/** Algorithms of JWS and JWE with the least bytes of a shared key, 0 for those with a pair. No password, no RSA1_5. */
const SIGNATURES = {
  HS256: 32,
  HS384: 48,
  HS512: 64,
  RS256: 0,
  RS384: 0,
  RS512: 0,
  PS256: 0,
  PS384: 0,
  PS512: 0,
  ES256: 0,
  ES384: 0,
  ES512: 0,
  EdDSA: 0,
} as const;
const ENCRYPTIONS = {
  dir: 32,
  A128KW: 16,
  A256KW: 32,
  A128GCMKW: 16,
  A256GCMKW: 32,
  'RSA-OAEP-256': 0,
  'ECDH-ES': 0,
  'ECDH-ES+A256KW': 0,
} as const;
const LEAST_BYTES: Readonly<Record<string, number>> = { ...SIGNATURES, ...ENCRYPTIONS };

const namesOf = <T extends string>(table: Readonly<Record<T, number>>) => Object.keys(table) as [T, ...T[]];

export const settings = v.strictObject({
  algorithm: v.pipe(
    v.picklist([...namesOf(SIGNATURES), ...namesOf(ENCRYPTIONS)]),
    v.description('What the key is for: an algorithm of JWS signs, one of JWE encrypts.'),
  ),
  encoding: v.optional(
    v.pipe(
      v.picklist(['utf8', 'base64', 'base64url', 'hex']),
      v.description('How a shared secret is written. A PEM or a JWK is recognised by itself.'),
    ),
    'utf8',
  ),
  keyId: v.optional(v.pipe(v.string(), v.minLength(1), v.description('Written into tokens as `kid`.'))),
});
const keyText = v.pipe(v.string(), v.minLength(1), v.maxLength(64 * 1024));
export const secrets = v.strictObject({
  key: v.pipe(keyText, v.description('A shared secret, a key as PEM (PKCS #8 or SPKI), or a JWK as JSON.')),
  previousKeys: v.optional(
    v.pipe(
      v.array(keyText),
      v.maxLength(LIMITS.dataPreviousKeys),
      v.description('Keys before this one: they still verify and decrypt.'),
    ),
  ),
});

export const connection = { settings, secrets };
export type KeyContext = ActionContext<v.InferOutput<typeof settings>, v.InferOutput<typeof secrets>>;

export type KeyUse = 'sign' | 'verify' | 'encrypt' | 'decrypt';
type Key = CryptoKey | Uint8Array;

const wrongKey = (message: string): Result<never> => fail('connection.invalid', `The key of the connection ${message}`);

/** The keys for that use: the current one, and for what undoes also the previous ones. */
export async function openKeys({ connection: { settings: given, secrets: held } }: KeyContext, use: KeyUse) {
  const isOf = use === 'sign' || use === 'verify' ? SIGNATURES : ENCRYPTIONS;
  if (!Object.hasOwn(isOf, given.algorithm)) return wrongKey(`is for ${given.algorithm}, which does not ${use}.`);
  const texts = use === 'sign' || use === 'encrypt' ? [held.key] : [held.key, ...(held.previousKeys ?? [])];
  const keys: Key[] = [];
  for (const text of texts) {
    const key = await readKey(text, given.algorithm, given.encoding, use);
    if (!key.ok) return key;
    keys.push(key.value);
  }
  return ok(keys);
}

async function readKey(
  text: string,
  algorithm: string,
  encoding: Encoding | 'utf8',
  use: KeyUse,
): Promise<Result<Key>> {
  const least = LEAST_BYTES[algorithm] ?? 0;
  if (least > 0) return sharedKey(text, encoding, least, algorithm);
  const jose = await import('jose');
  const needsPrivate = use === 'sign' || use === 'decrypt';
  try {
    const jwk = await jwkOf(text, algorithm);
    if (jwk === undefined) return wrongKey('must be a PEM (PKCS #8 or SPKI) or a JWK.');
    if (needsPrivate && jwk.d === undefined) return wrongKey(`is a public one; to ${use} takes the private one.`);
    const key = await jose.importJWK(needsPrivate ? jwk : publicPart(jwk), algorithm);
    return ok(key);
  } catch {
    // What the library says of a key may quote it.
    return wrongKey(`cannot be used with ${algorithm}.`);
  }
}

async function jwkOf(text: string, algorithm: string): Promise<JWK | undefined> {
  const { exportJWK, importPKCS8, importSPKI } = await import('jose');
  const trimmed = text.trim();
  if (trimmed.startsWith('-----BEGIN PRIVATE KEY-----')) {
    return exportJWK(await importPKCS8(trimmed, algorithm, { extractable: true }));
  }
  if (trimmed.startsWith('-----BEGIN PUBLIC KEY-----')) {
    return exportJWK(await importSPKI(trimmed, algorithm, { extractable: true }));
  }
  const parsed = parseJson(trimmed);
  return parsed.ok && isObject(parsed.value) && typeof parsed.value['kty'] === 'string'
    ? (parsed.value as JWK)
    : undefined;
}

/** RFC 7518, sections 6.2.1, 6.3.1; RFC 8037, section 2. */
const publicPart = ({ kty, crv, x, y, n, e }: JWK): JWK =>
  Object.fromEntries(Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined)) as JWK;

export function sharedKey(
  text: string,
  encoding: Encoding | 'utf8',
  least: number,
  algorithm: string,
): Result<Uint8Array<ArrayBuffer>> {
  const bytes = encoding === 'utf8' ? new Uint8Array(new TextEncoder().encode(text)) : decode(text, encoding);
  if (bytes === undefined) return wrongKey(`is not written in ${encoding}.`);
  const isExact = Object.hasOwn(ENCRYPTIONS, algorithm);
  if (isExact ? bytes.length !== least : bytes.length < least) {
    return wrongKey(`has ${bytes.length} bytes; ${algorithm} takes ${least}${isExact ? '' : ' or more'}.`);
  }
  return ok(bytes);
}
