import { createHmac, generateKeyPairSync } from 'node:crypto';
import { CompactEncrypt, CompactSign, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { NOW_MILLISECONDS, outputOf, refusal, run, type Credentials } from './support.ts';

const SECRET = 'canary-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789';
const OTHER = SECRET.toUpperCase();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const keys = (algorithm: string, key: string, more: object = {}): Credentials => ({
  settings: { algorithm, encoding: 'utf8', ...more },
  secrets: { key },
});
const shared = keys('HS256', SECRET);
function pair(type: 'rsa' | 'ec' | 'ed25519'): { readonly privateKey: string; readonly publicKey: string } {
  const made =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519');
  return {
    privateKey: made.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: made.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

describe('data.hash', () => {
  test('gives the published digests', async () => {
    expect(await outputOf('hash', { value: 'abc', encoding: 'utf8', algorithm: 'sha-256', output: 'hex' })).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(await outputOf('hash', { value: 'YWJj', encoding: 'base64', algorithm: 'sha-512', output: 'base64' })).toBe(
      '3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==',
    );
  });

  test('does not depend on the order of members', async () => {
    expect(await outputOf('hash', { value: { a: 1, b: 2 } })).toBe(await outputOf('hash', { value: { b: 2, a: 1 } }));
    expect(await outputOf('hash', { value: { a: 1 } })).not.toBe(await outputOf('hash', { value: { a: '1' } }));
  });

  test('refuses what is not of the encoding that it names', async () => {
    await refusal('hash', { value: 'abc', encoding: 'hex' }, 'data.malformed', /^value: Is not hex/);
  });
});

describe('data.hmac', () => {
  test('is that of RFC 4231, and of another implementation', async () => {
    const long = keys('HS256', 'aa'.repeat(131), { encoding: 'hex' });
    const value = 'Test Using Larger Than Block-Size Key - Hash Key First';
    expect(await outputOf('hmac', { value }, long)).toBe(
      '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    );
    const expected = createHmac('sha512', SECRET).update('x').digest('base64url');
    expect(await outputOf('hmac', { value: 'x', output: 'base64url' }, keys('HS512', SECRET))).toBe(expected);
  });

  test('refuses a key that is short or for something else', async () => {
    await refusal('hmac', { value: 'x' }, 'connection.invalid', /has 5 bytes; HS256 takes 32/, keys('HS256', 'short'));
    await refusal('hmac', { value: 'x' }, 'connection.invalid', /must be for HS256/, keys('RS256', SECRET));
  });
});

describe('data.sign and data.verify', () => {
  const token = async (value: unknown, credentials = shared, more: object = {}) =>
    String(await outputOf('sign', { value, ...more }, credentials));
  const refused = (given: string, message: RegExp, credentials = shared, more: object = {}) =>
    refusal('verify', { token: given, ...more }, 'data.unverified', message, credentials);

  test.each([
    ['RS256', 'rsa'],
    ['PS512', 'rsa'],
    ['ES256', 'ec'],
    ['EdDSA', 'ed25519'],
  ] as const)('%s signs with the private key and verifies with either', async (algorithm, type) => {
    const { privateKey, publicKey } = pair(type);
    const signed = await token({ sub: 'a' }, keys(algorithm, privateKey, { keyId: 'k1' }));
    for (const key of [privateKey, publicKey]) {
      expect(await outputOf('verify', { token: signed }, keys(algorithm, key))).toEqual({
        value: { sub: 'a' },
        header: { alg: algorithm, kid: 'k1' },
      });
    }
    await refusal('sign', { value: 1 }, 'connection.invalid', /public one; to sign/, keys(algorithm, publicKey));
    await refused(signed, /Cannot be verified/, keys(algorithm, pair(type).publicKey));
  });

  test('the token of RFC 7515, A.1, is verified', async () => {
    const credentials = keys(
      'HS256',
      'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow',
      { encoding: 'base64url' },
    );
    const given =
      'eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
    expect(await outputOf('verify', { token: given, parse: 'json' }, credentials)).toMatchObject({
      value: { iss: 'joe' },
    });
    await refused(given, /expired/, credentials);
  });

  test('claims of time, issuer and audience are held to', async () => {
    const signed = await token({ iss: 'me', aud: ['you'] }, shared, { expiresInSeconds: 60, type: 'JWT' });
    const now = NOW_MILLISECONDS / 1_000;
    expect(await outputOf('verify', { token: signed, issuer: 'me', audience: 'you' }, shared)).toEqual({
      value: { iss: 'me', aud: ['you'], iat: now, exp: now + 60 },
      header: { alg: 'HS256', typ: 'JWT' },
    });
    await refused(signed, /claim `iss`/, shared, { issuer: 'them' });
    await refused(signed, /claim `aud`/, shared, { audience: 'them' });
    await refused(await token({ exp: now - 1 }), /expired/);
    await refused(await token({ nbf: now + 60 }), /claim `nbf`/);
    await refused(await token({}), /claim `iss`/, shared, { issuer: 'me' });
    await refusal('verify', { token: signed, parse: 'text', issuer: 'me' }, 'step.params', /^parse: /, shared);
    await refusal('sign', { value: 'x', expiresInSeconds: 1 }, 'step.params', /^expiresInSeconds: /, shared);
  });

  test('a token cannot choose its algorithm', async () => {
    const { publicKey, privateKey } = pair('rsa');
    const rsa = keys('RS256', publicKey);
    // The classic confusion: the public key as the secret of an HMAC.
    await refused(await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).sign(bytes(publicKey)), /Cannot be/, rsa);
    await refused(new UnsecuredJWT({}).encode(), /Cannot be/, rsa);
    await refused(await token({}, keys('PS256', privateKey)), /Cannot be/, rsa);
    await refused(await token({}, keys('HS512', SECRET)), /Cannot be/);
    const critical = new CompactSign(bytes('{}')).setProtectedHeader({ alg: 'HS256', crit: ['x'], x: 1 });
    await refused(await critical.sign(bytes(SECRET), { crit: { x: true } }), /Cannot be/);
  });

  test.each(['', 'a.b', 'a.b.c', 'a.b.c.d.e', '..', '💥'])('%j is no token', async (given) => {
    await refused(given, /Cannot be verified/);
  });

  test('a change of any part is found out', async () => {
    const signed = await token({ a: 1 });
    const parts = signed.split('.');
    for (const index of [0, 1, 2]) {
      const changed = parts.map((part, at) =>
        at === index ? `${part.startsWith('A') ? 'B' : 'A'}${part.slice(1)}` : part,
      );
      await refused(changed.join('.'), /Cannot be verified/);
    }
  });

  test('a previous key still verifies, and signs no more', async () => {
    const old = await token({ a: 1 });
    const rotated: Credentials = { ...shared, secrets: { key: OTHER, previousKeys: [SECRET] } };
    expect(await outputOf('verify', { token: old }, rotated)).toMatchObject({ value: { a: 1 } });
    await refused(await token({ a: 1 }, rotated), /Cannot be verified/);
  });

  test('a text is a payload, too', async () => {
    expect(await outputOf('verify', { token: await token('hello'), parse: 'text' }, shared)).toMatchObject({
      value: 'hello',
    });
    await refusal('verify', { token: await token('x'), parse: 'json' }, 'data.malformed', /not JSON/, shared);
  });

  test('what is too large is refused', async () => {
    await refusal('sign', { value: 'x'.repeat(1024 * 1024 + 1) }, 'data.too-large', /^value: /, shared);
  });
});

describe('data.encrypt and data.decrypt', () => {
  const direct = keys('dir', SECRET.slice(0, 32));
  const value = { card: '4242', name: 'Ü' };

  test.each(['dir', 'A256KW', 'A256GCMKW'])('%s keeps a value secret and gives it back', async (algorithm) => {
    const credentials = keys(algorithm, SECRET.slice(0, 32));
    const token = String(await outputOf('encrypt', { value }, credentials));
    expect(Buffer.from(token, 'base64').toString('latin1')).not.toContain('4242');
    expect(await outputOf('encrypt', { value }, credentials)).not.toBe(token);
    expect(await outputOf('decrypt', { token }, credentials)).toMatchObject({ value });
  });

  test.each([
    ['RSA-OAEP-256', 'rsa'],
    ['ECDH-ES', 'ec'],
  ] as const)('%s encrypts with the public key and decrypts with the private one', async (algorithm, type) => {
    const { privateKey, publicKey } = pair(type);
    const token = await outputOf('encrypt', { value }, keys(algorithm, publicKey));
    expect(await outputOf('decrypt', { token }, keys(algorithm, privateKey))).toMatchObject({ value });
    await refusal('decrypt', { token }, 'connection.invalid', /public one; to decrypt/, keys(algorithm, publicKey));
  });

  test('a token of another algorithm, another key or with a change is refused', async () => {
    const refused = (token: string, credentials = direct) =>
      refusal('decrypt', { token }, 'data.unverified', /Cannot be decrypted/, credentials);
    const token = String(await outputOf('encrypt', { value }, direct));
    await refused(token, keys('dir', OTHER.slice(0, 32)));
    await refused(token, keys('A256KW', SECRET.slice(0, 32)));
    await refused(`${token.slice(0, -4)}AAAA`);
    await refused('a.b.c.d.e');
    const password = new CompactEncrypt(bytes('x')).setProtectedHeader({ alg: 'PBES2-HS256+A128KW', enc: 'A256GCM' });
    await refused(await password.encrypt(bytes(SECRET)));
  });

  test('a compressed token that would unpack without measure is refused', async () => {
    const bomb = new CompactEncrypt(new Uint8Array(8 * 1024 * 1024)).setProtectedHeader({
      alg: 'dir',
      enc: 'A256GCM',
      zip: 'DEF',
    });
    const token = await bomb.encrypt(bytes(SECRET.slice(0, 32)));
    expect(token.length).toBeLessThan(50_000);
    await refusal('decrypt', { token }, 'data.unverified', /Cannot be decrypted/, direct);
  });
});

test('a key for one thing does not do another', async () => {
  await refusal('encrypt', { value: 1 }, 'connection.invalid', /HS256, which does not encrypt/, shared);
  await refusal(
    'sign',
    { value: 1 },
    'connection.invalid',
    /dir, which does not sign/,
    keys('dir', SECRET.slice(0, 32)),
  );
});

test('no fault holds a key', async () => {
  const wrong: Credentials[] = [
    keys('RS256', SECRET),
    keys('RS256', JSON.stringify({ kty: 'RSA', n: SECRET, d: SECRET })),
    keys('ES256', `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`),
    keys('HS256', `${SECRET}!`, { encoding: 'hex' }),
    keys('HS256', SECRET.slice(0, 8)),
    keys('A256KW', SECRET),
  ];
  for (const credentials of wrong) {
    for (const [action, params] of [
      ['sign', { value: 'x' }],
      ['verify', { token: 'a.b.c' }],
      ['encrypt', { value: 'x' }],
      ['decrypt', { token: 'a.b.c.d.e' }],
      ['hmac', { value: 'x' }],
    ] as const) {
      const result = await run(action, params, credentials);
      if (result.ok) throw new Error(`${action} took a wrong key.`);
      expect(`${JSON.stringify(result.fault)} ${String(result.fault.detail)}`).not.toContain('canary');
    }
  }
});
