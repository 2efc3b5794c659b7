/**
 * What isolates and limiter objects say to each other.
 *
 * An isolate asks for tokens: what it needs now, and what it would like to have in store. A grant is settled
 * by reports of what was spent when, until it is done. Times are ages and durations, never instants: clocks
 * of two machines differ. Each is rounded to the side on which too little is admitted.
 */

import { LIMITS } from '../limits.ts';

export interface WindowRule {
  readonly kind: 'window';
  readonly limit: number;
  readonly periodMilliseconds: number;
}

export interface QuotaRule {
  readonly kind: 'quota';
  readonly limit: number;
  readonly unit: 'day' | 'month';
  /** IANA name. */
  readonly timezone: string;
}

/** So many at a time. A token is a permit and comes back. */
export interface PermitRule {
  readonly kind: 'permits';
  readonly limit: number;
}

export type Rule = WindowRule | QuotaRule | PermitRule;

export interface Ask {
  readonly key: string;
  readonly rule: Rule;
  /** Tokens without which the request is refused; 0 in a report or renewal. */
  readonly need: number;
  /** Tokens to have in store, as many as the object can spare. */
  readonly want: number;
  readonly settle: readonly Settlement[];
}

/** Of one grant. */
export interface Settlement {
  readonly id: number;
  /** What was spent since the last report, in pairs: how long ago (milliseconds), and how many tokens. */
  readonly used: readonly number[];
  /** How many are given back for good. Undefined while the rest may still be spent. */
  readonly returned: number | undefined;
}

export interface Answer {
  /** Whether `need` is granted. */
  readonly ok: boolean;
  /** Of the grant. */
  readonly id: number;
  /** `need` and what is for the store. */
  readonly tokens: number;
  /** How long they may be spent. */
  readonly lifeMilliseconds: number;
  /** What is left of the limit after this. */
  readonly remaining: number;
  /** Until more is left; in a denial, until it makes sense to ask again. */
  readonly resetMilliseconds: number;
}

/** A limiter object's account of one key. */
export interface Counter {
  ask(now: number, need: number, want: number, nextId: () => number): Answer;
  settle(now: number, settlement: Settlement): void;
  /** Whether forgetting it changes nothing. */
  isIdle(now: number): boolean;
}

/** Tokens that all isolates together have in store beyond what the limit allows: the bound of the promise. */
export const storeOf = (limit: number): number => Math.floor(limit / 20);

/** How long a grant may be spent. */
export const leaseLife = (periodMilliseconds: number): number =>
  Math.min(periodMilliseconds, LIMITS.limiterLeaseMilliseconds);

/**
 * What the object adds before it takes a silent grant for spent: a request that waits for another limit
 * spends its token up to this long after the lease has ended.
 */
export const GRACE_MILLISECONDS = 2 * LIMITS.limiterAnswerMilliseconds;
