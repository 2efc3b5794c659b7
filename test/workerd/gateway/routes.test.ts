import { beforeAll, describe, expect, it, vi } from 'vitest';
import { call, codeOf, manage, upstream, type Called } from './fixtures.ts';

type Fields = Readonly<Record<string, unknown>>;

let count = 0;

/** Saves a public route under a name of its own and gives its path; `/r/…/` is cut off on the way to the upstream. */
async function route(fields: Fields = {}): Promise<string> {
  const name = `route-${++count}`;
  const document = {
    path: `/r/${name}/{rest*}`,
    upstream: 'test',
    auth: 'public',
    request: { path: '/{rest*}' },
    ...fields,
  };
  const saved = await manage(`PUT /routes/${name}`, document);
  expect(saved.body).toMatchObject({ name, warnings: [] });
  return `/r/${name}`;
}

const echoed = ({ body }: Called): Record<string, never> => body as Record<string, never>;

beforeAll(async () => {
  await manage('PUT /upstreams/test', { targets: [{ url: upstream }] });
});

describe('a route', () => {
  it('passes method, path, query, headers and body on, and the reply back', async () => {
    const path = await route();
    const reply = await call(`PUT ${path}/echo?a=1&a=2&b=%2F`, { x: 1 }, { 'x-own': 'yes' });
    expect(reply.status).toBe(200);
    expect(echoed(reply)).toMatchObject({
      method: 'PUT',
      path: '/echo',
      query: { a: '2', b: '/' },
      body: '{"x":1}',
      headers: { 'x-own': 'yes', 'content-type': 'application/json' },
    });
  });

  it.each([204, 301, 404, 418, 500])('passes the status %i on as it is', async (status) => {
    const path = await route();
    expect((await call(`GET ${path}/status/${status}`)).status).toBe(status);
  });

  it('passes its own path on where nothing is rewritten', async () => {
    await manage('PUT /routes/plain-echo', { path: '/echo', upstream: 'test', auth: 'public' });
    expect(echoed(await call('GET /echo?x=1'))).toMatchObject({ path: '/echo', query: { x: '1' } });
  });

  it('needs a key unless it is public, with a scope for it', async () => {
    await route({ path: '/keyed/{rest*}', auth: 'key' });
    expect(codeOf(await call('GET /keyed/echo'))).toEqual([401, 'auth.missing']);
    const name = `route-${count}`;
    const made = async (scopes: readonly string[]) =>
      String((await manage('POST /keys', { name: 'k', scopes })).body['key']);
    const asked = async (scopes: readonly string[]) =>
      (await call('GET /keyed/echo', undefined, { 'x-api-key': await made(scopes) })).status;
    expect(await asked(['chain:*'])).toBe(403);
    expect(await asked(['route:other'])).toBe(403);
    expect(await asked([`route:${name}`])).toBe(200);
    expect(await asked(['route:*'])).toBe(200);
  });

  it('that is removed answers no more', async () => {
    const path = await route();
    expect((await call(`GET ${path}/echo`)).status).toBe(200);
    expect((await manage(`DELETE /routes/route-${count}`)).status).toBe(204);
    expect(codeOf(await call(`GET ${path}/echo`))).toEqual([404, 'request.not-found']);
  });

  it('without its upstream is saved with a warning, and says so', async () => {
    const saved = await manage('PUT /routes/lost', { path: '/lost', upstream: 'nowhere', auth: 'public' });
    expect(saved.body['warnings']).toEqual([{ path: 'upstream', message: expect.stringContaining('nowhere') }]);
    expect((await call('GET /lost')).body['code']).toBe('upstream.not-found');
  });

  it('may not answer what another answers', async () => {
    await manage('PUT /routes/first', { path: '/taken/{a}', upstream: 'test' });
    const second = await manage('PUT /routes/second', { path: '/taken/{b}', upstream: 'test' });
    expect(codeOf(second)).toEqual([409, 'route.taken']);
    expect(second.text).toContain('belongs to the route first');
    expect(
      (await manage('PUT /routes/second', { path: '/taken/{b}', hosts: ['x.test'], upstream: 'test' })).status,
    ).toBe(201);
  });

  it('refuses dot segments, which the upstream would read differently', async () => {
    const path = await route();
    for (const tricky of ['/a/..;/echo', '/..%5cecho', '/a%00']) {
      expect(codeOf(await call(`GET ${path}${tricky}`)), tricky).toEqual([400, 'request.invalid']);
    }
  });

  it('refuses a body over its limit before it reads it', async () => {
    const path = await route({ bodyLimitBytes: 10 });
    const large = await call(`POST ${path}/echo`, 'x'.repeat(11), {
      'content-type': 'text/plain',
      'content-length': '11',
    });
    expect(codeOf(large)).toEqual([413, 'request.too-large']);
  });
});

