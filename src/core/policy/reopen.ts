/** How long to wait before a subscription is opened again. */

import type { Fault } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/**
 * In milliseconds: doubling, spread over the upper half, and never less than what the other side asked for.
 *
 * @param failures ends in a row that came before anything was achieved
 * @param random from 0 to 1
 */
export function reopenDelay(
  failures: number,
  end: { readonly fault?: Fault | undefined; readonly retryAfterMilliseconds?: number | undefined },
  random: number,
): number {
  const longest =
    end.fault?.retryable === false
      ? LIMITS.subscriptionMendLongestMilliseconds
      : LIMITS.subscriptionRetryLongestMilliseconds;
  const wait = Math.min(longest, LIMITS.subscriptionRetryMilliseconds * 2 ** Math.min(failures, 30));
  return Math.max(wait * (0.5 + random / 2), end.retryAfterMilliseconds ?? 0);
}
