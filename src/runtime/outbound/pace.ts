/**
 * When an endpoint may be called: its throttle, its circuit and what it asked for. All of it is kept in one
 * small text, so that a restart neither forgets an outage nor lets a burst through.
 */

import { LIMITS } from '../../core/limits.ts';
import { intervalOf, opensAt, pass as passThrottle, type RateLimit } from '../../core/outbound/throttle.ts';
import {
  admit,
  breakerPolicy,
  createBreaker,
  settleCall,
  type Breaker,
  type CallOutcome,
  type Pass,
} from '../../core/policy/breaker.ts';

const POLICY = breakerPolicy(LIMITS.breakerPauseLongestMilliseconds);

/** A throttle slower than this outlives the object in memory, so each attempt under it is noted on disk. */
const SLOW_MILLISECONDS = 10_000;

export interface StoredPace {
  /** Of the throttle, in unix milliseconds. */
  readonly arrival?: number;
  readonly pausedUntil?: number;
  readonly circuit?: { readonly until: number; readonly failedProbes: number };
}

export class Pace {
  readonly #breaker: Breaker = createBreaker(POLICY);
  #arrival: number;
  #pausedUntil: number;

  constructor({ arrival = 0, pausedUntil = 0, circuit }: StoredPace = {}) {
    this.#arrival = arrival;
    this.#pausedUntil = pausedUntil;
    if (circuit !== undefined) Object.assign(this.#breaker, { state: 'open', ...circuit });
  }

  get circuit(): Breaker['state'] {
    return this.#breaker.state;
  }

  /** A pass for an attempt that begins now, or when it is worth asking again. */
  enter(rate: RateLimit | null, now: number, attemptMilliseconds: number): Pass | { readonly until: number } {
    const until = Math.max(this.#pausedUntil, rate === null ? 0 : opensAt(rate, this.#arrival));
    if (until > now) return { until };
    const admission = admit(this.#breaker, now, attemptMilliseconds + LIMITS.breakerProbeGraceMilliseconds);
    if (admission.pass === undefined) return { until: admission.until };
    if (rate !== null) this.#arrival = passThrottle(rate, this.#arrival, now);
    return admission.pass;
  }

  settle(pass: Pass, outcome: CallOutcome, now: number): void {
    settleCall(this.#breaker, pass, outcome, now);
  }

  /** The endpoint asked to be left alone. */
  pause(milliseconds: number, now: number): void {
    const until = now + Math.min(milliseconds, LIMITS.breakerPauseLongestMilliseconds);
    this.#pausedUntil = Math.max(this.#pausedUntil, until);
  }

  /** Whether each attempt must be noted for the throttle. */
  isSlow(rate: RateLimit | null): boolean {
    return rate !== null && intervalOf(rate) >= SLOW_MILLISECONDS;
  }

  stored(rate: RateLimit | null): StoredPace {
    const { state, until, failedProbes } = this.#breaker;
    return {
      ...(this.isSlow(rate) && { arrival: this.#arrival }),
      ...(this.#pausedUntil > 0 && { pausedUntil: this.#pausedUntil }),
      ...(state !== 'closed' && { circuit: { until, failedProbes } }),
    };
  }
}
