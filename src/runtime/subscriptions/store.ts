/** The one row of a subscription. */

import * as v from 'valibot';
import type { SubscriptionPlace } from './target.ts';

export const SUBSCRIPTION_STATES = ['opening', 'open', 'waiting', 'ended', 'stopped'] as const;

const mishap = v.object({ at: v.number(), code: v.string(), message: v.string() });

/** Times are unix milliseconds. */
const factsSchema = v.object({
  chain: v.string(),
  trigger: v.string(),
  /** What the cursor belongs to. */
  source: v.string(),
  /** Of the configuration by which it was last opened. */
  fingerprint: v.string(),
  cursor: v.nullable(v.string()),
  /**
   * `waiting`: until it is opened again; `ended`: by the other side, for good; `stopped`: the chain or its trigger is
   * not active.
   */
  state: v.picklist(SUBSCRIPTION_STATES),
  since: v.number(),
  reopenAt: v.number(),
  /** Ends in a row before anything was achieved. */
  failures: v.number(),
  lastEventAt: v.nullable(v.number()),
  /** Why it last ended. */
  error: v.nullable(mishap),
  /** The last event that could not start a run. */
  failedEvent: v.nullable(v.object({ ...mishap.entries, id: v.nullable(v.string()) })),
  counts: v.object({
    /** All that came; the others are parts of them. */
    events: v.number(),
    runs: v.number(),
    duplicates: v.number(),
    filtered: v.number(),
    failed: v.number(),
  }),
});

export type SubscriptionFacts = v.InferOutput<typeof factsSchema>;
export type SubscriptionCounts = SubscriptionFacts['counts'];

export const NO_COUNTS: SubscriptionCounts = { events: 0, runs: 0, duplicates: 0, filtered: 0, failed: 0 };

export const newFacts = ({ chain, trigger }: SubscriptionPlace, now: number): SubscriptionFacts => ({
  chain,
  trigger,
  source: '',
  fingerprint: '',
  cursor: null,
  state: 'waiting',
  since: now,
  reopenAt: now,
  failures: 0,
  lastEventAt: null,
  error: null,
  failedEvent: null,
  counts: NO_COUNTS,
});

const TABLE = 'CREATE TABLE IF NOT EXISTS subscription (id INTEGER PRIMARY KEY CHECK (id = 1), facts TEXT NOT NULL)';

export class SubscriptionStore {
  readonly #sql: SqlStorage;
  #facts: SubscriptionFacts | undefined;
  #isDirty = false;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(TABLE);
    const [row] = sql.exec<{ facts: string }>('SELECT facts FROM subscription').toArray();
    if (row !== undefined) this.#facts = v.parse(factsSchema, JSON.parse(row.facts));
  }

  get facts(): SubscriptionFacts | undefined {
    return this.#facts;
  }

  /** In memory; on disk with the next {@link save}. */
  note(facts: SubscriptionFacts): void {
    this.#facts = facts;
    this.#isDirty = true;
  }

  save(): void {
    if (!this.#isDirty) return;
    this.#sql.exec('INSERT OR REPLACE INTO subscription (id, facts) VALUES (1, ?)', JSON.stringify(this.#facts));
    this.#isDirty = false;
  }
}
