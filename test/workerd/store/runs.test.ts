import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { db, runSummary } from './fixtures.ts';
import type { RunRecord, RunSummary } from '../../../src/core/engine/record.ts';
import { listRuns, loadInlineRun, pruneRuns, saveRuns, type RunFilter, type RunPage } from '../../../src/store/runs.ts';

beforeEach(async () => {
  await db.prepare('delete from runs').run();
});

const save = (...summaries: ReturnType<typeof runSummary>[]) =>
  saveRuns(
    db,
    summaries.map((summary) => ({ summary })),
  );

async function page(filter: Partial<RunFilter> = {}): Promise<RunPage> {
  const result = await listRuns(db, { limit: 10, ...filter });
  if (!result.ok) throw new Error(result.fault.message);
  return result.value;
}

const shown = async (id: string) => (await page()).items.find((run) => run.id === id);

const idsOf = (shown: RunPage) => shown.items.map((run) => run.id);

test('a run that has ended is not shown as running by a summary that comes late', async () => {
  const ended = runSummary('r1', { status: 'succeeded', endedAt: 2_000 });
  await save(ended);
  await save(runSummary('r1'));
  expect(await shown('r1')).toEqual(ended);
});

test('the first terminal state stays', async () => {
  await save(runSummary('r1', { status: 'cancelled', endedAt: 2_000 }));
  await save(runSummary('r1', { status: 'succeeded', endedAt: 3_000 }));
  expect(await shown('r1')).toMatchObject({ status: 'cancelled', endedAt: 2_000 });
});

test('a run that has begun does not go back to the queue', async () => {
  await save(runSummary('r1', { status: 'waiting' }));
  await save(runSummary('r1', { status: 'queued' }));
  expect(await shown('r1')).toMatchObject({ status: 'waiting' });
});

test('two summaries of one run in one batch end at the later', async () => {
  await save(runSummary('r1', { status: 'queued' }), runSummary('r1', { status: 'failed', endedAt: 5 }));
  expect(await shown('r1')).toMatchObject({ status: 'failed' });
});

test('more rows than one statement can bind are saved together', async () => {
  await save(...Array.from({ length: 100 }, (_, index) => runSummary(`r${index}`, { createdAt: index })));
  expect((await page({ limit: 100 })).items).toHaveLength(100);
});

test('nothing to save is nothing done', async () => {
  await expect(saveRuns(db, [])).resolves.toBeUndefined();
});

test('pages join without a gap or a repetition while new runs come in, also within one millisecond', async () => {
  await save(...Array.from({ length: 25 }, (_, index) => runSummary(`r${String(index).padStart(2, '0')}`)));
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const shown = await page(after === undefined ? { limit: 7 } : { limit: 7, after });
    seen.push(...idsOf(shown));
    after = shown.next;
    await save(runSummary(`new-${seen.length}`, { createdAt: 9_000 }));
  } while (after !== undefined);
  expect(seen).toEqual(Array.from({ length: 25 }, (_, index) => `r${String(24 - index).padStart(2, '0')}`));
});

test('a page that is exactly full is the last one when nothing follows', async () => {
  await save(runSummary('r1'), runSummary('r2'));
  expect((await page({ limit: 2 })).next).toBeUndefined();
});

test('a cursor may stand in an address as it is', async () => {
  await save(runSummary('run_4_ff-ZZ'), runSummary('run_4_ff-ZY'));
  expect((await page({ limit: 1 })).next).toMatch(/^[A-Za-z0-9_-]+$/);
});

test.each(['', 'x', '!!!', btoa('1'), btoa("1.' or 1=1"), btoa('-1.r1')])('the cursor %j is refused', async (after) => {
  expect(await listRuns(db, { limit: 1, after })).toMatchObject({ ok: false, fault: { code: 'request.invalid' } });
});

test('runs are found by chain and by status', async () => {
  await save(
    runSummary('r1'),
    runSummary('r2', { chain: 'others' }),
    runSummary('r3', { status: 'failed', endedAt: 2 }),
    runSummary('r4', { status: 'succeeded', endedAt: 2 }),
  );
  expect(idsOf(await page({ chain: 'others' }))).toEqual(['r2']);
  expect(idsOf(await page({ status: 'failed' }))).toEqual(['r3']);
  expect(idsOf(await page({ status: 'succeeded' }))).toEqual(['r4']);
  expect(idsOf(await page({ chain: 'orders', status: 'running' }))).toEqual(['r1']);
});

/** Rows that D1 reads for a page, by its own meter. */
async function rowsReadBy(filter: Partial<RunFilter>): Promise<number> {
  let rows = 0;
  const metered = {
    prepare: (query: string) => ({
      bind: (...values: unknown[]) => ({
        all: async () => {
          const result = await db
            .prepare(query)
            .bind(...values)
            .all();
          rows += result.meta.rows_read;
          return result;
        },
      }),
    }),
  };
  // The only calls that a list makes.
  await listRuns(metered as unknown as D1Database, { limit: 10, ...filter });
  return rows;
}

const many = (chain: string, count: number, more: Partial<RunSummary> = {}) =>
  Array.from({ length: count }, (_, index) =>
    runSummary(`${chain}-${index}`, { chain, createdAt: 1_000 + index, status: 'succeeded', endedAt: 2_000, ...more }),
  );

