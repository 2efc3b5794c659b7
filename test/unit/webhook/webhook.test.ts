import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { sampleOf, type Sample } from './samples.ts';
import { bytes, check, expectAccepted, expectRefused, NOW, SECONDS, SOME_BODY, source } from './support.ts';
import { FaultError } from '../../../src/core/errors.ts';
import { prepareSource, schemeNames, sign } from '../../../src/core/webhook/index.ts';
import type { KeyForm, Scheme, SignatureScheme, TimestampPlace } from '../../../src/core/webhook/scheme.ts';
import { prepareScheme } from '../../../src/core/webhook/source.ts';
import { SCHEMES } from '../../../src/core/webhook/vendors/index.ts';

const sha256 = async (text: string): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', bytes(text))).toString('hex');

const schemes: [string, Scheme][] = [...SCHEMES].flatMap(([name, row]) => {
  const scheme = row.schemeFor(row.example);
  return scheme.ok ? [[name, scheme.value]] : [];
});

describe('the table of schemes', () => {
  test('every example of settings fits', () => {
    expect(schemes.map(([name]) => name)).toEqual(schemeNames);
  });

  test.for(schemes)('%s makes its delivery id of what is proven', ([, scheme]) => {
    const { deliveryId } = scheme;
    // A header is as good as the body only where nothing but a token is proven.
    if (deliveryId.from === 'headers') expect(scheme.proof).toBe('token');
    if (deliveryId.from !== 'header') return;
    expect(scheme.proof === 'signature' && [scheme.content].flat().every((text) => text.includes('{id}'))).toBe(true);
  });

  test.for(schemes)('%s signs the time that it checks, and the body', ([, scheme]) => {
    if (scheme.proof !== 'signature') return;
    for (const content of [scheme.content].flat()) {
      const { timestamp } = scheme;
      const apart = timestamp !== undefined && ('headers' in timestamp.from || 'entry' in timestamp.from);
      expect(content.includes('{timestamp}')).toBe(apart);
      expect(content.includes('{id}')).toBe(scheme.idHeaders !== undefined);
      expect(content).toMatch(/\{(?:body|form|crc32|query:\w+|lines:.*|(?:member|escaped):.*)\}/);
      // Every placeholder is one that is filled.
      expect(content.match(/\{[^}]*\}/g)?.every((name) => PLACEHOLDER.test(name))).toBe(true);
    }
  });

  const PLACEHOLDER =
    /^\{(?:body|id|timestamp|method|secret|form|crc32|url(?::(?:portless|ported|requoted|requoted-ported|decoded))?|query:(?:encoded|escaped|joined)|(?:member|escaped|lines):[\w.,]+)\}$/;

  test('an unknown scheme is refused with the nearest name', async () => {
    const prepared = await prepareSource({ name: 'shop', scheme: 'strip', secrets: ['x'] });
    expect(prepared).toMatchObject({ fault: { code: 'source.invalid', message: expect.stringContaining('"stripe"') } });
    expect(await prepareSource({ name: 'shop', scheme: '__proto__', secrets: ['x'] })).toMatchObject({ ok: false });
  });

  test('settings are refused where the scheme takes none', async () => {
    const prepared = await prepareSource({ name: 'shop', scheme: 'github', secrets: ['x'], settings: { header: 'X' } });
    expect(prepared).toMatchObject({ ok: false, fault: { code: 'source.invalid' } });
    expect(await prepareSource({ name: 'shop', scheme: 'github', secrets: ['x'], settings: {} })).toMatchObject({
      ok: true,
    });
  });

  test.for([
    ['sns', {}, 'settings.topicArns'],
    ['sns', { topicArns: [] }, 'settings.topicArns'],
    ['sns', { topicArns: ['*'] }, 'settings.topicArns.0'],
    ['hubspot', { version: 'v4' }, 'settings.version'],
    ['plaid', {}, 'settings.clientId'],
    ['plaid', { clientId: 'x', environment: 'evil.com/' }, 'settings.environment'],
    ['google-pubsub', { audience: 'x' }, 'settings.email'],
    ['jira-connect', { clientKey: 'x', basePath: '/a?b' }, 'settings.basePath'],
    ['meta', { verifyToken: '' }, 'settings.verifyToken'],
    ['token', {}, 'settings'],
    ['token', { header: 'X', query: 'y' }, 'settings'],
    ['jwt', { algorithms: ['none'], issuer: 'x', audience: 'y' }, 'settings.algorithms.0'],
    ['jwt', { algorithms: ['RS256'], issuer: 'x', audience: 'y' }, 'settings.algorithms'],
    ['jwt', { algorithms: ['HS256'], issuer: 'x', audience: 'y', jwksUrl: 'https://x.com/k' }, 'settings.algorithms'],
    ['jwt', { algorithms: ['RS256'], issuer: 'x', audience: 'y', jwksUrl: 'http://x.com/k' }, 'settings.jwksUrl'],
    ['jwt', { algorithms: ['HS256'], issuer: 'x' }, 'settings.audience'],
  ] as const)('%s refuses the settings %j at %s', async ([scheme, settings, path]) => {
    expect(await prepareSource({ name: 'shop', scheme, secrets: ['x'], settings })).toMatchObject({
      fault: { code: 'source.invalid', issues: expect.arrayContaining([expect.objectContaining({ path })]) },
    });
  });
});

