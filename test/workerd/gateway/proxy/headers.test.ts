import { describe, expect, it } from 'vitest';
import { echoed, send, Upstreams } from './fixtures.ts';

const upstreams = new Upstreams();
const pool = upstreams.pool();

describe('what goes to an upstream', () => {
  it('is the method, path, query, headers and body as they were', async () => {
    const headers = { 'x-mine': 'a', 'content-type': 'text/x', cookie: 'a=1; b=2', authorization: 'Bearer theirs' };
    const echo = await echoed(pool, '/a//b%2Fc?x=%20&y', { method: 'PUT', headers, body: 'hello' });
    expect(echo).toMatchObject({ method: 'PUT', bytes: 5, headers: { ...headers, 'content-length': '5' } });
    expect(echo.path).toMatch(/\/a\/\/b%2Fc\?x=%20&y$/);
  });

  it.each([
    'expect',
    'http2-settings',
    'keep-alive',
    'proxy-authorization',
    'proxy-connection',
    'te',
    'trailer',
    'forwarded',
    'x-real-ip',
    'true-client-ip',
    'x-forwarded-port',
    'x-forwarded-prefix',
  ])('has no %s of the caller', async (name) => {
    const { headers } = await echoed(pool, '/', { headers: { [name]: 'forged' } });
    expect(headers).not.toHaveProperty(name);
  });

  it('has none of the headers that Connection names, and not Connection', async () => {
    const { headers } = await echoed(pool, '/', { headers: { connection: 'close, X-Secret ,,;', 'x-secret': '1' } });
    expect(headers).not.toHaveProperty('x-secret');
    expect(headers['connection'] ?? 'keep-alive').toBe('keep-alive');
  });

  it('has one framing, whatever length the caller claims', async () => {
    const lying = new Headers({ 'content-length': '3', 'transfer-encoding': 'chunked' });
    const { rawHeaders, bytes } = await echoed(pool, '/', {
      method: 'POST',
      body: 'hello',
      outgoing: { headers: lying },
    });
    const framing = rawHeaders.filter((name) => /^(?:content-length|transfer-encoding)$/i.test(name));
    expect([framing.length, bytes]).toEqual([1, 5]);
  });

  it('says where the caller is and what it asked for, whatever it says of itself', async () => {
    const claims = { 'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'gopher', 'x-forwarded-host': 'evil.example' };
    const { headers } = await echoed(pool, '/', {
      headers: { ...claims, 'cf-connecting-ip': '192.0.2.7', host: 'gateway.test' },
      cf: { colo: 'AMS' },
    });
    expect(headers).toMatchObject({
      'x-forwarded-for': '192.0.2.7',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'gateway.test',
      via: '1.1 tidegate',
    });
  });

  it('says nothing of the caller where nobody knows it, also not what the caller says', async () => {
    const { headers } = await echoed(pool, '/', {
      headers: { 'x-forwarded-for': '6.6.6.6', 'cf-connecting-ip': '6.6.6.6' },
      cf: { colo: 'AMS' },
      env: { TIDEGATE_LOCAL: 'true' },
    });
    expect(JSON.stringify(headers)).not.toContain('6.6.6.6');
  });

  it.each([
    ['replace', '198.51.100.1'],
    ['append', '6.6.6.6, 198.51.100.1'],
  ])('believes the owner’s own proxy, and %ss by it', async (forwarded, said) => {
    const { headers } = await echoed(upstreams.pool({ forwarded }), '/', {
      headers: { 'x-forwarded-for': '6.6.6.6, 198.51.100.1', 'cf-connecting-ip': '6.6.6.6' },
      env: { TIDEGATE_LOCAL: 'true', TIDEGATE_TRUSTED_PROXIES: '1' },
    });
    expect(headers['x-forwarded-for']).toBe(said);
  });

  it('adds to what a proxy of the owner said, where the owner said so', async () => {
    const { headers } = await echoed(upstreams.pool({ forwarded: 'append' }), '/', {
      headers: { 'x-forwarded-for': '198.51.100.1', 'x-forwarded-proto': 'http', 'cf-connecting-ip': '192.0.2.7' },
      cf: { colo: 'AMS' },
    });
    expect(headers).toMatchObject({ 'x-forwarded-for': '198.51.100.1, 192.0.2.7', 'x-forwarded-proto': 'http' });
  });

  it('holds no credential that the gateway has used up', async () => {
    const headers = { authorization: 'Bearer tg_secret', 'x-api-key': 'tg_secret', 'x-other': 'kept' };
    const echo = await echoed(pool, '/', { headers, options: { credentials: ['authorization', 'x-api-key'] } });
    expect(JSON.stringify(echo)).not.toContain('tg_secret');
    expect(echo.headers['x-other']).toBe('kept');
  });

  it('goes on with the trace of the caller, and drops a state that belongs to none', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const known = await echoed(pool, '/', { headers: { traceparent, tracestate: 'a=1' } });
    expect(known.headers['traceparent']).toMatch(
      /^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$/,
    );
    expect(known.headers['tracestate']).toBe('a=1');
    const begun = await echoed(pool, '/', { headers: { traceparent: 'x', tracestate: 'a=1' } });
    expect(begun.headers['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(begun.headers).not.toHaveProperty('tracestate');
  });
});

describe('what comes back from an upstream', () => {
  it('is a redirect as it is, never what it points to', async () => {
    const own = new Upstreams();
    await own.behave(0, { kind: 'answer', status: 302, headers: { location: '/elsewhere' } });
    const response = await send(own.pool());
    expect([response.status, response.headers.get('location')]).toEqual([302, '/elsewhere']);
    expect(await own.counts()).toEqual([1]);
  });

  it.each([204, 205, 304])('is a %i without a body', async (status) => {
    const own = new Upstreams();
    await own.behave(0, { kind: 'answer', status, headers: { etag: '"a"' } });
    const response = await send(own.pool());
    expect([response.status, response.headers.get('etag'), await response.text()]).toEqual([status, '"a"', '']);
  });

  it('is what was found out by HEAD, without a body', async () => {
    const own = new Upstreams();
    await own.behave(0, { kind: 'answer', headers: { 'content-length': '12345' } });
    const response = await send(own.pool(), '/', { method: 'HEAD' });
    expect([response.headers.get('content-length'), await response.text()]).toEqual(['12345', '']);
    expect((await own.seen())[0]?.method).toBe('HEAD');
  });

  it('is every cookie by itself', async () => {
    const own = new Upstreams();
    await own.behave(0, { kind: 'answer', headers: { 'set-cookie': ['a=1, b', 'c=2'] } });
    expect((await send(own.pool())).headers.getSetCookie()).toEqual(['a=1, b', 'c=2']);
  });
});

describe('the compression of a reply', () => {
  const text = btoa('x'.repeat(2_000));
  const typed = (more: Record<string, string> = {}, length = 2_000): Record<string, string> => ({
    'content-type': 'text/plain',
    'content-length': String(length),
    ...more,
  });

  async function reply(headers: Record<string, string>, accept = 'br, gzip', body = text): Promise<Response> {
    const own = new Upstreams();
    await own.behave(0, { kind: 'answer', headers, body });
    return send(own.pool(), '/', { headers: { 'accept-encoding': accept }, options: { compress: true } });
  }

  it('says so, names what it depends on and makes a strong tag weak', async () => {
    const { headers } = await reply(typed({ etag: '"a"', vary: 'origin', 'accept-ranges': 'bytes' }));
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-encoding': 'gzip',
      etag: 'W/"a"',
      vary: 'origin, accept-encoding',
    });
    expect([headers.has('content-length'), headers.has('accept-ranges')]).toEqual([false, false]);
  });

  it.each([
    ['an image', typed({ 'content-type': 'image/png' }), 'gzip'],
    ['server-sent events', typed({ 'content-type': 'text/event-stream' }), 'gzip'],
    ['what must not be transformed', typed({ 'cache-control': 'public, no-transform' }), 'gzip'],
    ['what is encoded already', typed({ 'content-encoding': 'br' }), 'gzip'],
    ['a caller that takes none', typed(), 'br;q=1, gzip;q=0'],
    ['a caller that takes none, in more digits', typed(), 'gzip;q=0.000'],
    ['a caller that says nothing', typed(), ''],
  ])('is not done for %s', async (_what, headers, accept) => {
    const response = await reply(headers, accept);
    expect(response.headers.get('content-encoding')).toBe(headers['content-encoding'] ?? null);
  });

  it('is not done for a short text', async () => {
    const response = await reply(typed({}, 100), 'gzip', btoa('x'.repeat(100)));
    expect(response.headers.has('content-encoding')).toBe(false);
  });

  it.each(['gzip', 'GZIP;q=0.5', 'deflate, gzip;q=1.0, *;q=0.5', '*', 'gzip;q=0.001'])(
    'is done for %s',
    async (accept) => {
      expect(
        (await reply(typed({ 'content-type': 'application/hal+json; charset=utf-8' }), accept)).headers.get(
          'content-encoding',
        ),
      ).toBe('gzip');
    },
  );
});
