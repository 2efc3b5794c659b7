/** When a failed attempt is tried again. */

import type { RetryPolicy } from '../chain/plan.ts';
import type { Fault } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/**
 * Milliseconds until the next attempt, or undefined when there is none.
 * A `Retry-After` of the other side lengthens the delay, never shortens it.
 *
 * @param failed attempts so far, from 1
 * @param random a number in [0, 1), for jitter
 */
export function retryDelay(policy: RetryPolicy, fault: Fault, failed: number, random: number): number | undefined {
  if (!fault.retryable || failed > policy.limit) return undefined;
  const base = policy.delayMilliseconds;
  const grown =
    policy.backoff === 'exponential' ? base * 2 ** (failed - 1) : policy.backoff === 'linear' ? base * failed : base;
  const capped = Math.min(grown, policy.capMilliseconds);
  const spread = policy.jitter ? capped * (0.5 + random / 2) : capped;
  const asked = Math.min(fault.retryAfterMilliseconds ?? 0, LIMITS.retryDelayLongestMilliseconds);
  return Math.max(Math.round(spread), asked);
}
