import { expect, test } from 'vitest';
import { ADMIN_KEY, codeOf, ORIGIN, testControl } from './fixtures.ts';
import { endpoints } from '../../../src/control/index.ts';
import { fail } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const refuseAll = async () => {
  throw new Error('A refused request reached the gateway.');
};

/** Any use of a port but the key is seen as a 500. */
const control = testControl({
  db: new Proxy({} as D1Database, { get: refuseAll }),
  configurationChanged: refuseAll,
  startRun: refuseAll,
  getRun: refuseAll,
  listRuns: refuseAll,
  cancelRun: refuseAll,
});

const guarded = endpoints.filter((item) => item.access !== 'public');
const addressOf = (path: string): string => ORIGIN + path.replace('{name}', 'orders').replace('{id}', 'run_0_1');

let callers = 0;

/** As a working call would look, so that only the credential can be the reason to refuse; each from an address of its own. */
const attempt = (method: string, url: string, headers: Record<string, string>) => {
  const address = `10.0.${++callers >> 8}.${callers & 255}`;
  return control.send(
    new Request(url, {
      method,
      headers: { 'content-type': 'application/json', 'cf-connecting-ip': address, ...headers },
      cf: { colo: 'TST' } as CfProperties,
      ...(method === 'PUT' || method === 'POST' ? { body: '{}' } : {}),
    }),
  );
};

const routes = guarded.map((item) => [item.method, item.path] as const);

test('there are routes to guard', () => {
  expect(routes.length).toBeGreaterThan(15);
});

test.each(routes)('%s %s without a key is 401', async (method, path) => {
  const refused = await attempt(method, addressOf(path), {});
  expect([refused.status, codeOf(refused)]).toEqual([401, 'auth.missing']);
  expect(refused.headers.get('www-authenticate')).toBe('Bearer');
});

test.each(routes)('%s %s with a wrong key is 401', async (method, path) => {
  const wrong = ['wrong', ADMIN_KEY.slice(0, -1), `${ADMIN_KEY}x`, ADMIN_KEY.toUpperCase(), 'undefined', '*'];
  for (const key of wrong) {
    const refused = await attempt(method, addressOf(path), { authorization: `Bearer ${key}` });
    expect([refused.status, codeOf(refused)]).toEqual([401, 'auth.invalid']);
  }
});

test.each(routes)('%s %s with the key under another scheme, or beside it, is 401', async (method, path) => {
  for (const authorization of [ADMIN_KEY, `Basic ${btoa(`admin:${ADMIN_KEY}`)}`, 'Bearer', `Bearer x ${ADMIN_KEY}`]) {
    expect((await attempt(method, addressOf(path), { authorization })).status).toBe(401);
  }
  const elsewhere = { cookie: `key=${ADMIN_KEY}`, 'x-api-key': ADMIN_KEY };
  expect((await attempt(method, `${addressOf(path)}?key=${ADMIN_KEY}`, elsewhere)).status).toBe(401);
});

test.each(routes)('%s %s from a page of another site is 403, even with the key', async (method, path) => {
  const authorization = `Bearer ${ADMIN_KEY}`;
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.test' },
    { origin: 'null' },
    { origin: `${ORIGIN}.evil.test` },
  ]) {
    const refused = await attempt(method, addressOf(path), { authorization, ...headers });
    expect([refused.status, codeOf(refused)]).toEqual([403, 'auth.forbidden']);
  }
});

test.each(['HEAD', 'OPTIONS', 'PATCH', 'PURGE'])('%s of any route without a key is 401', async (method) => {
  for (const [, path] of routes) expect((await attempt(method, addressOf(path), {})).status).toBe(401);
});

test.each([
  '/_/api/v1',
  '/_/api/v1/',
  '/_/api/v1/nothing',
  '/_/api/v2/chains',
  '/_/api/v1/chains/',
  '/_/api/v1//chains',
  '//_/api/v1/chains',
  '/_/./api/v1/chains',
  '/_/API/v1/chains',
  '/_/api/v1/%63hains',
  '/_/api%2fv1/chains',
  '/_/api/v1/chains;x=1',
  '/_/api/v1/chains?/_/health',
  '/_/health/../api/v1/chains',
  '/_/health/',
  '/_/health%2f..%2fapi/v1/chains',
  '/_/api/v1/openapi.json/../chains',
  '/_/api/v1/openapi.json/',
  '/_/api/v1/openapi.json%00',
])('%s is behind the key', async (path) => {
  expect((await attempt('GET', ORIGIN + path, {})).status).toBe(401);
});

test('wrong keys from one address are limited, from all addresses together where the platform names none', async () => {
  const limited = testControl();
  const send = async (key: string, headers: Record<string, string>): Promise<number> =>
    (await limited.call('GET', '/chains', undefined, { authorization: `Bearer ${key}`, ...headers })).status;
  const statuses: number[] = [];
  for (let count = 0; count <= LIMITS.wrongKeysBurst; count++) {
    // Without the platform in front, this header is the caller's own.
    statuses.push(await send('wrong', { 'cf-connecting-ip': `192.0.2.${count}` }));
  }
  expect(statuses).toEqual([...Array<number>(LIMITS.wrongKeysBurst).fill(401), 429]);
  expect(await send(ADMIN_KEY, {})).toBe(200);
});

test.each([
  ["a proxy of one's own says", 401, { TIDEGATE_TRUSTED_PROXIES: '1' }, 'x-forwarded-for'],
  ['Cloudflare says', 401, {}, 'cf-connecting-ip'],
  ['only a caller of one machine says', 429, { TIDEGATE_LOCAL: '1' }, 'cf-connecting-ip'],
])('where %s that it comes from another address, one wrong key more is %i', async (_who, status, bindings, header) => {
  const limited = testControl({}, bindings);
  let last: number | undefined;
  for (let count = 0; count <= LIMITS.wrongKeysBurst; count++) {
    const headers = { authorization: 'Bearer wrong', [header]: `192.0.2.${count}` };
    const request = new Request(`${ORIGIN}/_/api/v1/chains`, { headers, cf: { colo: 'TST' } as CfProperties });
    ({ status: last } = await limited.send(request));
  }
  expect(last).toBe(status);
});

test.each([undefined, ''])('with the admin key %j the API is closed, to an empty credential too', async (adminKey) => {
  const closed = testControl({ adminKey });
  for (const authorization of ['Bearer ', 'Bearer undefined', `Bearer ${ADMIN_KEY}`]) {
    const refused = await closed.call('GET', '/chains', undefined, { authorization });
    expect([refused.status, codeOf(refused)]).toEqual([503, 'auth.closed']);
    expect(refused.body['detail']).toContain('TIDEGATE_ADMIN_KEY');
  }
});

test('health and the OpenAPI document need no key, and no other method opens there', async () => {
  for (const path of ['/_/health', '/_/api/v1/openapi.json']) {
    expect((await control.send(new Request(ORIGIN + path))).status).toBe(200);
    expect((await control.send(new Request(ORIGIN + path, { method: 'HEAD' }))).status).toBe(200);
    expect((await control.send(new Request(ORIGIN + path, { method: 'POST' }))).status).toBe(401);
  }
});

test('health answers where neither the key nor the vault is configured', async () => {
  const bare = testControl({ adminKey: undefined, vault: fail('vault.closed', 'There is none.') });
  const answered = await bare.send(new Request(`${ORIGIN}/_/health`));
  expect(answered.body).toEqual({ status: 'ok', version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
});
