/**
 * Envelope encryption of credentials: a random data key for each record encrypts the record, a
 * versioned master key encrypts the data key, both by AES-256-GCM.
 *
 * Guarantee: without the master key a record cannot be read, and a record that was changed, or copied
 * to another tenant, kind, connector or name, cannot be opened: all of these are additional data.
 * Accepted weakness: the master key is a variable of the Worker, so whoever may read or deploy the
 * Worker reads every secret; an older sealed record put back in its own place opens; the length of a
 * secret shows. Nonces are random: one master key is good for 2^32 seals (NIST SP 800-38D, 8.3).
 */

import { fail, ok, type Result } from '../core/errors.ts';
import { fromBase64, randomBytes, toBase64Url, utf8, type Bytes } from './bytes.ts';

/** Where a sealed record belongs. */
export interface SealContext {
  readonly tenant: string;
  readonly kind: 'connection' | 'source' | 'endpoint' | 'key' | 'token';
  /** The connector of a connection, the scheme of a source. */
  readonly connector: string;
  readonly name: string;
}

/** `1.<version of the master key>.<encrypted data key>.<encrypted record>`, in base64url. */
export type Sealed = string;

export interface Vault {
  /** Takes anything that JSON can hold. */
  seal(context: SealContext, plain: unknown): Promise<Sealed>;
  /** What was sealed; `vault.unreadable` where the record, its place or the master key is another. */
  open(context: SealContext, sealed: Sealed): Promise<Result<unknown>>;
}

const ALGORITHM = 'AES-GCM';
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const FORMAT = '1';

export const connectionContext = (tenant: string, connector: string, name: string): SealContext => ({
  tenant,
  kind: 'connection',
  connector,
  name,
});

/** The tokens of a connection, and what an authorization that is under way must not show. */
export const tokenContext = (tenant: string, name: string): SealContext => ({
  tenant,
  kind: 'token',
  connector: '',
  name,
});

/** What is sealed is the signing keys and the values of the headers. */
export const endpointContext = (application: string, id: string): SealContext => ({
  tenant: application,
  kind: 'endpoint',
  connector: '',
  name: id,
});

/** Sources belong to the owner; what is sealed is the list of their secrets. */
export const sourceContext = (scheme: string, name: string): SealContext => ({
  tenant: '',
  kind: 'source',
  connector: scheme,
  name,
});

/**
 * A vault for `TIDEGATE_MASTER_KEY`: `1:<base64 of 32 bytes>[,2:<base64>…]`. The highest version
 * encrypts, every version decrypts. Fault `vault.closed` where it is absent or malformed.
 */
export function createVault(masterKeys: string | undefined): Result<Vault> {
  const parsed = parseMasterKeys(masterKeys);
  if (!parsed.ok) return parsed;
  const { newest, keys } = parsed.value;

  return ok({
    async seal(context, plain) {
      const data = utf8(JSON.stringify(plain));
      const dataKey = randomBytes(KEY_BYTES);
      const place = placeOf(context);
      const [wrapped, body] = await Promise.all([
        encrypt(await newest.key(), dataKey, place),
        encrypt(await importKey(dataKey), data, place),
      ]);
      return [FORMAT, newest.version, toBase64Url(wrapped), toBase64Url(body)].join('.');
    },

    async open(context, sealed) {
      const [format, version = '', wrapped = '', body = '', ...rest] = sealed.split('.');
      const master = keys.get(version);
      const place = placeOf(context);
      const what = `The secrets of ${context.kind} "${context.name}" cannot be decrypted`;
      if (format !== FORMAT || rest.length > 0) return fail('vault.unreadable', `${what}: store them again.`);
      if (master === undefined) {
        const fix = `put it back into TIDEGATE_MASTER_KEY or store the secrets again`;
        return fail('vault.unreadable', `${what}: version ${version} of the master key is not configured; ${fix}.`);
      }
      const dataKey = await decrypt(await master.key(), wrapped, place);
      const data = dataKey && (await decrypt(await importKey(dataKey), body, place));
      if (data === undefined) {
        return fail('vault.unreadable', `${what}: the master key or the record was changed; store them again.`);
      }
      return ok(JSON.parse(new TextDecoder().decode(data)));
    },
  });
}

interface MasterKey {
  readonly version: string;
  /** Imported at first use: an isolate that opens no secret pays nothing. */
  key(): Promise<CryptoKey>;
}

interface MasterKeys {
  readonly newest: MasterKey;
  readonly keys: ReadonlyMap<string, MasterKey>;
}

function parseMasterKeys(text: string | undefined): Result<MasterKeys> {
  const closed = (problem: string) =>
    fail('vault.closed', `${problem} Set TIDEGATE_MASTER_KEY to 1:<base64 of 32 random bytes>.`);
  if (text === undefined || text.trim() === '') return closed('There is no master key.');

  const keys = new Map<string, MasterKey>();
  let newest: MasterKey | undefined;
  for (const [index, entry] of text.split(',').entries()) {
    const [, version, encoded] = /^([1-9]\d{0,8}):(.+)$/.exec(entry.trim()) ?? [];
    const bytes = encoded === undefined ? undefined : fromBase64(encoded, 'base64');
    // Never quotes the entry: it may be a key.
    if (version === undefined || bytes === undefined)
      return closed(`Entry ${index + 1} of the master key is malformed.`);
    if (bytes.length !== KEY_BYTES) return closed(`Version ${version} of the master key has ${bytes.length} bytes.`);
    if (keys.has(version)) return closed(`Version ${version} of the master key is there twice.`);
    const key: MasterKey = { version, key: once(() => importKey(bytes)) };
    keys.set(version, key);
    if (newest === undefined || Number(version) > Number(newest.version)) newest = key;
  }
  return newest === undefined ? closed('There is no master key.') : ok({ newest, keys });
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** A JSON array separates the parts unambiguously, whatever characters they hold. */
const placeOf = (context: SealContext): Bytes =>
  utf8(JSON.stringify(['tidegate', FORMAT, context.tenant, context.kind, context.connector, context.name]));

const importKey = (bytes: Bytes): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', bytes, ALGORITHM, false, ['encrypt', 'decrypt']);

/** The nonce, then ciphertext and tag. */
async function encrypt(key: CryptoKey, plain: Bytes, additionalData: Bytes): Promise<Bytes> {
  const iv = randomBytes(NONCE_BYTES);
  const encrypted = await crypto.subtle.encrypt({ name: ALGORITHM, iv, additionalData }, key, plain);
  const out = new Uint8Array(NONCE_BYTES + encrypted.byteLength);
  out.set(iv);
  out.set(new Uint8Array(encrypted), NONCE_BYTES);
  return out;
}

async function decrypt(key: CryptoKey, encoded: string, additionalData: Bytes): Promise<Bytes | undefined> {
  const bytes = fromBase64(encoded, 'base64url');
  if (bytes === undefined || bytes.length <= NONCE_BYTES) return undefined;
  const iv = bytes.slice(0, NONCE_BYTES);
  try {
    return new Uint8Array(
      await crypto.subtle.decrypt({ name: ALGORITHM, iv, additionalData }, key, bytes.slice(NONCE_BYTES)),
    );
  } catch {
    // WebCrypto throws an OperationError for a wrong tag and tells no more.
    return undefined;
  }
}
