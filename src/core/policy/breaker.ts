/**
 * A circuit breaker: stops calls to a provider that fails, and finds out by one call at a time when it
 * is back. A state machine without a clock; instants are unix milliseconds and come in as arguments.
 *
 * `closed` lets everything through. It opens on failures in a row, or on their share in a sliding window.
 * `open` lets nothing through until its pause is over. Then it is `half-open`: one call, the probe, goes
 * through and decides. Calls are fenced: what comes of one that began before the last change is no news.
 */

import { LIMITS } from '../limits.ts';

export interface BreakerPolicy {
  /** Failures in a row that open it. */
  readonly failuresInARow: number;
  /** Share of failures in the window that opens it, above 0 and up to 1. */
  readonly failureShare: number;
  /** Calls that the window must hold before their share says anything. */
  readonly windowCalls: number;
  readonly windowMilliseconds: number;
  /** The first pause; each probe that fails doubles it, up to the longest. */
  readonly pauseMilliseconds: number;
  readonly pauseLongestMilliseconds: number;
  /** The longest pause that a provider may ask for. */
  readonly retryAfterLongestMilliseconds: number;
}

/** Of providers and endpoints; they differ in how long a pause each may ask for. */
export const breakerPolicy = (retryAfterLongestMilliseconds: number): BreakerPolicy => ({
  failuresInARow: LIMITS.breakerFailuresInARow,
  failureShare: LIMITS.breakerFailureShare,
  windowCalls: LIMITS.breakerWindowCalls,
  windowMilliseconds: LIMITS.breakerWindowMilliseconds,
  pauseMilliseconds: LIMITS.breakerPauseMilliseconds,
  pauseLongestMilliseconds: LIMITS.breakerPauseLongestMilliseconds,
  retryAfterLongestMilliseconds,
});

/** `unknown`: the call ended before it reached the provider. */
export type CallOutcome =
  | { readonly kind: 'succeeded' }
  | { readonly kind: 'unknown' }
  /** `retryAfterMilliseconds`: when the provider asked to be called again. */
  | { readonly kind: 'failed'; readonly retryAfterMilliseconds?: number | undefined };

/** A call that was let through; it goes back to {@link settleCall}. */
export interface Pass {
  readonly epoch: number;
  readonly probe: boolean;
}

/** `until`: when it is worth asking again. */
export type Admission = { readonly pass: Pass } | { readonly pass: undefined; readonly until: number };

export interface Breaker {
  readonly policy: BreakerPolicy;
  state: 'closed' | 'open' | 'half-open';
  /** Raised with each change of the state. */
  epoch: number;
  failuresInARow: number;
  /** Calls of the window, in {@link SLICES} slices of time. */
  slices: Slice[];
  /** While open, when the pause ends; while half-open, when the probe is given up for lost. */
  until: number;
  /** Probes in a row that failed. */
  failedProbes: number;
}

interface Slice {
  /** The instant divided by the length of a slice. */
  readonly number: number;
  calls: number;
  failures: number;
}

const SLICES = 10;

export const createBreaker = (policy: BreakerPolicy): Breaker => ({
  policy,
  state: 'closed',
  epoch: 0,
  failuresInARow: 0,
  slices: [],
  until: 0,
  failedProbes: 0,
});

/**
 * Whether a call may go to the provider now.
 * @param callMilliseconds what the call takes at most: a probe of which nothing is heard longer is lost
 */
export function admit(breaker: Breaker, now: number, callMilliseconds: number): Admission {
  if (breaker.state === 'closed') return { pass: { epoch: breaker.epoch, probe: false } };
  if (now < breaker.until) return { pass: undefined, until: breaker.until };
  change(breaker, 'half-open', now + callMilliseconds);
  return { pass: { epoch: breaker.epoch, probe: true } };
}

/** Tells what came of a call; returns what is worth telling, once for each outage: it opened, or it closed. */
export function settleCall(
  breaker: Breaker,
  pass: Pass,
  outcome: CallOutcome,
  now: number,
): 'opened' | 'closed' | undefined {
  if (pass.epoch !== breaker.epoch) return undefined;
  if (pass.probe) return settleProbe(breaker, outcome, now);
  if (outcome.kind === 'unknown') return undefined;
  count(breaker, outcome.kind === 'failed', now);
  if (outcome.kind === 'succeeded') {
    breaker.failuresInARow = 0;
    return undefined;
  }
  breaker.failuresInARow++;
  if (!isTooMuch(breaker)) return undefined;
  change(breaker, 'open', now + pauseAfter(breaker, outcome.retryAfterMilliseconds));
  return 'opened';
}

function settleProbe(breaker: Breaker, outcome: CallOutcome, now: number): 'closed' | undefined {
  if (outcome.kind === 'succeeded') {
    breaker.failedProbes = 0;
    change(breaker, 'closed', 0);
    return 'closed';
  }
  if (outcome.kind === 'failed') {
    breaker.failedProbes++;
    change(breaker, 'open', now + pauseAfter(breaker, outcome.retryAfterMilliseconds));
  } else {
    // It never reached the provider and leaves its place to the next call.
    change(breaker, 'open', now);
  }
  return undefined;
}

/** What the provider asked for, else twice the pause before. One that asks for no time at all asks for nothing. */
function pauseAfter({ policy, failedProbes }: Breaker, asked: number | undefined): number {
  if (asked !== undefined && asked > 0) return Math.min(asked, policy.retryAfterLongestMilliseconds);
  return Math.min(policy.pauseMilliseconds * 2 ** failedProbes, policy.pauseLongestMilliseconds);
}

function change(breaker: Breaker, state: Breaker['state'], until: number): void {
  breaker.state = state;
  breaker.epoch++;
  breaker.until = until;
  breaker.failuresInARow = 0;
  breaker.slices = [];
}

function count(breaker: Breaker, failed: boolean, now: number): void {
  const number = Math.floor((now * SLICES) / breaker.policy.windowMilliseconds);
  let slice = breaker.slices.at(-1);
  // A clock that was set back counts on in the newest slice.
  if (slice === undefined || slice.number < number) breaker.slices.push((slice = { number, calls: 0, failures: 0 }));
  while (breaker.slices[0] !== undefined && breaker.slices[0].number <= slice.number - SLICES) breaker.slices.shift();
  slice.calls++;
  if (failed) slice.failures++;
}

function isTooMuch({ policy, failuresInARow, slices }: Breaker): boolean {
  if (failuresInARow >= policy.failuresInARow) return true;
  const calls = slices.reduce((sum, slice) => sum + slice.calls, 0);
  const failures = slices.reduce((sum, slice) => sum + slice.failures, 0);
  return calls >= policy.windowCalls && failures >= policy.failureShare * calls;
}
