import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { continueRotation, rotationStatus, startRotation } from '../../../src/runtime/rotation.ts';
import {
  connectionContext,
  contentOf,
  signingContext,
  sourceContext,
  endpointContext,
} from '../../../src/core/seal.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { adoptSecret, loadSource, saveSource } from '../../../src/store/sources.ts';
import { listStale, replaceSealed } from '../../../src/store/sealed.ts';
import { createVault, type Vault } from '../../../src/vault/vault.ts';

const key = (byte: number): string => btoa(String.fromCharCode(byte).repeat(32));
const BOTH = { ...env, TIDEGATE_MASTER_KEY: `1:${key(1)},2:${key(2)}` };

function vaultOf(keys: string): Vault {
  const made = createVault(keys);
  if (!made.ok) throw new Error(made.fault.message);
  return made.value;
}
const old = vaultOf(`1:${key(1)}`);
const newest = vaultOf(`2:${key(2)}`);

const run = (sql: string, ...values: unknown[]) =>
  env.DB.prepare(sql)
    .bind(...values)
    .run();

async function addConnection(name: string, sealed?: string, tenant = ''): Promise<void> {
  const record = sealed ?? (await old.seal(connectionContext(tenant, 'http', name), { bearer: `b-${name}` }));
  await run(
    `insert into connections (tenant, name, connector, settings, secret_names, sealed, created_at, updated_at)
     values (?, ?, 'http', '{}', '["bearer"]', ?, 1, 1)`,
    tenant,
    name,
    record,
  );
}

async function sealedOf(name: string): Promise<string> {
  const row = await env.DB.prepare('select sealed from connections where name = ?')
    .bind(name)
    .first<{ sealed: string }>();
  return row?.sealed ?? '';
}

async function status() {
  const found = await rotationStatus(BOTH);
  if (!found.ok) throw new Error(found.fault.message);
  return { ...found.value, records: Object.fromEntries(found.value.records) };
}

beforeEach(async () => {
  for (const table of ['connections', 'sources', 'webhook_endpoints', 'api_keys', 'vault_rotation', 'audit_log']) {
    await run(`delete from ${table}`);
  }
});

test('a rotation wraps everything that is sealed, wherever it stands, and the old key is not needed any more', async () => {
  await addConnection('one');
  await addConnection('crm', undefined, 'acme');
  const source = await old.seal(sourceContext('stripe', 'pay'), ['whsec']);
  await saveSource(env.DB, { name: 'pay', scheme: 'stripe', settings: {}, sealed: source }, 'test', 1);
  const endpoint = await old.seal(endpointContext('app', 'ep'), { keys: [], headers: {} });
  await run(
    `insert into webhook_endpoints (application, id, settings, header_names, sealed, created_at, updated_at)
     values ('app', 'ep', '{}', '[]', ?, 1, 1)`,
    endpoint,
  );
  const [signing, previous] = await Promise.all([
    old.seal(signingContext('key_1'), 'secret'),
    old.seal(signingContext('key_1'), 'before'),
  ]);
  await run(
    `insert into api_keys (id, name, hash, scopes, created_at, signing) values ('key_1', 'k', 'h', '[]', 1, ?)`,
    JSON.stringify({ algorithm: 'hmac-sha256', sealed: signing, previous }),
  );
  expect(await status()).toMatchObject({ version: '2', records: { 1: 6 } });

  const started = await startRotation(BOTH, 'ada');
  expect(started).toMatchObject({ ok: true, value: { rotation: { version: '2', total: 6, startedBy: 'ada' } } });
  expect(await status()).toMatchObject({
    records: { 2: 6 },
    rotation: { finishedAt: expect.any(Number), unreadable: [] },
  });

  const row = await env.DB.prepare('select signing from api_keys').first<{ signing: string }>();
  const keys = JSON.parse(row?.signing ?? '{}');
  expect(await newest.open(signingContext('key_1'), keys.sealed)).toMatchObject({ ok: true, value: 'secret' });
  expect(await newest.open(signingContext('key_1'), keys.previous)).toMatchObject({ ok: true, value: 'before' });
  expect(await newest.open(connectionContext('', 'http', 'one'), await sealedOf('one'))).toMatchObject({ ok: true });
  const paid = await loadSource(env.DB, 'pay');
  expect(await newest.open(sourceContext('stripe', 'pay'), paid?.sealed ?? '')).toMatchObject({ ok: true });
  const { results } = await env.DB.prepare('select action, actor from audit_log order by id').all();
  expect(results.slice(-2)).toEqual([
    { action: 'vault.rotate', actor: 'ada' },
    { action: 'vault.rotated', actor: 'gateway' },
  ]);
});

