import { beforeEach, expect, test, vi } from 'vitest';
import { codeOf, db, emptyDatabase, NOW, ORIGIN, testControl, vault, type Called } from './fixtures.ts';
import { dump } from '../store/fixtures.ts';
import { fail } from '../../../src/core/errors.ts';
import { loadConfiguration } from '../../../src/store/configuration.ts';
import { hashKey } from '../../../src/vault/api-key.ts';
import { connectionContext, sourceContext } from '../../../src/vault/vault.ts';

const control = testControl();
const { call } = control;

beforeEach(emptyDatabase);

const connection = { connector: 'crm', settings: { url: 'https://crm.test' }, secrets: { token: 'crm-token' } };
const source = { scheme: 'github', secret: 'secret-of-github' };

async function open(context: Parameters<typeof sourceContext>, sealed: string | undefined): Promise<unknown>;
async function open(context: Parameters<typeof connectionContext>, sealed: string | undefined): Promise<unknown>;
async function open(parts: readonly string[], sealed = ''): Promise<unknown> {
  const [first = '', second = '', third] = parts;
  const context = third === undefined ? sourceContext(first, second) : connectionContext(first, second, third);
  const opened = vault.ok ? await vault.value.open(context, sealed) : vault;
  return opened.ok ? opened.value : opened.fault.code;
}

test('a source is made, replaced, shown without its secret, and removed', async () => {
  const made = await call('PUT', '/sources/shop', source);
  expect([made.status, made.body]).toEqual([
    201,
    {
      name: 'shop',
      scheme: 'github',
      settings: {},
      inbox: { dedupe: '7d', retention: '7d' },
      url: `${ORIGIN}/hooks/shop`,
      createdAt: '2026-05-01T12:00:00.000Z',
      updatedAt: '2026-05-01T12:00:00.000Z',
    },
  ]);
  expect((await call('PUT', '/sources/shop', { ...source, secret: ['new-secret', 'old-secret'] })).status).toBe(200);
  expect((await call('GET', '/sources/shop')).body).toEqual(made.body);
  expect((await call('GET', '/sources')).body.items).toEqual([made.body]);
  const { sources } = await loadConfiguration(db);
  expect(await open(['github', 'shop'], sources[0]?.sealed)).toEqual(['new-secret', 'old-secret']);
  expect((await call('DELETE', '/sources/shop')).status).toBe(204);
  expect(codeOf(await call('DELETE', '/sources/shop'))).toBe('source.not-found');
  expect(codeOf(await call('GET', '/sources/shop'))).toBe('source.not-found');
});

test.each([
  ['no secret', { scheme: 'github' }],
  ['an empty secret', { scheme: 'github', secret: '' }],
  ['no secret among its secrets', { scheme: 'github', secret: [] }],
  ['an empty secret among others', { scheme: 'github', secret: ['good-secret', ''] }],
  ['more secrets than a header is compared with', { scheme: 'github', secret: Array.from({ length: 17 }, () => 'x') }],
  ['a secret that is no text', { scheme: 'github', secret: { $ne: '' } }],
  ['a scheme that is not there', { scheme: 'gihub', secret: 'x' }],
  ['a scheme named by a prototype', { scheme: '__proto__', secret: 'x' }],
  ['settings that the scheme does not take', { scheme: 'github', secret: 'x', settings: { verify: false } }],
])('a source with %s is refused, and the name stays free', async (_what, body) => {
  const refused = await call('PUT', '/sources/shop', body);
  expect([400, 422]).toContain(refused.status);
  expect((await call('GET', '/sources')).body.items).toEqual([]);
});

test('a connection is made, replaced as a whole, shown without its secrets, and removed', async () => {
  const made = await call('PUT', '/connections/my-crm', connection);
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({ connector: 'crm', settings: connection.settings, secrets: ['token'] });
  const replaced = await call('PUT', '/connections/my-crm', { ...connection, settings: { url: 'https://two.test' } });
  expect([replaced.status, replaced.body['settings']]).toEqual([200, { url: 'https://two.test' }]);
  expect((await call('GET', '/connections/my-crm')).body).toEqual(replaced.body);
  expect((await call('GET', '/connections')).body.items).toEqual([replaced.body]);
  const { connections } = await loadConfiguration(db);
  expect(await open(['', 'crm', 'my-crm'], connections[0]?.sealed)).toEqual({ token: 'crm-token' });
  expect((await call('DELETE', '/connections/my-crm')).status).toBe(204);
  expect(codeOf(await call('DELETE', '/connections/my-crm'))).toBe('connection.not-found');
});

