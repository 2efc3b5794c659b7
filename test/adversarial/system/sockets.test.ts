/** Rows 23, 31, 34, 37 and 53: what only bytes on a socket can show, against a gateway as `npm start` runs it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import {
  sendRaw,
  startGateway,
  startRawUpstream,
  statusesOf,
  type RawUpstream,
  type StartedGateway,
} from './support.ts';

const POISON = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\npoisoned';
const REPLY = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok';

let gateway: StartedGateway;
let upstream: RawUpstream;
let answer = REPLY;

beforeAll(async () => {
  upstream = await startRawUpstream(() => answer);
  gateway = await startGateway();
  await gateway.manage('PUT', '/upstreams/raw', { targets: [{ url: upstream.url }] });
  await gateway.manage('PUT', '/routes/through', {
    path: '/through/{rest*}',
    methods: ['GET', 'POST'],
    upstream: 'raw',
    auth: 'public',
  });
  const chain = (path: string, step: unknown, output: unknown) => ({
    triggers: { api: { type: 'http', method: 'POST', path, auth: 'public' } },
    steps: { send: step },
    output,
  });
  await gateway.manage(
    'PUT',
    '/chains/post',
    chain(
      '/post',
      { use: 'http.post', with: { url: `${upstream.url}/posted`, text: '{{ trigger.body ?? "none" }}' } },
      '{{ steps.send.body }}',
    ),
  );
  await gateway.manage('PUT', '/chains/closed', {
    triggers: { api: { type: 'http', method: 'GET', path: '/closed', auth: 'key' } },
    steps: {},
    output: 'opened',
  });
});

afterAll(async () => {
  await gateway.stop();
  await upstream.stop();
  gateway.remove();
});

/** The request lines that the upstream saw. */
const requestsUpstream = (): string[] => upstream.received().match(/(?:GET|POST|PUT|DELETE) \S+ HTTP\/1\.1/g) ?? [];

const head = (path: string, ...headers: string[]): string =>
  [`POST ${path} HTTP/1.1`, 'host: gateway.test', 'content-type: text/plain', ...headers].join('\r\n');

const SMUGGLED = 'GET /through/smuggled HTTP/1.1\r\nhost: gateway.test\r\nx: ';

