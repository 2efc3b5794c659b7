/** The stage `authenticate`, over keys that were made by the management API, in the real runtime. */

import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it, onTestFinished, test, vi } from 'vitest';
import { ask, bearer, exchangeOf, makeKey, planOf, told } from './asking.ts';
import { call, codeOf, manage, publish } from './fixtures.ts';
import { authenticateExchange } from '../../../src/gateway/auth/index.ts';
import { checkConfiguration } from '../../../src/runtime/configuration.ts';
import { removeKey } from '../../../src/store/keys.ts';

describe('an API key', () => {
  it('says who calls: its id, tenant, scopes and row', async () => {
    const { id, key } = await makeKey({ tenant: 'acme', owner: 'Ada', limits: { rate: { limit: 5, period: '1s' } } });
    const result = await ask({ auth: 'key', headers: bearer(key) });
    expect(result).toMatchObject({
      ok: true,
      value: { kind: 'key', id: `key:${id}`, tenant: 'acme', scopes: ['chain:*'], key: { owner: 'Ada' } },
    });
  });

  it('is asked for the scope of the target, and for those of the rule besides', async () => {
    const { key } = await makeKey({ scopes: ['chain:orders', 'orders:read'] });
    const headers = bearer(key);
    const rule = (...scopes: string[]) => ({ type: 'key', scopes });
    expect(told(await ask({ auth: rule('orders:read'), headers }))).toBe('let in');
    expect(told(await ask({ auth: rule('orders:write'), headers }))).toBe('auth.forbidden');
    expect(told(await ask({ auth: rule('orders:read'), headers, target: 'chain:others' }))).toBe('auth.forbidden');
    expect(told(await ask({ auth: 'key', headers, target: 'route:orders' }))).toBe('auth.forbidden');
    const refused = await ask({ auth: rule('orders:write'), headers });
    expect(refused).toMatchObject({ fault: { challenge: expect.stringContaining('insufficient_scope') } });
  });

  it('that is mistyped is refused without a look into the database', async () => {
    const { key } = await makeKey();
    const looked = vi.spyOn(env.DB, 'prepare');
    onTestFinished(() => looked.mockRestore());
    const wrong = key.slice(0, -5) + (key.at(-5) === 'A' ? 'B' : 'A') + key.slice(-4);
    expect(told(await ask({ auth: 'key', headers: bearer(wrong) }))).toBe('auth.invalid');
    expect(looked).not.toHaveBeenCalled();
  });

  it('is answered from memory, at once, when it was seen before', async () => {
    const { key } = await makeKey();
    await ask({ auth: 'key', headers: bearer(key) });
    const request = new Request('https://gateway.test/orders', { headers: bearer(key) });
    const exchange = await exchangeOf(request, createExecutionContext());
    const again = authenticateExchange(planOf('key'), exchange);
    expect(again).not.toBeInstanceOf(Promise);
    expect(again).toMatchObject({ ok: true });
  });

  it('that was rotated works beside the new one for as long as it was said', async () => {
    const { id, key } = await makeKey();
    const { body } = await manage(`POST /keys/${id}/rotate`, { overlap: '2s' });
    const next = String(body['key']);
    expect(next).not.toBe(key);
    for (const each of [key, next]) expect(told(await ask({ auth: 'key', headers: bearer(each) }))).toBe('let in');
    await scheduler.wait(Math.max(0, Date.parse(String(body['previousExpiresAt'])) - Date.now() + 1));
    expect(told(await ask({ auth: 'key', headers: bearer(key) }))).toBe('auth.invalid');
    expect(told(await ask({ auth: 'key', headers: bearer(next) }))).toBe('let in');
  });

  it('that was rotated without overlap, or twice, is refused', async () => {
    const { id, key } = await makeKey();
    const second = String((await manage(`POST /keys/${id}/rotate`, { overlap: '1h' })).body['key']);
    await manage(`POST /keys/${id}/rotate`, { overlap: '0s' });
    for (const each of [key, second]) {
      expect(told(await ask({ auth: 'key', headers: bearer(each) }))).toBe('auth.invalid');
    }
  });

  it('loses a scope at once, and keeps what the change left out', async () => {
    const { id, key } = await makeKey({ owner: 'Ada' });
    await ask({ auth: 'key', headers: bearer(key) });
    const { body } = await manage(`PATCH /keys/${id}`, { scopes: ['chain:others'] });
    expect(body).toMatchObject({ owner: 'Ada', scopes: ['chain:others'] });
    expect(told(await ask({ auth: 'key', headers: bearer(key) }))).toBe('auth.forbidden');
  });

  it('is noted as used, to the minute', async () => {
    const { id, key } = await makeKey();
    expect((await manage(`GET /keys/${id}`)).body['usedAt']).toBeNull();
    const before = Date.now() - 60_000;
    await ask({ auth: 'key', headers: bearer(key) });
    const usedAt = await vi.waitFor(async () => {
      const { body } = await manage(`GET /keys/${id}`);
      expect(body['usedAt']).not.toBeNull();
      return Date.parse(String(body['usedAt']));
    });
    expect(usedAt % 60_000).toBe(0);
    expect(usedAt).toBeGreaterThan(before);
  });

  it('is in no list, nor any part of it but its hint', async () => {
    const { key } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const { text } = await manage('GET /keys');
    expect(text).not.toContain(key);
    expect(text).not.toContain(key.slice(3, -4));
    expect(text).not.toContain('tgs_');
    expect(text).not.toMatch(/hash|sealed/i);
    expect(text).toContain(`tg_…${key.slice(-4)}`);
  });
});

