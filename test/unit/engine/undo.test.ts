import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  away,
  drive,
  failing,
  never,
  planOf,
  refused,
  type Answer,
  type DriveOptions,
  type Driven,
} from './support.ts';
import type { StepEvent } from '../../../src/core/engine/journal.ts';
import { fault, ok } from '../../../src/core/errors.ts';
import { stop } from '../../../src/runtime/drive.ts';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const undo = { use: 'act.keyed', with: { of: '{{ steps.reserve }}' } };

const order = planOf(
  {
    reserve: { use: 'act.keyed', undo },
    charge: { use: 'act.keyed', after: ['reserve'], undo: { use: 'act.keyed' } },
    ship: { use: 'act.keyed', after: ['charge'] },
  },
  { mode: 'durable' },
);
const soon =
  (answer: Answer): Answer =>
  (context, params) =>
    new Promise((resolve) => setTimeout(() => resolve(answer(context, params)), 10));

async function run(options: DriveOptions, milliseconds = 60_000): Promise<Driven> {
  const driven = drive(order, options);
  await pass(milliseconds);
  return driven;
}

describe('a run that fails', () => {
  it('undoes what it did, the last first, with keys of its own', async () => {
    const { run: ended, keys } = await run({ answers: { ship: () => refused } });
    expect(ended).toMatchObject({ status: 'failed', fault: { step: 'ship' } });
    expect(keys().slice(3)).toEqual(['run_1:charge~undo:0', 'run_1:reserve~undo:0']);
  });

  it('undoes nothing that did not happen', async () => {
    const { called } = await run({ answers: { charge: () => refused } });
    expect(called()).toEqual(['reserve', 'charge', 'reserve~undo']);
  });

  it('gives the compensation what the step had given', async () => {
    let seen: unknown;
    await run({ answers: { charge: () => refused, 'reserve~undo': (_context, params) => ok((seen = params)) } });
    expect(seen).toEqual({ of: 'reserve' });
  });

  it('tries a compensation again, and goes on where one fails for good', async () => {
    const answers = { ship: () => refused, 'charge~undo': () => away, 'reserve~undo': failing(2) };
    const { run: ended, called } = await run({ answers }, 600_000);
    expect(ended.status).toBe('failed');
    expect(called().filter((step) => step === 'charge~undo')).toHaveLength(4);
    expect(called().filter((step) => step === 'reserve~undo')).toHaveLength(3);
    expect(ended.undoable.map(({ undo: frame }) => frame?.steps[0]?.status)).toEqual(['succeeded', 'failed']);
  });

  it('that succeeds undoes nothing', async () => {
    expect((await run({})).called()).toEqual(['reserve', 'charge', 'ship']);
  });

  it('undoes the items that were done', async () => {
    const each = planOf(
      {
        list: {
          use: 'flow.each',
          with: {
            in: [1, 2, 3],
            concurrency: 1,
            steps: {
              book: {
                use: 'act.keyed',
                with: { n: '{{ item }}' },
                undo: { use: 'act.keyed', with: { n: '{{ item }}' } },
              },
            },
          },
        },
      },
      { mode: 'durable' },
    );
    const { keys } = drive(each, {
      answers: { 'list.book': (context) => (context.idempotencyKey.endsWith(':2') ? refused : ok(1)) },
    });
    await pass(1_000);
    expect(keys().slice(3)).toEqual(['run_1:list.book~undo:1', 'run_1:list.book~undo:0']);
  });
});

