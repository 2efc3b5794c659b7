/**
 * Hashes, signatures (JWS, RFC 7515) and encryption (JWE, RFC 7516), by WebCrypto and jose.
 *
 * Guarantee: no token chooses its algorithm or its key, claims of time are checked unless the payload is asked for
 * as mere data, and a fault says nothing of the content or the key.
 * Accepted weakness: a token is not single-use; whoever needs that remembers its `jti`.
 */

import * as v from 'valibot';
import { decode, encode } from './formats/bytes.ts';
import { connection, openKeys, sharedKey, type KeyContext, type KeyUse } from './keys.ts';
import { defineAction } from '../kit/types.ts';
import { canonicalJson } from '../../core/chain/canonical.ts';
import { parseJson } from '../../core/data/exact-json.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { fits, isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';

const HASHES = { 'sha-256': 'SHA-256', 'sha-384': 'SHA-384', 'sha-512': 'SHA-512' } as const;
const output = v.optional(v.picklist(['hex', 'base64', 'base64url']), 'hex');
const value = v.pipe(v.unknown(), v.description('A text as it is, anything else as JSON.'));
const hashed = {
  value: v.pipe(v.unknown(), v.description('A text as it is, anything else as canonical JSON (RFC 8785).')),
  encoding: v.optional(
    v.pipe(
      v.picklist(['utf8', 'base64', 'base64url', 'hex']),
      v.description('What bytes the text of `value` stands for.'),
    ),
    'utf8',
  ),
  output,
};

function bytesToHash(
  given: unknown,
  encoding: 'utf8' | 'base64' | 'base64url' | 'hex',
): Result<Uint8Array<ArrayBuffer>> {
  const text = typeof given === 'string' ? given : canonicalJson(given ?? null);
  if (!fits(text, LIMITS.dataBytes)) return fail('data.too-large', `value: More than ${LIMITS.dataBytes} bytes.`);
  if (encoding === 'utf8') return ok(new Uint8Array(new TextEncoder().encode(text)));
  const bytes = decode(text, encoding);
  return bytes === undefined ? fail('data.malformed', `value: Is not ${encoding}.`) : ok(bytes);
}

const hash = defineAction({
  title: 'Hash a value',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    ...hashed,
    algorithm: v.optional(v.picklist(['sha-256', 'sha-384', 'sha-512']), 'sha-256'),
  }),
  example: { value: 'hello', algorithm: 'sha-256', output: 'base64' },
  async run({ value: given, encoding, algorithm, output: form }) {
    const bytes = bytesToHash(given, encoding);
    if (!bytes.ok) return bytes;
    return ok(encode(new Uint8Array(await crypto.subtle.digest(HASHES[algorithm], bytes.value)), form));
  },
});

const hmac = defineAction(
  {
    title: 'Compute an HMAC with the key of a connection',
    effect: 'idempotent',
    params: v.strictObject(hashed),
    example: { value: 'hello', output: 'base64' },
    async run({ value: given, encoding, output: form }, { connection: { settings, secrets } }) {
      const [, bits] = /^HS(\d+)$/.exec(settings.algorithm) ?? [];
      if (bits === undefined)
        return fail('connection.invalid', 'The key of the connection must be for HS256, HS384 or HS512.');
      const key = sharedKey(secrets.key, settings.encoding, Number(bits) / 8, settings.algorithm);
      if (!key.ok) return key;
      const bytes = bytesToHash(given, encoding);
      if (!bytes.ok) return bytes;
      const algorithm = { name: 'HMAC', hash: `SHA-${bits}` };
      const imported = await crypto.subtle.importKey('raw', key.value, algorithm, false, ['sign']);
      return ok(encode(new Uint8Array(await crypto.subtle.sign('HMAC', imported, bytes.value)), form));
    },
  },
  connection,
);

function bytesOfValue(given: unknown, field: string): Result<Uint8Array> {
  const text = typeof given === 'string' ? given : (JSON.stringify(given) ?? 'null');
  if (!fits(text, LIMITS.dataTokenBytes)) {
    return fail('data.too-large', `${field}: More than ${LIMITS.dataTokenBytes} bytes.`);
  }
  return ok(new TextEncoder().encode(text));
}

function valueOfBytes(bytes: Uint8Array, parse: 'json' | 'text'): Result<unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail('data.malformed', 'token: What it holds is no text in UTF-8.');
  }
  if (parse === 'text') return ok(text);
  const parsed = parseJson(text);
  return parsed.ok ? parsed : fail('data.malformed', 'token: What it holds is not JSON; read it with `parse: "text"`.');
}

const sign = defineAction(
  {
    title: 'Sign a value as a JWS, or claims as a JWT',
    effect: 'idempotent',
    params: v.strictObject({
      value,
      type: v.optional(v.pipe(v.string(), v.minLength(1), v.description('`typ` of the header, e.g. `JWT`.'))),
      expiresInSeconds: v.optional(
        v.pipe(v.number(), v.integer(), v.minValue(1), v.description('Adds the claims `iat` and `exp` to an object.')),
      ),
    }),
    example: { value: { sub: 'customer-7' }, type: 'JWT', expiresInSeconds: 300 },
    async run({ value: given, type, expiresInSeconds }, context) {
      let payload = given;
      if (expiresInSeconds !== undefined) {
        if (!isObject(given)) return fail('step.params', 'expiresInSeconds: Only an object can hold the claim `exp`.');
        const now = Math.floor(context.now() / 1_000);
        payload = { ...given, iat: now, exp: now + expiresInSeconds };
      }
      const bytes = bytesOfValue(payload, 'value');
      if (!bytes.ok) return bytes;
      const keys = await openKeys(context, 'sign');
      if (!keys.ok) return keys;
      const { CompactSign } = await import('jose');
      const header = { ...headerOf(context), ...(type === undefined ? {} : { typ: type }) };
      return withKeys(keys.value, 'sign', (key) => new CompactSign(bytes.value).setProtectedHeader(header).sign(key));
    },
  },
  connection,
);