describe('edits', () => {
  it('rewrite path, query and headers by expression', async () => {
    await manage('PUT /routes/edited', {
      path: '/shops/{shop}/orders/{id}',
      upstream: 'test',
      auth: 'public',
      request: {
        path: '/echo/{id}/of/{shop}',
        query: { set: { shop: '{{ request.params.shop }}', n: '{{ 1 + 1 }}' }, remove: ['secret'] },
        headers: { set: { 'x-shop': 'shop {{ $uppercase(request.params.shop) }}' }, remove: ['x-gone'] },
      },
    });
    const reply = await call('GET /shops/a%2Fb/orders/7?secret=1&keep=2', undefined, { 'x-gone': '1' });
    expect(echoed(reply)).toMatchObject({
      path: '/echo/7/of/a%2Fb',
      query: { keep: '2', shop: 'a/b', n: '2' },
      headers: { 'x-shop': 'shop A/B' },
    });
    expect(echoed(reply)['headers']).not.toHaveProperty('x-gone');
  });

  it('make a new body of the request and of the reply', async () => {
    const path = await route({
      request: { path: '/{rest*}', body: { order: '{{ request.body.id }}', at: '{{ request.headers."x-shop" }}' } },
      response: {
        body: { sent: '{{ response.body.body }}' },
        headers: { set: { 'x-status': '{{ response.status }}' } },
      },
    });
    const reply = await call(`POST ${path}/echo`, { id: 7 }, { 'x-shop': 'north' });
    expect(JSON.parse(String(reply.body['sent']))).toEqual({ order: 7, at: 'north' });
    expect(reply.headers.get('x-status')).toBe('200');
  });

  it('cannot put a line break into a header', async () => {
    const path = await route({ request: { path: '/{rest*}', headers: { set: { 'x-a': '{{ request.query.a }}' } } } });
    expect(codeOf(await call(`GET ${path}/echo?a=1%0d%0aX-Evil:1`))).toEqual([502, 'route.failed']);
  });

  it('say what is missing', async () => {
    const path = await route({ request: { path: '/{rest*}', headers: { set: { 'x-a': '{{ request.query.a }}' } } } });
    const reply = await call(`GET ${path}/echo`);
    expect(reply.body['code']).toBe('expression.missing');
  });
});

describe('versions', () => {
  const list = {
    1: { deprecated: '2026-01-01T00:00:00Z', sunset: '2099-12-31T23:59:59Z', link: 'https://docs.example/v2' },
    2: { request: { path: '/echo/two' } },
    0: { sunset: '2020-01-01T00:00:00Z', afterSunset: 'refuse' },
  };

  it('by header: the one that is named, else the default, else none', async () => {
    const path = await route({ versions: { by: 'header', name: 'X-Version', default: '1', list } });
    const named = await call(`GET ${path}/echo`, undefined, { 'x-version': '2' });
    expect(echoed(named)).toMatchObject({ path: '/echo/two' });
    expect(named.headers.get('deprecation')).toBeNull();
    expect(echoed(await call(`GET ${path}/echo`))).toMatchObject({ path: '/echo' });
    const unknown = await call(`GET ${path}/echo`, undefined, { 'x-version': '9' });
    expect(codeOf(unknown)).toEqual([400, 'version.unknown']);
    expect(unknown.text).toContain('0, 1, 2');
  });

  it('RFC 9745 and RFC 8594: callers of a version that will end are told', async () => {
    const path = await route({ versions: { by: 'query', name: 'v', list } });
    const { headers } = await call(`GET ${path}/echo?v=1`);
    expect(headers.get('deprecation')).toBe('@1767225600');
    expect(headers.get('sunset')).toBe('Thu, 31 Dec 2099 23:59:59 GMT');
    expect(headers.get('link')).toBe('<https://docs.example/v2>; rel="deprecation"; type="text/html"');
  });

  it('that have ended are 410 where the route says so', async () => {
    const path = await route({ versions: { by: 'query', name: 'v', list } });
    const gone = await call(`GET ${path}/echo?v=0`);
    expect(codeOf(gone)).toEqual([410, 'version.gone']);
    expect(gone.headers.get('sunset')).toBe('Wed, 01 Jan 2020 00:00:00 GMT');
  });
});

