import { beforeEach, expect, test, vi } from 'vitest';
import { addCustomer, ADMIN_KEY, chainDocument, codeOf, db, emptyDatabase, ORIGIN, testControl } from './fixtures.ts';
import { endpoints } from '../../../src/control/index.ts';

const control = testControl();
const { call } = control;

beforeEach(async () => {
  await emptyDatabase();
  await db.batch([
    db.prepare("insert into api_keys (id, name, hash, scopes, created_at) values ('run_1', 'x', 'h', '[]', 0)"),
    db.prepare("insert into people (id, email, role, created_at, created_by) values ('run_1', 'x', 'viewer', 0, 'x')"),
  ]);
});

const bodies: Record<string, unknown> = {
  startRun: { input: {} },
  saveSource: { scheme: 'github', secret: 'a-secret-of-github' },
  saveConnection: { connector: 'crm', settings: { url: 'https://crm.test' }, secrets: { token: 'crm-1' } },
  beginAuthorization: { expiresInSeconds: 600 },
  disableConnection: { reason: 'leaked' },
  disableConnector: { reason: 'leaked' },
  importConnections: { format: 'tidegate-connections-1', connections: [] },
  addKey: { name: 'CI' },
  purgeCache: { tags: ['orders'] },
  changeKey: { scopes: ['chain:orders'] },
  rotateKey: { overlap: '1h' },
  addToken: { name: 'deploy', role: 'developer' },
  addPerson: { email: 'ada@example.com', role: 'viewer' },
  changePerson: { role: 'owner' },
  retryRun: { version: 'newest' },
  replayRun: { input: {} },
  actOnRuns: { action: 'cancel', chain: 'orders', status: 'running' },
  promoteChainVersion: { version: 2 },
  setCanary: { version: 2, weight: 10 },
  replayShadow: { version: 2 },
  replayEvent: { chain: 'orders' },
  recoverEvents: { since: '2026-05-01T00:00:00Z' },
  sendEvent: { name: 'paid', key: 1, data: {} },
  saveEventType: { description: 'An order was paid' },
  addApplication: { name: 'Acme' },
  saveApplication: { name: 'Acme', uid: 'acme' },
  addEndpoint: { url: 'https://acme.example/hook' },
  saveEndpoint: { url: 'https://acme.example/hook' },
  rotateEndpointKey: { overlapSeconds: 60 },
  sendMessage: { eventType: 'order.paid', payload: 1 },
  recoverDeliveries: { since: '2026-01-01T00:00:00Z' },
  replayMissing: { since: '2026-01-01T00:00:00Z' },
};

/** Documents, which name their mistakes with codes of their own. */
const DOCUMENTS = ['publishChain', 'saveRoute', 'saveUpstream'];

const jsonEndpoints = endpoints.flatMap((item) => {
  const body = bodies[item.id];
  const path = item.path
    .replace('/_/api/v1', '')
    .replace('{name}', item.id === 'disableConnector' ? 'crm' : 'orders')
    .replace('{id}', 'run_1')
    .replace('{endpoint}', 'ep_1')
    .replace('{type}', 'order.paid');
  return item.body === undefined || DOCUMENTS.includes(item.id) ? [] : [{ ...item, path, body }];
});

test('every endpoint that takes JSON has a body here', () => {
  expect(jsonEndpoints.map((item) => item.id).toSorted()).toEqual(Object.keys(bodies).toSorted());
});

// An authorization needs a connection by OAuth; test/workerd/oauth has them.
const plainEndpoints = jsonEndpoints.filter(({ id }) => id !== 'beginAuthorization');

test.each(plainEndpoints)('$id takes its body as it stands', async ({ method, path, body }) => {
  await call('PUT', '/chains/orders', chainDocument('orders'));
  await call('PUT', '/chains/orders?activate=false', chainDocument('orders', { mode: 'inline' }));
  await call('PUT', '/sources/orders', bodies['saveSource']);
  await call('PUT', '/connections/orders', bodies['saveConnection']);
  await addCustomer('run_1', 'ep_1', 'order.paid');
  expect((await call(method, path, body)).status).toBeLessThan(300);
});