describe('signing', () => {
  const signable = ['standard', 'stripe', 'github', 'slack', 'shopify', 'pagerduty', 'airtable', 'square', 'hmac'];

  test.for(signable)('%s is signed as its vendor signs it', async (scheme) => {
    const sample = sampleOf(scheme);
    const { secret = '', settings } = sample;
    const message = {
      body: bytes(sample.body),
      nowMilliseconds: NOW,
      id: 'msg_1',
      url: 'https://gate.example.com/hooks/shop?a=1',
    };
    expect(await sign(scheme, secret, message, settings)).toEqual(sample.headers);
  });

  test('with a malformed secret, an unknown scheme or none that signs in a header throws a fault', async () => {
    const message = { body: bytes(''), nowMilliseconds: NOW, id: '' };
    await expect(sign('standard', '***', message)).rejects.toThrow(FaultError);
    await expect(sign('nothing', 'x', message)).rejects.toThrow(FaultError);
    for (const scheme of ['telegram', 'shopify-oauth', 'paypal', 'plaid']) {
      await expect(sign(scheme, 'x', message, sampleOf(scheme).settings)).rejects.toThrow(FaultError);
    }
  });
});

describe('shapes of further vendors are rows, not code', () => {
  const key: KeyForm = { algorithm: 'hmac-sha256', prefix: '', encoding: 'base64', secret: { encoding: 'text' } };
  const base = {
    title: 'Vendor',
    secretIs: 'a secret',
    proof: 'signature',
    signature: { headers: ['Signature'] },
    keys: [key],
    deliveryId: { from: 'content' },
  } as const;
  const mac = (content: string, secret = 'x'): string => createHmac('sha256', secret).update(content).digest('base64');
  const timed = (unit: TimestampPlace['unit'], toleranceSeconds?: number): TimestampPlace => ({
    from: { headers: ['Time'] },
    unit,
    ...(toleranceSeconds !== undefined && { toleranceSeconds }),
  });
  const sample = (headers: Record<string, string>): Sample => ({ headers, body: 'body', proves: 'bytes' });

  async function expectOnly(scheme: SignatureScheme, time: string, content: string, stale: string, why: RegExp) {
    const prepared = await prepareScheme('vendor', scheme, ['x']);
    if (!prepared.ok) throw new Error(prepared.fault.message);
    await expectAccepted(check(prepared.value, sample({ Time: time, Signature: mac(content) })));
    await expectRefused(check(prepared.value, sample({ Time: `${time}0`, Signature: mac(content) })), /./);
    const old = sample({ Time: stale, Signature: mac(content.replace(time, stale)) });
    await expectRefused(check(prepared.value, old), why);
  }

  test('a time in milliseconds, as ISO 8601, or in any form', async () => {
    const milliseconds: SignatureScheme = {
      ...base,
      content: '{timestamp}:{body}',
      timestamp: timed('milliseconds', 300),
    };
    await expectOnly(milliseconds, `${NOW}`, `${NOW}:body`, `${NOW - 301_000}`, /tolerance/);
    const iso = new Date(NOW).toISOString();
    const isoScheme: SignatureScheme = { ...base, content: '{timestamp}{body}', timestamp: timed('iso', 300) };
    await expectOnly(isoScheme, iso, `${iso}body`, new Date(NOW - 301_000).toISOString(), /tolerance/);
    const any: SignatureScheme = { ...base, content: '{body}{timestamp}', timestamp: timed('any') };
    for (const time of [SECONDS, `${NOW}`, iso, 'Sat, 21 Nov 2026 10:00:00 GMT', '2026-11-21T10:00:00+01:00']) {
      await expectOnly(any, time, `body${time}`, 'Sat, 21 Nov', /malformed/);
    }
  });

  test('one header for each secret of a rotation', async () => {
    const scheme: SignatureScheme = { ...base, signature: { headers: ['Primary', 'Secondary'] }, content: '{body}' };
    const prepared = await prepareScheme('vendor', scheme, ['x']);
    if (!prepared.ok) throw new Error(prepared.fault.message);
    await expectAccepted(check(prepared.value, sample({ Primary: mac('body', 'old'), Secondary: mac('body') })));
    await expectRefused(
      check(prepared.value, sample({ Primary: mac('body', 'old'), Secondary: 'x' })),
      /does not match/,
    );
  });
});

