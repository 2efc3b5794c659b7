/** Rows 32–37: outgoing traffic of chains and routes, against the whole Worker. */

import { env } from 'cloudflare:workers';
import { describe, expect, inject, test } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { wayOutOf } from '../../../src/runtime/way-out.ts';
import { call, codeOf, manage, publish, receipts, upstream } from '../../workerd/gateway/fixtures.ts';

/** The tests list 127.0.0.1 with all its ports, and nothing else. */
const PRIVATE = [
  'http://localhost/',
  'http://0x7f000002/',
  'http://0177.0.0.2/',
  'http://2130706434/',
  'http://127.2/',
  'http://[::]/',
  'http://[::1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:a9fe:a9fe]/',
  'http://10.0.0.1/',
  'http://169.254.169.254/latest/meta-data/',
  'http://metadata.google.internal/computeMetadata/v1/',
  'http://168.63.129.16/',
  'http://100.100.100.200/',
  'http://127.0.0.2。/',
  'http://①②⑦.⓪.⓪.②/',
  'https://example.com:22/',
  'ftp://example.com/',
  'https://user:password@example.com/',
];

const SECRETS = {
  redis: { token: 'redis-credential' },
  s3: { accessKeyId: 'id', secretAccessKey: 's3-credential' },
  postgres: { connectionString: 'postgresql://u:pg-credential@db.example/x', token: 'bridge-credential' },
  http: { bearer: 'http-credential' },
};

let count = 0;

/** A connection that its maker points at an address, or the refusal of the API to keep it. */
async function connect(connector: keyof typeof SECRETS, url: string): Promise<string | undefined> {
  const name = `to-${++count}`;
  const settings = {
    redis: { url },
    s3: { endpoint: url, region: 'r', bucket: 'bucket' },
    postgres: { endpoint: url },
    http: { baseUrl: url },
  }[connector];
  const { status } = await manage(`PUT /connections/${name}`, { connector, settings, secrets: SECRETS[connector] });
  return status < 300 ? name : undefined;
}

const STEPS = {
  redis: { use: 'redis.get', with: { key: 'a' } },
  s3: { use: 's3.get', with: { key: 'a' } },
  postgres: { use: 'postgres.query', with: { sql: 'select 1' } },
  http: { use: 'http.get', with: { url: '/a' } },
} as const;

describe('attack 32: an address that is not public', () => {
  test('is refused where a step names it, in every method', async () => {
    for (const use of ['http.get', 'http.head', 'http.post', 'http.put', 'http.patch', 'http.delete']) {
      const { route } = await publish({ steps: { a: { use, with: { url: '{{ trigger.body.url }}' } } }, output: 1 });
      for (const url of PRIVATE)
        expect(codeOf(await call(route, { url })), `${use} ${url}`).toEqual([403, 'egress.refused']);
    }
  });

  test.each(['redis', 's3', 'postgres', 'http'] as const)(
    'is refused where a connection of %s names it',
    async (connector) => {
      for (const url of PRIVATE) {
        const connection = await connect(connector, url.replace(/\/$/, ''));
        // Some are no address that a connection may have in the first place.
        if (connection === undefined) continue;
        const { route } = await publish({ steps: { a: { ...STEPS[connector], connection } }, output: 1 });
        const refused = await call(route, {});
        expect(codeOf(refused), `${connector} ${url}`).toEqual([403, 'egress.refused']);
        expect(refused.text).not.toContain('credential');
      }
    },
  );

  test('is refused where a route has it for its upstream', async () => {
    for (const [index, url] of PRIVATE.entries()) {
      const name = `private-${index}`;
      const pool = await manage(`PUT /upstreams/${name}`, { targets: [{ url: url.replace(/\/$/, '') }] });
      if (pool.status >= 400) continue;
      const route = { path: `/${name}/{rest*}`, methods: ['GET'], upstream: name, auth: 'public' };
      const made = await manage(`PUT /routes/${name}`, route);
      expect(made.status, made.text).toBeLessThan(300);
      const { status, body } = await call(`GET /${name}/x`);
      expect(status, url).toBeGreaterThanOrEqual(400);
      expect(body['code'], url).not.toBe('request.not-found');
    }
  });
});

