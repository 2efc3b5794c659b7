import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bytes, check, expectAccepted, expectRefused, NOW, SECRETS, signed, SOME_BODY, source } from './support.ts';
import { FaultError } from '../../../src/core/errors.ts';
import { SCHEMES, prepareSource, schemeNames, sign } from '../../../src/core/webhook/index.ts';
import { FIXED_SCHEMES } from '../../../src/core/webhook/schemes.ts';
import type { KeyForm, Scheme, TimestampPlace } from '../../../src/core/webhook/scheme.ts';
import { prepareScheme } from '../../../src/core/webhook/source.ts';

const sha256 = async (text: string): Promise<string> =>
  Buffer.from(await crypto.subtle.digest('SHA-256', bytes(text))).toString('hex');

describe('the table of schemes', () => {
  test('every scheme verifies what it signs', async () => {
    expect(schemeNames).toEqual([...SCHEMES.keys()]);
    for (const scheme of schemeNames) {
      await expectAccepted(check(await source(scheme), await signed(scheme, SOME_BODY), SOME_BODY));
      await expectAccepted(check(await source(scheme), await signed(scheme, ''), ''));
    }
  });

  test.for(Object.entries<Scheme>(FIXED_SCHEMES))(
    '%s signs the body, and all that its delivery id is made of',
    ([, row]) => {
      expect(row.content.split('{body}')).toHaveLength(2);
      expect(row.content.includes('{timestamp}')).toBe(row.timestamp !== undefined);
      expect(row.content.includes('{id}')).toBe(row.idHeaders !== undefined);
      if (row.deliveryId.from === 'header') expect(row.content).toContain('{id}');
    },
  );

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

  test('signing with a malformed secret or unknown scheme throws a fault', async () => {
    const message = { body: bytes(''), nowMilliseconds: NOW, id: '' };
    await expect(sign('standard', '***', message)).rejects.toThrow(FaultError);
    await expect(sign('nothing', 'x', message)).rejects.toThrow(FaultError);
  });
});

describe('shapes of further vendors are rows, not code', () => {
  const key: KeyForm = { algorithm: 'hmac-sha256', prefix: '', encoding: 'base64', secret: { encoding: 'text' } };
  const base = {
    title: 'Vendor',
    signatureHeaders: ['Signature'],
    keys: [key],
    deliveryId: { from: 'content' },
  } as const;
  const mac = (content: string, secret = 'x'): string => createHmac('sha256', secret).update(content).digest('base64');
  const timed = (unit: TimestampPlace['unit']): TimestampPlace => ({
    from: { headers: ['Time'] },
    unit,
    toleranceSeconds: 300,
  });

  async function expectOnly(scheme: Scheme, time: string, content: string, stale: string | undefined): Promise<void> {
    const prepared = await prepareScheme('vendor', scheme, ['x']);
    if (!prepared.ok) throw new Error(prepared.fault.message);
    await expectAccepted(check(prepared.value, { Time: time, Signature: mac(content) }, 'body'));
    await expectRefused(check(prepared.value, { Time: `${time}0`, Signature: mac(content) }, 'body'), /./);
    if (stale === undefined) return;
    const old = { Time: stale, Signature: mac(content.replace(time, stale)) };
    await expectRefused(check(prepared.value, old, 'body'), /tolerance/);
  }

  test('a time in milliseconds, as ISO 8601, or one that is signed but never read', async () => {
    await expectOnly(
      { ...base, content: '{timestamp}:{body}', timestamp: timed('milliseconds') },
      `${NOW}`,
      `${NOW}:body`,
      `${NOW - 301_000}`,
    );
    const iso = new Date(NOW).toISOString();
    const staleIso = new Date(NOW - 301_000).toISOString();
    await expectOnly({ ...base, content: '{timestamp}{body}', timestamp: timed('iso') }, iso, `${iso}body`, staleIso);
    await expectOnly(
      { ...base, content: '{body}{timestamp}', timestamp: timed('opaque') },
      'Sat, 21 Nov',
      'bodySat, 21 Nov',
      undefined,
    );
  });

  test('one header for each secret of a rotation', async () => {
    const scheme: Scheme = { ...base, signatureHeaders: ['Primary', 'Secondary'], content: '{body}' };
    const prepared = await prepareScheme('vendor', scheme, ['x']);
    if (!prepared.ok) throw new Error(prepared.fault.message);
    await expectAccepted(check(prepared.value, { Primary: mac('body', 'old'), Secondary: mac('body') }, 'body'));
    await expectRefused(
      check(prepared.value, { Primary: mac('body', 'old'), Secondary: 'x' }, 'body'),
      /does not match/,
    );
  });
});