describe('missing parts', () => {
  /** Signed by nobody, or without a say in what is proven. */
  const free = ['x-amz-sns-message-type', 'X-Goog-Resource-State'];

  test.for(schemeNames)('%s refuses a request without one of its headers and names it', async (scheme) => {
    const sample = sampleOf(scheme);
    for (const name of Object.keys(sample.headers).filter((header) => !free.includes(header))) {
      const { [name]: _without, ...headers } = sample.headers;
      // The first alias stands for all.
      const shown = name.replace('svix', '(?:svix|webhook)');
      await expectRefused(
        check(await source(scheme), sample, { headers }),
        new RegExp(`${shown} (?:is missing|must be)`),
      );
    }
  });

  test.for(schemeNames)('%s refuses an empty request', async (scheme) => {
    const empty = { headers: {}, body: '', url: 'https://gate.example.com/hooks/shop' };
    await expectRefused(check(await source(scheme), sampleOf(scheme), empty), /missing|must be/);
  });

  test('a message never tells the expected signature or the secret', async () => {
    for (const scheme of schemeNames) {
      const sample = sampleOf(scheme);
      const result = await check(await source(scheme), sample, { body: `${sample.body}!`, url: 'https://x/y' });
      if (result.ok) continue;
      const shown = JSON.stringify(result);
      if (sample.secret !== undefined) expect(shown).not.toContain(sample.secret);
      expect(shown.length).toBeLessThan(240);
    }
  });
});

