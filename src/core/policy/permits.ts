/**
 * How many requests may be under way at a time, as their limiter object counts them.
 *
 * Guarantee: isolates hold at most `limit` permits in sum. One that is silent for
 * `limiterPermitMilliseconds` counts as crashed, and its permits are free again.
 * Accepted weakness: the permits are in memory. After a restart of the object those of requests that are
 * under way are taken again by the next heartbeat of their isolate; until then, more may be admitted.
 */

import type { Answer, Counter, PermitRule, Settlement } from './limiter.ts';
import { storeOf } from './limiter.ts';
import { LIMITS } from '../limits.ts';

/** When it makes sense to ask again: nobody knows when a request will end. */
const RETRY_MILLISECONDS = 1_000;

interface Grant {
  expiresAt: number;
  permits: number;
}

export class PermitCounter implements Counter {
  rule: PermitRule;
  readonly #grants = new Map<number, Grant>();
  #taken = 0;

  constructor(rule: PermitRule) {
    this.rule = rule;
  }

  ask(now: number, need: number, want: number, nextId: () => number): Answer {
    this.#advance(now);
    const free = this.rule.limit - this.#taken;
    const lifeMilliseconds = LIMITS.limiterPermitMilliseconds - 2 * LIMITS.limiterAnswerMilliseconds;
    if (need > free) {
      const remaining = Math.max(0, free);
      return { ok: false, id: 0, tokens: 0, lifeMilliseconds, remaining, resetMilliseconds: RETRY_MILLISECONDS };
    }
    // Permits in store are taken, so that they are scarce when they are needed elsewhere.
    const store = Math.floor(Math.min(want, storeOf(this.rule.limit), (free - need) / 4));
    const permits = need + Math.max(0, store);
    const id = permits === 0 ? 0 : nextId();
    if (permits > 0) this.#set(id, permits, now);
    const remaining = this.rule.limit - this.#taken;
    return { ok: true, id, tokens: permits, lifeMilliseconds, remaining, resetMilliseconds: 0 };
  }

  /** A heartbeat says in `used` how many permits an isolate holds; the last one gives them back. */
  settle(now: number, { id, used, returned }: Settlement): void {
    const held = returned === undefined ? (used[1] ?? 0) : 0;
    this.#set(id, Math.max(0, held), now);
  }

  isIdle(now: number): boolean {
    this.#advance(now);
    return this.#grants.size === 0;
  }

  #set(id: number, permits: number, now: number): void {
    this.#taken += permits - (this.#grants.get(id)?.permits ?? 0);
    // The end of the map is what expires last.
    this.#grants.delete(id);
    if (permits > 0) this.#grants.set(id, { permits, expiresAt: now + LIMITS.limiterPermitMilliseconds });
  }

  #advance(now: number): void {
    for (const [id, { expiresAt }] of this.#grants) {
      if (expiresAt > now) break;
      this.#set(id, 0, now);
    }
  }
}
