/** Every scheme against requests that were signed without it, and every mutation of them. */

import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { rootCertificates } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { certificateOf } from './certificate.ts';
import { SAMPLES, sampleOf, type Sample } from './samples.ts';
import {
  bytes,
  check,
  expectAccepted,
  expectRefused,
  headerMutations,
  mutationsOf,
  NOW,
  signatureScheme,
  source,
} from './support.ts';
import { schemeNames } from '../../../src/core/webhook/index.ts';
import { ecdsaFromDer, publicKeyOfCertificate } from '../../../src/core/webhook/der.ts';
import { valuesAt } from '../../../src/core/webhook/request.ts';

test('there are at least 45 vendors, and a sample of each scheme', () => {
  expect(schemeNames.length).toBeGreaterThanOrEqual(48);
  expect(Object.keys(SAMPLES).sort()).toEqual([...schemeNames].sort());
});

describe.each(schemeNames)('%s', (scheme) => {
  const sample = sampleOf(scheme);

  test('accepts what its vendor sends', async () => {
    await expectAccepted(check(await source(scheme), sample));
  });

  test('refuses every change of a header that proves something', async () => {
    const prepared = await source(scheme);
    const unsigned = ['x-amz-sns-message-type', 'X-Goog-Resource-State', 'X-Goog-Channel-ID', 'X-Goog-Message-Number'];
    for (const [name, value] of Object.entries(sample.headers)) {
      if (unsigned.includes(name)) continue;
      for (const mutated of headerMutations(value)) {
        const headers = { ...sample.headers, [name]: mutated };
        const result = await check(prepared, sample, { headers });
        expect(result.ok, `${name}: ${mutated}`).toBe(false);
      }
    }
  });

  test.skipIf(sample.proves === 'nothing')('refuses every change of the body', async () => {
    const prepared = await source(scheme);
    for (const mutated of mutationsOf(bytes(sample.body))) {
      const result = await check(prepared, sample, { body: mutated });
      if (result.ok && sample.inBody !== undefined && sameMembers(mutated, sample)) continue;
      expect(result.ok, Buffer.from(mutated).toString()).toBe(false);
    }
  });

  test.skipIf(sample.inBody === undefined)('refuses every change of what proves it in the body', async () => {
    const prepared = await source(scheme);
    const proof = sample.inBody ?? '';
    for (const mutated of mutationsOf(bytes(proof))) {
      const text = JSON.stringify(Buffer.from(mutated).toString('latin1')).slice(1, -1);
      await expectRefused(check(prepared, sample, { body: sample.body.replace(proof, () => text) }), /./);
    }
  });

  test('refuses another secret', async () => {
    const { secret } = sample;
    if (secret === undefined) return;
    const other = /^[0-9a-f]{64}$/i.test(secret)
      ? '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'
      : scheme === 'sendgrid'
        ? 'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=='
        : 'b3RoZXIgc2VjcmV0IG9mIHRoZSB2ZW5kb3I=';
    const result = await check(await source(scheme, [other]), sample);
    expect(result.ok).toBe(false);
  });
});

/** Whether all that the sender signs of the body is as it was; blanks and other members may differ. */
function sameMembers(mutated: Uint8Array, sample: Sample): boolean {
  const signedOf = (text: string): string => {
    const body = JSON.parse(text) as Record<string, unknown>;
    const [item] = valuesAt(body, 'notificationItems.0.NotificationRequestItem');
    const { SignatureVersion, SigningCertURL, ...signed } = body;
    if (item === undefined) return JSON.stringify([SignatureVersion, SigningCertURL, signed]);
    const paths = ['additionalData.hmacSignature', 'pspReference', 'originalReference', 'merchantAccountCode'];
    const more = ['merchantReference', 'amount.value', 'amount.currency', 'eventCode', 'success'];
    return JSON.stringify([...paths, ...more].map((path) => valuesAt(item, path)[0] ?? ''));
  };
  return signedOf(Buffer.from(mutated).toString()) === signedOf(sample.body);
}

describe('what stands in a query is proven, too', () => {
  test.each(['shopify-oauth', 'shopify-proxy', 'mailchimp'])('%s', async (scheme) => {
    const sample = sampleOf(scheme);
    const prepared = await source(scheme);
    const [base = '', query = ''] = (sample.url ?? '').split('?');
    const proven = scheme === 'mailchimp' ? query.slice(query.indexOf('secret=')) : query;
    const rest = query.slice(0, query.length - proven.length);
    for (const mutated of mutationsOf(bytes(proven))) {
      const text = Buffer.from(mutated).toString('latin1');
      // A fragment is never sent, and other escapes of the same fields are the same query.
      if (text.includes('#') || sameFields(text, proven) || text.endsWith('&')) continue;
      expect((await check(prepared, sample, { url: `${base}?${rest}${text}` })).ok, text).toBe(false);
    }
  });

  const sameFields = (left: string, right: string): boolean =>
    new URLSearchParams(left).toString() === new URLSearchParams(right).toString();

  test.each(['twilio', 'mandrill', 'square', 'trello', 'hubspot', 'jira-connect'])(
    '%s signs the URL that was given',
    async (scheme) => {
      const sample = sampleOf(scheme);
      const prepared = await source(scheme);
      for (const url of ['https://gate.example.com/hooks/shop?a=2', 'https://gate.example.com/hooks/shop2?a=1']) {
        expect((await check(prepared, sample, { url })).ok, url).toBe(false);
      }
    },
  );

  test.each(['hubspot', 'jira-connect'])('%s signs the method', async (scheme) => {
    expect((await check(await source(scheme), sampleOf(scheme), { method: 'PUT' })).ok).toBe(false);
  });
});