describe('a key that another isolate has revoked', () => {
  /** As another isolate would: this one is not told. */
  const revoke = (id: string) => removeKey(env.DB, id, { actor: 'another isolate', now: Date.now() });

  it('is refused within five seconds of traffic that never stops, and no request waits', async () => {
    const { route } = await publish({ output: 1 }, { auth: 'key' });
    const { id, key } = await makeKey();
    expect((await call(route, {}, bearer(key))).status).toBe(200);
    await revoke(id);
    const revokedAt = Date.now();
    let [slowest, requests, status] = [0, 0, 200];
    while (status === 200 && Date.now() - revokedAt < 10_000) {
      const sentAt = Date.now();
      ({ status } = await call(route, {}, bearer(key)));
      slowest = Math.max(slowest, Date.now() - sentAt);
      requests++;
      await scheduler.wait(5);
    }
    const seconds = (Date.now() - revokedAt) / 1000;
    console.info(`revoked key refused after ${seconds.toFixed(1)} s, ${requests} requests, slowest ${slowest} ms`);
    expect(status).toBe(401);
    expect(seconds).toBeLessThan(5);
    expect(requests).toBeGreaterThan(20);
  });

  it('is refused by the first request after a quiet time', async () => {
    const { route } = await publish({ output: 1 }, { auth: 'key' });
    const { id, key } = await makeKey();
    expect((await call(route, {}, bearer(key))).status).toBe(200);
    await revoke(id);
    await scheduler.wait(4_100);
    expect(codeOf(await call(route, {}, bearer(key)))).toEqual([401, 'auth.invalid']);
  });

  it('goes on where the database does not answer, and the wait for it is bounded', async () => {
    const { key } = await makeKey();
    expect(told(await ask({ auth: 'key', headers: bearer(key) }))).toBe('let in');
    await scheduler.wait(4_100);
    const silent = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => silent.mockRestore());
    const DB = new Proxy(env.DB, {
      get: () => () => {
        throw new Error('away');
      },
    });
    expect(told(await ask({ auth: 'key', headers: bearer(key), env: { DB } }))).toBe('let in');
    await scheduler.wait(2_100);
    await checkConfiguration(env, 0);
  });
});

