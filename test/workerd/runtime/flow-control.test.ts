import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { accept, answerOf, call, manage, publish, receipts, receivedAt, upstream } from '../gateway/fixtures.ts';
import { acceptRuns } from '../../../src/runtime/accept.ts';
import { objectOf } from '../../../src/runtime/shards.ts';
import { checkConfiguration } from '../../../src/runtime/configuration.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { cancelRun, pauseRun, readRun, retryRun, sweepRuns } from '../../../src/runtime/runs.ts';

const post = (path: string, more: object = {}) => ({ use: 'http.post', with: { url: upstream + path, ...more } });
const map = { use: 'data.map', with: { n: '{{ input.n }}' } };
const key = '{{ input.customer }}';

const chainOf = async (flow: object, steps: object = { a: map }): Promise<string> =>
  (await publish({ mode: 'durable', triggers: {}, steps, ...flow })).name;

async function acceptAll(chain: string, inputs: readonly object[]): Promise<string[]> {
  const ids: string[] = [];
  for (const input of inputs) ids.push((await accept(chain, input)).id);
  return ids;
}

async function recordOf(id: string) {
  const read = await readRun(env, id);
  if (!read.ok) throw new Error(read.fault.message);
  return read.value;
}

const outcomeOf = async (id: string) => {
  const { status, error } = await recordOf(id);
  return [status, error?.code];
};

async function rowOf(id: string) {
  const stub = objectOf(env, id);
  if (stub === undefined) throw new Error(`${id} is not the id of a durable run`);
  return runInDurableObject(stub, (_object: RunObject, { storage }) =>
    storage.sql.exec('select * from runs where id = ?', id).one(),
  );
}

async function restart(): Promise<void> {
  await abortAllDurableObjects();
  await sweepRuns(env);
}

const numbers = (count: number): object[] => Array.from({ length: count }, (_, n) => ({ n }));