describe('attack 32: a socket', () => {
  const database = new URL(inject('servers').postgres.connectionString);

  test('reaches a host that the owner lists, and no other', async () => {
    const { connect } = wayOutOf(env);
    const opened = connect({ hostname: database.hostname, port: Number(database.port) });
    if (!opened.ok) throw new Error(opened.fault.message);
    const writer = opened.value.writable.getWriter();
    // The request for TLS with which a connection to Postgres begins; it answers with one letter.
    await writer.write(new Uint8Array([0, 0, 0, 8, 4, 210, 22, 47]));
    const { value } = await opened.value.readable.getReader().read();
    expect(new TextDecoder().decode(value)).toMatch(/^[NS]$/);
    await opened.value.close();
    for (const hostname of ['127.0.0.2', 'localhost', '::1', '10.0.0.1', 'metadata.google.internal']) {
      expect(connect({ hostname, port: 5432 }), hostname).toMatchObject({ fault: { code: 'egress.refused' } });
    }
  });
});

describe('attack 34: a redirect', () => {
  test('to a private address is refused', async () => {
    for (const to of ['http://169.254.169.254/', 'http://[::1]/', 'file:///etc/passwd', '//10.0.0.1/']) {
      const { route } = await publish({
        steps: { a: { use: 'http.get', with: { url: `${upstream}/redirect?to=${encodeURIComponent(to)}` } } },
        output: 1,
      });
      expect(codeOf(await call(route)), to).toEqual([403, 'egress.refused']);
    }
  });
});

describe('attack 35: an address of the caller with a credential of the owner', () => {
  test('is refused for a connection of http, whatever the form of the address', async () => {
    await manage('PUT /connections/bound', {
      connector: 'http',
      settings: { baseUrl: `${upstream}/echo` },
      secrets: { bearer: 'bound-credential' },
    });
    const { route } = await publish({
      steps: { a: { use: 'http.get', connection: 'bound', with: { url: '{{ trigger.body.url }}' } } },
      output: '{{ steps.a.body.headers.authorization }}',
    });
    expect((await call(route, { url: '/x' })).text).toBe('"Bearer bound-credential"');
    const { port } = new URL(upstream);
    for (const url of [
      'https://evil.example/',
      `https://evil.example/?${upstream}`,
      `http://127.0.0.1:${port}.evil.example/`,
      `http://127.0.0.1:${port}@evil.example/`,
      `http://127.0.0.1:${Number(port) + 1}/`,
      `https://127.0.0.1:${port}/`,
      'HTTP://evil.example/',
    ]) {
      const refused = await call(route, { url });
      expect(codeOf(refused), url).toEqual([403, 'egress.refused']);
      expect(refused.text).not.toContain('bound-credential');
    }
    // What only looks like an address of its own is a path behind that of the connection.
    for (const url of [
      'http:\\\\evil.example/',
      '//evil.example/',
      '@evil.example/',
      '.evil.example/',
      ':80@evil.example/',
    ]) {
      const answered = await call(route, { url });
      expect(answered.status === 200 ? answered.text : 'refused', url).toMatch(/bound-credential|refused/);
    }
  });
});