describe('Basic authentication', () => {
  const basic = (id: string, key: string) => ({ authorization: `Basic ${btoa(`${id}:${key}`)}` });

  it('takes the id of a key with that key, and the id of no other', async () => {
    const { id, key } = await makeKey();
    const other = await makeKey();
    const auth = { type: 'basic' };
    expect(await ask({ auth, headers: basic(id, key) })).toMatchObject({ value: { kind: 'basic', id: `key:${id}` } });
    for (const headers of [
      basic(other.id, key),
      basic('', key),
      basic(id, ''),
      basic(key, id),
      { authorization: 'Basic !' },
    ]) {
      const result = await ask({ auth, headers });
      expect(result).toMatchObject({ ok: false, fault: { challenge: 'Basic realm="tidegate", charset="UTF-8"' } });
    }
    expect(told(await ask({ auth, headers: bearer(key) }))).toBe('auth.missing');
  });
});

describe('a client certificate', () => {
  const fingerprint = 'ab'.repeat(32);
  const certificate = {
    certPresented: '1',
    certVerified: 'SUCCESS',
    certRevoked: '0',
    certFingerprintSHA256: fingerprint,
    certSubjectDN: 'CN=till-1',
    certIssuerDN: 'CN=Example CA',
  };
  const withCertificate = (tlsClientAuth: unknown) =>
    new Request('https://gateway.test/orders', { cf: { tlsClientAuth } as unknown as RequestInitCfProperties });
  const auth = { type: 'mtls', fingerprints: [fingerprint], issuers: ['CN=Example CA'] };

  it('that the platform has verified and the rule names is let in', async () => {
    const result = await ask({ auth, request: withCertificate(certificate) });
    expect(result).toMatchObject({ ok: true, value: { kind: 'mtls', id: `mtls:${fingerprint}` } });
  });

  it.each([
    ['was not presented', { ...certificate, certPresented: '0' }, 'auth.missing'],
    ['is not there', undefined, 'auth.missing'],
    ['failed', { ...certificate, certVerified: 'FAILED:self signed certificate' }, 'auth.invalid'],
    ['was not judged', { ...certificate, certVerified: 'NONE' }, 'auth.invalid'],
    ['was revoked', { ...certificate, certRevoked: '1' }, 'auth.invalid'],
    ['is another', { ...certificate, certFingerprintSHA256: 'cd'.repeat(32) }, 'auth.forbidden'],
    ['is of another issuer', { ...certificate, certIssuerDN: 'CN=Evil CA' }, 'auth.forbidden'],
  ])('that %s is not', async (_what, given, code) => {
    expect(told(await ask({ auth, request: withCertificate(given) }))).toBe(code);
  });

  it('is never believed where Cloudflare is not in front, since any client could claim it there', async () => {
    const result = await ask({ auth, request: withCertificate(certificate), env: { TIDEGATE_LOCAL: '1' } });
    expect(told(result)).toBe('auth.missing');
  });
});

