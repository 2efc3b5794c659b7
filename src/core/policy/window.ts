/**
 * A limit over a sliding window, as its limiter object counts it.
 *
 * Guarantee: in every window of one period, wherever it begins, at most `limit + storeOf(limit)` tokens are
 * spent by all isolates together. For the object counts a token from its grant, before it is spent, until a
 * period after the instant it was reported to be spent at, which is not before the true one; what is never
 * reported counts as spent when the lease ended. So what was spent in the last period is counted, and
 * counted tokens are `used + needed + stored`, where `used + needed <= limit` at each grant of a need, and
 * `stored <= storeOf(limit)` in sum. Stored tokens that are spent while the rest is used up are the excess.
 * Accepted weakness: they are not counted before they are spent, so that those that lie in a quiet isolate
 * let nobody be refused; hence the excess.
 *
 * Why not GCRA: with a burst of the limit it admits twice the limit around a boundary, with a small one it
 * refuses requests when most of the limit is left. Why not counters per part of the period: a burst at the
 * start of a part would be held until the part's end. The log here has entries of equal weight instead of
 * equal length: a fraction of the limit is held too long, never a fraction of the time.
 */

import { GRACE_MILLISECONDS, leaseLife, storeOf, type Answer, type Counter, type Settlement } from './limiter.ts';
import type { WindowRule } from './limiter.ts';

/** The log has about so many entries at most, so that much of the limit, each way, is inexact. */
const ENTRIES = 128;
/** A denial holds until this share of the limit is free: fewer calls, larger grants. */
const DENIAL_SHARE = 0.01;
/** Clocks show whole milliseconds, so an instant may be almost one later. */
const CLOCK_MILLISECONDS = 1;

interface Grant {
  readonly grantedAt: number;
  readonly expiresAt: number;
  /** Not reported yet. */
  left: number;
  /** Those of them that were needed at once. */
  needed: number;
}

/** What is on disk: pairs of an instant and the tokens spent then. */
export type WindowRecord = readonly number[];

export class WindowCounter implements Counter {
  #rule: WindowRule;
  readonly #times: number[] = [];
  readonly #counts: number[] = [];
  readonly #grants = new Map<number, Grant>();
  #used = 0;
  #needed = 0;
  #stored = 0;

  constructor(rule: WindowRule, record: WindowRecord = []) {
    this.#rule = rule;
    for (let index = 0; index + 1 < record.length; index += 2) this.#log(record[index] ?? 0, record[index + 1] ?? 0);
  }

  /** The newest document sets the limit. */
  set rule(rule: WindowRule) {
    this.#rule = rule;
  }