describe('attack 36: line breaks in what becomes a request', () => {
  test('in a header or an address are refused, and nothing is sent', async () => {
    const path = '/echo?test=line-breaks';
    const headers = await publish({
      steps: { a: { use: 'http.get', with: { url: upstream + path, headers: { 'x-a': '{{ trigger.body.v }}' } } } },
      output: 1,
    });
    for (const v of ['a\r\nx-injected: 1', 'a\nb', 'a\rb', 'a\u0000b', 'a\u2028\u{1f98a}']) {
      expect(codeOf(await call(headers.route, { v })), JSON.stringify(v)).toEqual([400, 'request.invalid']);
    }
    const urls = await publish({
      steps: { a: { use: 'http.get', with: { url: `${upstream}{{ trigger.body.v }}` } } },
      output: 1,
    });
    for (const v of ['/echo?test=line-breaks\r\nhost: evil.example', '/\nGET / HTTP/1.1', '/\u0000']) {
      expect(codeOf(await call(urls.route, { v })), JSON.stringify(v)).toEqual([400, 'request.invalid']);
    }
    expect(await receipts(path)).toEqual([]);
  });

  test.each(['host', 'content-length', 'transfer-encoding', 'connection', 'te', 'upgrade'])(
    'the header %s cannot be set by a step: it would frame another request',
    async (name) => {
      const { route } = await publish({
        steps: { a: { use: 'http.post', with: { url: `${upstream}/echo`, headers: { [name]: 'x' }, text: 'a' } } },
        output: 1,
      });
      expect(codeOf(await call(route))).toEqual([400, 'request.invalid']);
    },
  );

  test('in a header of a response of the gateway are refused', async () => {
    const { route } = await publish({
      steps: { a: { use: 'flow.respond', with: { headers: { 'x-a': '{{ trigger.body.v }}' }, body: 'x' } } },
    });
    const answered = await call(route, { v: 'a\r\nset-cookie: stolen=1' });
    expect(answered.headers.get('set-cookie')).toBeNull();
    expect(answered.status).toBeGreaterThanOrEqual(400);
  });
});

describe('attack 37: a chain that calls itself', () => {
  test('by flow.call ends at the depth limit', async () => {
    await manage('PUT /chains/ouroboros', {
      name: 'ouroboros',
      mode: 'durable',
      triggers: { api: { type: 'http', method: 'POST', path: '/ouroboros', auth: 'public', respond: 'result' } },
      steps: { again: { use: 'flow.call', with: { chain: 'ouroboros' } } },
      output: 1,
    });
    const ended = await call('POST /ouroboros', {}, { prefer: 'wait=30' });
    expect(ended.status).toBeGreaterThanOrEqual(500);
    expect(ended.text).toContain(`${LIMITS.callDepth} deep`);
  });

  test('over HTTP is counted: each request that leaves says how many gateways it has passed', async () => {
    const { route } = await publish({
      steps: { a: { use: 'http.get', with: { url: `${upstream}/echo`, headers: { 'tidegate-hops': '0' } } } },
      output: '{{ steps.a.body.headers."tidegate-hops" }}',
    });
    expect((await call(route)).text).toBe('"1"');
    expect((await call(route, {}, { 'tidegate-hops': '3' })).text).toBe('"4"');
    const durable = await call(route, {}, { 'tidegate-hops': '3', prefer: 'respond-async' });
    expect(durable.status).toBe(202);
    await expect.poll(async () => (await manage(`GET /runs/${String(durable.body['id'])}`)).body['output']).toBe('4');
  });

  test('over HTTP is refused at the limit, wherever it comes in', async () => {
    const { route } = await publish({ output: 1 });
    for (const path of [route, 'POST /hooks/x', 'GET /_/health', 'GET /nothing']) {
      for (const hops of [String(LIMITS.hops), '999999', 'x', '1, 1']) {
        expect(codeOf(await call(path, path.startsWith('GET') ? undefined : {}, { 'tidegate-hops': hops }))).toEqual([
          508,
          'request.loop',
        ]);
      }
    }
  });

  test('through another chain and a call keeps its count', async () => {
    await manage('PUT /chains/inner-hops', {
      name: 'inner-hops',
      mode: 'durable',
      triggers: {},
      steps: { a: { use: 'http.get', with: { url: `${upstream}/echo` } } },
      output: '{{ steps.a.body.headers."tidegate-hops" }}',
    });
    const { route } = await publish(
      { mode: 'durable', steps: { a: { use: 'flow.call', with: { chain: 'inner-hops' } } }, output: '{{ steps.a }}' },
      { respond: 'result' },
    );
    expect((await call(route, {}, { 'tidegate-hops': '2' })).text).toContain('3');
  });
});