test('a rotation that died goes on where it was, and shows how far it is', async () => {
  const count = LIMITS.rotationBatchRecords * LIMITS.rotationBatchesPerMinute + 7;
  const sealed = await old.seal(connectionContext('', 'http', 'n'), {});
  // What cannot be opened where it stands is counted, looked at once a pass, and stops nothing.
  await run(
    `insert into connections (tenant, name, connector, settings, secret_names, sealed, created_at, updated_at)
     select 't' || value, 'n', 'http', '{}', '[]', ?, 1, 1 from generate_series(1, ?)`.replace(
      'generate_series(1, ?)',
      `(with recursive n(value) as (select 1 union all select value + 1 from n where value < ?) select value from n)`,
    ),
    sealed,
    count,
  );
  await addConnection('zz-last', undefined, 'zz');
  await startRotation(BOTH, 'ada');
  expect(await status()).toMatchObject({ records: { 1: count + 1 }, rotation: { finishedAt: null } });
  await continueRotation(BOTH);
  expect(await status()).toMatchObject({ records: { 1: count, 2: 1 } });
  await continueRotation(BOTH);
  await continueRotation(BOTH);
  await continueRotation(BOTH);
  const { rotation } = await status();
  expect(rotation?.finishedAt).not.toBeNull();
  expect(rotation?.unreadable).toHaveLength(LIMITS.rotationUnreadable);
});

test('what somebody writes while its record is being wrapped stays, and is wrapped in the next pass', async () => {
  await addConnection('raced');
  const [record] = await listStale(env.DB, 0, '2', [], 1);
  if (record === undefined) throw new Error('nothing is stale');
  const wrapped = await vaultOf(BOTH.TIDEGATE_MASTER_KEY).rewrap(record.context, record.sealed);
  const written = await old.seal(record.context, { bearer: 'newer' });
  await run(`update connections set sealed = ? where name = 'raced'`, written);
  await replaceSealed(env.DB, 0, record, wrapped.ok ? wrapped.value : '').run();
  expect(await sealedOf('raced')).toBe(written);
  await startRotation(BOTH, 'ada');
  const opened = await newest.open(record.context, await sealedOf('raced'));
  expect(opened).toEqual({ ok: true, value: { bearer: 'newer' } });
});

test('a handshake that had read the source before it was wrapped still keeps its secret', async () => {
  const sealed = await old.seal(sourceContext('asana', 'shaken'), []);
  const { row } = await saveSource(env.DB, { name: 'shaken', scheme: 'asana', settings: {}, sealed }, 'test', 1);
  await startRotation(BOTH, 'ada');
  expect(contentOf((await loadSource(env.DB, 'shaken'))?.sealed ?? '')).toBe(contentOf(sealed));
  const adopted = await newest.seal(sourceContext('asana', 'shaken'), ['new']);
  expect(await adoptSecret(env.DB, row, adopted, 2)).toBe(true);
  expect(await adoptSecret(env.DB, row, await newest.seal(sourceContext('asana', 'shaken'), ['third']), 3)).toBe(false);
});

test('an isolate that does not know the new key wraps nothing back', async () => {
  await addConnection('kept');
  await startRotation(BOTH, 'ada');
  await run(`update vault_rotation set finished_at = null, "cursor" = '{"table":0,"after":[],"wrapped":0}'`);
  const before = await sealedOf('kept');
  await continueRotation({ ...env, TIDEGATE_MASTER_KEY: `1:${key(1)}` });
  expect(await sealedOf('kept')).toBe(before);
});

test('a connection without secrets is none to wrap, and without stale records there is nothing to rotate', async () => {
  await addConnection('imported', '');
  expect(await startRotation(BOTH, 'ada')).toMatchObject({ ok: false, fault: { code: 'rotation.not-needed' } });
  expect(await startRotation({ ...env, TIDEGATE_MASTER_KEY: '' }, 'ada')).toMatchObject({
    ok: false,
    fault: { code: 'vault.closed' },
  });
});
