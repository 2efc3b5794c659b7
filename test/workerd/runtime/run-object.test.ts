import { abortAllDurableObjects, evictAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { accept, answerOf, publish, QUICK, receipts, receivedAt, upstream } from '../gateway/fixtures.ts';
import { objectOf } from '../../../src/runtime/shards.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { cancelRun, readRun, sweepRuns } from '../../../src/runtime/runs.ts';

const chainOf = async (steps: object, more: object = {}): Promise<string> =>
  (await publish({ triggers: {}, steps, ...more })).name;

const get = (path: string, more: object = {}) => ({ use: 'http.get', with: { url: upstream + path }, ...more });
const post = (path: string, more: object = {}) => ({ use: 'http.post', with: { url: upstream + path }, ...more });

function inside<T>(id: string, call: (object: RunObject, sql: SqlStorage, storage: DurableObjectStorage) => T) {
  const stub = objectOf(env, id);
  if (stub === undefined) throw new Error(`${id} is not the id of a durable run`);
  return runInDurableObject(stub, (object: RunObject, state) => call(object, state.storage.sql, state.storage));
}
const rowsOf = (id: string, query: string) => inside(id, (_object, sql) => sql.exec(query, id).toArray());

async function recordOf(id: string) {
  const read = await readRun(env, id);
  if (!read.ok) throw new Error(read.fault.message);
  return read.value;
}

describe('accepting', () => {
  it('is done when the run is on disk', async () => {
    const { id } = await accept(await chainOf({ a: get('/delay/300?mark=disk') }), { n: 1 });
    const [row] = await rowsOf(id, 'select * from runs where id = ?');
    expect(row).toMatchObject({ id, version: 1, ended_at: null, start: expect.stringContaining('"n":1') });
    await answerOf(id);
  });

  it('of the same delivery starts nothing, also after the first has ended', async () => {
    const path = '/echo?mark=duplicate';
    const chain = await chainOf({ a: post(path) });
    const all = await Promise.all(Array.from({ length: 10 }, () => accept(chain, {}, 'delivery')));
    expect(all.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    await answerOf(all[0]?.id ?? '');
    expect((await accept(chain, {}, 'delivery')).duplicate).toBe(true);
    expect(await receipts(path)).toHaveLength(1);
  });
});

describe('a run', () => {
  it('goes through data, database and upstream to its output', async () => {
    await env.DATA.exec('create table if not exists orders (id integer primary key, total real)');
    const chain = await chainOf(
      {
        shape: { use: 'data.map', with: { total: '{{ $sum(input.items) }}' } },
        save: {
          use: 'd1.query',
          with: { sql: 'insert into orders (total) values (?1) returning id', params: ['{{ steps.shape.total }}'] },
        },
        tell: post('/echo?mark=through', { after: ['save'] }),
      },
      { output: { id: '{{ steps.save.rows[0].id }}', status: '{{ steps.tell.status }}' } },
    );
    const { id } = await accept(chain, { items: [1, 2.5] });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded', output: '{"id":1,"status":200}' });
    const { results } = await env.DATA.prepare('select total from orders').all();
    expect(results).toEqual([{ total: 3.5 }]);
    expect(await recordOf(id)).toMatchObject({ status: 'succeeded', steps: [{}, {}, { id: 'tell', attempts: [{}] }] });
  });

  it.each([1, 3, 5])('of %d effects writes no more than three rows besides', async (effects) => {
    const steps = Object.fromEntries(
      Array.from({ length: effects }, (_, n) => [
        `s${n}`,
        post('/echo?mark=rows', n > 0 ? { after: [`s${n - 1}`] } : {}),
      ]),
    );
    const { id } = await accept(await chainOf(steps));
    await answerOf(id);
    expect(await rowsOf(id, 'select sequence from journal where run = ?')).toEqual([]);
    // One with the run and its first intent, one for each result but the last, one with the end.
    const [row] = await rowsOf(id, 'select events from runs where id = ?');
    const turns = String(row?.['events']).split('\n').length;
    expect(turns + 1).toBeLessThanOrEqual(effects + 1);
  });

  it('whose record outgrows a row keeps its outcome', async () => {
    const steps = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`s${n}`, get('/large/90000')]));
    const { id } = await accept(await chainOf(steps, { output: 'done' }));
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded', output: '"done"' });
    const { output, steps: shown } = await recordOf(id);
    expect(output).toBe('done');
    expect(shown.map(({ status }) => status)).toEqual(Array.from({ length: 30 }, () => 'succeeded'));
  });
});

