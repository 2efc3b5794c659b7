/** Keys that a request points at: whom they are asked of, how often, and what is made of the answer. */

import { describe, expect, test } from 'vitest';
import { certificateOf } from './certificate.ts';
import { jwt, p256, rsa, sampleOf, type Sample } from './samples.ts';
import { check, expectAccepted, expectRefused, NOW, source } from './support.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import type { Fetch } from '../../../src/core/webhook/request.ts';

/** The same answers, counted. */
function counting(sample: Sample): { fetch: Fetch; fetched: string[] } {
  const fetched: string[] = [];
  const fetch: Fetch = (url, init) => {
    fetched.push(url);
    expect(init?.redirect).toBe('manual');
    expect(init?.signal).toBeDefined();
    return sample.fetch?.(url, init) ?? Promise.reject(new Error());
  };
  return { fetch, fetched };
}

const unavailable = { ok: false, fault: { code: 'upstream.unavailable', retryable: true } };

describe.each(['sns', 'paypal', 'google-pubsub', 'plaid', 'jwt'])('the key of %s', (scheme) => {
  const sample = sampleOf(scheme);

  test('is fetched once, and again when it is old', async () => {
    const prepared = await source(scheme);
    const { fetch, fetched } = counting(sample);
    for (let times = 0; times < 3; times++) await expectAccepted(check(prepared, sample, { fetch }));
    expect(fetched).toHaveLength(1);
    // Some are too old themselves by then.
    await check(prepared, sample, { fetch, nowMilliseconds: NOW + LIMITS.webhookKeyMilliseconds + 1 });
    expect(fetched).toHaveLength(2);
  });

  test.each<[string, () => Promise<Response>]>([
    ['is not there', () => Promise.resolve(new Response('', { status: 404 }))],
    ['is elsewhere', () => Promise.resolve(new Response(null, { status: 302, headers: { location: 'https://x/' } }))],
    ['cannot be reached', () => Promise.reject(new Error('refused'))],
    ['is too large', () => Promise.resolve(new Response(' '.repeat(LIMITS.webhookKeyBytes + 1)))],
  ])('that %s proves nothing, and the sender may try again', async (_what, fetch) => {
    expect(await check(await source(scheme), sample, { fetch })).toMatchObject(unavailable);
  });

  test.each([
    '',
    'no key',
    '{}',
    '[]',
    '{"keys":[{}]}',
    '{"key":{"kty":"RSA"}}',
    certificateOf(Buffer.from([0x30, 0])),
  ])('that is none (%j) proves nothing', async (text) => {
    const result = await check(await source(scheme), sample, { fetch: () => Promise.resolve(new Response(text)) });
    expect(result.ok).toBe(false);
  });
});

describe('an address in a request', () => {
  const pem = 'https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem';
  test.each([
    'http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem',
    'https://sns.eu-central-1.amazonaws.com.evil.com/SimpleNotificationService-0123abcd.pem',
    'https://sns.eu-central-1.amazonaws.com@evil.com/SimpleNotificationService-0123abcd.pem',
    'https://evil.com/sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem',
    'https://sns.eu-central-1.amazonaws.com:444/SimpleNotificationService-0123abcd.pem',
    'https://sns.eu-central-1.amazonaws.com/?Action=GetTopicAttributes',
    'https://sns.eu-central-1.amazonaws.com/x/../evil.pem',
    'https://bucket.s3.amazonaws.com/SimpleNotificationService-0123abcd.pem',
    'https://user:pass@sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem',
  ])('of SNS is never fetched: %s', async (url) => {
    const sample = sampleOf('sns');
    const { fetch, fetched } = counting(sample);
    const body = sample.body.replace(pem, url);
    expect(body).toContain(url);
    await expectRefused(check(await source('sns'), sample, { body, fetch }), /not an address of the sender/);
    expect(fetched).toEqual([]);
  });

  test.each([
    'https://api.paypal.com.evil.com/v1/notifications/certs/CERT-1',
    'https://evilapi.paypal.com/v1/notifications/certs/CERT-1',
    'https://api.paypal.com/v1/oauth2/token',
    'https://api.paypal.com/v1/notifications/certs/../../x',
    'http://api.paypal.com/v1/notifications/certs/CERT-1',
  ])('of PayPal is never fetched: %s', async (url) => {
    const sample = sampleOf('paypal');
    const { fetch, fetched } = counting(sample);
    const headers = { ...sample.headers, 'PAYPAL-CERT-URL': url };
    await expectRefused(check(await source('paypal'), sample, { headers, fetch }), /not an address of the sender/);
    expect(fetched).toEqual([]);
  });

  test('that names many certificates is fetched so many times a minute, and the known one goes on', async () => {
    const sample = sampleOf('paypal');
    const prepared = await source('paypal');
    const { fetch, fetched } = counting(sample);
    await expectAccepted(check(prepared, sample, { fetch }));
    const at = (index: number) => ({
      ...sample.headers,
      'PAYPAL-CERT-URL': `https://api.paypal.com/v1/notifications/certs/CERT-${index}`,
    });
    for (let index = 0; index < 50; index++) {
      expect(await check(prepared, sample, { headers: at(index), fetch })).toMatchObject(unavailable);
    }
    expect(fetched).toHaveLength(LIMITS.webhookKeyFetchesPerMinute);
    await expectAccepted(check(prepared, sample, { fetch }));
    await check(prepared, sample, { headers: at(99), fetch, nowMilliseconds: NOW + 60_001 });
    expect(fetched).toHaveLength(LIMITS.webhookKeyFetchesPerMinute + 1);
  });
});

