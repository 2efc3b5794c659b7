/** Rows 23, 25, 26, 29, 30 and 31: ways around the router and the keys, against the whole Worker. */

import { exports } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { call, codeOf, manage, ORIGIN, publish, runsOf } from '../../workerd/gateway/fixtures.ts';

const ADMIN = { authorization: 'Bearer test-admin-key' };

/** Another spelling of each path that is closed: what stands for it must be closed too. */
const DISGUISES = (path: string): string[] => {
  const [, first = '', ...rest] = path.split('/');
  const tail = rest.join('/');
  return [
    `/${path}`,
    `//${first}/${tail}`,
    `/./${first}/${tail}`,
    `/${first}/./${tail}`,
    `/x/../${first}/${tail}`,
    `/x/%2e%2e/${first}/${tail}`,
    `/x/..%2f${first}/${tail}`,
    `/x%2f..%2f${first}/${tail}`,
    `/${first}//${tail}`,
    `/${first}%2f${tail}`,
    `/${first};x=1/${tail}`,
    `/${first}/${tail};jsessionid=1`,
    `/${first}/${tail}.`,
    `/${first}/${tail}/`,
    `/${first}/${tail}//`,
    `/${first}/${tail}%20`,
    `/${first}/${tail}%00`,
    `/${first}/${tail}%09`,
    `/${first}/${tail}.json`,
    `/${first}/${tail}?/_/health`,
    `/${first}/${tail}?/hooks/x`,
    `/${first}/${tail}#/_/health`,
    `/${first}/${tail}\\`,
    `\\${first}\\${tail}`,
    path.toUpperCase(),
    path.replace(/[a-z](?=[^/]*$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    `/_/health/..;/${first}/${tail}`,
    `/_/health/../..${path}`,
    `/_/health%2f..%2f..${path}`,
    `/hooks/..${path}`,
    `/hooks/x/..%2f..${path}`,
    `/_/approvals/..%2f..${path}`,
    `/_/approvals/../..${path}`,
  ];
};

describe('attack 23: a disguised path', () => {
  test('opens no endpoint of the management API', async () => {
    for (const path of ['/_/api/v1/chains', '/_/api/v1/keys', '/_/api/v1/connections', '/_/api/v1/runs']) {
      for (const disguise of DISGUISES(path)) {
        const { status, text } = await call(`GET ${disguise}`);
        expect([401, 404], `${disguise} → ${status}`).toContain(status);
        expect(text, disguise).not.toContain('"items"');
      }
    }
  });

  test('opens no chain that asks for a key, and starts no run', async () => {
    const { name, route } = await publish({ output: 'open' }, { auth: 'key' });
    const path = route.slice('POST '.length);
    for (const disguise of [...DISGUISES(path), `${path}/../${name}`, `/%2e${path}`, `${path}%2f`, `${path};a=b`]) {
      const { status, text } = await call(`POST ${disguise}`, {});
      expect([401, 404], `${disguise} → ${status}`).toContain(status);
      expect(text).not.toBe('"open"');
    }
    expect(await runsOf(name)).toBe(0);
  });

  test('opens no source of webhooks without a signature', async () => {
    await manage('PUT /sources/guarded', { scheme: 'stripe', secret: 'whsec_guarded' });
    const { name } = await publish({ triggers: { hook: { type: 'webhook', source: 'guarded' } }, output: 1 });
    for (const disguise of [
      '/hooks/guarded',
      ...DISGUISES('/hooks/guarded'),
      '/?/hooks/guarded',
      '/_/api/hooks/guarded',
    ]) {
      const { status } = await call(`POST ${disguise}`, { type: 'x' });
      expect([401, 404], `${disguise} → ${status}`).toContain(status);
    }
    expect(await runsOf(name)).toBe(0);
  });

  test('gives no chain the place of a reserved path', async () => {
    for (const path of ['/_/api/v1/chains', '/_/health', '/_/x', '/hooks/x', '/_/approvals/x']) {
      const document = {
        triggers: { api: { type: 'http', method: 'GET', path, auth: 'public' } },
        steps: {},
        output: 1,
      };
      const refused = await manage('PUT /chains/taker', document);
      expect(codeOf(refused), path).toEqual([422, 'chain.invalid']);
      expect(refused.body['errors'], path).toMatchObject([{ path: 'triggers.api.path' }]);
    }
  });

  test('with a parameter of a path gives the chain one segment, decoded once', async () => {
    await publish({ output: '{{ trigger.params.id }}' }, { method: 'GET', path: '/segments/{id}' });
    expect(JSON.parse((await call('GET /segments/..%2f..%2fetc')).text)).toBe('../../etc');
    expect(JSON.parse((await call('GET /segments/%252e%252e')).text)).toBe('%2e%2e');
    for (const path of ['/segments/a/b', '/segments/%', '/segments/%ff', '/segments//', '/segments/']) {
      expect((await call(`GET ${path}`)).status, path).toBe(404);
    }
  });
});

describe('attacks 25 and 26: an id that is not there, or of another kind', () => {
  test.each([
    'GET /runs/run_0_00000000000000000000000000000000',
    'GET /runs/run_i_x',
    'GET /runs/__proto__',
    'GET /runs/..%2fchains',
    "GET /runs/x'or'1'='1",
    'GET /runs/run_999999_0',
    'GET /connections/nothing',
    'GET /connections/constructor',
    'GET /chains/nothing/versions/1',
    'DELETE /keys/key_0',
    'DELETE /connections/nothing',
    'POST /runs/run_0_0/cancel',
  ])('%s is 404 and tells nothing', async (route) => {
    const { status, text } = await manage(route);
    expect(status).toBe(404);
    expect(text).not.toMatch(/sealed|sqlite|D1_|stack/i);
  });

  test('a chain cannot use a connection of another connector', async () => {
    await manage('PUT /connections/of-redis', {
      connector: 'redis',
      settings: { url: 'https://redis.example' },
      secrets: { token: 'of-redis-token' },
    });
    const { route } = await publish({
      steps: { a: { use: 'http.get', connection: 'of-redis', with: { url: 'https://redis.example/' } } },
    });
    const refused = await call(route);
    expect(refused.body['code']).toBe('connection.invalid');
    expect(refused.text).not.toContain('of-redis-token');
  });
});

describe('attack 29: a request from a page of another site', () => {
  const send = async (headers: Record<string, string>, method = 'POST'): Promise<Response> =>
    exports.default.fetch(
      new Request(`${ORIGIN}/_/api/v1/keys`, {
        method,
        headers,
        ...(method === 'GET' ? {} : { body: '{"name":"stolen"}' }),
      }),
    );

  test.each([
    { origin: 'https://evil.test' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', origin: ORIGIN },
  ])('without a content type, with the key and %j, is 403', async (headers) => {
    const bare = new Headers({ ...headers, ...ADMIN });
    bare.delete('content-type');
    expect((await send(Object.fromEntries(bare))).status).toBe(403);
    expect((await send({ ...headers, ...ADMIN }, 'GET')).status).toBe(403);
  });

  test('makes no key, and a form or a plain text without any such header is 415', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', '']) {
      expect((await send({ ...ADMIN, 'content-type': type })).status, type).toBe(415);
    }
    expect((await manage('GET /keys')).text).not.toContain('stolen');
  });
});

describe('attack 30: the header that chooses a version of the Worker', () => {
  test('from outside changes no answer, opens nothing and goes to no upstream', async () => {
    const { route } = await publish({ output: '{{ chain.name }}' });
    const override = { 'cloudflare-workers-version-overrides': 'tidegate="00000000-0000-0000-0000-000000000000"' };
    expect((await call(route, {}, override)).text).toBe((await call(route, {})).text);
    expect((await call('GET /_/api/v1/chains', undefined, override)).status).toBe(401);
  });
});

describe('attack 31: a body beyond the limit, whatever it declares', () => {
  const streamed = (bytes: number): ReadableStream => {
    let left = bytes;
    return new ReadableStream({
      pull(controller) {
        if (left <= 0) return controller.close();
        controller.enqueue(new Uint8Array(Math.min(left, 64 * 1024)).fill(97));
        left -= 64 * 1024;
      },
    });
  };
  const send = (path: string, bytes: number, headers: Record<string, string> = {}): Promise<Response> =>
    exports.default.fetch(
      new Request(ORIGIN + path, {
        method: path.startsWith('/_/') ? 'PUT' : 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: streamed(bytes),
      }),
    );

  test('without a length is 413 for chains, webhooks and the management API', async () => {
    const { name } = await publish({ output: 1 });
    await manage('PUT /sources/large', { scheme: 'stripe', secret: 'whsec_large' });
    expect((await send(`/${name}`, LIMITS.requestBodyBytes + 1)).status).toBe(413);
    expect((await send('/hooks/large', LIMITS.webhookBodyBytes + 1)).status).toBe(413);
    expect((await send('/_/api/v1/chains/large', LIMITS.chainDocumentBytes + 1, ADMIN)).status).toBe(413);
    expect(await runsOf(name)).toBe(0);
  });
});

describe('wrong admin keys', () => {
  const from = (key: string, address: string): Promise<Response> =>
    exports.default.fetch(
      new Request(`${ORIGIN}/_/api/v1/chains`, {
        headers: { authorization: `Bearer ${key}`, 'cf-connecting-ip': address },
        cf: { colo: 'TST' } as CfProperties,
      }),
    );

  test('are limited for each address, and the right key is served all the while', async () => {
    const statuses: number[] = [];
    for (let count = 0; count < LIMITS.wrongKeysBurst + 5; count++) {
      statuses.push((await from(`guess-${count}`, `2001:db8::${count}`)).status);
    }
    expect(statuses.slice(0, LIMITS.wrongKeysBurst)).toEqual(Array(LIMITS.wrongKeysBurst).fill(401));
    expect(statuses.slice(LIMITS.wrongKeysBurst)).toEqual(Array(5).fill(429));
    const refused = await from('guess', '2001:db8::1');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'auth.limited' });
    expect((await from('test-admin-key', '2001:db8::1')).status).toBe(200);
    expect((await from('guess', '192.0.2.1')).status).toBe(401);
  });
});