/** What a request may decide, where others may not. */
const decided: Record<string, string> = {
  addKey: 'tenant',
  changeKey: 'tenant',
  addToken: 'role',
  addPerson: 'role',
  changePerson: 'role',
};

test.each(jsonEndpoints)('$id refuses fields that it does not know', async ({ id, method, path, body }) => {
  const refusing = testControl();
  const fields = ['tenant', 'role', 'actor', 'hash', 'createdAt', 'createdBy', 'previousHash', 'isAdmin', '__proto__'];
  for (const field of [...fields, 'constructor'].filter((name) => name !== decided[id])) {
    const text = `{${JSON.stringify(field)}:"x",${JSON.stringify(body).slice(1)}`;
    const refused = await refusing.call(method, path, text);
    expect([refused.status, codeOf(refused)], field).toEqual([400, 'request.invalid']);
    expect(refused.body['errors']).toContainEqual({ path: field, message: expect.stringContaining(field) });
  }
  expect(refusing.changes()).toBe(0);
});

test.each(jsonEndpoints)('$id takes nothing but JSON', async ({ method, path, body }) => {
  const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/json'];
  for (const type of [...types, 'application/jsonp', 'application/json-seq', '']) {
    const refused = await call(method, path, body, { 'content-type': type });
    expect([refused.status, codeOf(refused)], type).toEqual([415, 'request.media-type']);
  }
});

test.each(jsonEndpoints)('$id refuses a body that another type may hide', async ({ method, path, body }) => {
  const refused = await call(method, path, body, { 'content-encoding': 'gzip' });
  expect(refused.status).toBe(415);
});

test('a request without content-type cannot make a key', async () => {
  const request = new Request(`${ORIGIN}/_/api/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    body: new TextEncoder().encode('{"name":"x"}'),
  });
  expect(request.headers.get('content-type')).toBeNull();
  expect((await control.send(request)).status).toBe(415);
});

test('the type may carry a charset', async () => {
  const made = await call('POST', '/keys', bodies['addKey'], { 'content-type': 'Application/JSON; charset=utf-8' });
  expect(made.status).toBe(201);
});

test.each([
  ['{"name": }', 'line 1, column 10'],
  ['{"name": "a",\n}', 'line 2, column 1'],
  ['{"name": "a"', 'column 13'],
  ['{"name": "a", "name": "b"}', 'twice'],
  ['{"name": 1e400}', 'too large'],
  ['nonsense', 'not JSON'],
  ['', 'not JSON'],
  [' ', 'not JSON'],
])('the body %j is refused with the place of the mistake', async (text, told) => {
  const refused = await call('POST', '/keys', text);
  expect([refused.status, codeOf(refused)]).toEqual([400, 'request.invalid']);
  expect(refused.body['detail']).toContain(told);
});

test.each(['[]', '"text"', 'null', '1'])('the body %s is not an object and refused', async (text) => {
  expect((await call('POST', '/keys', text)).status).toBe(400);
});

test('bytes that are not UTF-8 are refused', async () => {
  const request = new Request(`${ORIGIN}/_/api/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]),
  });
  expect(codeOf(await control.send(request))).toBe('request.invalid');
});

test('JSON nested 100,000 deep is refused, and the next request is answered', async () => {
  const deep = `{"name":"x","scopes":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  expect((await call('POST', '/keys', deep)).status).toBe(400);
  expect((await call('GET', '/keys')).status).toBe(200);
});

test('a body beyond the limit is refused, whether it says its length or not', async () => {
  const large = JSON.stringify({ name: 'x'.repeat(600_000) });
  expect((await call('POST', '/keys', large)).status).toBe(413);
  const parts = Array.from({ length: 100 }, () => new Uint8Array(10_000));
  const request = new Request(`${ORIGIN}/_/api/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: new Blob(parts).stream(),
  });
  expect(codeOf(await control.send(request))).toBe('request.too-large');
});