describe('delivery ids', () => {
  const idOf = async (scheme: string, changes = {}): Promise<string> =>
    (await expectAccepted(check(await source(scheme), sampleOf(scheme), changes))).deliveryId;

  /** A body that the vendor really signed at that time. */
  async function idOfSigned(scheme: string, body: string, now = NOW): Promise<string> {
    const sample = sampleOf(scheme);
    const message = { body: bytes(body), nowMilliseconds: now, id: 'msg_1' };
    const headers = await sign(scheme, sample.secret ?? '', message, sample.settings);
    return idOf(scheme, { headers, body, nowMilliseconds: now });
  }

  test.for([
    ['standard', 'msg_1'],
    ['stripe', 'evt_1'],
    ['slack', 'Ev1'],
    ['pagerduty', '01B'],
    ['square', 'Ev1'],
    ['paypal', 'tx-1'],
    ['telegram', '7'],
    ['sns', '22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324'],
    ['google-pubsub', 'm1'],
  ])('of %s is %s', async ([scheme = '', expected = '']) => {
    expect(await idOf(scheme)).toBe(expected);
  });

  test('are the hash of what is signed where nothing in it is an id', async () => {
    for (const scheme of ['github', 'shopify', 'airtable', 'meta', 'xero']) {
      expect(await idOf(scheme), scheme).toBe(await sha256(SOME_BODY));
    }
    expect(await idOf('hmac')).toBe(await sha256(`${SECONDS}.${SOME_BODY}`));
  });

  test('stay the same when the vendor signs a retry anew', async () => {
    for (const scheme of ['standard', 'stripe', 'slack', 'calendly', 'paddle', 'zoom']) {
      for (const body of [SOME_BODY, '{}', 'command=%2Fx&trigger_id=1']) {
        expect(await idOfSigned(scheme, body, NOW + 60_000), scheme).toBe(await idOfSigned(scheme, body));
      }
    }
  });

  test('stay the same when a retry has another body, and differ when it holds another event', async () => {
    const line = (id: string, again: boolean) =>
      JSON.stringify({ events: [{ webhookEventId: id, deliveryContext: { isRedelivery: again } }] });
    expect(await idOfSigned('line', line('1', true))).toBe(await idOfSigned('line', line('1', false)));
    expect(await idOfSigned('line', line('2', false))).not.toBe(await idOfSigned('line', line('1', false)));
    const linear = (at: number, created: string) => JSON.stringify({ webhookTimestamp: at, createdAt: created });
    expect(await idOfSigned('linear', linear(NOW + 1, 'a'))).toBe(await idOfSigned('linear', linear(NOW, 'a')));
    expect(await idOfSigned('linear', linear(NOW, 'b'))).not.toBe(await idOfSigned('linear', linear(NOW, 'a')));
    const batch = (...ids: number[]) => JSON.stringify(ids.map((eventId) => ({ eventId, subscriptionId: 1 })));
    const hubspot = async (body: string) => {
      const { secret = '' } = sampleOf('hubspot');
      const url = 'https://gate.example.com/hooks/shop?a=1';
      const message = { body: bytes(body), nowMilliseconds: NOW, id: '', url };
      return idOf('hubspot', { body, headers: await sign('hubspot', secret, message) });
    };
    expect(await hubspot(batch(1, 2))).not.toBe(await hubspot(batch(1)));
  });

  test('of pings whose bytes never change differ with each arrival', async () => {
    for (const scheme of ['dropbox', 'microsoft-graph']) {
      expect(await idOf(scheme, { nowMilliseconds: NOW + 1 })).not.toBe(await idOf(scheme));
    }
  });

  test.for([
    '{"id":""}',
    '{"id":1.5}',
    '{"id":9007199254740993}',
    '{"id":{"a":1}}',
    '[]',
    'null',
    `{"id":"${'x'.repeat(257)}"}`,
    'no json',
    '\xff',
  ])('an id that is no usable text is replaced by the hash of the body: %s', async (body) => {
    expect(await idOfSigned('stripe', body)).toBe(await sha256(body));
  });

  test('members of a prototype are no ids', async () => {
    expect(await idOfSigned('slack', '{"__proto__":{"event_id":"x"}}')).toHaveLength(64);
  });
});

