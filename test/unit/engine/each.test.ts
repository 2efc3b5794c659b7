import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { away, drive, failing, never, planOf, refused, statuses, type Answer } from './support.ts';
import { carryOver } from '../../../src/core/engine/carry.ts';
import type { StepEvent } from '../../../src/core/engine/journal.ts';
import { ok } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const later =
  (milliseconds: number, value: (params: unknown) => unknown = (params) => params): Answer =>
  (_context, params) =>
    new Promise((resolve) => setTimeout(() => resolve(ok(value(params))), milliseconds));

const act = { use: 'act.keyed', with: '{{ item }}' };
const over = (items: unknown, more: Record<string, unknown> = {}, steps: Record<string, unknown> = {}) =>
  planOf({
    list: {
      use: 'flow.each',
      with: { in: items, steps: { act: { use: 'act.keyed', with: { value: '{{ item }}' } }, ...steps }, ...more },
    },
  });
const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);
const output = (run: { scope: { steps: Record<string, unknown> } }): unknown => run.scope.steps['list'];

describe('flow.each', () => {
  it('gives the outputs in the order of the items, whoever is faster', async () => {
    const { run } = drive(over([30, 10, 20], { output: '{{ steps.act.value }}' }), {
      answers: { 'list.act': (context, params) => later((params as { value: number }).value)(context, params) },
    });
    await pass(100);
    expect(run.status).toBe('succeeded');
    expect(output(run)).toEqual({ count: 3, results: [30, 10, 20], errors: [] });
  });

  it('of nothing is done at once', () => {
    expect(output(drive(over([])).run)).toEqual({ count: 0, results: [], errors: [] });
  });

  it('gives each item a key of its own, which stays the same over attempts', async () => {
    const { keys } = drive(over([1, 2]), { answers: { 'list.act': failing(1) } });
    await pass(5_000);
    expect(keys().toSorted()).toEqual(['run_1:list.act:0', 'run_1:list.act:0', 'run_1:list.act:1']);
  });

  it('starts no more items at a time than `concurrency`, and no more requests than the platform lets wait', async () => {
    for (const [concurrency, most] of [
      [2, 2],
      [50, LIMITS.concurrentSteps],
    ]) {
      let now = 0;
      let highest = 0;
      const { run } = drive(over(listOf(20), { concurrency }), {
        answers: {
          'list.act': async (context, params) => {
            highest = Math.max(highest, ++now);
            const result = await later(10)(context, params);
            now--;
            return result;
          },
        },
      });
      await pass(1_000);
      expect([run.status, highest]).toEqual(['succeeded', most]);
    }
  });

  it('takes ten thousand items without a deep stack', async () => {
    const plan = planOf({
      list: {
        use: 'flow.each',
        with: { in: '{{ [1..10000] }}', steps: { twice: { use: 'data.map', with: { v: '{{ item * 2 }}' } } } },
      },
    });
    const { run } = drive(plan);
    await pass(1);
    expect(run.status).toBe('succeeded');
    expect(run.scope.steps['list']).toMatchObject({ count: 10_000, errors: [] });
    expect((run.scope.steps['list'] as { results: unknown[] }).results.at(-1)).toEqual({ v: 20_000 });
  });

  it('hands the items over in batches', async () => {
    const { run } = drive(over([1, 2, 3], { batch: 2, output: '{{ steps.act.value }}' }), {
      answers: { 'list.act': later(1) },
    });
    await pass(10);
    expect(output(run)).toEqual({ count: 2, results: [[1, 2], [3]], errors: [] });
  });

  it('sees what stands outside, and its own steps only for itself', async () => {
    const plan = planOf({
      before: { use: 'act.pure' },
      list: {
        use: 'flow.each',
        with: {
          in: ['a', 'b'],
          as: 'letter',
          steps: {
            one: { use: 'data.map', with: { v: '{{ letter & index & steps.before }}' } },
            two: { use: 'data.map', with: { v: "{{ steps.one.v & '!' }}" } },
          },
          output: '{{ steps.two.v }}',
        },
      },
      after: { use: 'data.map', with: { all: '{{ steps.list.results }}' } },
    });
    const { run } = drive(plan);
    await pass(1);
    expect(run.scope.steps['after']).toEqual({ all: ['a0before!', 'b1before!'] });
    expect(Object.keys(run.scope.steps).toSorted()).toEqual(['after', 'before', 'list']);
  });

  it('inside another one has a key with both places', () => {
    const plan = planOf({
      outer: {
        use: 'flow.each',
        with: {
          in: [[1], [2, 3]],
          steps: {
            inner: {
              use: 'flow.each',
              with: { in: '{{ item }}', as: 'part', steps: { act: { use: 'act.keyed', with: { v: '{{ part }}' } } } },
            },
          },
        },
      },
    });
    const { run, keys } = drive(plan);
    expect(run.status).toBe('succeeded');
    expect(keys()).toEqual(['run_1:outer.inner.act:0.0', 'run_1:outer.inner.act:1.0', 'run_1:outer.inner.act:1.1']);
  });
});

