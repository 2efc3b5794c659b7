/** Whether a request to an upstream may be sent once more. */

export type RetryReason = 'connect' | 'timeout' | '502' | '503' | '504';

export interface RetryPlan {
  /** In all, the first included. */
  readonly attempts: number;
  readonly on: ReadonlySet<RetryReason>;
  /** Also of methods that are not idempotent, where the request has an `Idempotency-Key`. */
  readonly keyed: boolean;
}

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * Whether the upstream may get the request twice. The runtime does not tell a refused connection from one that
 * broke after the request was sent, so no failure proves that nothing arrived.
 */
export const isRepeatable = (plan: RetryPlan, method: string, hasKey: () => boolean): boolean =>
  IDEMPOTENT.has(method) || (plan.keyed && hasKey());

/** Keeps retries of a pool to a share of its requests, so that they do not make an overload worse. */
export interface RetryBudget {
  tokens: number;
  filledAt: number;
}

export interface BudgetPolicy {
  /** What each request adds. */
  readonly share: number;
  /** What each second adds, for pools with few requests. */
  readonly perSecond: number;
  readonly largest: number;
}

export const createBudget = ({ largest }: BudgetPolicy, now: number): RetryBudget => ({
  tokens: largest,
  filledAt: now,
});

export function noteRequest(budget: RetryBudget, policy: BudgetPolicy, now: number): void {
  const seconds = Math.max(0, now - budget.filledAt) / 1000;
  budget.tokens = Math.min(policy.largest, budget.tokens + policy.share + seconds * policy.perSecond);
  budget.filledAt = now;
}

/** Takes one retry out of the budget; false where there is none left. */
export function takeRetry(budget: RetryBudget): boolean {
  if (budget.tokens < 1) return false;
  budget.tokens--;
  return true;
}
