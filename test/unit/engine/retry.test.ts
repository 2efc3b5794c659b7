import fc from 'fast-check';
import { expect, it } from 'vitest';
import { retryDelay } from '../../../src/core/engine/retry.ts';
import type { RetryPolicy } from '../../../src/core/chain/plan.ts';
import { fault } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const policy: RetryPolicy = {
  limit: 5,
  delayMilliseconds: 100,
  backoff: 'exponential',
  jitter: false,
  capMilliseconds: 1_000,
  declared: true,
  if: undefined,
};
const away = fault('upstream.unavailable', 'away');
const delays = (more: Partial<RetryPolicy>) =>
  [1, 2, 3, 4, 5, 6].map((failed) => retryDelay({ ...policy, ...more }, away, failed, 0.5));

it.each([
  ['constant', [100, 100, 100, 100, 100, undefined]],
  ['linear', [100, 200, 300, 400, 500, undefined]],
  ['exponential', [100, 200, 400, 800, 1_000, undefined]],
] as const)('%s delays grow as named, stop at the cap, and end with the limit', (backoff, expected) => {
  expect(delays({ backoff })).toEqual(expected);
});

it('without retries there is none', () => {
  expect(retryDelay({ ...policy, limit: 0 }, away, 1, 0)).toBeUndefined();
});

it('a terminal fault is not tried again', () => {
  expect(retryDelay(policy, fault('upstream.rejected', 'no'), 1, 0)).toBeUndefined();
});

it('jitter spreads over the upper half and never beyond', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 0.999_999, noNaN: true }),
      fc.integer({ min: 1, max: 5 }),
      (random, failed) => {
        const full = retryDelay(policy, away, failed, 0) ?? 0;
        const spread = retryDelay({ ...policy, jitter: true }, away, failed, random) ?? -1;
        expect(spread).toBeGreaterThanOrEqual(full / 2);
        expect(spread).toBeLessThanOrEqual(full);
      },
    ),
  );
  expect(retryDelay({ ...policy, jitter: true }, away, 1, 0)).toBe(50);
});

it('`Retry-After` lengthens the delay, also beyond the cap, and never shortens it', () => {
  const asked = (retryAfterMilliseconds: number) => retryDelay(policy, { ...away, retryAfterMilliseconds }, 1, 0);
  expect(asked(5_000)).toBe(5_000);
  expect(asked(10)).toBe(100);
  expect(asked(1e15)).toBe(LIMITS.retryDelayLongestMilliseconds);
});

it('the hundredth exponential delay is the cap, not infinite', () => {
  expect(retryDelay({ ...policy, limit: 5_000 }, away, 5_000, 0)).toBe(1_000);
});