test('a sealed record that is copied to another connection in the database opens nothing there', async () => {
  await call('PUT', '/connections/one', connection);
  await call('PUT', '/connections/two', { ...connection, secrets: { token: 'crm-of-two' } });
  await db.exec(
    "update connections set sealed = (select sealed from connections where name = 'two') where name = 'one'",
  );
  const { connections } = await loadConfiguration(db);
  const one = connections.find((row) => row.name === 'one');
  expect(await open(['', 'crm', 'one'], one?.sealed)).toBe('vault.unreadable');
});

test.each([
  ['a connector that is not there', { ...connection, connector: 'crn' }, 'connector'],
  ['a connector named by a prototype', { ...connection, connector: 'constructor' }, 'connector'],
  ['a connector that takes none', { ...connection, connector: 'plain' }, 'connector'],
  ['a setting that is missing', { ...connection, settings: {} }, 'settings.url'],
  ['a setting that does not fit', { ...connection, settings: { url: 'nonsense' } }, 'settings.url'],
  ['a secret under settings', { ...connection, settings: { ...connection.settings, token: 'x' } }, 'settings.token'],
  ['a secret that is missing', { ...connection, secrets: {} }, 'secrets.token'],
  ['a secret that does not fit', { ...connection, secrets: { token: 'canary' } }, 'secrets.token'],
  ['a secret that is not known', { ...connection, secrets: { token: 'crm-1', key: 'x' } }, 'secrets.key'],
])('a connection with %s is refused with the place', async (_what, body, path) => {
  const refused = await call('PUT', '/connections/my-crm', body);
  expect([refused.status, codeOf(refused)]).toEqual([422, 'connection.invalid']);
  expect(refused.body['errors']).toEqual([{ path, message: expect.any(String) }]);
  expect(refused.text).not.toContain('canary');
  expect((await call('GET', '/connections')).body.items).toEqual([]);
});

test('without a master key nothing secret is taken', async () => {
  const closed = testControl({ vault: fail('vault.closed', 'There is no master key.') });
  for (const [path, body] of [
    ['/sources/shop', source],
    ['/connections/my-crm', connection],
  ] as const) {
    const refused = await closed.call('PUT', path, body);
    expect([refused.status, codeOf(refused)]).toEqual([503, 'vault.closed']);
  }
  expect(await dump()).not.toContain('my-crm');
});

test('a key is shown once, kept as its hash, and revoked', async () => {
  const made = await call('POST', '/keys', { name: 'CI', scopes: ['chain:orders'], expiresAt: '2026-06-01T00:00:00Z' });
  const { key, ...shown } = made.body;
  expect(made.status).toBe(201);
  expect(shown).toMatchObject({ name: 'CI', scopes: ['chain:orders'], expiresAt: '2026-06-01T00:00:00.000Z' });
  expect((await call('GET', '/keys')).body.items).toEqual([shown]);
  const [row] = (await loadConfiguration(db)).keys;
  expect(row?.hash).toBe(await hashKey(String(key)));
  expect((await call('DELETE', `/keys/${String(shown['id'])}`)).status).toBe(204);
  expect(codeOf(await call('DELETE', `/keys/${String(shown['id'])}`))).toBe('key.not-found');
  expect((await loadConfiguration(db)).keys).toEqual([]);
});

test('a key without further words calls every chain and route, and does not expire', async () => {
  expect((await call('POST', '/keys', { name: 'CI' })).body).toMatchObject({
    scopes: ['chain:*', 'route:*'],
    expiresAt: null,
  });
});