test.each([
  ['GET', '/nothing', 404],
  ['GET', '/chains/orders/nothing', 404],
  ['PATCH', '/chains/orders', 405],
  ['POST', '/chains', 405],
  ['GET', '/runs/run_0_1/cancel', 405],
  ['PUT', '/openapi.json', 405],
])('%s %s is a problem with status %i', async (method, path, status) => {
  expect((await call(method, path)).status).toBe(status);
});

test('405 and OPTIONS name the methods of the address', async () => {
  expect((await call('PATCH', '/chains/orders')).headers.get('allow')).toBe('PUT, GET, DELETE, HEAD, OPTIONS');
  const options = await call('OPTIONS', '/keys');
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, GET, HEAD, OPTIONS']);
  expect(options.headers.get('access-control-allow-origin')).toBeNull();
});

test('HEAD answers as GET does, without the body', async () => {
  const head = await call('HEAD', '/keys');
  expect([head.status, head.text]).toEqual([200, '']);
});

test('no reply may be kept by a cache', async () => {
  for (const path of ['/keys', '/nothing']) {
    expect((await call('GET', path)).headers.get('cache-control')).toBe('no-store');
  }
});

test.each(['__proto__', 'constructor', 'A', 'a_b', '-a', 'a-', 'a--b', 'a%2fb', 'a%00', 'ä', 'a'.repeat(65), '%ff'])(
  'the name %s is refused where it would be made, and not found where it is asked for',
  async (name) => {
    for (const kind of ['chains', 'sources', 'connections']) {
      expect((await call('PUT', `/${kind}/${name}`, { name })).status, kind).toBe(400);
      expect((await call('GET', `/${kind}/${name}`)).status, kind).toBe(404);
      expect((await call('DELETE', `/${kind}/${name}`)).status, kind).toBe(404);
    }
    expect((await call('POST', `/chains/${name}/runs`, {})).status).toBe(404);
  },
);

test.each(['__proto__', '..%2f..', "x'or'1", '%00', 'a'.repeat(200)])('the run %s is not found', async (id) => {
  expect((await call('GET', `/runs/${id}`)).status).toBe(404);
  expect((await call('DELETE', `/keys/${id}`)).status).toBe(404);
});

test('a query that is not known is refused with its name', async () => {
  const refused = await call('GET', '/runs?chian=orders');
  expect(refused.status).toBe(400);
  expect(refused.body['errors']).toEqual([{ path: 'query.chian', message: expect.stringContaining('chian') }]);
});

test('what goes wrong inside is told to the log and not to the caller', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const broken = testControl({
    getRun: async () => {
      throw new TypeError('the private reason');
    },
  });
  const failed = await broken.call('GET', '/runs/run_0_1');
  expect([failed.status, codeOf(failed)]).toEqual([500, 'internal.unexpected']);
  expect(failed.text).not.toContain('private');
  expect(log.mock.calls.join()).toContain('the private reason');
  log.mockRestore();
});

test('a database that fails is a 503 that may be tried again, without its SQL or parameters', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  const away = { prepare: () => ({ bind: () => ({ run: () => Promise.reject(new Error('D1_ERROR: away')) }) }) };
  const failing = testControl({
    db: { ...away, batch: () => Promise.reject(new Error('D1_ERROR: away')) } as unknown as D1Database,
  });
  const failed = await failing.call('POST', '/keys', { name: 'canary-name' });
  expect([failed.status, codeOf(failed)]).toEqual([503, 'storage.unavailable']);
  expect(failed.text + log.mock.calls.join()).not.toMatch(/canary|insert/);
  log.mockRestore();
});