describe('a signed request', () => {
  const hex = (bytes: ArrayBuffer) =>
    Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const base64 = (bytes: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
  const bytesOf = (text: string) => new TextEncoder().encode(text);
  const hmac = async (secret: string, text: string) =>
    crypto.subtle.sign(
      'HMAC',
      await crypto.subtle.importKey('raw', bytesOf(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']),
      bytesOf(text),
    );
  const now = () => Math.floor(Date.now() / 1000);

  interface Sent {
    readonly body?: string;
    readonly url?: string;
    readonly headers: Record<string, string>;
  }
  const send = ({ body = '{"a":1}', url = 'https://gateway.test/orders?x=1', headers }: Sent) =>
    new Request(url, { method: 'POST', body, headers });

  async function simple(id: string, secret: string, timestamp = now()): Promise<Record<string, string>> {
    const signature = hex(await hmac(secret, `${timestamp}\nPOST\n/orders?x=1\n{"a":1}`));
    return { 'tidegate-key': id, 'tidegate-timestamp': String(timestamp), 'tidegate-signature': signature };
  }

  async function messageSignature(
    id: string,
    sign: (base: string) => Promise<ArrayBuffer>,
    params = '',
  ): Promise<Record<string, string>> {
    const digest = `sha-256=:${base64(await crypto.subtle.digest('SHA-256', bytesOf('{"a":1}')))}:`;
    const items = `("@method" "@target-uri" "content-digest");created=${now()};keyid="${id}"${params}`;
    const base = [
      '"@method": POST',
      '"@target-uri": https://gateway.test/orders?x=1',
      `"content-digest": ${digest}`,
      `"@signature-params": ${items}`,
    ].join('\n');
    const signature = base64(await sign(base));
    return { 'content-digest': digest, 'signature-input': `s=${items}`, signature: `s=:${signature}:` };
  }

  const plain = { type: 'hmac', format: 'simple' };
  const standard = { type: 'hmac' };

  it('counts once in the simple form, and its body can still be read', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    expect(signingSecret).toMatch(/^tgs_/);
    const headers = await simple(id, signingSecret);
    const request = send({ headers });
    expect(await ask({ auth: plain, request })).toMatchObject({ value: { kind: 'hmac', id: `key:${id}` } });
    expect(await request.text()).toBe('{"a":1}');
    expect(told(await ask({ auth: plain, request: send({ headers }) }))).toBe('auth.invalid');
  });

  it('of which anything was changed is refused', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const other = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const headers = await simple(id, signingSecret);
    for (const sent of [
      { headers, body: '{"a":2}' },
      { headers, url: 'https://gateway.test/orders?x=2' },
      { headers, url: 'https://gateway.test/order?x=1' },
      { headers: { ...headers, 'tidegate-timestamp': String(now() + 1) } },
      { headers: { ...headers, 'tidegate-key': other.id } },
      { headers: await simple(id, other.signingSecret) },
      { headers: await simple(id, 'x') },
      { headers: await simple(id, signingSecret, now() - 301) },
      { headers: await simple(id, signingSecret, now() + 302) },
      { headers: await simple('nobody', signingSecret) },
    ]) {
      expect(told(await ask({ auth: plain, request: send(sent) }))).toBe('auth.invalid');
    }
    expect(told(await ask({ auth: plain, request: send({ headers }) }))).toBe('let in');
  });

  it('counts by RFC 9421 with a shared secret, once for each nonce', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const sign = (base: string) => hmac(signingSecret, base);
    const headers = await messageSignature(id, sign, ';alg="hmac-sha256";nonce="n1"');
    expect(told(await ask({ auth: standard, request: send({ headers }) }))).toBe('let in');
    const again = await messageSignature(id, sign, ';nonce="n1"');
    expect(told(await ask({ auth: standard, request: send({ headers: again }) }))).toBe('auth.invalid');
    const next = await messageSignature(id, sign, ';nonce="n2"');
    expect(told(await ask({ auth: standard, request: send({ headers: next }) }))).toBe('let in');
  });

  it('counts by RFC 9421 with the public key of its owner, and with no other algorithm', async () => {
    const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
    const publicKey = base64((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer);
    const { id } = await makeKey({ signing: { algorithm: 'ed25519', publicKey } });
    const sign = (base: string) => crypto.subtle.sign('Ed25519', pair.privateKey, bytesOf(base));
    const headers = await messageSignature(id, sign, ';alg="ed25519"');
    expect(told(await ask({ auth: standard, request: send({ headers }) }))).toBe('let in');
    // The public key is known to all: as a secret it must be worth nothing.
    const confused = await messageSignature(id, (base) => hmac(atob(publicKey), base), ';alg="hmac-sha256"');
    expect(told(await ask({ auth: standard, request: send({ headers: confused }) }))).toBe('auth.invalid');
  });

  it('whose body is not that of its digest is refused', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const headers = await messageSignature(id, (base) => hmac(signingSecret, base));
    expect(told(await ask({ auth: standard, request: send({ headers, body: '{"a":2}' }) }))).toBe('auth.invalid');
    expect(told(await ask({ auth: standard, request: send({ headers }) }))).toBe('let in');
  });

  it('with another spelling of a signature that was used is refused', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const headers = await messageSignature(id, (base) => hmac(signingSecret, base));
    expect(told(await ask({ auth: standard, request: send({ headers }) }))).toBe('let in');
    // 32 bytes leave two bits of the last character without meaning.
    const respelt = (headers['signature'] ?? '').replace(/(.)=:$/, (_all, last: string) => {
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
      return `${alphabet[alphabet.indexOf(last) + 1] ?? ''}=:`;
    });
    expect(respelt).not.toBe(headers['signature']);
    const result = await ask({ auth: standard, request: send({ headers: { ...headers, signature: respelt } }) });
    expect(told(result)).toBe('auth.invalid');
  });

  it('of a rotated key may be signed by either secret until the overlap ends', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const { body } = await manage(`POST /keys/${id}/rotate`, { overlap: '1h' });
    const next = String(body['signingSecret']);
    for (const [index, secret] of [signingSecret, next].entries()) {
      const headers = await simple(id, secret, now() - index);
      expect(told(await ask({ auth: plain, request: send({ headers }) }))).toBe('let in');
    }
    await manage(`POST /keys/${id}/rotate`, { overlap: '0s' });
    const headers = await simple(id, next, now() - 5);
    expect(told(await ask({ auth: plain, request: send({ headers }) }))).toBe('auth.invalid');
  });

  it('of two at the same moment is let in once', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const headers = await simple(id, signingSecret);
    const results = await Promise.all(
      Array.from({ length: 8 }, () => ask({ auth: plain, request: send({ headers }) })),
    );
    expect(results.filter((result) => result.ok)).toHaveLength(1);
  });
});

