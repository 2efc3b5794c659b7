import { env } from 'cloudflare:workers';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { call, codeOf, manage, publish, upstream } from './fixtures.ts';
import { SEALED_KINDS } from '../../../src/core/seal.ts';
import { probeDue, warnOfExpiry } from '../../../src/runtime/probes.ts';

/** A connection whose secret header tells which one it is. */
const connectionOf = (mark: string, more: Record<string, unknown> = {}) => ({
  connector: 'http',
  settings: { baseUrl: upstream },
  secrets: { bearer: `secret-of-${mark}` },
  ...more,
});

const MINE = '{{ trigger.tenant }}/crm';

async function keyOf(tenant: string | null): Promise<string> {
  const made = await manage('POST /keys', { name: 'vault', ...(tenant !== null && { tenant }) });
  return String(made.body['key']);
}

const keys = new Map<string, string>();
const headersOf = (tenant: string) => ({ 'x-api-key': keys.get(tenant) ?? '' });

beforeAll(async () => {
  for (const tenant of ['acme', 'evil', 'none']) keys.set(tenant, await keyOf(tenant === 'none' ? null : tenant));
  for (const tenant of ['acme', 'evil']) {
    await manage(`PUT /connections/crm?tenant=${tenant}`, connectionOf(tenant));
    await manage(`PUT /connections/${tenant}-only?tenant=${tenant}`, connectionOf(`${tenant}-only`));
  }
  await manage('PUT /connections/crm', connectionOf('owner'));
});

/** A chain that asks the upstream what it received of the connection. */
async function chainWith(connection: string, mode = 'inline', more: Record<string, unknown> = {}) {
  const ask = { use: 'http.get', connection, with: { url: '/echo' }, retries: { limit: 0 } };
  const chain = { mode, steps: { ask }, output: '{{ steps.ask.body.headers.authorization }}', ...more };
  return publish(chain, { auth: 'key', respond: 'result' });
}

describe.each(['inline', 'durable'])('a connection by tenant, %s', (mode) => {
  test('each caller gets the connection of its own tenant', async () => {
    const { route } = await chainWith(MINE, mode);
    for (const tenant of ['acme', 'evil']) {
      expect(await call(route, {}, headersOf(tenant))).toMatchObject({
        status: 200,
        text: JSON.stringify(`Bearer secret-of-${tenant}`),
      });
    }
  });

  test('a caller without a tenant gets none, not even that of the owner', async () => {
    const { route } = await chainWith(MINE, mode);
    expect(codeOf(await call(route, { tenant: 'acme' }, headersOf('none')))).toEqual([403, 'connection.tenant']);
  });

  test('no header, query or body leads to another tenant', async () => {
    const { route } = await chainWith('{{ trigger.tenant }}/{{ input.which }}', mode);
    const forged = { ...headersOf('evil'), tenant: 'acme', 'x-tenant': 'acme' };
    for (const which of ['acme-only', '../acme/crm', 'acme/crm', '../crm', '']) {
      const body = { which, tenant: 'acme', identity: { tenant: 'acme' } };
      const refused = await call(`${route}?tenant=acme`, body, forged);
      expect(refused.status, which).toBeGreaterThanOrEqual(400);
      expect(refused.text).not.toContain('secret-of');
    }
    expect((await call(route, { which: 'evil-only' }, headersOf('evil'))).text).toContain('secret-of-evil-only');
  });

  test('a tenant that the author wrote down is reached by whoever may call the chain', async () => {
    const { route } = await chainWith('acme/crm', mode);
    expect((await call(route, {}, headersOf('none'))).text).toContain('secret-of-acme');
  });
});

