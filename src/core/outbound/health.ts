/** How long an endpoint has failed without a success in between, and what follows from it. */

import { LIMITS } from '../limits.ts';

/** `gone`: it answered 410. `failing`: it failed for days. `owner`: somebody asked for it. */
export type DisabledReason = 'gone' | 'failing' | 'owner';

export interface Health {
  /** Unix milliseconds of the first failure since the last success; undefined while it is well. */
  readonly failingSince?: number;
  readonly lastFailureAt?: number;
  /** The highest warning that was given, in percent of the time after which it is disabled. */
  readonly warnedPercent?: number;
}

export interface Judgement {
  readonly health: Health;
  /** A warning that is due now, in percent; 100: it is to be disabled. */
  readonly percent?: number;
}

export const HEALTHY: Health = {};

const WARNINGS_PERCENT = [100, 90, 70, 50];

/**
 * Takes a failed attempt into account. Between two failures that are further apart than a retry can be,
 * nothing is known of the endpoint, so the time begins anew: a rare message never disables without a warning.
 */
export function afterFailure(before: Health, now: number): Judgement {
  const { failingSince, lastFailureAt, warnedPercent = 0 } = before;
  const isContinued = lastFailureAt !== undefined && now - lastFailureAt <= LIMITS.endpointSilenceMilliseconds;
  if (failingSince === undefined || !isContinued) return { health: { failingSince: now, lastFailureAt: now } };
  const passed = ((now - failingSince) / LIMITS.endpointFailingMilliseconds) * 100;
  const reached = WARNINGS_PERCENT.find((percent) => passed >= percent) ?? 0;
  const health = { failingSince, lastFailureAt: now, warnedPercent: Math.max(reached, warnedPercent) };
  return reached > warnedPercent ? { health, percent: reached } : { health };
}
