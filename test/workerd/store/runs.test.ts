import { beforeEach, expect, test } from 'vitest';
import { db, runSummary } from './fixtures.ts';
import type { RunRecord } from '../../../src/core/engine/record.ts';
import { listRuns, loadRun, saveRuns, type RunFilter, type RunPage } from '../../../src/store/runs.ts';

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

const idsOf = (shown: RunPage) => shown.items.map((run) => run.id);

test('a run that has ended is not shown as running by a summary that comes late', async () => {
  const ended = runSummary('r1', { status: 'succeeded', endedAt: 2_000 });
  await save(ended);
  await save(runSummary('r1'));
  expect(await loadRun(db, 'r1')).toEqual(ended);
});

test('the first terminal state stays', async () => {
  await save(runSummary('r1', { status: 'cancelled', endedAt: 2_000 }));
  await save(runSummary('r1', { status: 'succeeded', endedAt: 3_000 }));
  expect(await loadRun(db, 'r1')).toMatchObject({ status: 'cancelled', endedAt: 2_000 });
});

test('a run that has begun does not go back to the queue', async () => {
  await save(runSummary('r1', { status: 'waiting' }));
  await save(runSummary('r1', { status: 'queued' }));
  expect(await loadRun(db, 'r1')).toMatchObject({ status: 'waiting' });
});

test('two summaries of one run in one batch end at the later', async () => {
  await save(runSummary('r1', { status: 'queued' }), runSummary('r1', { status: 'failed', endedAt: 5 }));
  expect(await loadRun(db, 'r1')).toMatchObject({ status: 'failed' });
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

test.each([
  ['', 'runs_by_time'],
  ["where chain = 'x'", 'runs_by_chain'],
  ["where status = ? and status <> 'succeeded'", 'runs_by_status'],
])('a list %s reads the index %s and sorts nothing', async (where, index) => {
  const sql = `explain query plan select id from runs ${where} order by created_at desc, id desc limit 10`;
  const statement = where.includes('?') ? db.prepare(sql).bind('failed') : db.prepare(sql);
  const plan = JSON.stringify((await statement.all()).results);
  expect(plan).toContain(index);
  expect(plan).not.toContain('TEMP B-TREE');
});

const record = (id: string, output: unknown): RunRecord => ({
  ...runSummary(id, { mode: 'inline', status: 'succeeded', endedAt: 2_000 }),
  input: { a: 1 },
  output,
  steps: [{ id: 's', use: 'http.get', status: 'succeeded', attempts: [], output, error: undefined }],
});

test('a run with its record comes back whole, and one without as its summary', async () => {
  const whole = record('r1', { b: 2 });
  await saveRuns(db, [{ summary: whole, record: whole }, { summary: runSummary('r2') }]);
  expect(await loadRun(db, 'r1')).toEqual(whole);
  expect(await loadRun(db, 'r2')).toEqual(runSummary('r2'));
  expect(await loadRun(db, 'r3')).toBeUndefined();
});

test('values beyond a row are left out of the record, and the run is still shown with its steps', async () => {
  const huge = record('r1', 'ä'.repeat(1_000_000));
  await saveRuns(db, [{ summary: huge, record: huge }]);
  expect(await loadRun(db, 'r1')).toMatchObject({ output: '[too large to keep]', steps: [{ id: 's' }] });
});

test('an error with an upstream reply beyond a row does not keep its run, or others, from being saved', async () => {
  const error = { code: 'upstream.rejected', message: 'refused', data: { body: 'x'.repeat(3_000_000) } } as const;
  await save(runSummary('r1', { status: 'failed', endedAt: 2, error }), runSummary('r2'));
  expect(await loadRun(db, 'r1')).toMatchObject({ error: { code: 'upstream.rejected', message: 'refused' } });
  expect(await loadRun(db, 'r2')).toBeDefined();
});