const headerOf = ({ connection: { settings } }: KeyContext) => ({
  alg: settings.algorithm,
  ...(settings.keyId === undefined ? {} : { kid: settings.keyId }),
});

type Keys = Extract<Awaited<ReturnType<typeof openKeys>>, { ok: true }>['value'];

/** What the first of the keys gives that can do it. */
async function withKeys<T>(keys: Keys, use: KeyUse, attempt: (key: Keys[number]) => Promise<T>): Promise<Result<T>> {
  for (const key of keys) {
    try {
      return ok(await attempt(key));
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
      // Another key changes nothing about claims, or about a token that is none.
      if (code === 'ERR_JWT_EXPIRED') return fail('data.unverified', 'token: Has expired.');
      if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') {
        const claim = thrown instanceof Error && 'claim' in thrown ? String(thrown.claim) : 'a claim';
        return fail('data.unverified', `token: Is not valid here: its claim \`${claim}\` is missing or another.`);
      }
    }
  }
  if (use === 'sign' || use === 'encrypt')
    return fail('connection.invalid', `The key of the connection cannot ${use}.`);
  const done = use === 'verify' ? 'verified' : 'decrypted';
  return fail('data.unverified', `token: Cannot be ${done} with the algorithm and the keys of the connection.`);
}

const token = v.pipe(v.string(), v.maxLength(2 * LIMITS.dataTokenBytes));

const verify = defineAction(
  {
    title: 'Verify a JWS or JWT',
    effect: 'idempotent',
    params: v.strictObject({
      token,
      parse: v.optional(
        v.pipe(
          v.picklist(['claims', 'json', 'text']),
          v.description('`claims` checks `exp` and `nbf`, too; `json` and `text` take the payload as mere data.'),
        ),
        'claims',
      ),
      issuer: v.optional(v.pipe(v.string(), v.description('What `iss` must be; only with `claims`.'))),
      audience: v.optional(v.pipe(v.string(), v.description('What `aud` must be or hold; only with `claims`.'))),
    }),
    example: { token: '{{ input.token }}', issuer: 'https://login.example' },
    async run({ token: given, parse, issuer, audience }, context) {
      if (parse !== 'claims' && (issuer !== undefined || audience !== undefined)) {
        return fail('step.params', 'parse: Must be `claims`, so that `issuer` and `audience` can be checked.');
      }
      const keys = await openKeys(context, 'verify');
      if (!keys.ok) return keys;
      const { compactVerify, jwtVerify } = await import('jose');
      const algorithms = [context.connection.settings.algorithm];
      if (parse === 'claims') {
        const claims = {
          ...(issuer === undefined ? {} : { issuer }),
          ...(audience === undefined ? {} : { audience }),
        };
        const checks = { algorithms, currentDate: new Date(context.now()), ...claims };
        return withKeys(keys.value, 'verify', async (key) => {
          const { payload, protectedHeader } = await jwtVerify(given, key, checks);
          return { value: payload, header: protectedHeader };
        });
      }
      const verified = await withKeys(keys.value, 'verify', (key) => compactVerify(given, key, { algorithms }));
      if (!verified.ok) return verified;
      const payload = valueOfBytes(verified.value.payload, parse);
      return payload.ok ? ok({ value: payload.value, header: verified.value.protectedHeader }) : payload;
    },
  },
  connection,
);

const encrypt = defineAction(
  {
    title: 'Encrypt a value as a JWE',
    effect: 'idempotent',
    params: v.strictObject({ value }),
    example: { value: { card: '4242' } },
    async run({ value: given }, context) {
      const bytes = bytesOfValue(given, 'value');
      if (!bytes.ok) return bytes;
      const keys = await openKeys(context, 'encrypt');
      if (!keys.ok) return keys;
      const { CompactEncrypt } = await import('jose');
      const header = { ...headerOf(context), enc: 'A256GCM' };
      return withKeys(keys.value, 'encrypt', (key) =>
        new CompactEncrypt(bytes.value).setProtectedHeader(header).encrypt(key),
      );
    },
  },
  connection,
);

const decrypt = defineAction(
  {
    title: 'Decrypt a JWE',
    effect: 'idempotent',
    params: v.strictObject({ token, parse: v.optional(v.picklist(['json', 'text']), 'json') }),
    example: { token: '{{ input.token }}' },
    async run({ token: given, parse }, context) {
      const keys = await openKeys(context, 'decrypt');
      if (!keys.ok) return keys;
      const { compactDecrypt } = await import('jose');
      const options = {
        keyManagementAlgorithms: [context.connection.settings.algorithm],
        contentEncryptionAlgorithms: ['A256GCM', 'A128GCM', 'A256CBC-HS512', 'A128CBC-HS256'],
        maxDecompressedLength: LIMITS.dataTokenBytes,
      };
      const opened = await withKeys(keys.value, 'decrypt', (key) => compactDecrypt(given, key, options));
      if (!opened.ok) return opened;
      const plain = valueOfBytes(opened.value.plaintext, parse);
      return plain.ok ? ok({ value: plain.value, header: opened.value.protectedHeader }) : plain;
    },
  },
  connection,
);

export const tokenActions = { hash, hmac, sign, verify, encrypt, decrypt };