describe('an item that fails', () => {
  const second: Answer = (_context, params) => ((params as { value: number }).value === 2 ? refused : ok('done'));

  it('with `stop` fails the step, and no further item starts', () => {
    const { run, called } = drive(over([1, 2, 3, 4], { concurrency: 1 }), { answers: { 'list.act': second } });
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'step.items-failed', step: 'list' } });
    expect(run.fault?.message).toContain('item 1');
    expect(called()).toHaveLength(2);
  });

  it('with `continue` is an error beside the results', () => {
    const { run } = drive(over([1, 2, 3], { onItemError: 'continue' }), { answers: { 'list.act': second } });
    expect(run.status).toBe('succeeded');
    expect(output(run)).toMatchObject({
      results: ['done', null, 'done'],
      errors: [{ index: 1, error: { code: 'upstream.rejected' } }],
    });
  });

  it('with `collect` fails the step after all others have run', () => {
    const { run, called } = drive(over([2, 1, 3], { onItemError: 'collect' }), { answers: { 'list.act': second } });
    expect(run).toMatchObject({
      status: 'failed',
      fault: { code: 'step.items-failed', data: { errors: [{ index: 0 }] } },
    });
    expect(called()).toHaveLength(3);
  });

  it('is retried by itself, without holding up the others', async () => {
    const { run, called } = drive(over([1, 2, 3], { concurrency: 1 }), { answers: { 'list.act': failing(1) } });
    expect(called()).toHaveLength(1);
    await pass(2_000);
    expect([run.status, called().length]).toEqual(['succeeded', 4]);
  });

  it('goes on by its own `onError`', () => {
    const steps = { act: { use: 'act.keyed', with: { value: '{{ item }}' }, onError: 'continue' } };
    const { run } = drive(over([1, 2], {}, steps), { answers: { 'list.act': second } });
    expect(run.status).toBe('succeeded');
  });
});

it('a fan-out whose items were cut off by a failure beside it has not succeeded', async () => {
  const inside = { act: { use: 'act.keyed' }, more: { use: 'act.keyed', after: ['act'] } };
  const plan = planOf(
    { list: { use: 'flow.each', with: { in: [1, 2], steps: inside } }, other: { use: 'act.keyed' } },
    { mode: 'durable' },
  );
  const { run } = drive(plan, { answers: { 'list.act': later(10), other: () => refused } });
  await pass(1_000);
  expect([run.status, statuses(run)]).toEqual(['failed', { list: 'failed', other: 'failed' }]);
});

describe('a fan-out after a crash', () => {
  const plan = over(listOf(12), { concurrency: 4, output: '{{ steps.act }}' });
  const answer: Answer = (context) => ok(`done ${context.idempotencyKey.split(':')[2]}`);

  it('goes on from every row of its journal, and calls no committed item again', async () => {
    const slow: Answer = (context, params) =>
      later(5, () => (answer(context, params) as { value: unknown }).value)(context, params);
    const first = drive(plan, { answers: { 'list.act': slow } });
    await pass(1_000);
    expect(first.run.status).toBe('succeeded');
    for (let kept = 0; kept <= first.rows.length; kept++) {
      const recorded: StepEvent[] = first.rows.slice(0, kept).flat();
      const committed = recorded.filter((event) => event.type === 'succeeded').length;
      const again = drive(plan, { recorded, answers: { 'list.act': answer } });
      await pass(1_000);
      expect([kept, again.run.status, output(again.run)]).toEqual([kept, 'succeeded', output(first.run)]);
      expect(again.called()).toHaveLength(12 - committed);
    }
  });

  it('keeps a list that was random', () => {
    const random = over('{{ [$random(), $random()] }}', { output: '{{ item }}' });
    const first = drive(random);
    const again = drive(random, { recorded: first.rows.flat() });
    expect(first.run.status).toBe('succeeded');
    expect(output(again.run)).toEqual(output(first.run));
    expect(again.called()).toEqual([]);
    // The journal has its end already, and does not grow with each look.
    expect(again.rows).toEqual([]);
  });

  it('keeps a random list for a retry, whose results are by their place in it', async () => {
    const plan = planOf(
      {
        list: {
          use: 'flow.each',
          with: {
            in: '{{ $shuffle([1, 2, 3, 4, 5]) }}',
            onItemError: 'collect',
            steps: { act: { use: 'act.keyed', with: { n: '{{ item }}' } } },
          },
        },
      },
      { mode: 'durable' },
    );
    const seen: unknown[][] = [[], []];
    const failsAt =
      (time: number, refuses: boolean): Answer =>
      (context, params) => {
        seen[time]?.push(params);
        return refuses && context.idempotencyKey.endsWith(':4') ? refused : ok(params);
      };
    const first = drive(plan, { answers: { 'list.act': failsAt(0, true) } });
    await pass(1_000);
    const recorded = carryOver(first.rows.flat(), plan, plan);
    drive(plan, { recorded, answers: { 'list.act': failsAt(1, false) } });
    await pass(1_000);
    expect(seen[1]).toEqual(seen[0]?.slice(4));
  });

  it('is stopped by a cancellation, items and all', async () => {
    const { run, drive: driven } = drive(plan, { answers: { 'list.act': never } });
    const { stop } = await import('../../../src/runtime/drive.ts');
    const { fault } = await import('../../../src/core/errors.ts');
    stop(driven, fault('run.cancelled', 'enough'));
    expect([run.status, statuses(run)]).toEqual(['cancelled', { list: 'failed' }]);
    await pass(1_000);
    expect(run.status).toBe('cancelled');
  });
});

it('a step with `retries.if` is tried again only where the condition holds', async () => {
  const plan = planOf({ act: { ...act, with: {}, retries: { limit: 5, delay: '1s', if: '{{ error.attempt < 2 }}' } } });
  const { run, called } = drive(plan, { answers: { act: () => away } });
  await pass(60_000);
  expect([run.status, called().length]).toEqual(['failed', 2]);
});