describe('missing headers', () => {
  test.for(schemeNames)('%s refuses a request without one of its headers and names it', async (scheme) => {
    const headers = await signed(scheme, SOME_BODY);
    const eventHeaders = ['X-GitHub-Event', 'X-Shopify-Topic', 'X-Event'];
    for (const name of Object.keys(headers).filter((header) => !eventHeaders.includes(header))) {
      const { [name]: _without, ...rest } = headers;
      await expectRefused(check(await source(scheme), rest, SOME_BODY), new RegExp(`${name} is missing`));
    }
  });

  test('a message never tells the expected signature or the secret', async () => {
    for (const scheme of schemeNames) {
      const headers = await signed(scheme, SOME_BODY);
      const result = await check(await source(scheme), headers, `${SOME_BODY}!`);
      const shown = JSON.stringify(result);
      expect(shown).not.toContain(SECRETS[scheme]);
      expect(shown.length).toBeLessThan(200);
    }
  });
});

describe('delivery ids', () => {
  const idOf = async (scheme: string, body: string, now = NOW): Promise<string> =>
    (await expectAccepted(check(await source(scheme), await signed(scheme, body, { now }), body))).deliveryId;

  test('come from the id header, the body, or the hash of what is signed', async () => {
    expect(await idOf('standard', SOME_BODY)).toBe('msg_1');
    expect(await idOf('stripe', SOME_BODY)).toBe('evt_1');
    expect(await idOf('slack', SOME_BODY)).toBe('Ev1');
    expect(await idOf('pagerduty', SOME_BODY)).toBe('01B');
    expect(await idOf('github', SOME_BODY)).toBe(await sha256(SOME_BODY));
    expect(await idOf('shopify', SOME_BODY)).toBe(await sha256(SOME_BODY));
    expect(await idOf('hmac', SOME_BODY)).toBe(await sha256(`${NOW / 1000}.${SOME_BODY}`));
  });

  test('stay the same when the vendor signs a retry anew', async () => {
    for (const scheme of ['standard', 'stripe', 'slack']) {
      for (const body of [SOME_BODY, '{}', 'command=%2Fx&trigger_id=1']) {
        expect(await idOf(scheme, body, NOW + 60_000), scheme).toBe(await idOf(scheme, body));
      }
    }
  });

  test.for(['{"id":""}', '{"id":7}', '{"id":{"a":1}}', '[]', 'null', `{"id":"${'x'.repeat(257)}"}`, 'no json', '\xff'])(
    'an id that is no usable text is replaced by the hash of the body: %s',
    async (body) => {
      expect(await idOf('stripe', body)).toBe(await sha256(body));
    },
  );

  test('members of a prototype are no ids', async () => {
    expect(await idOf('slack', '{"__proto__":{"event_id":"x"}}')).toHaveLength(64);
  });
});

describe('event types', () => {
  const typeOf = async (scheme: string, body: string) =>
    (await expectAccepted(check(await source(scheme), await signed(scheme, body), body))).eventType;

  test('come from where the vendor puts them', async () => {
    for (const scheme of ['standard', 'stripe', 'github', 'shopify', 'hmac']) {
      expect(await typeOf(scheme, SOME_BODY), scheme).toBe('order.paid');
    }
    expect(await typeOf('slack', '{"type":"event_callback","event":{"type":"app_mention"}}')).toBe('app_mention');
    expect(await typeOf('slack', '{"type":"url_verification","challenge":"x"}')).toBe('url_verification');
    expect(await typeOf('slack', 'payload=x')).toBeUndefined();
    expect(await typeOf('airtable', SOME_BODY)).toBeUndefined();
  });

  test('the parsed body is handed on only where the scheme had to read it', async () => {
    const jsonOf = async (scheme: string) =>
      (await expectAccepted(check(await source(scheme), await signed(scheme, SOME_BODY), SOME_BODY))).json;
    expect(await jsonOf('stripe')).toEqual(JSON.parse(SOME_BODY));
    expect(await jsonOf('github')).toBeUndefined();
  });
});

describe('the generic scheme', () => {
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
    const headers = await sign('hmac', 'x', { body: bytes('{}'), nowMilliseconds: NOW, id: '' }, settings);
    await expectAccepted(check(await source('hmac', ['x'], settings), headers, '{}', NOW + 10_000));
    await expectRefused(check(await source('hmac', ['x'], settings), headers, '{}', NOW + 11_000), /tolerance of 10 s/);
  });

  test('signs what node:crypto signs', async () => {
    for (const algorithm of ['sha1', 'sha256', 'sha512'] as const) {
      for (const encoding of ['hex', 'base64'] as const) {
        const headers = await sign(
          'hmac',
          'x',
          { body: bytes(SOME_BODY), nowMilliseconds: NOW, id: '' },
          { header: 'X-Signature', algorithm, encoding, prefix: 'p=' },
        );
        expect(headers['X-Signature']).toBe(`p=${createHmac(algorithm, 'x').update(SOME_BODY).digest(encoding)}`);
      }
    }
  });
});
