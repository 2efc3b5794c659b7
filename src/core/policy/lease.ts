/**
 * What an isolate holds of one limit or quota: tokens that it may spend without asking, and the memory of a
 * denial.
 *
 * Guarantee: no token is spent twice or after its lease. The lease is counted from when it was asked for,
 * which is before the object granted it; what a report says was spent when is rounded to later by the way
 * that it takes. A report that is lost makes the object assume more than was spent, never less.
 */

import type { Answer, Ask, Rule, Settlement } from './limiter.ts';
import { leaseLife, storeOf } from './limiter.ts';
import { LIMITS } from '../limits.ts';

export interface Grant {
  readonly id: number;
  /** By the isolate's clock. */
  readonly expiresAt: number;
  left: number;
  /** Taken by requests that still wait for another limit. */
  reserved: number;
  /** Pairs of an instant and the tokens that were spent then, not reported yet. */
  uses: number[];
}

export const DENIED = 'denied';
export const UNKNOWN = 'unknown';

/** The first store, before the isolate knows the rate of a key. */
const FIRST_STORE = 4;

export class Lease {
  readonly key: string;
  rule: Rule;
  #open: Grant[] = [];
  /** Without tokens; they wait for their last report. */
  #spent: Grant[] = [];
  #deniedCost = Infinity;
  #deniedUntil = 0;
  /** What the last answer said, for the headers. */
  #remaining: number;
  #resetAt = 0;
  /** Tokens in store after the last answer. */
  #stored = 0;
  #renewingUntil = 0;
  #taken = 0;
  #since = 0;
  /** Since when something is not reported; 0: nothing is. */
  #unreportedSince = 0;
  /** Spent without the object, and until when that counts. */
  #alone = 0;
  #aloneUntil = 0;

  constructor(key: string, rule: Rule) {
    this.key = key;
    this.rule = rule;
    this.#remaining = rule.limit;
  }

  /** A grant with so many tokens, which are reserved; or what is known instead. */
  take(now: number, cost: number): Grant | typeof DENIED | typeof UNKNOWN {
    for (const grant of this.#open) {
      if (grant.left < cost || grant.expiresAt <= now) continue;
      grant.left -= cost;
      grant.reserved += cost;
      return grant;
    }
    return cost >= this.#deniedCost && now < this.#deniedUntil ? DENIED : UNKNOWN;
  }

