/** Wide fan-outs end to end, through the queues of the runtime, to a receiver that keeps receipts. */

import {
  abortAllDurableObjects,
  createExecutionContext,
  createMessageBatch,
  getQueueResult,
  runInDurableObject,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { manage, publish, QUICK, upstream } from '../gateway/fixtures.ts';
import worker from '../../../src/index.ts';
import { cancelRun, readRun, sweepRuns } from '../../../src/runtime/runs.ts';
import { objectOf } from '../../../src/runtime/shards.ts';
import { consumeSteps, StepsWorker } from '../../../src/runtime/steps-consumer.ts';
import type { StepsMessage } from '../../../src/runtime/steps-queue.ts';

type Send = Queue<StepsMessage>['sendBatch'];

/** What the run objects send, and what becomes of it: each message comes so many times. */
const sent: StepsMessage[] = [];
let times = 1;

// The objects are in this isolate, and the methods of their binding are those of ours.
const prototype = Object.getPrototypeOf(env.STEPS) as { sendBatch: Send };
const { sendBatch } = prototype;

beforeEach(() => {
  sent.length = 0;
  times = 1;
  prototype.sendBatch = function (this: Queue<StepsMessage>, messages: Parameters<Send>[0]) {
    const all = [...messages];
    sent.push(...all.map(({ body }) => body));
    const kept = Array.from({ length: times }, () => all).flat();
    return kept.length === 0 ? Promise.resolve({} as QueueSendBatchResponse) : sendBatch.call(this, kept);
  };
});
afterEach(() => {
  prototype.sendBatch = sendBatch;
  vi.restoreAllMocks();
});

const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);

interface Receipt {
  readonly path: string;
  readonly idempotencyKey?: string;
}

async function keysAt(mark: string): Promise<string[]> {
  const all: Receipt[] = await (await fetch(`${upstream}/receipts`)).json();
  return all.filter(({ path }) => path.includes(`mark=wide-${mark}`)).map(({ idempotencyKey = '' }) => idempotencyKey);
}

const keysOf = (id: string, items: number): string[] =>
  listOf(items)
    .map((index) => `${id}:list.act:${index}`)
    .toSorted();

interface Wide {
  readonly path: string;
  readonly with?: object;
  readonly act?: object;
}

/** Starts a run over numbers; `path` is an expression's text with the item in it. */
async function start(items: number, { path, with: more, act }: Wide): Promise<string> {
  const steps = { act: { use: 'http.post', with: { url: upstream + path }, ...act } };
  const list = { use: 'flow.each', with: { in: '{{ input }}', concurrency: 60, steps, ...more } };
  const { name } = await publish({ mode: 'durable', triggers: {}, steps: { list } });
  const { body } = await manage(`POST /chains/${name}/runs`, { input: listOf(items) });
  return String(body['id']);
}

async function ended(id: string) {
  await objectOf(env, id)?.wait(id, 50_000);
  const read = await readRun(env, id);
  if (!read.ok) throw new Error(read.fault.message);
  const [list] = read.value.steps;
  return { status: read.value.status, error: list?.error, output: list?.output, list };
}

/** Turns of its journal that were written, its end included. */
async function rowsOf(id: string): Promise<number> {
  const object = objectOf(env, id);
  if (object === undefined) throw new Error(`${id} is not the id of a durable run`);
  return runInDurableObject(object, (_object, { storage: { sql } }) => {
    const own = String(sql.exec('select events from runs where id = ?', id).one()['events']);
    const rows = sql.exec('select sequence from journal where run = ?', id).toArray();
    return (own === '' ? 0 : own.split('\n').length) + rows.length + 1;
  });
}

describe('a wide fan-out', () => {
  it('runs each of a thousand items once, and writes a row for each range and two besides', async () => {
    const id = await start(1_000, {
      path: '/echo?mark=wide-thousand',
      with: { output: '{{ item & steps.act.status }}' },
    });
    const { status, output } = await ended(id);
    expect(status).toBe('succeeded');
    expect(output).toEqual({ count: 1_000, results: listOf(1_000).map((index) => `${index}200`), errors: [] });
    expect((await keysAt('thousand')).toSorted()).toEqual(keysOf(id, 1_000));
    expect(sent.length).toBe(Math.ceil(1_000 / 48));
    expect(await rowsOf(id)).toBeLessThanOrEqual(sent.length + 2);
  });

  it('whose every message comes twice runs each item once', async () => {
    times = 2;
    const id = await start(500, { path: '/echo?mark=wide-twice' });
    expect(await ended(id)).toMatchObject({ status: 'succeeded', output: { count: 500, errors: [] } });
    expect((await keysAt('twice')).toSorted()).toEqual(keysOf(id, 500));
  });

  it('retries an item like in the object', async () => {
    const path = '/fail-first/1/wide-{{ item }}?mark=wide-again';
    const id = await start(60, { path, act: { retries: QUICK } });
    expect(await ended(id)).toMatchObject({ status: 'succeeded' });
    expect((await keysAt('again')).toSorted()).toEqual([...keysOf(id, 60), ...keysOf(id, 60)].toSorted());
  });
});

