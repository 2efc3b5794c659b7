/** When a delivery that failed is tried again. */

import { LIMITS } from '../limits.ts';

/** Waits after the first, second, … failure; the first attempt is made at once. */
const DELAYS_MILLISECONDS = [5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 10 * 3_600].map(
  (seconds) => seconds * 1_000,
);

/** Spreads what failed together, and is never earlier than the schedule says. */
const JITTER = 0.1;

/**
 * The wait until the next attempt in milliseconds; undefined once the schedule is used up.
 *
 * @param failures attempts so far, at least 1
 * @param random from 0 up to 1
 * @param askedMilliseconds what the endpoint asked for (`Retry-After`); it may lengthen the wait, never shorten it
 */
export function retryWait(failures: number, random: number, askedMilliseconds = 0): number | undefined {
  const delay = DELAYS_MILLISECONDS[failures - 1];
  if (delay === undefined) return undefined;
  const asked = Math.min(askedMilliseconds, LIMITS.retryDelayLongestMilliseconds);
  return Math.ceil(Math.max(delay, asked) * (1 + JITTER * random));
}