describe('key sets', () => {
  const claims = {
    iss: 'https://accounts.google.com',
    aud: 'https://gate.example.com/hooks/shop?a=1',
    email: 'push@project.iam.gserviceaccount.com',
    email_verified: true,
    exp: NOW / 1000 + 600,
  };
  const jwk = (kid: string) => ({ ...rsa.publicKey.export({ format: 'jwk' }), kid });

  test('are read anew for a key that is not in them', async () => {
    const prepared = await source('google-pubsub');
    const sample = sampleOf('google-pubsub');
    let keys = [jwk('g1')];
    const fetch: Fetch = () => Promise.resolve(Response.json({ keys }));
    await expectAccepted(check(prepared, sample, { fetch }));
    const rotated = { Authorization: `Bearer ${jwt({ alg: 'RS256', kid: 'g2' }, claims, rsa.privateKey)}` };
    await expectRefused(check(prepared, sample, { headers: rotated, fetch }), /not valid/);
    keys = [jwk('g1'), jwk('g2')];
    await expectAccepted(check(prepared, sample, { headers: rotated, fetch }));
  });

  test('are not asked again and again for keys that nobody has', async () => {
    const prepared = await source('google-pubsub');
    const sample = sampleOf('google-pubsub');
    const { fetch, fetched } = counting(sample);
    for (let index = 0; index < 50; index++) {
      const headers = { Authorization: `Bearer ${jwt({ alg: 'RS256', kid: `x${index}` }, claims, rsa.privateKey)}` };
      expect((await check(prepared, sample, { headers, fetch })).ok).toBe(false);
    }
    expect(fetched).toHaveLength(LIMITS.webhookKeyFetchesPerMinute);
    await expectAccepted(check(prepared, sample, { fetch }));
  });
});

describe('a key of Plaid', () => {
  const sample = sampleOf('plaid');

  test('that has expired proves nothing', async () => {
    const key = { ...p256.publicKey.export({ format: 'jwk' }), kid: 'p1', alg: 'ES256', expired_at: 1_560_466_143 };
    const fetch: Fetch = () => Promise.resolve(Response.json({ key }));
    expect(await check(await source('plaid'), sample, { fetch })).toMatchObject({
      fault: { code: 'upstream.invalid' },
    });
  });

  test('is not asked for by an id that could be anything else', async () => {
    const { fetch, fetched } = counting(sample);
    for (const kid of ['../x', 'a"b', '', 'x'.repeat(200), undefined]) {
      const headers = { 'Plaid-Verification': jwt({ alg: 'ES256', kid }, { iat: NOW / 1000 }, p256.privateKey) };
      await expectRefused(check(await source('plaid'), sample, { headers, fetch }), /not valid/);
    }
    expect(fetched).toEqual([]);
  });
});

test('the request hash of Atlassian covers a path below the base, and a query in any order', async () => {
  const sample = sampleOf('jira-connect');
  const prepared = await source('jira-connect', undefined, { clientKey: 'client-1', basePath: '/base' });
  const at = (url: string) => check(prepared, sample, { url });
  await expectAccepted(at('https://gate.example.com/base/hooks/shop?a=1'));
  await expectAccepted(at('https://gate.example.com/base/hooks/shop/?a=1&jwt=x'));
  await expectRefused(at('https://gate.example.com/hooks/shop?a=1'), /qsh/);
  await expectRefused(at('https://gate.example.com/base/hooks/shop?a=1&b=2'), /qsh/);
});
