/**
 * A quota per calendar day or month, as its limiter object counts it.
 *
 * Guarantee: never more than the quota is spent, also over crashes: tokens are debited when they are
 * granted, and `spent` is on disk before the answer leaves. What a lease gives back is credited.
 * Accepted weakness: what a crashed isolate held, or all leases of a crashed object, is lost to the owner of
 * the quota; a lease is a hundredth of the quota and a sixteenth of its rest at most.
 */

import {
  GRACE_MILLISECONDS,
  leaseLife,
  type Answer,
  type Counter,
  type QuotaRule,
  type Settlement,
} from './limiter.ts';
import { LIMITS } from '../limits.ts';

const STORE_SHARE = 1 / 100;
const REST_SHARE = 1 / 16;

/** What is on disk: the part of the calendar, as `2026-11-21` or `2026-11`, and what was debited in it. */
export interface QuotaRecord {
  readonly part: string;
  readonly spent: number;
}

interface Grant {
  readonly expiresAt: number;
  left: number;
}

export class QuotaCounter implements Counter {
  rule: QuotaRule;
  #part: CalendarPart | undefined;
  #spent: number;
  #spentIn: string;
  readonly #grants = new Map<number, Grant>();

  constructor(rule: QuotaRule, record: QuotaRecord = { part: '', spent: 0 }) {
    this.rule = rule;
    this.#spent = record.spent;
    this.#spentIn = record.part;
  }

  ask(now: number, need: number, want: number, nextId: () => number): Answer {
    const { limit } = this.rule;
    const { endsAt } = this.#advance(now);
    const free = limit - this.#spent;
    const untilEnd = endsAt - now;
    // A token is spent in the part that it was debited in.
    const lifeMilliseconds = Math.min(leaseLife(Infinity), untilEnd);
    if (need > free) {
      const resetMilliseconds = this.#grants.size > 0 ? LIMITS.limiterDenialMilliseconds : untilEnd;
      return { ok: false, id: 0, tokens: 0, lifeMilliseconds, remaining: Math.max(0, free), resetMilliseconds };
    }
    const spare = Math.min(limit * STORE_SHARE, (free - need) * REST_SHARE);
    const tokens = need + Math.max(0, Math.min(want, Math.floor(spare)));
    const id = tokens === 0 ? 0 : nextId();
    this.#spent += tokens;
    if (tokens > 0) this.#grants.set(id, { expiresAt: now + lifeMilliseconds + GRACE_MILLISECONDS, left: tokens });
    const remaining = Math.max(0, limit - this.#spent);
    return { ok: true, id, tokens, lifeMilliseconds, remaining, resetMilliseconds: untilEnd };
  }

  settle(now: number, { id, used, returned }: Settlement): void {
    this.#advance(now);
    const grant = this.#grants.get(id);
    if (grant === undefined) return;
    for (let index = 1; index < used.length; index += 2) grant.left -= Math.max(0, used[index] ?? 0);
    if (returned === undefined) return;
    this.#spent -= Math.max(0, Math.min(returned, grant.left));
    this.#grants.delete(id);
  }

  isIdle(now: number): boolean {
    this.#advance(now);
    return this.#spent === 0 && this.#grants.size === 0;
  }

  get record(): QuotaRecord {
    return { part: this.#spentIn, spent: this.#spent };
  }

  /** When the record means nothing any more, unix milliseconds. */
  get endsAt(): number {
    return this.#part?.endsAt ?? 0;
  }

  #advance(now: number): CalendarPart {
    let part = this.#part;
    if (part === undefined || now >= part.endsAt) part = this.#part = calendarPart(this.rule, now);
    if (part.name > this.#spentIn) {
      this.#spentIn = part.name;
      this.#spent = 0;
      this.#grants.clear();
    }
    for (const [id, { expiresAt }] of this.#grants) {
      if (expiresAt > now) break;
      this.#grants.delete(id);
    }
    return part;
  }
}

export interface CalendarPart {
  /** `2026-11-21` or `2026-11`. */
  readonly name: string;
  /** The first instant that is not in it, unix milliseconds. */
  readonly endsAt: number;
}

const LONGEST = { day: 26 * 3_600_000, month: 32 * 24 * 3_600_000 } as const;

/**
 * The day or month of a time zone that an instant lies in. Its end is searched for, since days may have 23 or
 * 25 hours and may begin at another hour than midnight.
 */
export function calendarPart({ unit, timezone }: Pick<QuotaRule, 'unit' | 'timezone'>, now: number): CalendarPart {
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone: timezone,
    year: 'numeric',
    month: '2-digit',
    ...(unit === 'day' ? { day: '2-digit' as const } : {}),
  });
  const name = format.format(now);
  let inside = now;
  let outside = now + LONGEST[unit];
  while (outside - inside > 1) {
    const middle = Math.floor((inside + outside) / 2);
    if (format.format(middle) === name) inside = middle;
    else outside = middle;
  }
  return { name, endsAt: outside };
}
