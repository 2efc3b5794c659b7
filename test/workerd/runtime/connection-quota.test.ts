import { env, runInDurableObject } from 'cloudflare:test';
import { describe, expect, it } from 'vitest';
import { readQuota, takeQuota } from '../../../src/runtime/connection-quota.ts';
import { shardOf } from '../../../src/runtime/limiter-calls.ts';

let count = 0;
const rowOf = (quota: { perMinute?: number; perDay?: number } | null) => ({
  tenant: 'acme',
  name: `mail-${++count}`,
  quota,
});

const codes = async (row: ReturnType<typeof rowOf>, times: number): Promise<string[]> => {
  const results: string[] = [];
  for (let index = 0; index < times; index++) {
    const taken = await takeQuota(env, row);
    results.push(taken.ok ? 'ok' : taken.fault.code);
  }
  return results;
};

describe('the quota of a connection', () => {
  it('lets nobody through beyond it, and says when it is free again', async () => {
    const row = rowOf({ perDay: 3 });
    expect(await codes(row, 4)).toEqual(['ok', 'ok', 'ok', 'quota.exceeded']);
    const refused = await takeQuota(env, row);
    if (refused.ok) throw new Error('let through');
    const day = 24 * 3_600_000;
    const untilMidnight = day - (Date.now() % day);
    expect(refused.fault.retryable).toBe(true);
    expect(Math.abs((refused.fault.retryAfterMilliseconds ?? 0) - untilMidnight)).toBeLessThan(5_000);
  });

  it('of a minute is free again within a minute', async () => {
    const row = rowOf({ perMinute: 2 });
    expect(await codes(row, 3)).toEqual(['ok', 'ok', 'quota.exceeded']);
    const refused = await takeQuota(env, row);
    const after = refused.ok ? 0 : (refused.fault.retryAfterMilliseconds ?? 0);
    expect(after).toBeGreaterThan(50_000);
    expect(after).toBeLessThan(62_000);
  });

  it('holds for many at once', async () => {
    const row = rowOf({ perDay: 5, perMinute: 1_000 });
    const results = await Promise.all(Array.from({ length: 30 }, () => takeQuota(env, row)));
    expect(results.filter(({ ok }) => ok)).toHaveLength(5);
  });

  it('of a day is not used up by what the quota of a minute refuses, nor the other way about', async () => {
    const row = rowOf({ perDay: 10, perMinute: 2 });
    await codes(row, 6);
    await expect(readQuota(env, row)).resolves.toMatchObject({
      value: [
        { per: 'minute', limit: 2, used: 2 },
        { per: 'day', limit: 10, used: 2 },
      ],
    });
  });

  it('is counted for each connection alone, and for none without a quota', async () => {
    const row = rowOf({ perDay: 1 });
    expect(await codes(row, 2)).toEqual(['ok', 'quota.exceeded']);
    expect(await codes({ ...row, tenant: 'other' }, 1)).toEqual(['ok']);
    expect(await codes(rowOf(null), 3)).toEqual(['ok', 'ok', 'ok']);
    await expect(readQuota(env, rowOf(null))).resolves.toEqual({ ok: true, value: [] });
  });

  it('that was raised holds from the next use on', async () => {
    const row = rowOf({ perDay: 1 });
    expect(await codes(row, 2)).toEqual(['ok', 'quota.exceeded']);
    expect(await codes({ ...row, quota: { perDay: 2 } }, 2)).toEqual(['ok', 'quota.exceeded']);
  });

  it('refuses where its object does not answer, for now', async () => {
    const row = rowOf({ perDay: 5 });
    const silent = { getByName: () => ({ limit: () => Promise.reject(new Error('gone')) }) };
    const broken = { ...env, LIMITER: silent as unknown as typeof env.LIMITER };
    await expect(takeQuota(broken, row)).resolves.toMatchObject({
      ok: false,
      fault: { code: 'limit.unavailable', retryable: true },
    });
  });

  it('of a day is on disk before the step goes on', async () => {
    const row = rowOf({ perDay: 5 });
    await takeQuota(env, row);
    const key = `connection acme/${row.name} quota`;
    const stub = env.LIMITER.getByName(`limiter-${shardOf(key)}`);
    const stored = await runInDurableObject(stub, (_, { storage }) =>
      storage.sql.exec('SELECT record FROM counters WHERE key = ?', key).toArray(),
    );
    expect(JSON.stringify(stored)).toContain('\\"spent\\":1');
  });
});
