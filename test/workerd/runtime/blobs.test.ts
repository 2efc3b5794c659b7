/** Outputs that are too large for a row, with the real bucket of the local runtime. */

import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { answerOf, manage, publish, QUICK, receipts, receivedAt, upstream } from '../gateway/fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { blobsOf, Keeper } from '../../../src/runtime/blobs.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { readRun, replayRun, retryRun, sweepRuns } from '../../../src/runtime/runs.ts';
import { objectOf } from '../../../src/runtime/shards.ts';

const bucket = env.BLOBS as R2Bucket;
const LARGE = 400_000;
const large = (mark: string, bytes = LARGE) => ({
  use: 'http.get',
  with: { url: `${upstream}/large/${bytes}?mark=${mark}` },
});
const post = (path: string, more: object = {}) => ({ use: 'http.post', with: { url: upstream + path }, ...more });

async function start(steps: object, more: object = {}): Promise<string> {
  const { name } = await publish({ mode: 'durable', triggers: {}, steps, ...more });
  const { body } = await manage(`POST /chains/${name}/runs`, {});
  return String(body['id']);
}

async function rowsOf(id: string): Promise<string> {
  const object = objectOf(env, id);
  if (object === undefined) throw new Error('no durable run');
  return runInDurableObject(object, (_object: RunObject, { storage }) =>
    JSON.stringify([
      storage.sql.exec('select * from runs where id = ?', id).toArray(),
      storage.sql.exec('select * from journal where run = ?', id).toArray(),
    ]),
  );
}

async function recordOf(id: string) {
  const read = await readRun(env, id);
  if (!read.ok) throw new Error(read.fault.message);
  return read.value;
}

const textOf = (output: unknown): string => JSON.stringify(output);
const keysOf = async (id: string) => (await bucket.list({ prefix: `runs/${id}/` })).objects.map(({ key }) => key);

/** The calls of the bucket fail as often as said. */
function failing(method: 'put' | 'get', times: number) {
  const prototype = Object.getPrototypeOf(bucket) as R2Bucket;
  const spy = vi.spyOn(prototype, method);
  for (let n = 0; n < times; n++) spy.mockRejectedValueOnce(new Error('R2 is away'));
  return spy;
}

afterEach(() => vi.restoreAllMocks());