test.each([
  ['no name', {}],
  ['an empty name', { name: '  ' }],
  ['a scope that is not known', { name: 'CI', scopes: ['admin'] }],
  ['no scope', { name: 'CI', scopes: [] }],
  ['an end in the past', { name: 'CI', expiresAt: new Date(NOW).toISOString() }],
  ['an end that is no instant', { name: 'CI', expiresAt: 'tomorrow' }],
  ['an end on a day that is not there', { name: 'CI', expiresAt: '2026-13-45T00:00:00Z' }],
  ['a key of its own', { name: 'CI', key: 'tg_mine' }],
  ['a hash of its own', { name: 'CI', hash: '0'.repeat(64) }],
])('a key with %s is refused', async (_what, body) => {
  expect((await call('POST', '/keys', body)).status).toBe(400);
  expect((await call('GET', '/keys')).body.items).toEqual([]);
});

test('every change raises the revision and leaves a line in the audit log', async () => {
  await call('PUT', '/sources/shop', source);
  await call('PUT', '/connections/my-crm', connection);
  const { id } = (await call('POST', '/keys', { name: 'CI' })).body;
  await call('DELETE', `/keys/${String(id)}`);
  await call('DELETE', '/connections/my-crm');
  await call('DELETE', '/sources/shop');
  const log = await db.prepare('select action, actor, at from audit_log order by id').all();
  const actions = ['source.save', 'connection.save', 'key.add', 'key.remove', 'connection.remove', 'source.remove'];
  expect(log.results).toEqual(actions.map((action) => ({ action, actor: 'admin', at: NOW })));
  expect((await loadConfiguration(db)).revision).toBe(actions.length);
});

test('a canary in every secret field is in no reply, no log and nowhere in the database', async () => {
  const logs = (['log', 'info', 'warn', 'error', 'debug'] as const).map((level) =>
    vi.spyOn(console, level).mockImplementation(() => {}),
  );
  const replies: Called[] = [];
  const told = async (...args: Parameters<typeof call>) => {
    const reply = await call(...args);
    replies.push(reply);
    return reply;
  };
  const secrets = { token: 'crm-canary-token', refresh: 'canary-refresh' };
  await told('PUT', '/connections/my-crm', { ...connection, secrets });
  await told('PUT', '/connections/my-crm', { ...connection, secrets: { token: 'canary-misfit' } });
  await told('PUT', '/connections/my-crm', { ...connection, secrets: { token: ['canary-list'] } });
  await told('PUT', '/connections/my-crm', { ...connection, secrets: 'canary-text' });
  await told('PUT', '/connections/my-crm', { ...connection, connector: 'nothing', secrets });
  await told('PUT', '/connections/my-crm', '{"secrets":{"token":"crm-canary-cut');
  await told('PUT', '/connections/my-crm', '{"secrets":{"token":crm-canary-bare}}');
  await told('PUT', '/sources/shop', { scheme: 'github', secret: ['canary-one', 'canary-two'] });
  await told('PUT', '/sources/pay', { scheme: 'standard', secret: 'whsec_canary-not-base64!' });
  await told('PUT', '/sources/pay', { scheme: 'nothing', secret: 'canary-three' });
  await told('PUT', '/sources/pay', { scheme: 'github', secret: ' canary-spaces ' });
  await told('PUT', '/sources/pay', { scheme: 'github', secret: { value: 'canary-object' } });
  for (const path of [
    '/connections',
    '/connections/my-crm',
    '/sources',
    '/sources/shop',
    '/keys',
    '/chains',
    '/runs',
  ]) {
    await told('GET', path);
  }
  const made = await call('POST', '/keys', { name: 'CI' });
  const key = String(made.body['key']);
  await told('GET', '/keys');
  await told('GET', `/runs/${key}`, undefined, { authorization: `Bearer ${key}` });

  expect(replies.filter((reply) => reply.status < 300).length).toBeGreaterThan(8);
  const everything = [
    await dump(),
    ...replies.map((reply) => reply.text + JSON.stringify([...reply.headers])),
    ...logs.map((log) => JSON.stringify(log.mock.calls)),
  ].join('\n');
  expect(everything).toContain('my-crm');
  expect(everything).not.toMatch(/canary/i);
  expect(everything).not.toContain(btoa('canary').slice(0, 6));
  expect(everything).not.toContain(key.slice(3, 20));
  vi.restoreAllMocks();
});