describe('several rules', () => {
  it('any: one of them lets in, and the refusal that says most is told', async () => {
    const { id, key } = await makeKey();
    const auth = { any: ['key', { type: 'basic' }] };
    expect(told(await ask({ auth, headers: bearer(key) }))).toBe('let in');
    expect(told(await ask({ auth, headers: { authorization: `Basic ${btoa(`${id}:${key}`)}` } }))).toBe('let in');
    expect(told(await ask({ auth, headers: { authorization: `Basic ${btoa(`${id}:x`)}` } }))).toBe('auth.invalid');
    expect(await ask({ auth })).toMatchObject({
      fault: { challenge: 'Bearer realm="tidegate", Basic realm="tidegate", charset="UTF-8"' },
    });
  });

  it('all: each has to be met, and the tenants must be one', async () => {
    const one = await makeKey({ tenant: 'one' });
    const two = await makeKey({ tenant: 'two' });
    const auth = { all: ['key', { type: 'basic' }] };
    const headers = (basic: typeof one) => ({
      'x-api-key': one.key,
      authorization: `Basic ${btoa(`${basic.id}:${basic.key}`)}`,
    });
    expect(await ask({ auth, headers: headers(one) })).toMatchObject({ value: { kind: 'key', tenant: 'one' } });
    expect(told(await ask({ auth, headers: headers(two) }))).toBe('auth.forbidden');
    expect(told(await ask({ auth, headers: { 'x-api-key': one.key } }))).toBe('auth.missing');
    expect(told(await ask({ auth, headers: { 'x-api-key': 'x', authorization: '' } }))).toBe('auth.invalid');
  });
});

test('a public target asks for nothing, and reads nothing', async () => {
  expect(await ask({ auth: 'public', headers: bearer('nonsense') })).toEqual({ ok: true, value: undefined });
});
