import { beforeEach, expect, test } from 'vitest';
import { count, db, publish } from './fixtures.ts';
import { listChains, listChainVersions, loadChainVersion, removeChain } from '../../../src/store/chains.ts';
import { loadConfiguration, loadRevision } from '../../../src/store/configuration.ts';

beforeEach(async () => {
  await db.batch(
    ['chains', 'chain_activations', 'chain_versions', 'chain_routes', 'configuration', 'audit_log'].map((table) =>
      db.prepare(`delete from ${table}`),
    ),
  );
});

const route = (path: string, method = 'POST') => ({ routes: [{ method, path }] });

test('publishing the active document again gives its version and writes nothing', async () => {
  expect(await publish('orders', 'a')).toEqual({ ok: true, value: { version: 1, created: true } });
  const revision = await loadRevision(db);
  expect(await publish('orders', 'a')).toEqual({ ok: true, value: { version: 1, created: false } });
  expect(await loadRevision(db)).toBe(revision);
  expect(await count('audit_log')).toBe(1);
});

test('an older document published again is a new version, and old versions stay as they were', async () => {
  await publish('orders', 'a');
  await publish('orders', 'b');
  expect(await publish('orders', 'a')).toEqual({ ok: true, value: { version: 3, created: true } });
  expect((await listChainVersions(db, 'orders')).map((row) => row.version)).toEqual([3, 2, 1]);
  expect((await loadChainVersion(db, 'orders', 2))?.document).toEqual({ name: 'orders', mark: 'b' });
});

test('twenty publishers at once get twenty different version numbers, and every change its revision', async () => {
  const results = await Promise.all(Array.from({ length: 20 }, (_, index) => publish('orders', `mark-${index}`)));
  const versions = results.map((result) => (result.ok ? result.value.version : 0));
  expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  expect(await loadRevision(db)).toBe(20);
  expect((await loadChainVersion(db, 'orders'))?.version).toBe(20);
});

test('two publishers of the same document make one version', async () => {
  const results = await Promise.all([publish('orders', 'a'), publish('orders', 'a')]);
  expect(results.map((result) => result.ok && result.value.version)).toEqual([1, 1]);
  expect(await count('chain_versions')).toBe(1);
});

test('a route of another chain is refused whatever its parameters are called, and nothing is written', async () => {
  await publish('orders', 'a', route('/orders/{id}'));
  const revision = await loadRevision(db);
  const refused = await publish('thieves', 'a', route('/orders/{other}'));
  expect(refused).toMatchObject({ ok: false, fault: { code: 'chain.route-taken' } });
  expect(refused.ok ? '' : refused.fault.message).toContain('the chain orders');
  expect(await loadChainVersion(db, 'thieves')).toBeUndefined();
  expect(await loadRevision(db)).toBe(revision);
});

test('of two chains that claim one route at the same time, one gets it', async () => {
  const results = await Promise.all([publish('a', 'x', route('/x')), publish('b', 'x', route('/x'))]);
  expect(results.filter((result) => result.ok)).toHaveLength(1);
});

test('one chain cannot answer a route twice', async () => {
  const routes = [
    { method: 'GET', path: '/a/{x}' },
    { method: 'GET', path: '/a/{y}' },
  ];
  expect(await publish('orders', 'a', { routes })).toMatchObject({ ok: false, fault: { code: 'chain.route-taken' } });
});

test('a chain gives up the routes that its new version or its removal leaves', async () => {
  await publish('orders', 'a', route('/one'));
  await publish('orders', 'b', route('/two'));
  expect((await publish('others', 'a', route('/one'))).ok).toBe(true);
  await removeChain(db, 'orders', 'tester', 2_000);
  expect((await publish('others', 'b', route('/two'))).ok).toBe(true);
});

test('a removed chain is active nowhere, keeps its versions, and goes on counting when it comes back', async () => {
  await publish('orders', 'a');
  expect(await removeChain(db, 'orders', 'tester', 2_000)).toBe(true);
  expect(await removeChain(db, 'orders', 'tester', 2_000)).toBe(false);
  expect(await loadChainVersion(db, 'orders')).toBeUndefined();
  expect(await loadChainVersion(db, 'orders', 1)).toBeDefined();
  expect(await listChains(db)).toEqual([]);
  expect((await loadConfiguration(db)).chains).toEqual([]);
  expect(await publish('orders', 'a')).toEqual({ ok: true, value: { version: 2, created: true } });
});

test('removing what is not there changes no revision', async () => {
  expect(await removeChain(db, 'nothing', 'tester', 1)).toBe(false);
  expect(await loadRevision(db)).toBe(0);
});

test('a document comes back as it went in, reserved keys included', async () => {
  const document: unknown = JSON.parse('{"name":"orders","__proto__":{"polluted":true},"constructor":1}');
  await publish('orders', 'a', { document });
  const loaded = (await loadChainVersion(db, 'orders'))?.document;
  expect(JSON.stringify(loaded)).toBe(JSON.stringify(document));
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});
