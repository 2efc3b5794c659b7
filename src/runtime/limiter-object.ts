/**
 * Counts the limits, quotas and permits of the keys of one shard; isolates hold leases of them.
 *
 * Guarantee: quotas, and limits over `limitDurableMilliseconds` or more, outlive the object: they are on disk
 * before an answer leaves.
 * Accepted weakness: a shorter limit is in memory alone, since a row for each grant would cost more than the
 * requests. An object is not evicted while it is asked, so only a crash or deployment forgets; the window
 * that it falls into then sees up to twice the limit.
 */

import { DurableObject } from 'cloudflare:workers';
import * as v from 'valibot';
import { LIMITS } from '../core/limits.ts';
import type { Answer, Ask, Rule } from '../core/policy/limiter.ts';
import { PermitCounter } from '../core/policy/permits.ts';
import { QuotaCounter } from '../core/policy/quota.ts';
import { WindowCounter } from '../core/policy/window.ts';
import type { Env } from '../env.ts';

type AnyCounter = WindowCounter | QuotaCounter | PermitCounter;

const TABLE = `
  CREATE TABLE IF NOT EXISTS counters (
    key TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    endsAt INTEGER NOT NULL
  ) WITHOUT ROWID`;

const WINDOW_RECORD = v.pipe(v.string(), v.parseJson(), v.array(v.number()));
const QUOTA_RECORD = v.pipe(v.string(), v.parseJson(), v.object({ part: v.string(), spent: v.number() }));

export class LimiterObject extends DurableObject<Env> {
  /** The one that was asked for last is at the end. */
  readonly #counters = new Map<string, AnyCounter>();
  #sweepAt = 0;
  /** Unlike any id before a restart. */
  #id = Date.now() * 1_000;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(TABLE);
  }

  /** Settles and grants, ask by ask. */
  limit(asks: readonly Ask[]): readonly Answer[] {
    const now = Date.now();
    const answers = asks.map((ask) => this.#answer(ask, now));
    this.#forget(now);
    return answers;
  }

  #answer({ key, rule, need, want, settle }: Ask, now: number): Answer {
    const counter = this.#counterOf(key, rule);
    for (const settlement of settle) counter.settle(now, settlement);
    const answer = counter.ask(now, need, want, () => ++this.#id);
    const returns = rule.kind === 'quota' && settle.some(({ returned = 0 }) => returned > 0);
    if ((answer.tokens > 0 || returns) && isDurable(rule)) this.#save(key, counter);
    return answer;
  }

  #counterOf(key: string, rule: Rule): AnyCounter {
    const known = this.#counters.get(key);
    if (known === undefined) {
      const made = this.#load(key, rule);
      this.#counters.set(key, made);
      return made;
    }
    this.#counters.delete(key);
    this.#counters.set(key, known);
    if (known instanceof WindowCounter) {
      if (rule.kind === 'window') known.rule = rule;
    } else if (known instanceof QuotaCounter) {
      if (rule.kind === 'quota') known.rule = rule;
    } else if (rule.kind === 'permits') known.rule = rule;
    return known;
  }

  #load(key: string, rule: Rule): AnyCounter {
    if (rule.kind === 'permits') return new PermitCounter(rule);
    const [row] = isDurable(rule)
      ? this.ctx.storage.sql.exec<{ record: string }>('SELECT record FROM counters WHERE key = ?', key)
      : [];
    if (rule.kind === 'quota') return new QuotaCounter(rule, row && v.parse(QUOTA_RECORD, row.record));
    return new WindowCounter(rule, row && v.parse(WINDOW_RECORD, row.record));
  }

  #save(key: string, counter: AnyCounter): void {
    if (counter instanceof PermitCounter) return;
    const row = [key, JSON.stringify(counter.record), counter.endsAt] as const;
    this.ctx.storage.sql.exec('INSERT OR REPLACE INTO counters VALUES (?, ?, ?)', ...row);
  }

  /** Two a call, as a call brings about one; what is on disk comes back when it is asked for. */
  #forget(now: number): void {
    const overfull = this.#counters.size - LIMITS.limiterKeysPerObject;
    let looked = 0;
    for (const [key, counter] of this.#counters) {
      if (looked++ >= Math.max(2, overfull)) break;
      if (looked <= overfull || counter.isIdle(now)) this.#counters.delete(key);
      else {
        this.#counters.delete(key);
        this.#counters.set(key, counter);
      }
    }
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + LIMITS.limiterSweepMilliseconds;
    this.ctx.storage.sql.exec('DELETE FROM counters WHERE endsAt < ?', now);
  }
}

const isDurable = (rule: Rule): boolean =>
  rule.kind === 'quota' || (rule.kind === 'window' && rule.periodMilliseconds >= LIMITS.limitDurableMilliseconds);
