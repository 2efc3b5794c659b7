import { env } from 'cloudflare:test';
import { expect, it } from 'vitest';
import { listUses, pruneUses, saveAccesses } from '../../../src/store/accesses.ts';
import { pruneWarnings, saveWarning } from '../../../src/store/connection-health.ts';
import { saveConnection } from '../../../src/store/connections.ts';

it('uses of connections are forgotten by their age, and only then', async () => {
  const use = (chain: string, usedAt: number) => ({ tenant: '', name: 'mail', chain, uses: 1, usedAt, run: 'r' });
  await saveAccesses(env.DB, [], [use('old', 1_000), use('new', 2_000)]);
  await pruneUses(env.DB, 2_000);
  expect((await listUses(env.DB, '', 'mail')).map(({ chain }) => chain)).toEqual(['new']);
});

it('warnings are forgotten with their instant, and with their connection', async () => {
  const expiresAt = 5_000;
  const row = {
    tenant: '',
    name: 'kept',
    connector: 'redis',
    settings: {},
    secretNames: [],
    sealed: 's',
    expiresAt,
    probeMinutes: null,
    quota: null,
  };
  await saveConnection(env.DB, row, 'a', 0);
  await saveConnection(env.DB, { ...row, name: 'past' }, 'a', 0);
  await saveWarning(env.DB, { tenant: '', name: 'kept', expiresAt, days: 7 });
  await saveWarning(env.DB, { tenant: '', name: 'past', expiresAt: 1_000, days: 0 });
  await saveWarning(env.DB, { tenant: '', name: 'gone', expiresAt, days: 7 });
  await pruneWarnings(env.DB, 2_000);
  const left = await env.DB.prepare('select name from expiry_warnings').all();
  expect(left.results).toEqual([{ name: 'kept' }]);
});
