/** The wide fan-out under a queue, consumers and an object that fail at random, by seed. */

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { planOf, refused, type Answer } from './support.ts';
import { echo, Wide, type Claimed } from './wide-support.ts';
import { seeded } from '../../../scripts/chaos/random.ts';
import type { StepEvent } from '../../../src/core/engine/journal.ts';
import type { StepsMessage } from '../../../src/runtime/steps-queue.ts';

const ITEMS = 90;
const SEEDS = 100;
/** What fails for good. */
const BAD = 13;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);

const planFor = (use: string) =>
  planOf({
    list: {
      use: 'flow.each',
      with: {
        in: listOf(ITEMS),
        concurrency: 30,
        onItemError: 'continue',
        steps: { act: { use, with: { value: '{{ item }}' } } },
      },
    },
  });

interface Output {
  readonly results: readonly unknown[];
  readonly errors: readonly { readonly index: number; readonly error: { readonly code: string } }[];
}

/** Plays one seed to its end; what the receiver saw, by key, and what came out. */
async function play(seed: number, use: string): Promise<{ effects: Map<string, number>; output: Output }> {
  const random = seeded(seed);
  const chance = (share: number): boolean => random() < share;
  const effects = new Map<string, number>();
  const act: Answer = (context, params) => {
    const { idempotencyKey: key } = context;
    effects.set(key, (effects.get(key) ?? 0) + 1);
    return (params as { value: number }).value === BAD ? refused : echo(context, params);
  };
  const answers = { 'list.act': act };
  const plan = planFor(use);
  let wide = new Wide(plan, { answers });
  const receivedAt = Date.now();
  const disk: StepEvent[] = [];
  const queue: { message: StepsMessage; attempt: number }[] = [];
  const late: { claimed: Claimed; done: Awaited<ReturnType<Wide['run']>> }[] = [];
  for (let turn = 0; wide.driven.run.status === 'running'; turn++) {
    if (turn > 2_000) throw new Error('the run does not end');
    const faulty = turn < 150;
    queue.push(...wide.sent.splice(0).map((message) => ({ message, attempt: 1 })));
    await vi.advanceTimersByTimeAsync(random() * (faulty ? 20_000 : 60_000));
    if (faulty && chance(0.05)) {
      disk.push(...wide.events);
      wide = new Wide(plan, { answers, recorded: disk, receivedAt });
    }
    const [delivery] = queue.splice(Math.floor(random() * queue.length), 1);
    if (faulty && late.length > 0 && chance(0.3)) {
      const [{ claimed, done }] = late.splice(Math.floor(random() * late.length), 1) as [(typeof late)[number]];
      wide.deliver(claimed, done);
    }
    if (delivery === undefined || (faulty && chance(0.1))) continue;
    if (faulty && chance(0.2)) queue.push({ ...delivery });
    const claimed = wide.claim(delivery.message, delivery.attempt);
    if (claimed === undefined) continue;
    // It crashes before or after the effects, or takes its time.
    const retry = (): void => void queue.push({ ...delivery, attempt: delivery.attempt + 1 });
    if (faulty && chance(0.15)) retry();
    else {
      const done = await wide.run(claimed);
      if (faulty && chance(0.15)) retry();
      else if (faulty && chance(0.3)) late.push({ claimed, done });
      else wide.deliver(claimed, done);
    }
  }
  expect(wide.driven.run.status).toBe('succeeded');
  return { effects, output: wide.output as Output };
}

const keyOf = (index: number): string => `run_1:list.act:${index}`;

describe('whatever is lost, doubled, late or restarted', () => {
  it('a fan-out of keyed effects gives every result, and calls each item under its one key', async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { effects, output } = await play(seed, 'act.keyed');
      expect([seed, output.errors.map(({ index }) => index)]).toEqual([seed, [BAD]]);
      expect(output.results).toEqual(listOf(ITEMS).map((index) => (index === BAD ? null : index)));
      expect([...effects.keys()].toSorted()).toEqual(listOf(ITEMS).map(keyOf).toSorted());
    }
  });

  it('an external effect happens at most once, and what is not known of it is said to be ambiguous', async () => {
    let ambiguous = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { effects, output } = await play(seed, 'act.external');
      expect([seed, Math.max(...effects.values())]).toEqual([seed, 1]);
      const errors = new Map(output.errors.map(({ index, error }) => [index, error.code]));
      for (const index of listOf(ITEMS)) {
        if (errors.get(index) === 'step.ambiguous') ambiguous++;
        else expect([seed, index, effects.get(keyOf(index))]).toEqual([seed, index, 1]);
      }
      const others = output.errors.filter(({ error }) => error.code !== 'step.ambiguous');
      expect(others.every(({ index }) => index === BAD)).toBe(true);
    }
    expect(ambiguous).toBeGreaterThan(0);
  });
});
