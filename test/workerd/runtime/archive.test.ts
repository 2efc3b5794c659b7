/** Ended runs on their way to R2, with the real bucket and storage of the local runtime. */

import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answerOf, manage, publish, receipts, runsOf, upstream, type Published } from '../gateway/fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { acceptRuns } from '../../../src/runtime/accept.ts';
import { Archive, type ArchiveOptions } from '../../../src/runtime/archive.ts';
import { checkConfiguration } from '../../../src/runtime/configuration.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { cancelRun, readRun, replayRun, retryRun, saveSummaries, sweepRuns } from '../../../src/runtime/runs.ts';
import { replayShadow } from '../../../src/runtime/shadow.ts';
import { objectOf, objectsOf } from '../../../src/runtime/shards.ts';

const bucket = env.BLOBS as R2Bucket;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const post = (mark: string, more: object = {}) => ({
  use: 'http.post',
  with: { url: `${upstream}/echo?mark=${mark}` },
  ...more,
});

const chainOf = (steps: object, more: object = {}): Promise<Published> =>
  publish({ mode: 'durable', triggers: {}, steps, ...more });

async function start(name: string, input: unknown = {}): Promise<string> {
  const { body } = await manage(`POST /chains/${name}/runs`, { input });
  return String(body['id']);
}

async function ended(steps: object, more: object = {}): Promise<string> {
  const id = await start((await chainOf(steps, more)).name, { n: 1 });
  await answerOf(id);
  return id;
}