test('items of a flow.each and a called chain use the connection of the first caller', async () => {
  const inner = await chainWith(MINE, 'durable', { triggers: { manual: { type: 'manual' } } });
  const ask = { use: 'http.get', connection: MINE, with: { url: '/echo' } };
  const each = { use: 'flow.each', with: { in: '{{ [1,2] }}', as: 'trigger2', steps: { ask } } };
  const again = { use: 'flow.call', with: { chain: inner.name } };
  const { route } = await publish(
    {
      mode: 'durable',
      steps: { each, again },
      output: '{{ [steps.each.results.body.headers.authorization, steps.again] }}',
    },
    { auth: 'key', respond: 'result' },
  );
  const { status, text } = await call(route, {}, headersOf('acme'));
  expect(status, text).toBe(200);
  expect(text.match(/secret-of-acme/g)?.length, text).toBeGreaterThanOrEqual(1);
  expect(text).not.toContain('secret-of-evil');
});

test('chains see who calls, without the key or its hash', async () => {
  const { route } = await publish({ steps: {}, output: '{{ trigger.identity }}' }, { auth: 'key', respond: 'result' });
  const { body, text } = await call(route, {}, headersOf('acme'));
  expect(body).toMatchObject({ kind: 'key', tenant: 'acme', scopes: ['chain:*', 'route:*'] });
  expect(Object.keys(body).toSorted()).toEqual(['id', 'kind', 'scopes', 'tenant']);
  expect(text).not.toContain(keys.get('acme'));
});

test('publishing warns of a tenant’s connection that is not there, and refuses a tenant that a request chooses', async () => {
  const steps = (connection: string) => ({ a: { use: 'http.get', connection, with: { url: '/' } } });
  const warned = await manage('PUT /chains/vault-warned', { steps: steps('nobody/crm') });
  expect(JSON.stringify(warned.body['warnings'])).toContain('/connections/crm?tenant=nobody');
  const refused = await manage('PUT /chains/vault-refused', { steps: steps('{{ trigger.body.tenant }}/crm') });
  expect(codeOf(refused)).toEqual([422, 'chain.invalid']);
});

describe('kill switches', () => {
  const reason = 'leaked on Friday';

  test('a connection that is switched off is refused at once, and stays off when it is saved', async () => {
    await manage('PUT /connections/kill', connectionOf('kill'));
    const { route } = await chainWith('kill');
    expect((await call(route, {}, headersOf('none'))).status).toBe(200);
    expect((await manage('POST /connections/kill/disable', { reason })).status).toBe(204);
    const refused = await call(route, {}, headersOf('none'));
    expect(codeOf(refused)).toEqual([503, 'connection.disabled']);
    expect(refused.body['detail']).toContain(reason);
    await manage('PUT /connections/kill', connectionOf('kill'));
    expect((await call(route, {}, headersOf('none'))).status).toBe(503);
    expect((await manage('POST /connections/kill/probe')).body['code']).toBe('connection.disabled');
    await manage('POST /connections/kill/enable');
    expect((await call(route, {}, headersOf('none'))).status).toBe(200);
  });

  test('a connector that is switched off is refused with and without a connection, also in durable runs', async () => {
    const { route } = await chainWith('crm', 'durable');
    const bare = await publish({ steps: { a: { use: 'http.get', with: { url: `${upstream}/echo` } } } });
    expect((await manage('POST /connectors/http/disable', { reason })).status).toBe(204);
    expect(codeOf(await call(route, {}, headersOf('none')))).toEqual([503, 'connection.disabled']);
    expect(codeOf(await call(bare.route, {}))).toEqual([503, 'connection.disabled']);
    const listed = await manage('GET /connectors');
    expect(listed.body['items']).toContainEqual(
      expect.objectContaining({ name: 'http', disabled: expect.objectContaining({ reason, by: 'admin' }) }),
    );
    await manage('POST /connectors/http/enable');
    expect((await call(bare.route, {})).status).toBeLessThan(300);
  });

  test.each(['flow', 'nothing'])('there is no switch for %s', async (name) => {
    expect(codeOf(await manage(`POST /connectors/${name}/disable`, { reason }))).toEqual([404, 'connector.not-found']);
  });

  test('each switching is in the audit log', async () => {
    const { results } = await env.DB.prepare(
      `select action, subject, detail from audit_log where action like 'connect%able' order by id`,
    ).all();
    expect(results.map(({ action, subject }) => `${String(action)} ${String(subject)}`)).toEqual([
      'connection.disable kill',
      'connection.enable kill',
      'connector.disable http',
      'connector.enable http',
    ]);
  });
});

