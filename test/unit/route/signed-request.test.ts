import { expect, test } from 'vitest';
import {
  readContentDigest,
  readMessageSignature,
  readSimpleSignature,
  untimely,
  type SignedParts,
} from '../../../src/core/route/signed-request.ts';

const parts = (headers: Record<string, string>, more: Partial<SignedParts> = {}): SignedParts => ({
  method: 'POST',
  url: 'https://example.com/foo',
  headers: new Headers(headers),
  hasBody: false,
  ...more,
});

/** RFC 9421, appendix B.2.6. */
const VECTOR = {
  date: 'Tue, 20 Apr 2021 02:07:55 GMT',
  'content-type': 'application/json',
  'content-length': '18',
  'signature-input':
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
  signature: 'sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:',
};
const PUBLIC_KEY = 'JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs';

test('the text that is signed is that of the vector of RFC 9421, B.2.6', async () => {
  const read = readMessageSignature(parts(VECTOR));
  if (!read?.ok) throw new Error(read?.fault.message);
  const { base, signature, keyId, createdSeconds } = read.value;
  expect([keyId, createdSeconds]).toEqual(['test-key-ed25519', 1_618_884_473]);
  const key = await crypto.subtle.importKey('raw', Buffer.from(PUBLIC_KEY, 'base64url'), 'Ed25519', false, ['verify']);
  const verify = (text: string) =>
    crypto.subtle.verify('Ed25519', key, Buffer.from(signature, 'base64'), Buffer.from(text));
  expect(await verify(base)).toBe(true);
  expect(await verify(base.replace('POST', 'PUT'))).toBe(false);
});

test('without a header of a signature there is none to judge', () => {
  expect(readMessageSignature(parts({}))).toBeUndefined();
  expect(readSimpleSignature(parts({}))).toBeUndefined();
});

const input = (items: string, params = ';created=1;keyid="k"') => ({
  'signature-input': `sig=(${items})${params}`,
  signature: 'sig=:AAAA:',
});
const WHOLE = '"@method" "@target-uri"';

test.each([
  ['leaves out the method', input('"@target-uri"'), {}],
  ['leaves out the host', input('"@method" "@path"'), {}],
  ['leaves out the path', input('"@method" "@authority"'), {}],
  ['leaves out the query', input('"@method" "@authority" "@path"'), { url: 'https://example.com/foo?admin=1' }],
  ['leaves out the body', input(WHOLE), { hasBody: true }],
  ['covers nothing', input(''), {}],
  ['covers a header that is not there', input(`${WHOLE} "x-absent"`), {}],
  ['covers a component twice', input(`${WHOLE} "@method"`), {}],
  ['covers a component with parameters', input(`${WHOLE} "@path";req`), {}],
  ['covers one that is not known', input(`${WHOLE} "@status"`), {}],
  ['covers one named by a prototype', input(`${WHOLE} "constructor"`), {}],
  ['has no time', input(WHOLE, ';keyid="k"'), {}],
  ['has no key', input(WHOLE, ';created=1'), {}],
  ['has a parameter twice', input(WHOLE, ';created=1;created=9;keyid="k"'), {}],
  ['has a time that is no number', input(WHOLE, ';created=1e9;keyid="k"'), {}],
  ['has another label', { ...input(WHOLE), signature: 'other=:AAAA:' }, {}],
  ['is one of two', { ...input(WHOLE), signature: 'sig=:AAAA:, sig2=:AAAA:' }, {}],
  ['is no base64', { ...input(WHOLE), signature: 'sig=:A?AA:' }, {}],
  ['is missing', { 'signature-input': 'sig=("@method");created=1;keyid="k"' }, {}],
  ['has no input', { signature: 'sig=:AAAA:' }, {}],
  ['is as long as a book', { ...input(WHOLE), signature: `sig=:${'A'.repeat(5_000)}:` }, {}],
])('a signature that %s is refused', (_what, headers, more) => {
  const read = readMessageSignature(parts(headers, more));
  expect(read?.ok).toBe(false);
});

test('a pattern of an attacker does not hold up the reader', () => {
  const startedAt = performance.now();
  readMessageSignature(parts(input(`${'"a" '.repeat(700)}"`)));
  readMessageSignature(parts(input(WHOLE, `${';a="'.repeat(900)}`)));
  expect(performance.now() - startedAt).toBeLessThan(200);
});

const simple = { 'tidegate-key': 'k', 'tidegate-timestamp': '1700000000', 'tidegate-signature': 'a'.repeat(64) };

test('the simple form signs timestamp, method, path with query, and body, each on a line', () => {
  const read = readSimpleSignature(parts(simple, { url: 'https://example.com/a.b?c=d' }));
  expect(read).toMatchObject({ ok: true, value: { base: '1700000000\nPOST\n/a.b?c=d\n', signsBody: true } });
});

test.each([
  ['no key', { 'tidegate-key': '' }],
  ['no time', { 'tidegate-timestamp': '' }],
  ['a time that is none', { 'tidegate-timestamp': '1e9' }],
  ['a signature that is too short', { 'tidegate-signature': 'a'.repeat(62) }],
  ['a signature of odd length', { 'tidegate-signature': 'a'.repeat(63) }],
  ['a signature in capitals', { 'tidegate-signature': 'A'.repeat(64) }],
])('a simple signature with %s is refused', (_what, more) => {
  expect(readSimpleSignature(parts({ ...simple, ...more }))?.ok).toBe(false);
});

test('a signature counts within its window, not before and not after', () => {
  const read = readSimpleSignature(parts(simple));
  if (!read?.ok) throw new Error('unreadable');
  const at = (seconds: number) => untimely(read.value, 300_000, (1_700_000_000 + seconds) * 1000);
  expect([at(0), at(300), at(-300)]).toEqual([undefined, undefined, undefined]);
  expect(at(301)).toContain('too old');
  expect(at(-301)).toContain('future');
  expect(untimely({ ...read.value, expiresSeconds: 1_700_000_010 }, 300_000, 1_700_000_010_000)).toContain('expired');
});

test('a digest of the body is read where all of it is known', () => {
  expect(readContentDigest('sha-256=:AAAA:, sha-512=:BBBB:')).toHaveLength(2);
  for (const header of ['', 'md5=:AAAA:', 'sha-256=:AAAA:, md5=:AAAA:', 'sha-256=AAAA', 'SHA-256=:AAAA:']) {
    expect(readContentDigest(header)).toBeUndefined();
  }
});