function inside<T>(id: string, call: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> {
  const stub = objectOf(env, id);
  if (stub === undefined) throw new Error(`${id} is not the id of a durable run`);
  return runInDurableObject(stub, (_object: RunObject, state) => call(state.storage));
}

const inRows = (id: string): Promise<boolean> =>
  inside(id, ({ sql }) => sql.exec('select 1 from runs where id = ?', id).toArray().length > 0);

/** Lets time pass for the runs that have ended. */
async function age(milliseconds: number): Promise<void> {
  await saveSummaries(env);
  for (const object of await objectsOf(env)) {
    await runInDurableObject(object, (_object: RunObject, { storage }) => {
      storage.sql.exec('update runs set ended_at = ended_at - ?', milliseconds);
      storage.sql.exec('update archives set until = until - ?', milliseconds);
    });
  }
  // An instance knows when its runs ended, and when it archived last.
  await abortAllDurableObjects();
}

/** Archives, and takes the rows away that need not stay. */
async function leave(): Promise<void> {
  await sweepRuns(env);
  for (const object of await objectsOf(env)) {
    await runInDurableObject(object, (_object: RunObject, { storage }) => {
      const [row] = storage.sql.exec('select max(until) as until from archives').toArray();
      storage.sql.exec('delete from runs where ended_at < ?', Number(row?.['until'] ?? 0));
    });
  }
}

async function recordOf(id: string) {
  const read = await readRun(env, id);
  if (!read.ok) throw new Error(read.fault.message);
  return read.value;
}

const batches = async () => (await bucket.list({ prefix: 'archive/' })).objects;

beforeEach(async () => {
  await age(2 * HOUR);
  await leave();
});
afterEach(() => vi.restoreAllMocks());

describe('a run that has ended', () => {
  it('is in its object at first, and later in R2 as it was', async () => {
    const id = await ended({ a: post('archived'), b: { use: 'data.map', with: { n: '{{ input.n }}' } } });
    const before = await recordOf(id);
    const [answer, known] = [await answerOf(id), (await batches()).length];
    await sweepRuns(env);
    expect(await batches()).toHaveLength(known);
    await age(2 * HOUR);
    await leave();
    expect(await inRows(id)).toBe(false);
    expect(await recordOf(id)).toEqual(before);
    expect(await answerOf(id)).toEqual(answer);
    expect(await cancelRun(env, id)).toMatchObject({ ok: false, fault: { code: 'run.ended' } });
    expect((await manage(`GET /runs/${id}/events`)).text).toContain('"succeeded"');
    expect((await manage(`POST /runs/${id}/pause`)).body).toMatchObject({ code: 'run.ended' });
  });

  it('is retried from R2 without repeating what had succeeded, and replayed', async () => {
    const refused = { use: 'http.get', with: { url: `${upstream}/status/404` }, after: ['a'] };
    const id = await ended({ a: post('retried'), b: refused });
    await age(2 * HOUR);
    await leave();
    const again = await retryRun(env, id);
    if (!again.ok) throw new Error(again.fault.message);
    expect(await answerOf(again.value.id)).toMatchObject({ status: 'failed' });
    expect(await receipts('/echo?mark=retried')).toHaveLength(1);
    const replayed = await replayRun(env, id);
    if (!replayed.ok) throw new Error(replayed.fault.message);
    expect(await answerOf(replayed.value.id)).toMatchObject({ status: 'failed' });
    expect(await receipts('/echo?mark=retried')).toHaveLength(2);
    expect(await recordOf(replayed.value.id)).toMatchObject({ input: { n: 1 } });
  });

  it('is played again by a shadow from R2, its large output with it', async () => {
    const large = { use: 'http.get', with: { url: `${upstream}/large/300000?mark=shadow` } };
    const chain = await chainOf({ a: large, b: { use: 'data.map', with: { n: '{{ $length(steps.a.body) }}' } } });
    const id = await start(chain.name);
    await answerOf(id);
    await age(2 * HOUR);
    await leave();
    expect((await recordOf(id)).steps).toMatchObject([{ output: { status: 200 } }, { output: { n: 300_000 } }]);
    const shadow = await replayShadow(env, { chain: chain.name, from: 1, to: 1, limit: 10 });
    expect(shadow).toMatchObject({ ok: true, value: [{ run: id, result: 'same' }] });
    expect(await receipts('/large/300000?mark=shadow')).toHaveLength(1);
  });

  it('gives its row to a run that comes', async () => {
    const { name } = await chainOf({ a: post('row') });
    const old = await Promise.all(Array.from({ length: 8 }, () => start(name)));
    for (const id of old) await answerOf(id);
    await age(2 * HOUR);
    await sweepRuns(env);
    const rows = async () => {
      const counts = await Promise.all(
        (await objectsOf(env)).map((object) =>
          runInDurableObject(object, (_object: RunObject, { storage }) =>
            Number(storage.sql.exec('select count(*) as count from runs').one()['count']),
          ),
        ),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    };
    const [before, batchesBefore] = [await rows(), (await batches()).length];
    const young: string[] = [];
    for (let n = 0; n < 4; n++) {
      young.push(await start(name, { n }));
      await answerOf(young.at(-1) ?? '');
    }
    expect(await rows()).toBeLessThan(before + 4);
    for (const [n, id] of young.entries())
      expect(await recordOf(id)).toMatchObject({ status: 'succeeded', input: { n } });
    const kept = await Promise.all(old.map(inRows));
    expect(kept).toContain(false);
    for (const id of old) expect(await recordOf(id)).toMatchObject({ id, status: 'succeeded' });
    await saveSummaries(env);
    expect(await runsOf(name)).toBe(12);
    expect(await batches()).toHaveLength(batchesBefore);
  });
});

describe('a delivery that comes again', () => {
  async function deliver(name: string): Promise<{ id: string; duplicate: boolean }> {
    await checkConfiguration(env, 0);
    const event = { type: 'manual', params: {}, query: {}, headers: {}, body: {}, receivedAt: Date.now() } as const;
    const request = { chain: name, version: 1, trigger: 'manual', event, dedupeKey: `delivery-${name}` };
    const [accepted] = await acceptRuns(env, `delivery-${name}`, [request]);
    if (accepted === undefined) throw new Error('nothing was accepted');
    return accepted;
  }

  it('starts nothing for days after its run is archived, and something after that', async () => {
    const { name } = await chainOf({ a: post('again') });
    const first = await deliver(name);
    await answerOf(first.id);
    await age(LIMITS.deliveryMemoryMilliseconds - 2 * HOUR);
    await sweepRuns(env);
    const spare = await chainOf({ a: { use: 'data.map', with: {} } });
    for (let n = 0; n < 6; n++) await answerOf(await start(spare.name));
    expect(await deliver(name)).toEqual({ id: first.id, duplicate: true });
    await age(3 * HOUR);
    await sweepRuns(env);
    const others = Array.from({ length: 40 }, () => start(spare.name));
    for (const id of await Promise.all(others)) await answerOf(id);
    expect(await deliver(name)).toEqual({ id: first.id, duplicate: false });
    await answerOf(first.id);
    expect(await receipts('/echo?mark=again')).toHaveLength(2);
  });
});

describe('nothing is lost', () => {
  it('while R2 is away; what ended leaves once it is back', async () => {
    const id = await ended({ a: post('away') });
    await age(2 * HOUR);
    const put = vi.spyOn(Object.getPrototypeOf(bucket) as R2Bucket, 'put').mockRejectedValue(new Error('R2 is away'));
    await sweepRuns(env);
    expect(put).toHaveBeenCalled();
    put.mockRestore();
    expect(await inRows(id)).toBe(true);
    await sweepRuns(env);
    await leave();
    expect(await inRows(id)).toBe(false);
    expect(await recordOf(id)).toMatchObject({ id, status: 'succeeded' });
  });

  it('by a crash after a batch was stored and before that was noted', async () => {
    const id = await ended({ a: post('crash') });
    await age(2 * HOUR);
    const prototype = Object.getPrototypeOf(bucket) as R2Bucket;
    const stored = prototype.put.bind(bucket);
    const put = vi.spyOn(prototype, 'put').mockImplementation((async (key: string, value: ArrayBuffer) => {
      await stored(key, value);
      throw new Error('the object was killed');
    }) as unknown as R2Bucket['put']);
    const before = (await batches()).length;
    await sweepRuns(env);
    put.mockRestore();
    expect((await batches()).length).toBeGreaterThan(before);
    await abortAllDurableObjects();
    expect(await recordOf(id)).toMatchObject({ id, status: 'succeeded' });
    await leave();
    expect(await inRows(id)).toBe(false);
    expect(await recordOf(id)).toMatchObject({ id, status: 'succeeded' });
  });

  it('while R2 is away and an archived run is asked for: that is told as such', async () => {
    const id = await ended({ a: post('asked') });
    await age(2 * HOUR);
    await leave();
    vi.spyOn(Object.getPrototypeOf(bucket) as R2Bucket, 'get').mockRejectedValue(new Error('R2 is away'));
    expect(await readRun(env, id)).toMatchObject({ ok: false, fault: { code: 'storage.unavailable' } });
    expect((await manage(`GET /runs/${id}`)).status).toBe(503);
    vi.restoreAllMocks();
    expect(await recordOf(id)).toMatchObject({ status: 'succeeded' });
  });
});

describe('an archive', () => {
  /** An archive of its own over the rows of an object, which go away afterwards. */
  async function alone(
    rows: readonly { id: string; endedAt: number }[],
    options: Partial<ArchiveOptions>,
    use: (archive: Archive, sql: SqlStorage) => Promise<void>,
  ): Promise<void> {
    const [object] = await objectsOf(env);
    if (object === undefined) throw new Error('there is no run object');
    await runInDurableObject(object, async (_object: RunObject, { storage: { sql } }) => {
      sql.exec('delete from archives');
      sql.exec('delete from runs');
      for (const { id, endedAt } of rows) {
        sql.exec(
          `insert into runs (id, chain, version, start, created_at, ended_at, record, events, remembered)
           values (?, 'c', 1, '{}', 1, ?, '{"version":1}', '[]' || char(10) || '[]', 0)`,
          ...[id, endedAt],
        );
      }
      const shared = { sql, bucket, name: `test-${crypto.randomUUID()}`, savedUntil: () => Infinity };
      await use(new Archive({ ...shared, retentionMilliseconds: 30 * DAY, ...options }), sql);
      sql.exec('delete from archives');
      sql.exec('delete from runs');
    });
  }
  const idOf = (n: number): string => `run_0_${n.toString(16).padStart(32, '0')}`;
  const count = (sql: SqlStorage, table: string): number =>
    Number(sql.exec(`select count(*) as n from ${table}`).one()['n']);

  it('holds many runs in each of its batches, and finds each of them, also when it was stopped between two', async () => {
    const now = Date.now() - 2 * HOUR;
    const size = LIMITS.archiveBatchRuns;
    // A batch does not end within a millisecond.
    const rows = Array.from({ length: 3 * size }, (_, n) => ({ id: idOf(n), endedAt: now + Math.floor(n / 300) }));
    await alone(rows, {}, async (archive, sql) => {
      const stored = bucket.put.bind(bucket);
      const puts = vi.spyOn(Object.getPrototypeOf(bucket) as R2Bucket, 'put');
      puts.mockImplementationOnce(stored as R2Bucket['put']).mockRejectedValueOnce(new Error('stopped'));
      await archive.sweep();
      expect(count(sql, 'archives')).toBe(1);
      puts.mockRestore();
      const next = new Archive({ sql, bucket, name: 'next', savedUntil: () => Infinity, retentionMilliseconds: DAY });
      await next.sweep();
      expect(count(sql, 'archives')).toBe(3);
      sql.exec('delete from runs');
      for (const n of [0, size - 1, size, size + 200, 2 * size + 1, 3 * size - 1]) {
        expect(await archive.find(idOf(n))).toMatchObject({ id: idOf(n), journal: [[], []] });
      }
      expect(await archive.find(idOf(3 * size))).toBeUndefined();
    });
  });

  it('takes no run whose summary is not in D1', async () => {
    const endedAt = Date.now() - 2 * HOUR;
    const rows = [0, 1, 2].map((n) => ({ id: idOf(n), endedAt: endedAt + n }));
    await alone(rows, { savedUntil: () => endedAt + 1 }, async (archive, sql) => {
      await archive.sweep();
      expect(await archive.find(idOf(0))).toBeDefined();
      expect(await archive.find(idOf(1))).toBeUndefined();
      expect(archive.spareRow()).toBe(idOf(0));
      expect(archive.spareRow()).toBeUndefined();
      expect(count(sql, 'runs')).toBe(3);
    });
  });

  it('goes on with what an archive before it did not know of, and knows what ends meanwhile', async () => {
    const endedAt = Date.now() - 2 * HOUR;
    await alone([{ id: idOf(1), endedAt }], {}, async (archive, sql) => {
      await archive.sweep();
      const again = new Archive({ sql, bucket, name: 'next', savedUntil: () => Infinity, retentionMilliseconds: DAY });
      sql.exec(`update runs set id = ?, ended_at = ? where id = ?`, idOf(2), endedAt + 5, idOf(1));
      await again.sweep();
      expect(await again.find(idOf(1))).toBeDefined();
      expect(await again.find(idOf(2))).toBeDefined();
      expect(count(sql, 'archives')).toBe(2);
    });
  });

  it('deletes batches that are past the retention, and those alone', async () => {
    const now = Date.now();
    const rows = [
      { id: idOf(1), endedAt: now - 31 * DAY },
      { id: idOf(2), endedAt: now - 2 * HOUR },
    ];
    await alone(rows.slice(0, 1), {}, async (archive, sql) => {
      await archive.sweep();
      expect(count(sql, 'archives')).toBe(0);
      expect(await archive.find(idOf(1))).toBeUndefined();
    });
    await alone(rows.slice(1), { name: 'retention' }, async (archive, sql) => {
      await archive.sweep();
      expect(count(sql, 'archives')).toBe(1);
      expect((await bucket.list({ prefix: 'archive/retention/' })).objects).toHaveLength(1);
    });
  });
});
