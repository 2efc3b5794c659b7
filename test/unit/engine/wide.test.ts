/** The wide fan-out: the run object's side and the consumer's, with a queue between them that the test plays. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { away, drive, failing, planOf, refused, type Answer } from './support.ts';
import { echo, Wide } from './wide-support.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import { carryOver } from '../../../src/core/engine/carry.ts';
import { recordOf } from '../../../src/core/engine/view.ts';
import { fault, ok } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { stop } from '../../../src/runtime/drive.ts';
import { inParts } from '../../../src/runtime/range.ts';
import type { StepsMessage } from '../../../src/runtime/steps-queue.ts';
import { giveUpItems, type Surroundings } from '../../../src/runtime/wide.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);

type Fields = Readonly<Record<string, unknown>>;

const over = (items: number, more: Fields = {}, act: Fields = {}, chain: Fields = {}): Plan =>
  planOf(
    {
      list: {
        use: 'flow.each',
        with: {
          in: listOf(items),
          concurrency: 30,
          steps: { act: { use: 'act.keyed', with: { value: '{{ item }}' }, ...act } },
          ...more,
        },
      },
    },
    chain,
  );

const unless =
  (bad: readonly number[]): Answer =>
  (context, params) =>
    bad.includes((params as { value: number }).value) ? refused : echo(context, params);

beforeEach(() => void vi.spyOn(console, 'error').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

describe('a wide fan-out', () => {
  it('gives what it would have given in the object, by calls with the same keys', async () => {
    const plan = over(100, { output: '{{ item & steps.act & index }}' });
    const narrow = drive(plan, { answers: { 'list.act': echo } });
    await pass(1);
    const wide = new Wide(plan);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.output).toEqual(narrow.run.scope.steps['list']);
    expect(wide.driven.keys()).toEqual(narrow.keys());
  });

  it('sends messages that name items and hold none, and no more than its concurrency allows', async () => {
    const wide = new Wide(over(1_000));
    expect(wide.sent).toHaveLength(30 / LIMITS.concurrentSteps);
    expect(wide.sent[0]).toEqual({ run: 'run_1', step: 0, first: 0, count: 48, sent: expect.any(Number) });
    await wide.work(wide.take());
    expect(wide.sent).toHaveLength(30 / LIMITS.concurrentSteps);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
  });

  it('writes a row for each range and two besides', async () => {
    const wide = new Wide(over(1_000));
    await wide.workAll();
    const ranges = Math.ceil(1_000 / 48);
    expect(wide.driven.rows.length).toBeLessThanOrEqual(ranges + 2);
    expect(wide.events.filter(({ type }) => type === 'claimed')).toEqual([]);
  });

  it.each([
    [10, 2, 5],
    [30, 5, 6],
    [1_000, 10, 5],
  ])('of concurrency %d has %d messages out, each with %d items under way', async (concurrency, out, width) => {
    const wide = new Wide(over(60, { concurrency }));
    expect(wide.sent).toHaveLength(out);
    expect(wide.claim(wide.take())?.around.concurrency).toBe(width);
  });

  it('shows how far it is', async () => {
    const wide = new Wide(over(100, { onItemError: 'continue' }), { answers: { 'list.act': unless([1]) } });
    const [{ count }] = [wide.sent[0] ?? { count: 0 }];
    await wide.work(wide.take());
    expect(recordOf(wide.driven.run).steps[0]?.items).toEqual({ count: 100, done: count, failed: 1 });
  });

  const inner = { act: { use: 'act.keyed', with: { v: '{{ part }}' } } };
  it.each<[string, Plan]>([
    ['with few items', over(LIMITS.wideItems - 1)],
    ['whose concurrency one invocation has', over(100, { concurrency: LIMITS.concurrentSteps })],
    ['without effects', over(100, {}, { use: 'act.pure' })],
    ['with something random inside', over(100, { steps: { act: { use: 'act.keyed' }, r: random('{{ $random() }}') } })],
    ['with a wait inside', over(100, { steps: { act: { use: 'act.keyed' }, w: wait } }, {}, { mode: 'durable' })],
    ['with an undo inside', over(100, {}, { undo: { use: 'act.keyed' } }, { mode: 'durable' })],
    ['with a fan-out inside', over(100, { steps: { in: each(['{{ item }}'], inner, { as: 'part' }) } })],
  ])('%s stays in the object', (_name, plan) => {
    expect(new Wide(plan).sent).toEqual([]);
  });

  it('stays in the object where there is no queue', async () => {
    const plan = over(100);
    const { run } = drive(plan, { answers: { 'list.act': echo } });
    await pass(1);
    expect(run.status).toBe('succeeded');
  });

  it('inside of another one is wide by itself, under its own keys', async () => {
    const plan = planOf({
      outer: each(['a', 'b'], {
        inner: each(
          listOf(70),
          { act: { use: 'act.keyed', with: { v: '{{ item & part }}' } } },
          { as: 'part', concurrency: 30 },
        ),
      }),
    });
    const wide = new Wide(plan, { answers: { 'outer.inner.act': (_context, params) => ok(params) } });
    expect(wide.sent.map(({ step }) => step)).toEqual(expect.arrayContaining(['0/0/0', '0/1/0']));
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.driven.keys()).toContain('run_1:outer.inner.act:1.69');
    expect(JSON.stringify(wide.driven.run.scope.steps['outer'])).toContain('"v":"b69"');
  });

  it('tells its items only what they may read', () => {
    const tell = (value: string): Surroundings | undefined => {
      const wide = new Wide(
        planOf(
          {
            first: { use: 'act.keyed' },
            other: { use: 'act.keyed' },
            list: each(listOf(100), { act: { use: 'act.keyed', with: { value } } }, { concurrency: 30 }),
          },
          {},
        ),
      );
      return wide.claim(wide.take())?.around;
    };
    expect(tell('{{ item }}')).toMatchObject({ start: { input: null, event: { body: null } }, steps: {} });
    expect(tell('{{ input.n }}')).toMatchObject({ start: { input: { n: 1 }, event: { body: null } }, steps: {} });
    expect(tell('{{ trigger.body.n }}')).toMatchObject({ start: { input: null, event: { body: { n: 1 } } } });
    expect(tell('{{ $string($$.input) }}')).toMatchObject({ start: { input: { n: 1 } } });
  });
});

function each(items: unknown, steps: Fields, more: Fields = {}): Fields {
  return { use: 'flow.each', with: { in: items, steps, ...more } };
}
function random(value: string): Fields {
  return { use: 'data.map', with: { value } };
}
const wait = { use: 'flow.wait', with: { for: '1s' } };

describe('a message', () => {
  it('that is lost is sent again when its lease has passed, and not before', async () => {
    const wide = new Wide(over(60));
    // Its run stays in memory meanwhile.
    expect(wide.driven.drive.underWay.size).toBe(1);
    wide.take();
    await wide.workAll();
    await pass(LIMITS.wideQueueMilliseconds - 1_000);
    expect(wide.sent).toEqual([]);
    await pass(2_000);
    expect(wide.sent).toHaveLength(1);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
  });

  it('that the queue did not take is sent again', async () => {
    const wide = new Wide(over(60));
    wide.sent.length = 0;
    wide.isDown = true;
    await pass(LIMITS.wideQueueMilliseconds);
    wide.isDown = false;
    await pass(LIMITS.wideSendAgainMilliseconds + 1);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
  });

  it('that the queue has taken, though it said otherwise, stays with who has claimed it', async () => {
    const wide = new Wide(over(60, {}, { use: 'act.external' }), { answers: { 'list.act': echo } }, true);
    const begun = wide.claim(wide.take());
    if (begun === undefined) throw new Error('nothing was given');
    await pass(LIMITS.wideSendAgainMilliseconds + 1);
    expect(wide.deliver(begun, await wide.run(begun))).toBe(true);
    wide.isLying = false;
    await pass(LIMITS.wideSendAgainMilliseconds + 1);
    await wide.workAll();
    expect(wide.output).toMatchObject({ results: listOf(60), errors: [] });
  });

  it('that comes twice is worked on once, whichever comes when', async () => {
    const wide = new Wide(over(60));
    const message = wide.take();
    const claimed = wide.claim(message);
    expect(wide.claim(message)).toBeUndefined();
    expect(wide.claim({ ...message, sent: message.sent + 1 })).toBeUndefined();
    expect(claimed && wide.deliver(claimed, await wide.run(claimed))).toBe(true);
    expect(wide.claim(message)).toBeUndefined();
    expect(claimed && wide.deliver(claimed, await wide.run(claimed))).toBe(false);
    await wide.workAll();
    expect(wide.output).toMatchObject({ count: 60, results: listOf(60), errors: [] });
  });

  it('may come in any order', async () => {
    const wide = new Wide(over(200));
    for (let turn = 0; wide.sent.length > 0; turn++) {
      const message = turn % 2 === 0 ? wide.sent.pop() : wide.sent.shift();
      if (message !== undefined) await wide.work(message);
    }
    expect(wide.output).toMatchObject({ count: 200, results: listOf(200), errors: [] });
  });

  it('whose delivery failed is given its items at its next, and the first one is too late', async () => {
    const wide = new Wide(over(60));
    const message = wide.take();
    const first = wide.claim(message, 1);
    const second = wide.claim(message, 2);
    if (first === undefined || second === undefined) throw new Error('nothing was given');
    expect(second.claimed.epoch).toBeGreaterThan(first.claimed.epoch);
    expect(wide.deliver(first, await wide.run(first))).toBe(false);
    expect(wide.driven.run.scope.steps).toEqual({});
    expect(wide.deliver(second, await wide.run(second))).toBe(true);
    await wide.workAll();
    expect(wide.output).toMatchObject({ results: listOf(60) });
    const { count } = message;
    expect(wide.driven.keys().slice(0, count)).toEqual(wide.driven.keys().slice(count, 2 * count));
  });

  it('of a consumer that has frozen is sent again, and what it delivers late is refused', async () => {
    const wide = new Wide(over(60));
    const frozen = wide.claim(wide.take());
    if (frozen === undefined) throw new Error('nothing was given');
    await wide.workAll();
    await pass(120_000);
    const thawed = await wide.run(frozen);
    expect(wide.deliver(frozen, thawed)).toBe(false);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.deliver(frozen, thawed)).toBe(false);
  });

  it('that nobody could work on makes its items fail by name, and the others go on', async () => {
    const wide = new Wide(over(60, { onItemError: 'continue' }));
    const dead = wide.take();
    expect(giveUpItems(wide.driven.drive, { ...dead, sent: dead.sent - 1 })).toBe(false);
    expect(giveUpItems(wide.driven.drive, dead)).toBe(true);
    expect(giveUpItems(wide.driven.drive, dead)).toBe(false);
    await wide.workAll();
    const output = wide.output as { errors: { index: number; error: { code: string } }[]; results: unknown[] };
    expect(output.errors).toHaveLength(dead.count);
    expect(output.errors[0]).toMatchObject({ index: dead.first, error: { code: 'each.undeliverable' } });
    expect(output.results.filter((result) => result !== null)).toHaveLength(60 - dead.count);
  });
});

describe('items that fail', () => {
  const run = async (onItemError: string): Promise<Wide> => {
    const wide = new Wide(over(600, { onItemError }), { answers: { 'list.act': unless([3, 599]) } });
    await wide.workAll();
    return wide;
  };

  it('with `stop` end the step, and nothing more is sent or begun', async () => {
    const wide = await run('stop');
    expect(wide.driven.run).toMatchObject({ status: 'failed', fault: { code: 'step.items-failed', step: 'list' } });
    expect(wide.driven.run.fault?.message).toContain('item 3');
    expect(wide.driven.called().length).toBeLessThanOrEqual(LIMITS.concurrentSteps);
    expect(wide.sent).toEqual([]);
  });

  it('with `stop` wait for what others have begun, and keep what came of it', async () => {
    const wide = new Wide(over(600), { answers: { 'list.act': unless([3]) } });
    const [first, second] = [wide.take(), wide.take()];
    const begun = wide.claim(second);
    await wide.work(first);
    expect(wide.driven.run.status).toBe('running');
    expect(begun && wide.deliver(begun, await wide.run(begun))).toBe(true);
    expect(wide.driven.run.status).toBe('failed');
    const items = wide.events.flatMap((event) => (event.type === 'items' ? event.results : []));
    expect(items).toContainEqual({ index: second.first, output: second.first });
  });

  it('with `continue` are errors beside the results', async () => {
    const wide = await run('continue');
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.output).toMatchObject({ count: 600, errors: [{ index: 3 }, { index: 599 }] });
  });

  it('with `collect` fail the step after all others have run', async () => {
    const wide = await run('collect');
    expect(wide.driven.run).toMatchObject({ status: 'failed', fault: { data: { errors: [{ index: 3 }, {}] } } });
    expect(wide.driven.called()).toHaveLength(600);
  });

  it('are retried where they are', async () => {
    const wide = new Wide(over(60), { answers: { 'list.act': failing(5) } });
    const working = wide.workAll();
    await pass(3_000);
    await working;
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.driven.called()).toHaveLength(65);
  });

  it('are handed back for a retry that is far, and use up no more attempts than they have', async () => {
    const retries = { limit: 2, delay: '1m', backoff: 'constant', jitter: false };
    const answers = { 'list.act': ((context, params) => (isThird(params) ? away : echo(context, params))) as Answer };
    const wide = new Wide(over(60, { onItemError: 'continue' }, { retries }), { answers });
    for (let minute = 0; minute < 3; minute++) {
      await wide.workAll();
      expect(wide.driven.drive.underWay.size).toBe(0);
      await pass(60_001);
    }
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.output).toMatchObject({ errors: [{ index: 3, error: { code: 'upstream.unavailable' } }] });
    expect(wide.driven.called()).toHaveLength(60 + 2);
  });

  it('or take long are handed back with what their steps have done, and go on there', async () => {
    const slow: Answer = (context, params) =>
      new Promise((resolve) => setTimeout(() => resolve(echo(context, params)), 6_000));
    const step = (after: string[]): Fields => ({ use: 'act.keyed', with: { value: '{{ item }}' }, after });
    const plan = over(60, { concurrency: 360, steps: { a: step([]), b: step(['a']), c: step(['b']) } });
    const wide = new Wide(plan, { answers: { 'list.a': slow, 'list.b': slow, 'list.c': slow } });
    const working = wide.sent.splice(0).map((message) => wide.work(message));
    await pass(12_001);
    await Promise.all(working);
    expect(wide.driven.called()).toHaveLength(120);
    expect(wide.sent).toHaveLength(10);
    const again = wide.sent.splice(0).map((message) => wide.work(message));
    await pass(6_001);
    await Promise.all(again);
    expect(wide.driven.run.status).toBe('succeeded');
    expect(new Set(wide.driven.keys()).size).toBe(180);
    expect(wide.driven.called()).toHaveLength(180);
  });

  it('because their outputs are too large fail by name', async () => {
    const wide = new Wide(over(60, { onItemError: 'continue' }), {
      answers: { 'list.act': () => ok('x'.repeat(LIMITS.rowOutputBytes)) },
    });
    await wide.workAll();
    expect(wide.output).toMatchObject({ errors: listOf(60).map(() => ({ error: { code: 'step.output-too-large' } })) });
  });
});

describe('outputs', () => {
  it('that are large are at the hands of the other steps of their item, whose own need not be', async () => {
    const large = 'x'.repeat(2 * LIMITS.rowOutputBytes);
    const wide = new Wide(over(60, { output: '{{ $length(steps.act) }}' }), {
      answers: { 'list.act': () => ok(large) },
    });
    await wide.workAll();
    expect(wide.output).toMatchObject({ results: listOf(60).map(() => large.length) });
  });

  it('that no row can hold are made again, under the same key, where their item is handed back', async () => {
    const retries = { limit: 1, delay: '1m', backoff: 'constant', jitter: false };
    const steps = {
      a: { use: 'act.keyed' },
      b: { use: 'act.keyed', with: { value: '{{ item }}' }, after: ['a'], retries },
    };
    const answers = { 'list.a': () => ok('x'.repeat(2 * LIMITS.rowOutputBytes)), 'list.b': failing(1) };
    const wide = new Wide(over(60, { steps, output: '{{ item }}' }), { answers });
    await wide.workAll();
    await pass(60_001);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
    expect(wide.driven.keys().filter((key) => key === 'run_1:list.a:0')).toHaveLength(2);
    expect(wide.driven.called()).toHaveLength(122);
  });

  it('that are too large together fail by name, and are never held together', async () => {
    const large = 'x'.repeat(LIMITS.rowOutputBytes - 10);
    const wide = new Wide(over(60, { onItemError: 'continue' }), { answers: { 'list.act': () => ok(large) } });
    const claimed = wide.claim(wide.take());
    if (claimed === undefined) throw new Error('nothing was given');
    const done = await wide.run(claimed);
    expect(done.results.length).toBeLessThanOrEqual(LIMITS.wideHeldCharacters / large.length + LIMITS.concurrentSteps);
    wide.deliver(claimed, done);
    await wide.workAll();
    const { errors } = wide.output as { errors: { error: { code: string } }[] };
    expect(errors).toHaveLength(60 - Math.floor(LIMITS.runOutputsBytes / large.length));
    expect(new Set(errors.map(({ error }) => error.code))).toEqual(new Set(['step.output-too-large']));
  });
});

describe('a delivery', () => {
  it('that outgrows a row comes in parts, and its range is claimed until the last', async () => {
    const large = 'x'.repeat(LIMITS.wideDeliveryCharacters / 2);
    const wide = new Wide(over(60, {}, { use: 'act.external' }), { answers: { 'list.act': () => ok(large) } });
    const message = wide.take();
    const claimed = wide.claim(message);
    if (claimed === undefined) throw new Error('nothing was given');
    const parts = inParts(await wide.run(claimed));
    expect(parts.map(({ more }) => more)).toEqual([true, true, true, true, true, false]);
    for (const { more, ...part } of parts) {
      expect(wide.claim({ ...message, sent: message.sent + 1 })).toBeUndefined();
      expect(wide.deliver(claimed, part, more)).toBe(true);
    }
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
    const longest = Math.max(...wide.events.map((event) => JSON.stringify(event).length));
    expect(longest).toBeLessThan(LIMITS.wideDeliveryCharacters * 1.1);
  });

  it('of nothing is one part', () => {
    expect(inParts({ results: [], events: [], againAt: 5 })).toEqual([
      { results: [], events: [], againAt: 5, more: false },
    ]);
  });
});

const isThird = (params: unknown): boolean => (params as { value: number }).value === 3;

describe('an effect that must not be repeated', () => {
  const plan = over(60, { onItemError: 'continue' }, { use: 'act.external' });

  it('is begun only after its claim is written', () => {
    const wide = new Wide(plan);
    const message = wide.take();
    const claimed = wide.claim(message);
    expect(wide.events.at(-1)).toMatchObject({ type: 'claimed', first: 0, epoch: claimed?.claimed.epoch });
    expect(wide.driven.called()).toEqual([]);
  });

  it('is ambiguous when its claim is lost, and is not repeated', async () => {
    for (const lose of [
      async (wide: Wide, message: StepsMessage): Promise<unknown> => expect(wide.claim(message, 2)).toBeUndefined(),
      () => pass(120_000),
      async (wide: Wide, message: StepsMessage): Promise<unknown> => giveUpItems(wide.driven.drive, message),
    ]) {
      const wide = new Wide(plan);
      const message = wide.take();
      const begun = wide.claim(message);
      if (begun === undefined) throw new Error('nothing was given');
      await wide.run(begun);
      await wide.workAll();
      await lose(wide, message);
      await wide.workAll();
      expect(wide.driven.run.status).toBe('succeeded');
      const { errors } = wide.output as { errors: { error: { code: string } }[] };
      expect(errors.map(({ error }) => error.code)).toEqual(Array(message.count).fill('step.ambiguous'));
      expect(new Set(wide.driven.keys()).size).toBe(wide.driven.keys().length);
    }
  });

  it('that is still under way after a restart may deliver, and its items are not given to another', async () => {
    const before = new Wide(plan);
    const message = before.take();
    const begun = before.claim(message);
    if (begun === undefined) throw new Error('nothing was given');
    const done = await before.run(begun);
    const after = new Wide(plan, { recorded: before.events });
    expect(after.sent.map(({ first }) => first)).not.toContain(message.first);
    expect(after.claim({ ...message, sent: message.sent + 1 }, 1)).toBeUndefined();
    expect(after.deliver(begun, done)).toBe(true);
    await after.workAll();
    expect(after.output).toMatchObject({ results: listOf(60), errors: [] });
  });

  it('that was not begun when its claim ended is given to the next, also after a restart', async () => {
    const before = new Wide(plan);
    const begun = before.claim(before.take());
    if (begun === undefined) throw new Error('nothing was given');
    before.deliver(begun, { results: [{ index: 0, output: 0 }], events: [], againAt: Date.now() });
    const after = new Wide(plan, { recorded: before.events });
    await after.workAll();
    expect(after.output).toMatchObject({ results: listOf(60), errors: [] });
    expect(after.driven.keys()).not.toContain('run_1:list.act:0');
  });

  it('is repeated where its author allows it', async () => {
    const allowed = over(60, {}, { use: 'act.external', retries: { limit: 1 } });
    const wide = new Wide(allowed);
    const message = wide.take();
    wide.claim(message);
    await wide.work(message, 2);
    await wide.workAll();
    expect(wide.driven.run.status).toBe('succeeded');
  });
});

describe('after a restart', () => {
  const plan = over(200, { output: '{{ steps.act }}' });

  it('goes on from every row of its journal, and runs no item again that was written', async () => {
    const first = new Wide(plan);
    await first.workAll();
    for (let kept = 0; kept <= first.driven.rows.length; kept++) {
      const recorded = first.driven.rows.slice(0, kept).flat();
      const written = recorded.reduce((sum, event) => sum + (event.type === 'items' ? event.results.length : 0), 0);
      const again = new Wide(plan, { recorded });
      await again.workAll();
      expect([kept, again.driven.run.status, again.output]).toEqual([kept, 'succeeded', first.output]);
      expect(again.driven.called()).toHaveLength(200 - written);
    }
  });

  it('refuses what was claimed before, where another may have it', async () => {
    const before = new Wide(plan);
    const begun = before.claim(before.take());
    if (begun === undefined) throw new Error('nothing was given');
    const done = await before.run(begun);
    await pass(1);
    const after = new Wide(plan, { recorded: before.events });
    expect(after.deliver(begun, done)).toBe(false);
    after.claim(after.take());
    expect(after.deliver(begun, done)).toBe(false);
    await after.workAll();
    await pass(LIMITS.wideQueueMilliseconds + 30_000);
    await after.workAll();
    expect(after.driven.run.status).toBe('succeeded');
  });

  it('stays with the ranges that it began with, and in the object what began there', async () => {
    const narrow = drive(plan, { answers: { 'list.act': echo } });
    const wide = new Wide(plan, { recorded: narrow.rows.slice(0, 2).flat() });
    await pass(1);
    expect(wide.sent).toEqual([]);
    expect(wide.driven.run.status).toBe('succeeded');
  });

  it('runs the rest in the object where the queue is there no more', async () => {
    const before = new Wide(plan);
    await before.work(before.take());
    const written = before.driven.called().length;
    const after = drive(plan, { recorded: before.events, answers: { 'list.act': echo } });
    await pass(1);
    expect(after.run.status).toBe('succeeded');
    expect(after.run.scope.steps['list']).toMatchObject({ results: listOf(200) });
    expect(after.called()).toHaveLength(200 - written);
  });

  it('keeps what a far retry has used up', async () => {
    const retries = { limit: 1, delay: '1m', backoff: 'constant', jitter: false };
    const slow = over(60, { onItemError: 'continue' }, { retries });
    const answers = { 'list.act': ((context, params) => (isThird(params) ? away : echo(context, params))) as Answer };
    const before = new Wide(slow, { answers });
    await before.workAll();
    const after = new Wide(slow, { answers, recorded: before.events });
    await pass(1);
    await after.workAll();
    expect(after.driven.called()).toEqual([]);
    await pass(60_001);
    await after.workAll();
    expect(after.driven.called()).toEqual(['list.act']);
    expect(after.driven.run.status).toBe('succeeded');
  });

  it('of a run that is retried runs only the items that had not succeeded', async () => {
    const collecting = over(200, { onItemError: 'collect' });
    const failed = new Wide(collecting, { answers: { 'list.act': unless([3, 77]) } });
    await failed.workAll();
    expect(failed.driven.run.status).toBe('failed');
    const retried = new Wide(collecting, { recorded: carryOver(failed.events, collecting, collecting) });
    await retried.workAll();
    expect(retried.driven.run.status).toBe('succeeded');
    expect(retried.driven.keys()).toEqual(['run_1:list.act:3', 'run_1:list.act:77']);
    const other = over(200, { onItemError: 'collect', output: 'other' });
    expect(carryOver(failed.events, collecting, other)).toEqual([]);
  });
});

describe('a run that is', () => {
  it('cancelled gives out no items and takes no results', async () => {
    const wide = new Wide(over(200));
    const [first, second] = [wide.take(), wide.take()];
    const begun = wide.claim(first);
    if (begun === undefined) throw new Error('nothing was given');
    stop(wide.driven.drive, fault('run.cancelled', 'cancelled'));
    expect(wide.driven.run.status).toBe('cancelled');
    expect(wide.claim(second)).toBeUndefined();
    expect(wide.deliver(begun, await wide.run(begun))).toBe(false);
    await pass(300_000);
    expect(wide.driven.ends()).toBe(1);
  });

  it('paused sends nothing, takes what was begun, and sends the rest when it goes on', async () => {
    const wide = new Wide(over(200));
    const [first, second] = [wide.take(), wide.take()];
    const begun = wide.claim(first);
    wide.driven.drive.paused = true;
    wide.driven.drive.advance();
    wide.sent.length = 0;
    expect(wide.claim(second)).toBeUndefined();
    expect(begun && wide.deliver(begun, await wide.run(begun))).toBe(true);
    await pass(2_000);
    expect(wide.sent).toEqual([]);
    expect(wide.driven.drive.underWay.size).toBe(0);
    wide.driven.drive.paused = false;
    wide.driven.drive.advance();
    await wide.workAll();
    expect(wide.output).toMatchObject({ results: listOf(200) });
  });

  it('out of time ends, whoever has its items', async () => {
    const wide = new Wide(over(200, {}, {}, { timeout: '1m' }));
    wide.claim(wide.take());
    await pass(60_001);
    expect(wide.driven.run).toMatchObject({ status: 'failed', fault: { code: 'run.timeout' } });
  });
});