describe('pages of other sites', () => {
  const cors = { origins: ['https://app.example'], expose: ['X-Total'], credentials: true, maxAge: '1h' };
  const asked = {
    origin: 'https://app.example',
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'x-a',
  };

  it('are told in a preflight, without a key, what they may do', async () => {
    const path = await route({ auth: 'key', cors });
    const { status, headers } = await call(`OPTIONS ${path}/echo`, undefined, asked);
    expect(status).toBe(204);
    expect(Object.fromEntries(headers)).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-methods': 'PUT',
      'access-control-allow-headers': 'x-a',
      'access-control-allow-credentials': 'true',
      'access-control-max-age': '3600',
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    });
  });

  it('of an origin that is not listed are told nothing', async () => {
    const path = await route({ cors });
    const { headers } = await call(`OPTIONS ${path}/echo`, undefined, { ...asked, origin: 'https://evil.example' });
    expect(headers.get('access-control-allow-origin')).toBeNull();
    const reply = await call(`GET ${path}/echo`, undefined, { origin: 'https://evil.example' });
    expect(reply.headers.get('access-control-allow-origin')).toBeNull();
    expect(reply.headers.get('vary')).toContain('Origin');
  });

  it('may read answers and refusals', async () => {
    const path = await route({ auth: 'key', cors });
    const refused = await call(`GET ${path}/echo`, undefined, { origin: 'https://app.example' });
    expect(codeOf(refused)).toEqual([401, 'auth.missing']);
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(refused.headers.get('access-control-expose-headers')).toBe('X-Total');
  });

  it('cannot preflight a route without such a policy', async () => {
    const path = await route({ auth: 'key' });
    expect(codeOf(await call(`OPTIONS ${path}/echo`, undefined, asked))).toEqual([401, 'auth.missing']);
  });
});

it('traffic is counted by target, version and key, refusals too', async () => {
  const path = await route({ auth: 'key', versions: { by: 'query', name: 'v', list: { 1: {}, 2: {} } } });
  const target = `route:route-${count}`;
  const { key, id } = (await manage('POST /keys', { name: 'k', scopes: ['route:*'] })).body;
  const headers = { 'x-api-key': String(key) };
  await call(`GET ${path}/echo?v=1`, undefined, headers);
  await call(`GET ${path}/echo?v=2`, undefined, headers);
  await call(`GET ${path}/status/503?v=2`, undefined, headers);
  await call(`GET ${path}/echo?v=2`);
  await vi.waitFor(async () => {
    const { body } = await manage(`GET /traffic?by=total&group=version,caller&target=${target}`);
    expect(body['items']).toMatchObject(
      [
        { version: '1', caller: `key:${String(id)}`, requests: 1, statuses: { '2xx': 1 } },
        { version: '2', caller: `key:${String(id)}`, requests: 2, statuses: { '2xx': 1, '5xx': 1 } },
        { version: '', caller: '', requests: 1, statuses: { '4xx': 1 } },
      ].toSorted((a, b) => (a.version < b.version ? -1 : 1)),
    );
  }, 10_000);
  const usage = await manage(`GET /keys/${String(id)}/usage?by=total`);
  expect(usage.body['items']).toMatchObject([{ target, requests: 3 }]);
});