describe('concurrency', () => {
  /** The most steps that were under way at a time. */
  const running = async (ids: readonly string[]): Promise<number> => {
    const records = await Promise.all(ids.map(recordOf));
    const spans = records.flatMap(({ steps }) =>
      (steps[0]?.attempts ?? []).map(({ startedAt, endedAt }) => [startedAt, endedAt ?? Infinity] as const),
    );
    return Math.max(...spans.map(([at]) => spans.filter(([from, to]) => from <= at && at < to).length));
  };

  it('of two is kept by ten runs, also across a restart, and none is lost', async () => {
    const path = '/delay/250?mark=two-of-ten';
    const chain = await chainOf({ concurrency: { limit: 2 } }, { a: post(path) });
    const ids = await acceptAll(chain, numbers(10));
    await expect.poll(async () => (await receipts(path)).length, { interval: 20 }).toBeGreaterThanOrEqual(3);
    const before = await Promise.all(ids.map(async (id) => (await recordOf(id)).status));
    expect(before.filter((status) => status === 'queued').length).toBeGreaterThan(3);
    await restart();
    expect(await Promise.all(ids.map(async (id) => (await answerOf(id))?.status))).toEqual(ids.map(() => 'succeeded'));
    expect(await running(ids)).toBe(2);
    expect((await receipts(path)).length).toBeLessThanOrEqual(12);
  });

  it('counts each key by itself', async () => {
    const chain = await chainOf({ concurrency: { limit: 1, key } }, { a: { use: 'flow.wait', with: { for: '1h' } } });
    const ids = await acceptAll(chain, [{ customer: 'ada' }, { customer: 'ada' }, { customer: 'bob' }]);
    await expect
      .poll(async () => Promise.all(ids.map(async (id) => (await recordOf(id)).status)))
      .toEqual(['waiting', 'queued', 'waiting']);
    await cancelRun(env, ids[0] ?? '');
    await expect.poll(async () => (await recordOf(ids[1] ?? '')).status).toBe('waiting');
  });

  it('a run that waits is listed as queued, is not started by being looked at, and can be cancelled', async () => {
    const chain = await chainOf({ concurrency: { limit: 1 } }, { a: { use: 'flow.wait', with: { for: '1h' } } });
    const [first = '', second = '', third = ''] = await acceptAll(chain, numbers(3));
    expect(await recordOf(second)).toMatchObject({ status: 'queued', input: { n: 1 }, steps: [] });
    const { body } = await manage(`GET /runs?chain=${chain}`);
    const listed = new Map((body['items'] as { id: string; status: string }[]).map(({ id, status }) => [id, status]));
    expect([second, third].map((id) => listed.get(id))).toEqual(['queued', 'queued']);
    expect(await cancelRun(env, second)).toMatchObject({ ok: true, value: { status: 'cancelled' } });
    expect((await recordOf(third)).status).toBe('queued');
    await cancelRun(env, first);
    await expect.poll(async () => (await recordOf(third)).status).toBe('waiting');
  });

  it('a run that is paused while it waits starts no step when its turn comes', async () => {
    const chain = await chainOf({ concurrency: { limit: 1 } }, { a: post('/delay/200?mark=paused') });
    const [first = '', second = ''] = await acceptAll(chain, numbers(2));
    expect(await pauseRun(env, second, true)).toMatchObject({ ok: true });
    await answerOf(first);
    await expect.poll(async () => JSON.parse(String((await rowOf(second))['flow'])).startedAt).toBeGreaterThan(0);
    expect((await recordOf(second)).steps).toMatchObject([{ status: 'pending' }]);
    await pauseRun(env, second, false);
    expect(await answerOf(second)).toMatchObject({ status: 'succeeded' });
  });

  it('a hundred runs that end at once follow each other', async () => {
    const chain = await chainOf({ concurrency: { limit: 1 } });
    const ids = await Promise.all(numbers(100).map(async (input) => (await accept(chain, input)).id));
    for (const id of ids) expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  });

  it('with drop ends the run over the limit at once, with its reason, for its caller too', async () => {
    const { route, name } = await publish({
      mode: 'durable',
      concurrency: { limit: 1, strategy: 'drop' },
      steps: { a: { use: 'flow.wait', with: { for: '1h' } } },
    });
    const first = await accept(name);
    const second = await accept(name);
    expect(await outcomeOf(second.id)).toEqual(['cancelled', 'run.dropped']);
    const answered = await call(route, {}, { prefer: 'wait=5' });
    expect([answered.status, answered.body['code']]).toEqual([429, 'run.dropped']);
    await cancelRun(env, first.id);
    const third = await accept(name);
    await expect.poll(async () => (await recordOf(third.id)).status).toBe('waiting');
  });

  it('with cancel-oldest undoes the oldest before the newest starts', async () => {
    const [path, undone] = ['/delay/300?mark=oldest', '/delay/200?mark=oldest-undone'];
    const chain = await chainOf(
      { concurrency: { limit: 1, strategy: 'cancel-oldest' } },
      { a: { ...post(path, { json: '{{ input.n }}' }), undo: post(undone) }, b: { ...post(path), after: ['a'] } },
    );
    const first = await accept(chain, { n: 1 });
    await receivedAt(path, 1);
    const second = await accept(chain, { n: 2 });
    const third = await accept(chain, { n: 3 });
    expect(await answerOf(second.id)).toMatchObject({ status: 'cancelled', fault: { code: 'run.superseded' } });
    expect(await answerOf(first.id)).toMatchObject({ status: 'cancelled', fault: { code: 'run.superseded' } });
    expect(await receipts(undone)).toHaveLength(1);
    expect(await answerOf(third.id)).toMatchObject({ status: 'succeeded' });
    const [ended, began] = [(await recordOf(first.id)).endedAt, (await recordOf(third.id)).steps[0]?.attempts[0]];
    expect(began?.startedAt).toBeGreaterThanOrEqual(ended ?? Infinity);
  });
});