describe('event types', () => {
  test.for([
    ['standard', 'order.paid'],
    ['stripe', 'order.paid'],
    ['slack', 'order.paid'],
    ['pagerduty', 'incident.opened'],
    ['sns', 'Notification'],
    ['google-channel', 'update'],
    ['microsoft-graph', 'updated'],
    ['adyen', 'AUTHORISATION'],
    ['hubspot', 'contact.creation'],
    ['figma', 'FILE_UPDATE'],
    ['airtable', undefined],
  ])('of %s is %s', async ([scheme = '', expected]) => {
    const { eventType } = await expectAccepted(check(await source(scheme), sampleOf(scheme)));
    expect(eventType).toBe(expected);
  });

  test.for([
    ['github', 'X-GitHub-Event'],
    ['shopify', 'X-Shopify-Topic'],
    ['woocommerce', 'X-WC-Webhook-Topic'],
    ['hmac', 'X-Event'],
  ])('of %s stand in %s', async ([scheme = '', name = '']) => {
    const sample = sampleOf(scheme);
    const headers = { ...sample.headers, [name]: 'order.paid' };
    const { eventType } = await expectAccepted(check(await source(scheme), sample, { headers }));
    expect(eventType).toBe('order.paid');
  });

  test('the parsed body is handed on only where the scheme had to read it', async () => {
    const jsonOf = async (scheme: string) => (await expectAccepted(check(await source(scheme), sampleOf(scheme)))).json;
    expect(await jsonOf('stripe')).toEqual(JSON.parse(SOME_BODY));
    expect(await jsonOf('github')).toBeUndefined();
  });
});

describe('the generic HMAC', () => {
  const base = { header: 'X-Signature', algorithm: 'sha256', encoding: 'hex' };
  const prepare = (settings: unknown) => prepareSource({ name: 'shop', scheme: 'hmac', secrets: ['x'], settings });

  test.for([
    [{}, 'settings.header'],
    [undefined, 'settings.header'],
    [{ ...base, header: 'X Signature' }, 'settings.header'],
    [{ ...base, header: 'X-Signature\r\nX: y' }, 'settings.header'],
    [{ ...base, algorithm: 'md5' }, 'settings.algorithm'],
    [{ ...base, encoding: 'base32' }, 'settings.encoding'],
    [{ ...base, content: 'constant' }, 'settings.content'],
    [{ ...base, content: '{body}{body}' }, 'settings.content'],
    [{ ...base, content: '{body}{id}' }, 'settings.content'],
    [{ ...base, content: '{body}{secret}' }, 'settings.content'],
    [{ ...base, content: '{timestamp}.{body}' }, 'settings.timestampHeader'],
    [{ ...base, timestampHeader: 'X-Time' }, 'settings.content'],
    [{ ...base, toleranceSeconds: 10 }, 'settings.toleranceSeconds'],
    [{ ...base, toleranceSeconds: Infinity }, 'settings.toleranceSeconds'],
    [{ ...base, headers: 'X' }, 'settings.headers'],
  ] as const)('%j is refused at %s', async ([settings, path]) => {
    expect(await prepare(settings)).toMatchObject({
      fault: { code: 'source.invalid', issues: expect.arrayContaining([expect.objectContaining({ path })]) },
    });
  });

  test('a tolerance of its own is kept', async () => {
    const settings = { ...base, content: '{body}|{timestamp}', timestampHeader: 'X-Time', toleranceSeconds: 10 };
    const message = { body: bytes('{}'), nowMilliseconds: NOW, id: '' };
    const sample: Sample = { headers: await sign('hmac', 'x', message, settings), body: '{}', proves: 'bytes' };
    const prepared = await source('hmac', ['x'], settings);
    await expectAccepted(check(prepared, sample, { nowMilliseconds: NOW + 10_000 }));
    await expectRefused(check(prepared, sample, { nowMilliseconds: NOW + 11_000 }), /tolerance of 10 s/);
  });

  test('signs what node:crypto signs', async () => {
    for (const algorithm of ['sha1', 'sha256', 'sha512'] as const) {
      for (const encoding of ['hex', 'base64'] as const) {
        const headers = await sign(
          'hmac',
          '6b6579',
          { body: bytes(SOME_BODY), nowMilliseconds: NOW, id: '', url: 'https://x.com/' },
          { header: 'X-Signature', algorithm, encoding, prefix: 'p=', secretEncoding: 'hex', content: '{url}{body}' },
        );
        const expected = createHmac(algorithm, 'key').update(`https://x.com/${SOME_BODY}`).digest(encoding);
        expect(headers['X-Signature']).toBe(`p=${expected}`);
      }
    }
  });
});