describe('the access log', () => {
  test('tells who had a connection decrypted, once a configuration, and counts every use', async () => {
    await manage('PUT /connections/logged?tenant=acme', connectionOf('logged'));
    const { name, route } = await chainWith('acme/logged', 'durable');
    const run = (await call(route, {}, headersOf('none'))).headers.get('tidegate-run');
    await call(route, {}, headersOf('none'));
    const { body, text } = await manage('GET /vault/accesses?tenant=acme&name=logged');
    const step = { kind: 'step', chain: name, run, step: 'ask' };
    expect(body['items']).toEqual([
      expect.objectContaining({ kind: 'connection', tenant: 'acme', connector: 'http', readable: true, reader: step }),
    ]);
    expect(text).not.toContain('secret-of');
    const uses = await manage('GET /connections/logged/uses?tenant=acme');
    expect(uses.body['items']).toEqual([expect.objectContaining({ chain: name, uses: 2 })]);
  });

  test.each(SEALED_KINDS)('can be asked for %s alone', async (kind) => {
    expect((await manage(`GET /vault/accesses?kind=${kind}`)).status).toBe(200);
  });

  test('cannot be asked for a kind that there is not', async () => {
    expect((await manage('GET /vault/accesses?kind=everything')).status).toBe(400);
  });

  test('cannot be read by whoever is no admin', async () => {
    const token = await manage('POST /tokens', { name: 'viewer', role: 'viewer' });
    const authorization = `Bearer ${String(token.body['token'] ?? token.body['key'])}`;
    expect((await call('GET /_/api/v1/vault/accesses', undefined, { authorization })).status).toBe(403);
  });
});

describe('probes', () => {
  test('of a connection that is well, one that refuses the secrets and one that is not there', async () => {
    await manage('PUT /connections/well', connectionOf('well'));
    const settings = { baseUrl: upstream, probe: '/status/401' };
    await manage('PUT /connections/refused', connectionOf('refused', { settings }));
    await manage('PUT /connections/gone', connectionOf('gone', { settings: { baseUrl: 'http://127.0.0.1:1' } }));
    expect((await manage('POST /connections/well/probe')).body).toMatchObject({ status: 'well', error: null });
    for (const [name, code] of [
      ['refused', 'upstream.unauthorized'],
      ['gone', 'upstream.unreachable'],
    ] as const) {
      const probed = await manage(`POST /connections/${name}/probe`);
      expect(probed.body).toMatchObject({ status: 'failing', error: { code } });
      expect(probed.text).not.toContain('secret-of');
      expect((await manage(`GET /connections/${name}`)).body['health']).toMatchObject({ status: 'failing' });
    }
  });

  test('run on their schedule, and not before it', async () => {
    await manage('PUT /connections/timed', connectionOf('timed', { probeMinutes: 5 }));
    await probeDue(env);
    const first = (await manage('GET /connections/timed')).body['health'];
    expect(first).toMatchObject({ status: 'well' });
    await probeDue(env);
    expect((await manage('GET /connections/timed')).body['health']).toEqual(first);
    await env.DB.prepare(`update connection_health set at = at - 300001 where name = 'timed'`).run();
    await probeDue(env);
    expect((await manage('GET /connections/timed')).body['health']).toMatchObject({ status: 'well' });
  });

  test('a connection that expires is warned of once for each stage', async () => {
    const warned = vi.spyOn(console, 'warn').mockReturnValue();
    const expiresAt = new Date(Date.now() + 10 * 24 * 3_600_000).toISOString();
    await manage('PUT /connections/expiring', connectionOf('expiring', { expiresAt }));
    await warnOfExpiry(env);
    await warnOfExpiry(env);
    expect(warned).toHaveBeenCalledTimes(1);
    await env.DB.prepare(`update connections set expires_at = 1 where name = 'expiring'`).run();
    await warnOfExpiry(env);
    await warnOfExpiry(env);
    expect(warned).toHaveBeenCalledTimes(2);
    expect(warned.mock.lastCall?.[0]).toContain('has expired');
    warned.mockRestore();
  });
});