describe('a run that is cancelled', () => {
  it('lets what is under way end, undoes it too, and is cancelled then', async () => {
    const driven = drive(order, { answers: { charge: soon(() => ok('charged')) } });
    stop(driven.drive, fault('run.cancelled', 'enough'));
    expect(driven.run.status).toBe('running');
    await pass(1_000);
    expect(driven.run.status).toBe('cancelled');
    expect(driven.called()).toEqual(['reserve', 'charge', 'charge~undo', 'reserve~undo']);
  });

  it('is cancelled also where a step under way fails for good meanwhile', async () => {
    const driven = drive(order, { answers: { charge: soon(() => refused) } });
    stop(driven.drive, fault('run.cancelled', 'enough'));
    await pass(1_000);
    expect(driven.run).toMatchObject({ status: 'cancelled', fault: { code: 'run.cancelled' } });
    expect(driven.called()).toEqual(['reserve', 'charge', 'reserve~undo']);
  });

  it('stays so when the gateway stops meanwhile, from every row of the journal', async () => {
    const answers = { charge: soon(() => ok('charged')), 'reserve~undo': soon(() => ok('undone')) };
    const first = drive(order, { answers });
    stop(first.drive, fault('run.cancelled', 'enough'));
    await pass(1_000);
    const stopped = first.rows.findIndex((row) => row.some((event) => event.type === 'stopping'));
    for (let kept = stopped + 1; kept <= first.rows.length; kept++) {
      const recorded: StepEvent[] = first.rows.slice(0, kept).flat();
      const again = drive(order, { recorded, answers });
      await pass(60_000);
      expect([kept, again.run.status]).toEqual([kept, 'cancelled']);
      expect(again.run.undoable.map(({ undo: frame }) => frame?.steps[0]?.status)).toEqual(['succeeded', 'succeeded']);
      const committed = recorded.filter((event) => event.type === 'succeeded').length;
      expect(again.called()).toHaveLength(4 - committed);
    }
  });
});

it('a run that is out of time has all the time that its undoing needs', async () => {
  const plan = planOf(
    { reserve: { use: 'act.keyed', undo }, wait: { use: 'act.keyed', after: ['reserve'] } },
    { mode: 'durable', timeout: '1s' },
  );
  const { run: ended } = drive(plan, { answers: { wait: never, 'reserve~undo': soon(() => ok('undone')) } });
  await pass(10_000);
  expect(ended).toMatchObject({ status: 'failed', fault: { code: 'run.timeout' } });
  expect(ended.undoable[0]?.undo?.steps[0]).toMatchObject({ status: 'succeeded', attempts: [{ fault: undefined }] });
});

it('what ended in parallel with a failure is undone after a restart too', async () => {
  const plan = planOf(
    {
      left: { use: 'act.keyed', undo: { use: 'act.keyed' } },
      right: { use: 'act.keyed' },
      more: { use: 'act.keyed', after: ['left'], undo: { use: 'act.keyed' } },
    },
    { mode: 'durable' },
  );
  const recorded: StepEvent[] = [
    { type: 'started', step: 0, at: 0 },
    { type: 'started', step: 1, at: 0 },
    { type: 'succeeded', step: 0, at: 1, output: 'left' },
    { type: 'started', step: 2, at: 1 },
    { type: 'succeeded', step: 2, at: 2, output: 'more' },
    { type: 'failed', step: 1, at: 3, fault: fault('upstream.rejected', 'refused') },
  ];
  const { run: ended, called } = drive(plan, { recorded });
  await pass(10);
  expect([ended.status, called()]).toEqual(['failed', ['more~undo', 'left~undo']]);
});

it('what stands behind a fan-out is undone after a restart too', async () => {
  const plan = planOf(
    {
      list: { use: 'flow.each', with: { in: [1], steps: { act: { use: 'act.keyed' } } } },
      book: { use: 'act.keyed', after: ['list'], undo: { use: 'act.keyed' } },
    },
    { mode: 'durable' },
  );
  const recorded: StepEvent[] = [
    { type: 'started', step: '0/0/0', at: 0 },
    { type: 'succeeded', step: '0/0/0', at: 1, output: 'done' },
    { type: 'started', step: 1, at: 1 },
    { type: 'succeeded', step: 1, at: 2, output: 'booked' },
    { type: 'stopping', step: 'run', at: 3, fault: fault('run.cancelled', 'enough') },
  ];
  const { run: ended, called } = drive(plan, { recorded });
  await pass(10);
  expect([ended.status, called()]).toEqual(['cancelled', ['book~undo']]);
});
