import { beforeEach, expect, test } from 'vitest';
import { chainDocument, codeOf, emptyDatabase, ORIGIN, testControl } from './fixtures.ts';

const control = testControl();
const { call } = control;

beforeEach(emptyDatabase);

test('a chain is published, and the same document again is the same version', async () => {
  const before = control.changes();
  const first = await call('PUT', '/chains/orders', chainDocument('orders'));
  expect([first.status, first.body['version'], first.body['warnings']]).toEqual([201, 1, []]);
  expect(first.body['urls']).toEqual([{ trigger: 'api', method: 'POST', url: `${ORIGIN}/orders/{id}` }]);
  expect(first.headers.get('location')).toBe('/_/api/v1/chains/orders');
  expect(control.changes()).toBe(before + 1);

  const reordered = Object.fromEntries(Object.entries(chainDocument('orders')).reverse());
  const again = await call('PUT', '/chains/orders', reordered);
  expect([again.status, again.body['version'], again.body['hash']]).toEqual([200, 1, first.body['hash']]);
});

test('another document is the next version, and both are listed', async () => {
  await call('PUT', '/chains/orders', chainDocument('orders'));
  const next = await call('PUT', '/chains/orders', chainDocument('orders', { mode: 'inline' }));
  expect([next.status, next.body['version']]).toEqual([201, 2]);
  const versions = await call('GET', '/chains/orders/versions');
  expect(versions.body.items.map((item) => item['version'])).toEqual([2, 1]);
  expect((await call('GET', '/chains')).body.items).toMatchObject([{ name: 'orders', version: 2 }]);
});

test('a document without a name takes that of the address', async () => {
  const { name: _name, ...document } = chainDocument('orders');
  expect((await call('PUT', '/chains/orders', document)).status).toBe(201);
  expect((await call('GET', '/chains/orders')).body['document']).toEqual(chainDocument('orders'));
});

test('a document with another name than the address is refused, and nothing is published', async () => {
  const refused = await call('PUT', '/chains/orders', chainDocument('others'));
  expect([refused.status, codeOf(refused)]).toEqual([422, 'chain.invalid']);
  expect(refused.body['errors']).toEqual([{ path: 'name', message: expect.stringContaining('"others"') }]);
  expect((await call('GET', '/chains')).body.items).toEqual([]);
});

test.each([
  ['a step that uses nothing', { steps: { a: {} } }],
  ['an action that is not there', { steps: { a: { use: 'crm.lokup', connection: 'my-crm' } } }],
  ['a field that is not known', { tenant: 'evil' }],
  ['a name that is no text', { name: 1 }],
])('a document with %s is refused with the place', async (_what, more) => {
  const refused = await call('PUT', '/chains/orders', chainDocument('orders', more));
  expect([refused.status, codeOf(refused)]).toEqual([422, 'chain.invalid']);
  expect(refused.body['errors']).not.toEqual([]);
});

test.each(['[]', 'null', '"orders"', '{"name":"orders",}', '{"name":"orders","name":"orders"}'])(
  'the document %s is refused as a chain',
  async (text) => {
    const refused = await call('PUT', '/chains/orders', text);
    expect([refused.status, codeOf(refused)]).toEqual([422, 'chain.invalid']);
  },
);

test('a route of another chain is refused', async () => {
  await call('PUT', '/chains/orders', chainDocument('orders'));
  const { triggers } = chainDocument('orders');
  const refused = await call('PUT', '/chains/thief', chainDocument('thief', { triggers }));
  expect([refused.status, codeOf(refused)]).toEqual([409, 'chain.route-taken']);
});

test('what a chain needs and is not there yet is a warning with its place', async () => {
  const document = chainDocument('orders', {
    triggers: { paid: { type: 'webhook', source: 'shop' } },
    steps: { find: { use: 'crm.lookup', connection: 'my-crm', with: { id: '1' } } },
  });
  const published = await call('PUT', '/chains/orders', document);
  expect(published.status).toBe(201);
  expect(published.body['urls']).toEqual([{ trigger: 'paid', method: 'POST', url: `${ORIGIN}/hooks/shop` }]);
  const places = ['triggers.paid.source', 'steps.find.connection'];
  expect(published.body['warnings']).toEqual(places.map((path) => ({ path, message: expect.any(String) })));

  await call('PUT', '/sources/shop', { scheme: 'github', secret: 's3cret-of-the-shop' });
  const connection = { connector: 'crm', settings: { url: 'https://crm.test' }, secrets: { token: 'crm-1' } };
  await call('PUT', '/connections/my-crm', connection);
  expect((await call('PUT', '/chains/orders', document)).body['warnings']).toEqual([]);
});

test('a removed chain is gone from lists and addresses, and cannot be removed twice', async () => {
  await call('PUT', '/chains/orders', chainDocument('orders'));
  const removed = await call('DELETE', '/chains/orders');
  expect([removed.status, removed.text]).toEqual([204, '']);
  for (const [method, path] of [
    ['GET', '/chains/orders'],
    ['DELETE', '/chains/orders'],
  ] as const) {
    expect(codeOf(await call(method, path))).toBe('chain.not-found');
  }
  expect((await call('GET', '/chains')).body.items).toEqual([]);
  expect((await call('PUT', '/chains/orders', chainDocument('orders'))).body['version']).toBe(2);
});

test('the versions of a chain that never was are not found', async () => {
  expect(codeOf(await call('GET', '/chains/nothing/versions'))).toBe('chain.not-found');
});

test('where the change could not be made live, publishing again makes it live', async () => {
  let broken = true;
  const other = testControl({
    configurationChanged: async () => {
      if (broken) throw new Error('D1_ERROR: away');
    },
  });
  expect((await other.call('PUT', '/chains/orders', chainDocument('orders'))).status).toBe(503);
  broken = false;
  expect((await other.call('PUT', '/chains/orders', chainDocument('orders'))).status).toBe(200);
});
