/** One watch over the timeouts of all requests, on a clock of the test's own. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { within } from '../../../src/gateway/proxy/deadline.ts';

const MINUTE = 60_000;
const { deadlineTickMilliseconds: tick, deadlineWatchMilliseconds: watch } = LIMITS;

let watches: Promise<unknown>[] = [];
const ctx = { waitUntil: (work: Promise<unknown>) => void watches.push(work) };
const never = () => new Promise<string>(() => undefined);

/** What a wait came to, and after how many milliseconds; `waiting` while it has not. */
function outcomeOf(work: Promise<string>, timeoutMilliseconds: number): { is: () => unknown } {
  const startedAt = Date.now();
  let outcome: unknown = 'waiting';
  const done = (value: string | undefined) => [value, Date.now() - startedAt];
  const failed = (thrown: unknown) => thrown;
  void within<string, unknown>(work, timeoutMilliseconds, ctx, done, failed).then((value) => (outcome = value));
  return { is: () => outcome };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('scheduler', { wait: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms)) });
  watches = [];
});

afterEach(async () => {
  await vi.advanceTimersByTimeAsync(MINUTE);
  await Promise.all(watches);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('work that is done in time is handed on, and so is its failure', async () => {
  const done = outcomeOf(Promise.resolve('reply'), MINUTE);
  const failed = outcomeOf(Promise.reject(new Error('reset')), MINUTE);
  await vi.advanceTimersByTimeAsync(1);
  expect([done.is(), failed.is()]).toEqual([['reply', 0], new Error('reset')]);
});

test.each([10, tick * 4 - 1, tick * 4, 5_000])('work that takes longer than %i ms is given up', async (timeout) => {
  const { is } = outcomeOf(never(), timeout);
  await vi.advanceTimersByTimeAsync(timeout - 1);
  expect(is()).toBe('waiting');
  await vi.advanceTimersByTimeAsync(tick + 1);
  expect(is()).toEqual([undefined, expect.any(Number)]);
});

test('what comes after its time is not made into a second answer', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const answers: unknown[] = [];
  const note = (value: unknown) => answers.push(value);
  void within(promise, tick * 4, ctx, note, note);
  await vi.advanceTimersByTimeAsync(tick * 6);
  resolve('too late');
  await vi.advanceTimersByTimeAsync(1);
  expect(answers).toEqual([undefined]);
});

test('one request watches for all, and no longer than somebody waits', async () => {
  const waits = [0, 1, 2].map(() => outcomeOf(never(), 2_000));
  outcomeOf(Promise.resolve('reply'), MINUTE);
  expect(watches).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2_000 + tick);
  expect(waits.map(({ is }) => is())).toEqual(Array(3).fill([undefined, expect.any(Number)]));
  expect(vi.getTimerCount()).toBe(0);
});

test('who waits for longer than a watch lasts is given up all the same', async () => {
  const { is } = outcomeOf(never(), watch + 5_000);
  await vi.advanceTimersByTimeAsync(watch + tick);
  await Promise.all(watches);
  expect(is()).toBe('waiting');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(is()).toEqual([undefined, watch + 5_000]);
});

test('a later request takes the watch over, and those of the one before are not forgotten', async () => {
  const early = outcomeOf(never(), 15_000);
  await vi.advanceTimersByTimeAsync(watch / 2);
  const late = outcomeOf(never(), 3_000);
  expect(watches).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(tick);
  await watches[0];
  await vi.advanceTimersByTimeAsync(5_000);
  expect([early.is(), late.is()]).toEqual([
    [undefined, 15_000],
    [undefined, 3_000],
  ]);
});