describe('a large output', () => {
  it('is kept outside of the rows, packed, and shown whole', async () => {
    const id = await start({ a: large('shown'), b: post('/echo?mark=shown', { after: ['a'] }) });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect((await rowsOf(id)).length).toBeLessThan(10_000);
    const [key, ...others] = await keysOf(id);
    expect(others).toEqual([]);
    expect((await bucket.head(key ?? ''))?.size).toBeLessThan(LARGE / 10);
    const { steps } = await recordOf(id);
    expect(textOf(steps[0]?.output).length).toBeGreaterThan(LARGE);
    expect(steps[1]?.output).toMatchObject({ status: 200 });
  });

  it('of the run goes to the caller, and is kept once where it is that of a step', async () => {
    const id = await start({ a: large('output') }, { output: '{{ steps.a }}' });
    expect((await answerOf(id))?.output?.length).toBeGreaterThan(LARGE);
    await abortAllDurableObjects();
    expect((await answerOf(id))?.output?.length).toBeGreaterThan(LARGE);
    expect((await rowsOf(id)).length).toBeLessThan(10_000);
    expect(textOf((await recordOf(id)).output).length).toBeGreaterThan(LARGE);
  });

  it('that was recorded is not made again by a new instance, and is there for the steps behind it', async () => {
    const path = `/large/${LARGE}?mark=replayed`;
    const middle = '/delay/1200?mark=replayed-middle';
    const id = await start({
      a: large('replayed'),
      b: { ...post(middle), after: ['a'] },
      c: { use: 'data.map', with: { size: '{{ $length(steps.a.body) }}' }, after: ['b'] },
    });
    await receivedAt(middle, 1);
    await abortAllDurableObjects();
    await sweepRuns(env);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect(await receipts(path)).toHaveLength(1);
    expect((await recordOf(id)).steps[2]?.output).toEqual({ size: LARGE });
  });

  it('is taken over by a run that is retried', async () => {
    const path = `/large/${LARGE}?mark=carried`;
    const id = await start({
      a: large('carried'),
      b: { use: 'http.get', with: { url: `${upstream}/status/404` }, after: ['a'] },
    });
    expect(await answerOf(id)).toMatchObject({ status: 'failed' });
    const again = await retryRun(env, id);
    if (!again.ok) throw new Error(again.fault.message);
    expect(await answerOf(again.value.id)).toMatchObject({ status: 'failed' });
    expect(await receipts(path)).toHaveLength(1);
    expect(textOf((await recordOf(again.value.id)).steps[0]?.output).length).toBeGreaterThan(LARGE);
    expect(await replayRun(env, id)).toMatchObject({ ok: true });
  });

  it('is stored again where the bucket was away for a moment, and its step is not repeated', async () => {
    const spy = failing('put', LIMITS.blobTries - 1);
    const id = await start({ a: large('moment') });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect(spy).toHaveBeenCalledTimes(LIMITS.blobTries);
    expect(await receipts(`/large/${LARGE}?mark=moment`)).toHaveLength(1);
  });

  it('fails its step by name where the bucket stays away', async () => {
    failing('put', 100);
    const id = await start({ a: { ...large('away'), retries: { ...QUICK, limit: 0 } } });
    expect(await answerOf(id)).toMatchObject({ status: 'failed', fault: { code: 'storage.unavailable', step: 'a' } });
  });

  it('is nothing that a cancelled run waits for', async () => {
    const spy = failing('put', 100);
    const id = await start({ a: large('cancelled') });
    await vi.waitFor(() => expect(spy).toHaveBeenCalled(), { timeout: 10_000 });
    expect(await objectOf(env, id)?.cancel(id)).toBe('cancelled');
    expect((await recordOf(id)).steps[0]).toMatchObject({ status: 'failed', error: { code: 'run.cancelled' } });
  });

  it('that the bucket has deleted is shown as such', async () => {
    const id = await start({ a: large('deleted') });
    await answerOf(id);
    await bucket.delete(await keysOf(id));
    expect((await recordOf(id)).steps[0]).toMatchObject({ status: 'succeeded', output: '[not kept any more]' });
  });

  it('that cannot be read keeps its run waiting, and the next sweep goes on', async () => {
    const middle = '/delay/1200?mark=unread';
    const id = await start({ a: large('unread'), b: { ...post(middle), after: ['a'] } });
    await receivedAt(middle, 1);
    await abortAllDurableObjects();
    const spy = failing('get', 1);
    await sweepRuns(env);
    await vi.waitFor(() => expect(spy).toHaveBeenCalled(), { timeout: 10_000 });
    await sweepRuns(env);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  });
});

describe('an output is refused', () => {
  const check = (keeper: Keeper, output: unknown) => keeper.check(output, 'x');

  it('over the limit of one, as JSON and in bytes', async () => {
    const id = await start({}, { output: `{{ $pad("", ${LIMITS.stepOutputBytes}) }}` });
    expect(await answerOf(id)).toMatchObject({ status: 'failed', fault: { code: 'step.output-too-large' } });
    const keeper = new Keeper(blobsOf(env), 'run_test');
    expect(check(keeper, '漢'.repeat(LIMITS.stepOutputBytes / 3))).toMatchObject({ code: 'step.output-too-large' });
  });

  it('over the limit of all together', async () => {
    const keeper = new Keeper(blobsOf(env), 'run_test');
    const size = LIMITS.stepOutputBytes - 100;
    const fitting = Math.floor(LIMITS.runOutputsBytes / size);
    for (let n = 0; n < fitting; n++) expect(await check(keeper, [n, 'x'.repeat(size)])).toBeUndefined();
    expect(await check(keeper, ['x'.repeat(size)])).toMatchObject({ code: 'step.output-too-large' });
  });

  it('without a bucket over a smaller limit, and told the fix', () => {
    const keeper = new Keeper(undefined, 'run_test');
    expect(check(keeper, 'x'.repeat(LARGE))).toBeUndefined();
    expect(check(keeper, 'x'.repeat(LIMITS.rowOutputBytes))).toMatchObject({
      code: 'step.output-too-large',
      message: expect.stringContaining('BLOBS'),
    });
  });
});
