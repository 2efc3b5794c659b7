import { beforeEach, expect, it } from 'vitest';
import { codeOf, db, emptyDatabase, testControl } from './fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { loadConfiguration } from '../../../src/store/configuration.ts';
import { addPurges } from '../../../src/store/purges.ts';

beforeEach(emptyDatabase);

it('purges by tag, address, route and chain, as a change of the configuration', async () => {
  const control = testControl();
  const { status, body } = await control.call('POST', '/cache/purge', {
    tags: ['orders', 'orders'],
    urls: ['https://api.test/orders?page=1'],
    route: 'shop',
    chain: 'price',
  });
  const scopes = ['target:route:shop', 'target:chain:price', 'url:https://api.test/orders', 'tag:orders'];
  expect([status, body]).toEqual([200, { purged: scopes }]);
  const { revision, purges } = await loadConfiguration(db);
  expect(new Map(purges.map((purge) => [purge.scope, purge.revision]))).toEqual(
    new Map(scopes.map((scope) => [scope, revision])),
  );
  expect(control.changes()).toBe(1);
});

it('a later purge of the same counts', async () => {
  const control = testControl();
  await control.call('POST', '/cache/purge', { all: true });
  await control.call('POST', '/cache/purge', { tags: ['orders'] });
  await control.call('POST', '/cache/purge', { all: true });
  const { revision, purges } = await loadConfiguration(db);
  expect(purges.find(({ scope }) => scope === '*')?.revision).toBe(revision);
});

it.each([
  ['nothing', {}],
  ['all that is not said', { all: false }],
  ['an address that is none', { urls: ['orders'] }],
  ['a list without anything in it', { tags: [] }],
  ['more than a transaction takes', { tags: Array.from({ length: LIMITS.cachePurgeItems + 1 }, String) }],
  ['a name that no route can have', { route: '../*' }],
])('refuses to purge %s', async (_, body) => {
  const control = testControl();
  expect(codeOf(await control.call('POST', '/cache/purge', body))).toBe('request.invalid');
  expect(control.changes()).toBe(0);
});

it('forgets the oldest purges by purging everything before them, never by purging less', async () => {
  for (let made = 0; made < LIMITS.cachePurges; made += 100) {
    const scopes = Array.from({ length: 100 }, (_, index) => `tag:${made + index}`);
    await addPurges(db, scopes, 'test', 0);
  }
  expect((await loadConfiguration(db)).purges.some(({ scope }) => scope === '*')).toBe(false);
  await addPurges(db, ['tag:one', 'tag:more'], 'test', 0);
  const purges = new Map((await loadConfiguration(db)).purges.map(({ scope, revision }) => [scope, revision]));
  expect([purges.size, purges.get('*')]).toEqual([LIMITS.cachePurges + 1, 1]);
  expect([purges.get('tag:one'), purges.has('tag:0') && purges.has('tag:99')]).toEqual([11, false]);
});