describe('a bundle of connections', () => {
  test('holds no secret and names what is missing; what is imported can be used once they are set', async () => {
    await manage('PUT /connections/carried?tenant=acme', connectionOf('carried'));
    const exported = await manage('GET /connection-bundle?tenant=acme');
    expect(exported.text).not.toContain('secret-of');
    const all = exported.body['connections'];
    const carried = (Array.isArray(all) ? all : []).find((each) => each.name === 'carried');
    expect(carried).toMatchObject({ tenant: 'acme', secrets: ['bearer'] });

    const bundle = { format: 'tidegate-connections-1', connections: [{ ...carried, name: 'brought' }] };
    const brought = await manage('POST /connection-bundle', bundle);
    expect(brought.body['items']).toEqual([
      { tenant: 'acme', name: 'brought', outcome: 'created', missing: ['bearer'] },
    ]);
    const { route } = await chainWith('acme/brought');
    expect(codeOf(await call(route, {}, headersOf('none')))).toEqual([409, 'connection.incomplete']);
    await manage('PUT /connections/brought?tenant=acme', connectionOf('brought'));
    expect((await call(route, {}, headersOf('none'))).status).toBe(200);
  });

  test('binds no secret that is there to another address', async () => {
    const evil = {
      tenant: 'acme',
      name: 'carried',
      connector: 'http',
      settings: { baseUrl: 'https://evil.example' },
      secrets: ['bearer'],
    };
    const bundle = { format: 'tidegate-connections-1', connections: [evil] };
    expect((await manage('POST /connection-bundle', bundle)).body['items']).toMatchObject([{ outcome: 'kept' }]);
    expect((await manage('GET /connections/carried?tenant=acme')).body['settings']).toEqual({ baseUrl: upstream });
    const replaced = await manage('POST /connection-bundle?replace=true', bundle);
    expect(replaced.body['items']).toMatchObject([{ outcome: 'replaced', missing: ['bearer'] }]);
    const row = await env.DB.prepare(`select sealed from connections where name = 'carried'`).first();
    expect(row).toEqual({ sealed: '' });
  });

  test('with one mistake changes nothing, and names it', async () => {
    const good = { name: 'bundle-good', connector: 'http', settings: { baseUrl: upstream }, secrets: [] };
    const connections = [good, { ...good, name: 'bundle-bad', settings: {} }, good];
    const refused = await manage('POST /connection-bundle', { format: 'tidegate-connections-1', connections });
    expect(codeOf(refused)).toEqual([422, 'connection.invalid']);
    expect(refused.text).toContain('connections.1.settings.baseUrl');
    expect(refused.text).toContain('bundle-good is there twice');
    expect((await manage('GET /connections/bundle-good')).status).toBe(404);
  });
});

test('the connections of a tenant are not those of the owner or of another', async () => {
  const { body } = await manage('GET /connections?tenant=evil');
  const items = Array.isArray(body['items']) ? body['items'] : [];
  expect(items.map((each) => `${each.tenant}/${each.name}`)).toEqual(['evil/crm', 'evil/evil-only']);
  expect((await manage('GET /connections/evil-only?tenant=acme')).status).toBe(404);
  expect((await manage('GET /connections/evil-only')).status).toBe(404);
  expect((await manage('DELETE /connections/crm?tenant=nobody')).status).toBe(404);
  expect((await manage('GET /connections/crm?tenant=')).status).toBe(400);
});