it('an order is kept across a restart', async () => {
  const path = '/delay/150?mark=order';
  const chain = await chainOf({ order: { strategy: 'fifo', key } }, { a: post(path, { json: '{{ input.n }}' }) });
  const inputs = numbers(8).map((input) => ({ ...input, customer: 'ada' }));
  const ids = await acceptAll(chain, inputs);
  await expect.poll(async () => (await receipts(path)).length, { interval: 20 }).toBeGreaterThanOrEqual(2);
  await restart();
  await answerOf(ids.at(-1) ?? '');
  const seen = (await receipts(path)).map(({ body }) => Number(body));
  expect([...new Set(seen)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  const records = await Promise.all(ids.map(recordOf));
  for (const [index, { steps }] of records.entries()) {
    expect(steps[0]?.attempts.at(-1)?.startedAt).toBeGreaterThanOrEqual(records[index - 1]?.endedAt ?? 0);
  }
});

it('the run with the largest priority goes first', async () => {
  const path = '/delay/100?mark=priority';
  const chain = await chainOf(
    { concurrency: { limit: 1 }, priority: '{{ input.priority }}' },
    { a: post(path, { json: '{{ input.priority }}' }) },
  );
  const ids = await acceptAll(
    chain,
    [0, -5, 7, 3].map((priority) => ({ priority })),
  );
  for (const id of ids) await answerOf(id);
  expect((await receipts(path)).map(({ body }) => Number(body))).toEqual([0, 7, 3, -5]);
});

describe('a throttle', () => {
  it('spreads the starts, and forgets none of them in a restart', async () => {
    const chain = await chainOf({ throttle: { limit: 10, period: '3s' } });
    const ids = await acceptAll(chain, numbers(3));
    await answerOf(ids[0] ?? '');
    await restart();
    const later = await accept(chain, { n: 3 });
    for (const id of [...ids, later.id]) expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    const starts = await Promise.all([...ids, later.id].map(async (id) => (await recordOf(id)).endedAt ?? 0));
    for (const [index, at] of starts.entries()) {
      if (index > 0) expect(at - (starts[index - 1] ?? 0)).toBeGreaterThanOrEqual(295);
    }
  });
});

describe('a debounce', () => {
  it('runs the newest of a burst, and says of the others what took their place', async () => {
    const chain = await chainOf({ debounce: { period: '300ms', key } }, { a: { ...map } });
    const ids = await acceptAll(
      chain,
      numbers(4).map((input) => ({ ...input, customer: 'ada' })),
    );
    const other = await accept(chain, { n: 9, customer: 'bob' });
    expect((await recordOf(ids[3] ?? '')).status).toBe('queued');
    expect(await answerOf(ids[3] ?? '')).toMatchObject({ status: 'succeeded' });
    for (const id of ids.slice(0, 3)) expect(await outcomeOf(id)).toEqual(['cancelled', 'run.superseded']);
    expect(await answerOf(other.id)).toMatchObject({ status: 'succeeded' });
  });

  it('that a restart interrupts still runs the newest, and only that', async () => {
    const path = '/echo?mark=debounced';
    const chain = await chainOf({ debounce: { period: '700ms' } }, { a: post(path, { json: '{{ input.n }}' }) });
    const ids = await acceptAll(chain, numbers(3));
    await restart();
    expect(await answerOf(ids[2] ?? '')).toMatchObject({ status: 'succeeded' });
    expect((await receipts(path)).map(({ body }) => body)).toEqual(['2']);
    const { createdAt, endedAt } = await recordOf(ids[2] ?? '');
    expect((endedAt ?? 0) - createdAt).toBeGreaterThanOrEqual(700);
  });
});

describe('idempotency', () => {
  it('gives back the first run, also after it has ended and after a restart', async () => {
    const chain = await chainOf({ idempotency: { key: '{{ input.order }}', period: '1h' } });
    const [first, same, other] = await Promise.all(['x', 'x', 'y'].map((order) => accept(chain, { order, n: 1 })));
    expect(same).toEqual({ id: first?.id, duplicate: true });
    expect(other).toMatchObject({ duplicate: false });
    await answerOf(first?.id ?? '');
    await restart();
    expect(await accept(chain, { order: 'x', n: 2 })).toEqual({ id: first?.id, duplicate: true });
  });

  it('is over after its period', async () => {
    const chain = await chainOf({ idempotency: { key: '{{ input.order }}', period: '50ms' } });
    const first = await accept(chain, { order: 'x', n: 1 });
    await scheduler.wait(60);
    expect((await accept(chain, { order: 'x', n: 1 })).id).not.toBe(first.id);
  });

  it('answers the caller who waits with the outcome of the first run', async () => {
    const { route } = await publish({
      mode: 'durable',
      idempotency: { key: '{{ input.order }}', period: '1h' },
      steps: { a: map },
      output: '{{ steps.a.n }}',
    });
    const first = await call(route, { order: 'x', n: 1 }, { prefer: 'wait=5' });
    const second = await call(route, { order: 'x', n: 2 }, { prefer: 'wait=5' });
    expect([second.text, second.headers.get('tidegate-run')]).toEqual(['1', first.headers.get('tidegate-run')]);
  });

  it('does not hold for a retry that somebody asks for', async () => {
    const chain = await chainOf(
      { idempotency: { key: '{{ input.order }}', period: '1h' } },
      { a: { use: 'flow.fail', with: { message: 'No.' } } },
    );
    const first = await accept(chain, { order: 'x' });
    await answerOf(first.id);
    const again = await retryRun(env, first.id);
    expect(again.ok && again.value.id !== first.id).toBe(true);
  });
});

it('a delivery that comes twice meets its first run, whatever object its key chooses', async () => {
  const path = '/echo?mark=twice';
  const chain = await chainOf({ concurrency: { limit: 1, key } }, { a: post(path) });
  const customers = Array.from({ length: 8 }, (_, index) => `customer-${index}`);
  for (const customer of customers) {
    const first = await accept(chain, { customer }, `delivery-${customer}`);
    const second = await accept(chain, { customer }, `delivery-${customer}`);
    expect(second).toEqual({ id: first.id, duplicate: true });
    await answerOf(first.id);
  }
  expect(await receipts(path)).toHaveLength(8);
});

it('one delivery for several chains starts each in the object of its own key', async () => {
  const plain = await chainOf({});
  const limited = await Promise.all(
    ['a', 'b', 'c', 'd'].map((name) => chainOf({ concurrency: { limit: 1, key: `${name}-{{ input.customer }}` } })),
  );
  await checkConfiguration(env, 0);
  const event = {
    type: 'manual',
    params: {},
    query: {},
    headers: {},
    body: { n: 1, customer: 'x' },
    receivedAt: 1,
  } as const;
  const names = [plain, ...limited];
  const requests = names.map((chain) => ({ chain, version: 1, trigger: 'manual', event, dedupeKey: 'many' }));
  const accepted = await acceptRuns(env, 'many', requests);
  expect(await Promise.all(accepted.map(async ({ id }) => (await recordOf(id)).chain))).toEqual(names);
  expect((await acceptRuns(env, 'many', requests)).every(({ duplicate }) => duplicate)).toBe(true);
});

it('a run whose key cannot be told fails, with the field in its message', async () => {
  const chain = await chainOf({ concurrency: { limit: 1, key } });
  const { id } = await accept(chain, { n: 1 });
  expect(await answerOf(id)).toMatchObject({ status: 'failed', fault: { code: 'expression.missing' } });
  expect((await recordOf(id)).error?.message).toMatch(/^concurrency\.key: /);
});

it('a run without flow control says nothing of it on disk, and one that needs not wait is written once', async () => {
  const plain = await accept(await chainOf({}), { n: 1 });
  expect((await rowOf(plain.id))['flow']).toBeNull();
  const limited = await accept(await chainOf({ concurrency: { limit: 5 } }), { n: 1 });
  await answerOf(limited.id);
  expect(await rowOf(limited.id)).toMatchObject({ flow: expect.stringContaining('"startedAt"'), events: '' });
});