describe('an item that fails', () => {
  const path = (mark: string): string => `/status/{{ item = 70 ? 400 : 200 }}?mark=wide-${mark}`;

  it('with `continue` is an error beside the results', async () => {
    const id = await start(300, { path: path('continue'), with: { onItemError: 'continue' } });
    const { status, output, list } = await ended(id);
    expect(status).toBe('succeeded');
    expect(output).toMatchObject({ errors: [{ index: 70, error: { code: 'upstream.rejected' } }] });
    expect(list?.items).toEqual({ count: 300, done: 300, failed: 1 });
  });

  it('with `collect` fails the step after all others have run', async () => {
    const id = await start(300, { path: path('collect'), with: { onItemError: 'collect' } });
    expect(await ended(id)).toMatchObject({ status: 'failed', error: { code: 'step.items-failed' } });
    expect((await keysAt('collect')).toSorted()).toEqual(keysOf(id, 300));
  });

  it('with `stop` fails the step, and the rest is not begun', async () => {
    const id = await start(5_000, { path: path('stop') });
    expect(await ended(id)).toMatchObject({ status: 'failed', error: { code: 'step.items-failed' } });
    const begun = (await keysAt('stop')).length;
    expect(begun).toBeLessThan(2_000);
    expect(sent.length).toBeLessThan(50);
  });
});

describe('messages', () => {
  it('that are lost with the object are sent again by the next', async () => {
    times = 0;
    const id = await start(300, { path: '/echo?mark=wide-lost' });
    await vi.waitFor(() => expect(sent).not.toEqual([]));
    times = 1;
    await abortAllDurableObjects();
    await sweepRuns(env);
    expect(await ended(id)).toMatchObject({ status: 'succeeded', output: { count: 300, errors: [] } });
    expect((await keysAt('lost')).toSorted()).toEqual(keysOf(id, 300));
  });

  it('whose consumer fails after it has claimed are delivered again', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const { work } = StepsWorker.prototype;
    let failures = 0;
    vi.spyOn(StepsWorker.prototype, 'work').mockImplementation(async function (this: StepsWorker, message, attempt) {
      if (attempt > 1) return work.call(this, message, attempt);
      await objectOf(env, message.run)?.claimItems({ ...message, attempt });
      failures++;
      throw new Error('the consumer crashed');
    });
    const id = await start(120, { path: '/echo?mark=wide-crashed' });
    expect(await ended(id)).toMatchObject({ status: 'succeeded', output: { count: 120, errors: [] } });
    expect(failures).toBe(sent.length);
    expect((await keysAt('crashed')).toSorted()).toEqual(keysOf(id, 120));
  });

  it('that could not be worked on make their items fail, visibly and once', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    times = 0;
    const id = await start(100, { path: '/echo?mark=wide-dead', with: { onItemError: 'continue' } });
    await vi.waitFor(() => expect(sent).toHaveLength(10));
    times = 1;
    const dead = sent.filter(({ run }) => run === id);
    for (let comes = 0; comes < 2; comes++) {
      const messages = dead.map((body, n) => ({ id: `dead-${n}`, timestamp: new Date(), attempts: 1, body }));
      const batch = createMessageBatch('tidegate-steps-dead', messages);
      const ctx = createExecutionContext();
      await worker.queue(batch, env, ctx);
      expect((await getQueueResult(batch, ctx)).explicitAcks).toHaveLength(dead.length);
    }
    const { status, output } = await ended(id);
    expect(status).toBe('succeeded');
    const { errors } = output as { errors: { error: { code: string } }[] };
    expect(errors.map(({ error }) => error.code)).toEqual(listOf(100).map(() => 'each.undeliverable'));
    expect(await keysAt('dead')).toEqual([]);
    expect(log.mock.calls.filter(([text]) => String(text).includes('could not be handed over'))).toHaveLength(10);
  });

  it('are acknowledged one by one: what fails is delivered again, and what cannot be read is not', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const body = { run: 'run_0_x', step: 0, first: 0, count: 1, sent: 1 };
    const messages = ['good', 'bad', 'unreadable'].map((id) => ({
      id,
      timestamp: new Date(),
      attempts: 3,
      body: id === 'unreadable' ? { run: 1 } : { ...body, run: id },
    }));
    const batch = createMessageBatch('tidegate-steps', messages);
    const retries: unknown[] = [];
    for (const message of batch.messages) {
      const { retry } = message;
      message.retry = (options) => {
        retries.push(options);
        retry.call(message, options);
      };
    }
    await consumeSteps(batch, ({ run }) => (run === 'bad' ? Promise.reject(new Error('bad')) : Promise.resolve()));
    const result = await getQueueResult(batch, createExecutionContext());
    expect(result.explicitAcks.toSorted()).toEqual(['good', 'unreadable']);
    expect(result.retryMessages).toMatchObject([{ msgId: 'bad' }]);
    expect(retries).toEqual([{ delaySeconds: 4 }]);
  });
});

describe('a cancellation', () => {
  it('in the middle ends the run, and what is still queued does nothing', async () => {
    const id = await start(1_000, { path: '/delay/20?mark=wide-cancel' });
    await vi.waitFor(async () => expect((await keysAt('cancel')).length).toBeGreaterThan(50), { timeout: 20_000 });
    expect(await cancelRun(env, id)).toMatchObject({ ok: true, value: { status: 'cancelled' } });
    const { length } = sent;
    await scheduler.wait(2_500);
    const begun = await keysAt('cancel');
    expect(begun.length).toBeLessThan(1_000);
    expect(new Set(begun).size).toBe(begun.length);
    expect(sent).toHaveLength(length);
    expect(await ended(id)).toMatchObject({ status: 'cancelled' });
  });
});