test('a list of all chains merges them in order, over its pages and within one millisecond', async () => {
  const chains = ['a', 'b', 'c'];
  await save(...chains.flatMap((chain, index) => many(chain, 5 + index)), ...many('d', 1, { createdAt: 1 }));
  const seen: RunSummary[] = [];
  let after: string | undefined;
  do {
    const { items, next } = await page(after === undefined ? { limit: 4 } : { limit: 4, after });
    seen.push(...items);
    after = next;
  } while (after !== undefined);
  const sorted = seen.toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
  expect(new Set(seen.map(({ id }) => id)).size).toBe(5 + 6 + 7 + 1);
  expect(seen).toEqual(sorted);
});

test.each([
  ['of one chain', { chain: 'b' }, 30],
  ['of all chains', {}, 150],
  ['of what failed in one chain', { chain: 'b', status: 'failed' }, 30],
  ['of what failed', { status: 'failed' }, 150],
] as const)(
  'a page %s reads no more rows than it shows and has chains, whatever there is',
  async (_name, filter, most) => {
    for (const chain of ['a', 'b', 'c']) await save(...many(chain, 700));
    await save(...many('failing', 30, { status: 'failed' }), ...many('b', 20, { status: 'failed', createdAt: 3 }));
    expect(await rowsReadBy(filter)).toBeLessThanOrEqual(most);
  },
);

async function rowsWrittenBy(...summaries: RunSummary[]): Promise<number> {
  let rows = 0;
  const metered = {
    prepare: (query: string) => db.prepare(query),
    batch: async (statements: D1PreparedStatement[]) => {
      const results = await db.batch(statements);
      for (const { meta } of results) rows += meta.rows_written;
      return results;
    },
  };
  await saveRuns(
    metered as unknown as D1Database,
    summaries.map((summary) => ({ summary })),
  );
  return rows;
}

test('a run that succeeded is one row, one that failed two, and neither is written again', async () => {
  const [good, bad] = [
    runSummary('r1', { status: 'succeeded', endedAt: 2_000 }),
    runSummary('r2', { status: 'failed', endedAt: 2_000 }),
  ];
  expect(await rowsWrittenBy(good)).toBe(1);
  expect(await rowsWrittenBy(bad)).toBe(2);
  expect(await rowsWrittenBy(good, bad)).toBe(0);
});

test('a run that goes on as it was is not written again', async () => {
  await save(runSummary('r1', { status: 'waiting' }));
  expect(await rowsWrittenBy(runSummary('r1', { status: 'waiting' }))).toBe(0);
});

test('runs that began before the retention are deleted, in every chain, and no others', async () => {
  await save(...['a', 'b'].flatMap((chain) => many(chain, 3)));
  await pruneRuns(db, 1_002);
  expect(idsOf(await page())).toEqual(['b-2', 'a-2']);
});

test('the migration keeps the runs of before', async () => {
  const old = env.DATA;
  const before = env.TEST_MIGRATIONS.findIndex(({ name }) => name.includes('runs-in-order'));
  await applyD1Migrations(old, env.TEST_MIGRATIONS.slice(0, before));
  await old
    .prepare(
      `insert into runs values ('r1', 'orders', 3, 'api', 'http', 'inline', 'failed', 1000, 2000, '{"code":"run.failed","message":"no"}', '{"input":1,"steps":[]}'),
       ('r2', 'orders', 3, 'api', 'http', 'durable', 'running', 1001, null, null, null)`,
    )
    .run();
  await applyD1Migrations(old, env.TEST_MIGRATIONS);
  const shownAfter = await listRuns(old, { limit: 10, chain: 'orders' });
  expect(shownAfter).toMatchObject({ ok: true, value: { items: [{ id: 'r2', status: 'running' }, { id: 'r1' }] } });
  expect(await loadInlineRun(old, 'r1')).toMatchObject({ endedAt: 2_000, input: 1, error: { code: 'run.failed' } });
});

const record = (id: string, output: unknown): RunRecord => ({
  ...runSummary(id, { mode: 'inline', status: 'succeeded', endedAt: 2_000 }),
  input: { a: 1 },
  output,
  steps: [{ id: 's', use: 'http.get', status: 'succeeded', attempts: [], output, error: undefined }],
});

test('an inline run comes back whole by its id, and a durable one is asked of its object', async () => {
  const whole = record('r1', { b: 2 });
  await saveRuns(db, [{ summary: whole, record: whole }, { summary: runSummary('r2') }]);
  expect(await loadInlineRun(db, 'r1')).toEqual(whole);
  expect(await loadInlineRun(db, 'r2')).toBeUndefined();
  expect(await loadInlineRun(db, 'r3')).toBeUndefined();
});

test('values beyond a row are left out of the record, and the run is still shown with its steps', async () => {
  const huge = record('r1', 'ä'.repeat(1_000_000));
  await saveRuns(db, [{ summary: huge, record: huge }]);
  expect(await loadInlineRun(db, 'r1')).toMatchObject({ output: '[too large to keep]', steps: [{ id: 's' }] });
});

test('an error with an upstream reply beyond a row does not keep its run, or others, from being saved', async () => {
  const error = { code: 'upstream.rejected', message: 'refused', data: { body: 'x'.repeat(3_000_000) } } as const;
  await save(runSummary('r1', { status: 'failed', endedAt: 2, error }), runSummary('r2'));
  expect(await shown('r1')).toMatchObject({ error: { code: 'upstream.rejected', message: 'refused' } });
  expect(await shown('r2')).toBeDefined();
});