  /** The reserved tokens are spent. */
  spend(grant: Grant, now: number, cost: number): void {
    grant.reserved -= cost;
    this.#taken += cost;
    if (this.#unreportedSince === 0) this.#unreportedSince = now;
    const { uses } = grant;
    if (uses.length > 0 && uses[uses.length - 2] === now) uses[uses.length - 1] = (uses.at(-1) ?? 0) + cost;
    else uses.push(now, cost);
    if (grant.left === 0 && grant.reserved === 0) this.#retire(grant);
  }

  /** The reserved tokens are not spent, since another limit refused. */
  putBack(grant: Grant, cost: number): void {
    grant.reserved -= cost;
    grant.left += cost;
  }

  /** Whether so much of the store is spent that more should come with the next reports. What ended unspent is not. */
  isLow(now: number): boolean {
    return this.#mayRenew(now) && this.#left(0) * 2 <= this.#stored;
  }

  /** Whether the store may be empty before the next reports leave. */
  isUrgent(now: number): boolean {
    if (!this.#mayRenew(now)) return false;
    const left = this.#left(now);
    const rate = this.#taken / Math.max(1, now - this.#since);
    return left * 2 <= this.#stored && left <= rate * 2 * LIMITS.limiterReportMilliseconds;
  }

  /** What to ask to fill the store; nobody else asks meanwhile. */
  renewal(now: number): Ask {
    this.#renewingUntil = now + LIMITS.limiterAnswerMilliseconds;
    return this.ask(now, 0);
  }

  /**
   * Whether so many may be spent while the object cannot be reached: as many in a period as could have been in
   * store. Quotas are exact, so nothing is spent of them.
   */
  takeAlone(now: number, cost: number): boolean {
    const { rule } = this;
    if (rule.kind !== 'window') return false;
    if (now >= this.#aloneUntil) {
      this.#aloneUntil = now + rule.periodMilliseconds;
      this.#alone = 0;
    }
    if (this.#alone + cost > storeOf(rule.limit)) return false;
    this.#alone += cost;
    return true;
  }

  ask(now: number, need: number): Ask {
    return { key: this.key, rule: this.rule, need, want: this.#want(now), settle: this.report(now) };
  }

  /**
   * @param need of the ask that is answered
   * @returns a grant in which the needed tokens are reserved; undefined where they were denied
   */
  learn(answer: Answer, sentAt: number, now: number, need: number): Grant | undefined {
    this.#renewingUntil = 0;
    this.#resetAt = sentAt + answer.resetMilliseconds;
    this.#remaining = answer.remaining;
    if (!answer.ok) {
      this.#deniedCost = need;
      this.#deniedUntil = sentAt + Math.min(answer.resetMilliseconds, this.#denialMilliseconds);
      return undefined;
    }
    this.#deniedCost = Infinity;
    this.#stored = answer.tokens - need;
    const { id, tokens, lifeMilliseconds } = answer;
    const grant = { id, expiresAt: sentAt + lifeMilliseconds, left: tokens - need, reserved: need, uses: [] };
    // An answer that came too late is as good as lost.
    if (tokens === 0 || grant.expiresAt <= now) return undefined;
    this.#open.push(grant);
    return grant;
  }

  /** What the object does not know yet. It is told once: what is lost on the way counts as spent. */
  report(now: number): Settlement[] {
    this.#unreportedSince = 0;
    const settlements: Settlement[] = [];
    for (const grant of this.#spent) settlements.push(settlementOf(grant, now, 0));
    this.#spent = [];
    this.#open = this.#open.filter((grant) => {
      const over = grant.expiresAt <= now && grant.reserved === 0;
      if (over || grant.uses.length > 0) settlements.push(settlementOf(grant, now, over ? grant.left : undefined));
      grant.uses = [];
      return !over;
    });
    return settlements;
  }

  /**
   * Whether it is time for a report. A token that was needed is held until it is reported, so the report must
   * come long before the period ends.
   */
  isDue(now: number): boolean {
    const { rule } = this;
    const quarter = rule.kind === 'window' ? rule.periodMilliseconds / 4 : Infinity;
    const latest = Math.min(quarter, LIMITS.limiterReportLatestMilliseconds);
    if (this.#unreportedSince > 0 && now >= this.#unreportedSince + latest) return true;
    return this.#open.some(({ expiresAt }) => expiresAt <= now);
  }

  /** Whether something is left to report, now or when the lease ends. */
  get isOpen(): boolean {
    return this.#open.length > 0 || this.#spent.length > 0;
  }

  get remaining(): number {
    let stored = 0;
    for (const { left } of this.#open) stored += left;
    return Math.min(this.rule.limit, this.#remaining + stored);
  }

  resetMilliseconds(now: number): number {
    return Math.max(0, this.#resetAt - now);
  }

  get #denialMilliseconds(): number {
    const { rule } = this;
    const tenth = rule.kind === 'window' ? rule.periodMilliseconds / 10 : Infinity;
    return Math.min(tenth, LIMITS.limiterDenialMilliseconds);
  }

  /** As many as will be spent in half a lease, by what was spent since the last question. */
  #want(now: number): number {
    const { rule } = this;
    const most = storeOf(rule.limit);
    const life = leaseLife(rule.kind === 'window' ? rule.periodMilliseconds : Infinity);
    const first = this.#since === 0;
    const rate = this.#taken / Math.max(1, now - this.#since);
    this.#since = now;
    this.#taken = 0;
    return Math.min(most, first ? FIRST_STORE : Math.ceil((rate * life) / 2) + 1);
  }

  #mayRenew(now: number): boolean {
    return now >= this.#renewingUntil && this.#stored >= 2 && this.#taken > 0;
  }

  /** Tokens in grants that end after an instant. */
  #left(instant: number): number {
    let left = 0;
    for (const grant of this.#open) if (grant.expiresAt > instant) left += grant.left;
    return left;
  }

  #retire(grant: Grant): void {
    const place = this.#open.indexOf(grant);
    if (place === -1) return;
    this.#open.splice(place, 1);
    this.#spent.push(grant);
  }
}

function settlementOf({ id, uses }: Grant, now: number, returned: number | undefined): Settlement {
  return { id, used: uses.map((value, index) => (index % 2 === 0 ? now - value : value)), returned };
}