describe('attacks 31 and 53: a request that two parties could read differently', () => {
  const ends = '\r\n\r\n';
  test.each<[string, (path: string) => string]>([
    [
      'content-length beside chunked',
      (path) => head(path, 'content-length: 4', 'transfer-encoding: chunked') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'chunked beside content-length',
      (path) =>
        head(path, 'transfer-encoding: chunked', `content-length: ${5 + SMUGGLED.length}`) +
        `${ends}0${ends}${SMUGGLED}`,
    ],
    ['two lengths', (path) => head(path, 'content-length: 0', `content-length: ${SMUGGLED.length}`) + ends + SMUGGLED],
    ['two lengths in one header', (path) => head(path, `content-length: 0, ${SMUGGLED.length}`) + ends + SMUGGLED],
    [
      'a folded header',
      (path) => head(path, 'content-length: 0', 'x: 1\r\n transfer-encoding: chunked') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'a space before the colon',
      (path) => head(path, 'transfer-encoding : chunked', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'a tab before chunked',
      (path) => head(path, 'transfer-encoding:\tchunked', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'a vertical tab before chunked',
      (path) => head(path, 'transfer-encoding: \vchunked', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    ['xchunked', (path) => head(path, 'transfer-encoding: xchunked', 'content-length: 0') + ends + SMUGGLED],
    [
      'chunked, identity',
      (path) => head(path, 'transfer-encoding: chunked, identity', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'two transfer codings',
      (path) =>
        head(path, 'transfer-encoding: chunked', 'transfer-encoding: identity', 'content-length: 4') +
        `${ends}0${ends}${SMUGGLED}`,
    ],
    ['a signed length', (path) => head(path, 'content-length: +0') + ends + SMUGGLED],
    ['a hexadecimal length', (path) => head(path, 'content-length: 0x0') + ends + SMUGGLED],
    ['a negative length', (path) => head(path, 'content-length: -1') + ends + SMUGGLED],
    [
      'a huge length of a chunk',
      (path) => head(path, 'transfer-encoding: chunked') + `${ends}ffffffffffffffff1\r\nx\r\n0${ends}${SMUGGLED}`,
    ],
    [
      'a length of a chunk with a sign',
      (path) => head(path, 'transfer-encoding: chunked') + `${ends}+1\r\nx\r\n0${ends}${SMUGGLED}`,
    ],
    [
      'bare line feeds',
      (path) =>
        (head(path, 'content-length: 4', 'transfer-encoding: chunked') + `${ends}0${ends}${SMUGGLED}`).replaceAll(
          '\r\n',
          '\n',
        ),
    ],
    [
      'a bare line feed in a header',
      (path) => head(path, 'x: 1\ntransfer-encoding: chunked', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    [
      'a bare carriage return in a header',
      (path) => head(path, 'x: 1\rtransfer-encoding: chunked', 'content-length: 4') + `${ends}0${ends}${SMUGGLED}`,
    ],
    ['a zero character in a header', (path) => head(path, 'x: 1\u0000', 'content-length: 0') + ends + SMUGGLED],
    [
      'a line break in the request line',
      () => `POST /post?a\r\nx HTTP/1.1\r\nhost: a\r\ncontent-length: 0${ends}${SMUGGLED}`,
    ],
  ])('%s reaches the upstream once at most, and smuggles nothing', async (_what, bytes) => {
    answer = REPLY;
    for (const path of ['/post', '/through/once']) {
      upstream.forget();
      const received = await sendRaw(gateway.url, bytes(path));
      const seen = requestsUpstream();
      expect(seen.length, `${received}\n${upstream.received()}`).toBeLessThanOrEqual(1);
      expect(seen.join(), upstream.received()).not.toContain('smuggled');
      // What is passed on as a stream breaks off when it has begun.
      const allowed = path === '/post' ? [200, 400, 501] : [200, 400, 501, 500, 502];
      for (const status of statusesOf(received)) expect(allowed, received).toContain(status);
    }
  });

  test('a body beyond the limit in chunks is 413, whatever its head says', async () => {
    upstream.forget();
    const chunk = 'a'.repeat(64 * 1024);
    const count = Math.ceil(LIMITS.requestBodyBytes / chunk.length) + 1;
    const chunks = `${chunk.length.toString(16)}\r\n${chunk}\r\n`.repeat(count);
    const received = await sendRaw(
      gateway.url,
      `${head('/post', 'transfer-encoding: chunked')}${ends}${chunks}0${ends}`,
      3_000,
    );
    expect(statusesOf(received)).toEqual([413]);
    expect(requestsUpstream()).toEqual([]);
  });

  test.each([
    ['bytes behind its reply', REPLY + POISON],
    [
      'two lengths',
      REPLY.replace('content-length: 2', `content-length: 2\r\ncontent-length: ${2 + POISON.length}`) + POISON,
    ],
    [
      'a length beside chunked',
      `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${POISON}`,
    ],
    ['an interim reply', `HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n${REPLY}${POISON}`],
    ['a body of a 204', `HTTP/1.1 204 No Content\r\n\r\n${POISON}`],
    ['a folded header', REPLY.replace('content-type:', 'x: 1\r\n y\r\ncontent-type:') + POISON],
  ])('an upstream that sends %s poisons no later reply', async (_what, reply) => {
    answer = reply;
    for (let turn = 0; turn < 3; turn++) {
      for (const [method, path] of [
        ['POST', '/post'],
        ['GET', '/through/x'],
      ] as const) {
        const answered = await fetch(gateway.url + path, { method, ...(method === 'POST' && { body: 'x' }) });
        expect(await answered.text(), `${path}, turn ${turn}`).not.toContain('poisoned');
      }
    }
    answer = REPLY;
    await fetch(`${gateway.url}/through/x`).then((reached) => reached.text());
    expect(await (await fetch(`${gateway.url}/through/x`)).text()).toBe('ok');
  });
});

describe('attack 23: a request line that no client writes', () => {
  test.each([
    'http://gateway.test/_/api/v1/chains',
    'http://evil.test/_/api/v1/chains',
    'HTTP://gateway.test//_/api/v1/chains',
    'http://user:password@gateway.test/_/api/v1/chains',
    'http:/_/api/v1/chains',
    '_/api/v1/chains',
    '*',
    '/./_/api/v1/chains',
    '/x/../_/api/v1/chains',
    '/x/%2e%2e/_/api/v1/chains',
    '/_/health/../api/v1/chains',
    '//_/api/v1/chains',
    '//gateway.test/_/api/v1/chains',
    '/\\_\\api\\v1\\chains',
    '/_/api/v1/chains?x=/_/health',
    '/_/api/v1/chains;/_/health',
    '/_/api/v1/openapi.json/../chains',
    '/through/../_/api/v1/chains',
    '/through/..%2f..%2f_/api/v1/chains',
    'http://gateway.test/closed',
    '/x/../closed',
    '//closed',
    '/./closed',
    '/closed/.',
    '/CLOSED',
    '/closed%00',
  ])('%s opens nothing', async (target) => {
    upstream.forget();
    const received = await sendRaw(
      gateway.url,
      `GET ${target} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n`,
    );
    for (const status of statusesOf(received)) expect([400, 401, 404, 501], received).toContain(status);
    expect(received).not.toContain('"items"');
    expect(received).not.toContain('opened');
    expect(requestsUpstream()).toEqual([]);
  });
});

describe('attack 34: a redirect to another host', () => {
  test('takes no credentials along', async () => {
    const other = await startRawUpstream(() => REPLY);
    answer = `HTTP/1.1 302 Found\r\nlocation: ${other.url}/elsewhere\r\ncontent-length: 0\r\n\r\n`;
    await gateway.manage('PUT', '/connections/shop', {
      connector: 'http',
      settings: { baseUrl: upstream.url, headers: { 'x-team': 'of-the-connection' } },
      secrets: { bearer: 'redirect-canary', headers: { 'x-vendor': 'redirect-canary' } },
    });
    await gateway.manage('PUT', '/chains/redirected', {
      triggers: { api: { type: 'http', method: 'POST', path: '/redirected', auth: 'public' } },
      steps: {
        get: { use: 'http.get', connection: 'shop', with: { url: '/from', headers: { cookie: 'redirect-canary' } } },
      },
      output: '{{ steps.get.body }}',
    });
    upstream.forget();
    const answered = await fetch(`${gateway.url}/redirected`, { method: 'POST' });
    expect(await answered.json()).toBe('ok');
    expect(upstream.received()).toContain('redirect-canary');
    expect(other.received()).toContain('/elsewhere');
    expect(other.received()).not.toMatch(/redirect-canary|of-the-connection/);
    answer = REPLY;
    await other.stop();
  });
});

describe('attack 37: a chain or a route that calls the gateway itself over HTTP', () => {
  const ROUNDS = LIMITS.hops + 1;

  test('ends after so many rounds, through chains and routes', async () => {
    await gateway.manage('PUT', '/upstreams/itself', { targets: [{ url: gateway.url }] });
    await gateway.manage('PUT', '/routes/loop', { path: '/loop/{rest*}', upstream: 'itself', auth: 'public' });
    await gateway.manage('PUT', '/chains/loop', {
      triggers: { api: { type: 'http', method: 'POST', path: '/chain-loop', auth: 'public' } },
      steps: {
        count: { use: 'http.post', with: { url: `${upstream.url}/round` } },
        again: { use: 'http.post', after: ['count'], with: { url: `${gateway.url}/chain-loop` } },
      },
      output: 1,
    });
    const looped = await fetch(`${gateway.url}/loop/x`);
    expect([looped.status, await looped.text()]).toEqual([508, expect.stringContaining('request.loop')]);
    answer = REPLY;
    upstream.forget();
    const failed = await fetch(`${gateway.url}/chain-loop`, { method: 'POST' });
    expect(failed.status).toBe(502);
    expect(requestsUpstream().length).toBeLessThanOrEqual(ROUNDS);
    expect(requestsUpstream().length).toBeGreaterThan(1);
  });
});
