/** What a run costs in rows, by the meter that the platform bills by. */

import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { answerOf, manage, publish, runsOf, upstream } from '../gateway/fixtures.ts';
import { saveSummaries, sweepRuns } from '../../../src/runtime/runs.ts';
import { objectsOf } from '../../../src/runtime/shards.ts';

const cursors: SqlStorageCursor<Record<string, SqlStorageValue>>[] = [];

/** Keeps every cursor of every object of this isolate, since a cursor counts while it is read. */
beforeAll(async () => {
  const objects = await objectsOf(env);
  expect(objects.length).toBe(2);
  const [object] = objects;
  if (object === undefined) throw new Error('there is no run object');
  await runInDurableObject(object, (_object, state) => {
    const prototype = Object.getPrototypeOf(state.storage.sql) as SqlStorage;
    const original = prototype.exec;
    prototype.exec = function exec(this: SqlStorage, query: string, ...bindings: unknown[]) {
      const cursor = original.call(this, query, ...bindings);
      cursors.push(cursor);
      return cursor;
    } as SqlStorage['exec'];
  });
});

let rowsInD1 = 0;

beforeAll(() => {
  const prototype = Object.getPrototypeOf(env.DB) as D1Database;
  const original = prototype.batch;
  prototype.batch = async function batch<T>(this: D1Database, statements: D1PreparedStatement[]) {
    const results = await original.call<D1Database, [D1PreparedStatement[]], Promise<D1Result<T>[]>>(this, statements);
    for (const { meta } of results) rowsInD1 += meta.rows_written;
    return results;
  };
});

async function rowsWrittenBy(work: () => Promise<void>): Promise<number> {
  cursors.length = 0;
  await work();
  return cursors.reduce((sum, cursor) => sum + cursor.rowsWritten, 0);
}

const sequence = (effects: number): Record<string, unknown> =>
  Object.fromEntries(
    Array.from({ length: effects }, (_, n) => [
      `s${n}`,
      { use: 'http.post', with: { url: `${upstream}/echo?mark=cost` }, ...(n > 0 && { after: [`s${n - 1}`] }) },
    ]),
  );

async function costOf(steps: Record<string, unknown>): Promise<number> {
  const { name } = await publish({ mode: 'durable', triggers: {}, steps, output: 'done' });
  // The first run of a chain loads its plan and is stored before that.
  const run = async (): Promise<void> => {
    const { body } = await manage(`POST /chains/${name}/runs`, {});
    expect(await answerOf(String(body['id']))).toMatchObject({ status: 'succeeded' });
  };
  for (let shard = 0; shard < 6; shard++) await run();
  return Math.min(...[await rowsWrittenBy(run), await rowsWrittenBy(run), await rowsWrittenBy(run)]);
}

describe('a durable run', () => {
  it.each([1, 5, 20])('of %d effects in sequence writes one row more than it has effects', async (effects) => {
    expect(await costOf(sequence(effects))).toBe(effects + 1);
  });

  it('of effects side by side writes no more than of effects in sequence', async () => {
    const steps = Object.fromEntries(
      Array.from({ length: 5 }, (_, n) => [`s${n}`, { use: 'http.post', with: { url: `${upstream}/echo?mark=side` } }]),
    );
    expect(await costOf(steps)).toBeLessThanOrEqual(6);
  });

  it('that need not wait writes one row', async () => {
    const steps = {
      a: { use: 'data.map', with: { at: '{{ $millis() }}' } },
      b: { use: 'data.map', with: { x: '{{ steps.a.at }}' } },
    };
    expect(await costOf(steps)).toBe(1);
  });

  it('of items that need not wait writes one row', async () => {
    const each = {
      use: 'flow.each',
      with: {
        in: Array.from({ length: 500 }, (_, n) => n),
        steps: { m: { use: 'data.map', with: { n: '{{ item }}', at: '{{ $millis() }}' } } },
      },
    };
    expect(await costOf({ each })).toBe(1);
  });

  it('is one row in D1 if it succeeds, also when it took longer than summaries gather', async () => {
    const slow = { use: 'http.get', with: { url: `${upstream}/delay/700?mark=cost` } };
    const { name } = await publish({
      mode: 'durable',
      triggers: {},
      steps: { slow, fast: { use: 'data.map', with: {} } },
    });
    await saveSummaries(env);
    rowsInD1 = 0;
    const { body } = await manage(`POST /chains/${name}/runs`, {});
    expect(await answerOf(String(body['id']))).toMatchObject({ status: 'succeeded' });
    await saveSummaries(env);
    await saveSummaries(env);
    expect(rowsInD1).toBe(1);
    expect(await runsOf(name)).toBe(1);
  });

  it('of five effects writes at most eight rows in all, its archive, its end in D1 and what is deleted included', async () => {
    const { name } = await publish({ mode: 'durable', triggers: {}, steps: sequence(5) });
    const objects = await objectsOf(env);
    const runs = async (count: number): Promise<void> => {
      const started = await Promise.all(Array.from({ length: count }, () => manage(`POST /chains/${name}/runs`, {})));
      for (const { body } of started) expect(await answerOf(String(body['id']))).toMatchObject({ status: 'succeeded' });
      await saveSummaries(env);
    };
    const archived = async (): Promise<void> => {
      for (const object of await objectsOf(env)) {
        await runInDurableObject(object, (_object, { storage }) => {
          // An hour passes.
          storage.sql.exec('update runs set ended_at = ended_at - 7200000');
        });
      }
      await abortAllDurableObjects();
      cursors.length = 0;
      await sweepRuns(env);
    };
    const COUNT = 40;
    await runs(2 * COUNT);
    await archived();
    rowsInD1 = 0;
    const puts = vi.spyOn(Object.getPrototypeOf(env.BLOBS) as R2Bucket, 'put');
    const own = await rowsWrittenBy(() => runs(COUNT));
    await archived();
    const archiving = cursors.reduce((sum, cursor) => sum + cursor.rowsWritten, 0);
    // A row for each batch, and how far D1 knows.
    expect(archiving).toBeLessThanOrEqual(2 * objects.length);
    expect(puts.mock.calls.length).toBeLessThanOrEqual(objects.length);
    expect(rowsInD1).toBe(COUNT);
    const deletedInD1 = COUNT;
    expect((own + archiving + rowsInD1 + deletedInD1) / COUNT).toBeLessThanOrEqual(8 + (4 * objects.length) / COUNT);
    expect(own / COUNT).toBeLessThanOrEqual(6 + (2 * objects.length) / COUNT);
  });
});