  ask(now: number, need: number, want: number, nextId: () => number): Answer {
    this.#advance(now);
    const { limit, periodMilliseconds } = this.#rule;
    const free = limit - this.#used - this.#needed;
    const lifeMilliseconds = leaseLife(periodMilliseconds);
    if (need > free) {
      const resetMilliseconds = this.#denialMilliseconds(now, need);
      return { ok: false, id: 0, tokens: 0, lifeMilliseconds, remaining: Math.max(0, free), resetMilliseconds };
    }
    // One isolate gets half of what is left to store, so that others find some.
    const spare = Math.ceil((storeOf(limit) - this.#stored) / 2);
    const store = Math.max(0, Math.min(want, spare, free - need));
    const tokens = need + store;
    const id = tokens === 0 ? 0 : nextId();
    if (tokens > 0) {
      const expiresAt = now + lifeMilliseconds + GRACE_MILLISECONDS;
      this.#grants.set(id, { grantedAt: now, expiresAt, left: tokens, needed: need });
      this.#needed += need;
      this.#stored += store;
    }
    const oldest = this.#times[0] ?? now;
    const resetMilliseconds = oldest + periodMilliseconds + CLOCK_MILLISECONDS - now;
    return { ok: true, id, tokens, lifeMilliseconds, remaining: Math.max(0, free - tokens), resetMilliseconds };
  }

  settle(now: number, { id, used, returned }: Settlement): void {
    const grant = this.#grants.get(id);
    if (grant === undefined) return;
    for (let index = 0; index + 1 < used.length; index += 2) {
      // A report of more than was granted would make room for itself.
      const spent = Math.max(0, Math.min(used[index + 1] ?? 0, grant.left));
      this.#spend(grant, spent, now - (used[index] ?? 0));
    }
    if (returned === undefined) return;
    // An earlier report that was lost leaves tokens of which nobody knows when they were spent.
    this.#spend(grant, Math.max(0, grant.left - returned), now);
    this.#close(id, grant);
  }

  isIdle(now: number): boolean {
    this.#advance(now);
    return this.#used === 0 && this.#grants.size === 0;
  }

  /** Grants that are open count as spent when they end: after a restart nobody can settle them. */
  get record(): WindowRecord {
    const record = this.#times.flatMap((time, index) => [time, this.#counts[index] ?? 0]);
    for (const { expiresAt, left } of this.#grants.values()) record.push(expiresAt, left);
    return record;
  }

  /** When the record means nothing any more, unix milliseconds. */
  get endsAt(): number {
    const last = [...this.#grants.values()].at(-1)?.expiresAt ?? 0;
    return Math.max(last, this.#times.at(-1) ?? 0) + this.#rule.periodMilliseconds + CLOCK_MILLISECONDS;
  }

  #advance(now: number): void {
    for (const [id, grant] of this.#grants) {
      if (grant.expiresAt > now) break;
      this.#spend(grant, grant.left, grant.expiresAt);
      this.#close(id, grant);
    }
    const until = now - this.#rule.periodMilliseconds - CLOCK_MILLISECONDS;
    let over = 0;
    while (over < this.#times.length && (this.#times[over] ?? 0) <= until) this.#used -= this.#counts[over++] ?? 0;
    if (over === 0) return;
    this.#times.splice(0, over);
    this.#counts.splice(0, over);
  }

  #spend(grant: Grant, tokens: number, time: number): void {
    if (tokens === 0) return;
    const needed = Math.min(grant.needed, tokens);
    grant.left -= tokens;
    grant.needed -= needed;
    this.#needed -= needed;
    this.#stored -= tokens - needed;
    this.#log(time, tokens);
  }

  #close(id: number, grant: Grant): void {
    this.#needed -= grant.needed;
    this.#stored -= grant.left - grant.needed;
    this.#grants.delete(id);
  }

  /** Joins a light neighbour, at the later instant of the two. */
  #log(time: number, tokens: number): void {
    this.#used += tokens;
    const weight = Math.max(1, this.#rule.limit / ENTRIES);
    let place = this.#times.length;
    while (place > 0 && (this.#times[place - 1] ?? 0) >= time) place--;
    const after = this.#counts[place];
    const before = this.#counts[place - 1];
    if (after !== undefined && (this.#times[place] === time || after + tokens <= weight)) {
      this.#counts[place] = after + tokens;
    } else if (before !== undefined && before + tokens <= weight) {
      this.#times[place - 1] = time;
      this.#counts[place - 1] = before + tokens;
    } else {
      this.#times.splice(place, 0, time);
      this.#counts.splice(place, 0, tokens);
    }
  }

  /** Until `need` and a share of the limit are free, if nobody else spends. Rather too early than too late. */
  #denialMilliseconds(now: number, need: number): number {
    const { limit, periodMilliseconds } = this.#rule;
    const free = Math.min(limit, Math.max(need, Math.floor(limit * DENIAL_SHARE)));
    let excess = this.#used + this.#needed - (limit - free);
    let opensAt = now;
    for (let index = 0; index < this.#times.length && excess > 0; index++) {
      excess -= this.#counts[index] ?? 0;
      opensAt = this.#times[index] ?? now;
    }
    for (const grant of this.#grants.values()) {
      if (excess <= 0) break;
      excess -= grant.needed;
      opensAt = grant.grantedAt;
    }
    return Math.max(1, opensAt + periodMilliseconds + CLOCK_MILLISECONDS - now);
  }
}