describe('time and body cannot trade characters under one signature', () => {
  const timedSchemes = ['sendgrid', 'discord', 'zendesk', 'klaviyo', 'box', 'hubspot'];
  test.each(timedSchemes)('%s', async (scheme) => {
    const sample = sampleOf(scheme);
    const prepared = await source(scheme);
    const { timestamp } = signatureScheme(prepared);
    if (timestamp === undefined || !('headers' in timestamp.from)) throw new Error('no header');
    const [name = ''] = timestamp.from.headers;
    const time = sample.headers[name] ?? '';
    const { body } = sample;
    const trades: [string, string][] = [
      [time + body.slice(0, 1), body.slice(1)],
      [time.slice(0, -1), time.slice(-1) + body],
      [body.slice(-1) + time, body.slice(0, -1)],
      [time.slice(1), body + time.slice(0, 1)],
    ];
    for (const [traded, rest] of trades) {
      await expectRefused(
        check(prepared, sample, { headers: { ...sample.headers, [name]: traded }, body: rest }),
        /malformed|match/,
      );
    }
  });

  test.each(['square', 'hubspot'])('nor can URL and body of %s', async (scheme) => {
    const sample = sampleOf(scheme);
    const url = `https://gate.example.com/hooks/shop?a=1${sample.body.slice(0, 1)}`;
    await expectRefused(check(await source(scheme), sample, { url, body: sample.body.slice(1) }), /match/);
  });
});

describe('the one comparison', () => {
  const folder = resolve(import.meta.dirname, '../../../src/core/webhook');
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));

  test('no secret, signature or hash is compared by anything else', () => {
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      const text = readFileSync(resolve(folder, file), 'utf8');
      const compared =
        /(?:signature|secret|candidate|expected|digest|\bhash\b|\bmac\b)\w*(?:\([^)]*\))?\s*[!=]==(?!\s*(?:undefined|'|"|\d))/gi;
      const reversed = /[!=]==\s*(?:await\s+)?(?:this\.)?(?:signature|secret|candidate|expected|digest|hash|mac)\b/gi;
      // Lengths are public, and this is the comparison itself.
      const lines = text.split('\n').filter((line) => !line.includes('candidate.length !== expected.length'));
      for (const line of lines) {
        expect(line.match(compared), `${file}: ${line}`).toBeNull();
        expect(line.match(reversed), `${file}: ${line}`).toBeNull();
      }
    }
  });

  test('it looks at every character, wherever the difference is', () => {
    const text = readFileSync(resolve(folder, 'encoding.ts'), 'utf8');
    const body = /export function equalInConstantTime[^{]*\{([\s\S]*?)\n\}/.exec(text)?.[1] ?? '';
    expect(body).toContain('difference |=');
    expect(body.match(/return/g)).toHaveLength(2);
    expect(body).not.toMatch(/break|continue/);
  });
});

describe('certificates and DER', () => {
  test('the key of a certificate is the one that node:crypto finds', () => {
    expect(rootCertificates.length).toBeGreaterThan(50);
    for (const pem of rootCertificates) {
      const expected = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
      const found = publicKeyOfCertificate(pem);
      // Keys are written anew by the export, so a few differ in the spelling of their algorithm.
      if (found?.length === expected.length) expect(Buffer.from(found).equals(expected)).toBe(true);
      else expect(found).toBeDefined();
    }
  });

  test.each([
    '',
    'no certificate',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    '-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----',
  ])('what is no certificate has no key: %j', (pem) => {
    expect(publicKeyOfCertificate(pem)).toBeUndefined();
  });

  test('a certificate that is cut off anywhere has no key and throws nothing', () => {
    const pem = certificateOf(Buffer.from([0x30, 2, 5, 0]));
    const base64 = pem.split('\n').slice(1, -2).join('');
    const whole = Buffer.from(base64, 'base64');
    for (let length = 0; length < whole.length; length++) {
      const cut = whole.subarray(0, length).toString('base64');
      expect(publicKeyOfCertificate(`-----BEGIN CERTIFICATE-----\n${cut}\n-----END CERTIFICATE-----`)).toBeUndefined();
    }
  });

  test.each([
    ['30060201010201ff', 'a negative integer'],
    ['3007020200010201 01', 'a zero that is not needed'],
    ['30060201010201', 'cut off'],
    ['3006020101020101 00', 'more behind it'],
    ['308106020101020101', 'a length that is not the shortest'],
    ['30800201010201010000', 'an indefinite length'],
    ['3003020101', 'one integer'],
    ['3009020101020101020101', 'three integers'],
    ['300602010102 0401020304', 'a length that leads out'],
    ['3004 0200 0200', 'empty integers'],
  ])('an ECDSA signature %s (%s) is malformed', (hex) => {
    expect(ecdsaFromDer(Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')), 32)).toBeUndefined();
  });

  test('an integer longer than the curve is malformed', () => {
    const long = Buffer.from(`3026020101 0221 ${'01'.repeat(33)}`.replaceAll(' ', ''), 'hex');
    expect(ecdsaFromDer(Uint8Array.from(long), 32)).toBeUndefined();
  });
});

test('times far from now are accepted only where the vendor states no window', async () => {
  const stateless: string[] = [];
  for (const scheme of schemeNames) {
    const result = await check(await source(scheme), sampleOf(scheme), { nowMilliseconds: NOW + 3_600_000 });
    if (result.ok) stateless.push(scheme);
  }
  expect(stateless.filter((name) => name.startsWith('google-') && name !== 'google-channel')).toEqual([]);
  for (const scheme of ['stripe', 'slack', 'hubspot', 'box', 'plaid', 'linear', 'webflow', 'jwt', 'shopify-oauth']) {
    expect(stateless).not.toContain(scheme);
  }
});