describe('a new instance', () => {
  it('ends what the dead one began, and repeats no committed step', async () => {
    const first = '/echo?mark=committed';
    const middle = '/delay/1500?mark=interrupted';
    const last = '/echo?mark=after';
    const chain = await chainOf({ a: post(first), b: get(middle, { after: ['a'] }), c: post(last, { after: ['b'] }) });
    const { id } = await accept(chain);
    await receivedAt(middle, 1);
    await abortAllDurableObjects();
    await sweepRuns(env);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect(await receipts(first)).toHaveLength(1);
    expect(await receipts(middle)).toHaveLength(2);
    expect(await receipts(last)).toMatchObject([{ idempotencyKey: `${id}:c:0` }]);
    const [, interrupted] = (await recordOf(id)).steps;
    expect(interrupted?.attempts).toMatchObject([{ error: { code: 'step.interrupted' } }, { attempt: 2 }]);
  });

  it('repeats an interrupted call with the same idempotency key', async () => {
    const path = '/delay/1000?mark=same-key';
    const { id } = await accept(await chainOf({ a: post(path) }));
    await receivedAt(path, 1);
    await abortAllDurableObjects();
    await sweepRuns(env);
    await answerOf(id);
    expect((await receipts(path)).map(({ idempotencyKey }) => idempotencyKey)).toEqual([`${id}:a:0`, `${id}:a:0`]);
  });

  it('gives the answer of a run that had ended before', async () => {
    const { id } = await accept(await chainOf({ a: { use: 'flow.fail', with: { message: 'No.' } } }));
    const before = await answerOf(id);
    await evictAllDurableObjects();
    expect(await answerOf(id)).toEqual(before);
  });

  it('is woken by the alarm for an attempt that is due, without anybody calling', async () => {
    const path = '/fail-first/1/alarm';
    const { id } = await accept(await chainOf({ a: get(path, { retries: { ...QUICK, delay: '600ms' } }) }));
    await expect.poll(async () => (await recordOf(id)).status).toBe('waiting');
    const alarm = await inside(id, (_object, _sql, storage) => storage.getAlarm());
    expect(alarm).toBeLessThan(Date.now() + 700);
    await abortAllDurableObjects();
    await receivedAt(path, 2);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  });
});

describe('cancelling', () => {
  it('ends a run under way on disk, once', async () => {
    const path = '/delay/3000?mark=cancel-object';
    const { id } = await accept(await chainOf({ a: get(path) }));
    await receivedAt(path, 1);
    expect(await cancelRun(env, id)).toMatchObject({ ok: true, value: { status: 'cancelled' } });
    expect(await cancelRun(env, id)).toMatchObject({ ok: false, fault: { code: 'run.ended' } });
    expect(await rowsOf(id, 'select id from runs where id = ? and ended_at is null')).toEqual([]);
    await abortAllDurableObjects();
    await sweepRuns(env);
    expect((await recordOf(id)).status).toBe('cancelled');
    expect(await receipts(path)).toHaveLength(1);
  });
});

it('waiting for a run that nobody knows, or longer than one waits, gives no answer', async () => {
  const { id } = await accept(await chainOf({ a: get('/delay/800?mark=wait') }));
  expect(await objectOf(env, id)?.wait(id, 20)).toBeUndefined();
  const unknown = `${id.slice(0, -4)}0000`;
  expect(await objectOf(env, id)?.wait(unknown, 5_000)).toBeUndefined();
  expect(await objectOf(env, id)?.read(unknown)).toBeNull();
  expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
});
