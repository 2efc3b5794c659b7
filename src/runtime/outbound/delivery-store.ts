/**
 * The tables of an endpoint's deliveries. A delivery is one row, which holds its attempts: written when it is
 * accepted and when its first attempt has ended. Only one that failed has an entry in an index besides.
 */

import type { Attempt } from './delivery.ts';
import type { Offer } from './objects.ts';
import { LIMITS } from '../../core/limits.ts';

const SCHEMA = `
  create table if not exists deliveries (
    sequence integer primary key, message text not null, event_type text not null, created_at integer not null,
    state text not null, next_at integer, tries integer not null, attempts text not null
  );
  create index if not exists deliveries_retry on deliveries (next_at) where state = 'retry';
  create index if not exists deliveries_failed on deliveries (sequence) where state = 'failed';
  create table if not exists hours (
    hour integer primary key, attempts integer not null, delivered integer not null, failed integer not null,
    milliseconds integer not null
  );
  create table if not exists meta (name text primary key, value text not null) without rowid;
`;

/** `new`: not tried yet; `retry`: to be tried at `nextAt`; `failed`: the schedule is used up. */
export type DeliveryState = 'new' | 'retry' | 'delivered' | 'failed';

export interface Delivery {
  readonly sequence: number;
  readonly message: string;
  readonly eventType: string;
  /** When the message was accepted, in unix milliseconds. */
  readonly createdAt: number;
  readonly state: DeliveryState;
  readonly nextAt: number | null;
  /** Attempts since its schedule began. */
  readonly tries: number;
  readonly attempts: readonly Attempt[];
}

/** Of one hour, by the time of the attempts; `hour` is unix milliseconds. */
export interface HourFigures {
  readonly hour: number;
  readonly attempts: number;
  readonly delivered: number;
  /** Deliveries whose schedule was used up. */
  readonly failed: number;
  /** Duration of all attempts together. */
  readonly milliseconds: number;
}

type Row = Record<string, SqlStorageValue> & {
  sequence: number;
  message: string;
  event_type: string;
  created_at: number;
  state: DeliveryState;
  next_at: number | null;
  tries: number;
  attempts: string;
};

export class DeliveryStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  last(): number {
    return this.#sql.exec<{ last: number | null }>('select max(sequence) as last from deliveries').one().last ?? 0;
  }

  /** False for one that is there already. @param nextAt for one that comes out of its turn: when it is tried */
  add({ sequence, id, eventType, createdAt }: Offer, nextAt: number | null): boolean {
    const state: DeliveryState = nextAt === null ? 'new' : 'retry';
    const values = [sequence, id, eventType, createdAt, state, nextAt];
    return (
      this.#sql.exec(`insert or ignore into deliveries values (?, ?, ?, ?, ?, ?, 0, '[]')`, ...values).rowsWritten > 0
    );
  }

  at(sequence: number): Delivery | undefined {
    return this.#read('where sequence = ?', sequence)[0];
  }

  /** The first that was not tried yet. */
  nextNew(after: number): Delivery | undefined {
    return this.#read(`where sequence > ? and state = 'new' order by sequence limit 1`, after)[0];
  }

  /** Those whose wait ends first. */
  nextRetries(limit: number): Delivery[] {
    return this.#read(`where state = 'retry' order by next_at limit ?`, limit);
  }

  /** The first that failed and is to be tried again. */
  oldestRetry(): Delivery | undefined {
    return this.#read(`where state = 'retry' order by sequence limit 1`)[0];
  }

  settle(
    sequence: number,
    state: DeliveryState,
    nextAt: number | null,
    tries: number,
    attempts: readonly Attempt[],
  ): void {
    this.#sql.exec(
      'update deliveries set state = ?, next_at = ?, tries = ?, attempts = ? where sequence = ?',
      ...[state, nextAt, tries, JSON.stringify(attempts.slice(-LIMITS.deliveryAttempts)), sequence],
    );
  }

  /** Leaves what is known of its attempts, and counts none. */
  retryAt(sequence: number, nextAt: number): void {
    this.#sql.exec(`update deliveries set state = 'retry', next_at = ? where sequence = ?`, nextAt, sequence);
  }

  /** Begins the schedule of failed ones anew, a part at a time; returns the numbers of that part. */
  recover(after: number, since: number, until: number, now: number): number[] {
    const failed = this.#read(
      `where state = 'failed' and sequence > ? and created_at >= ? and created_at < ? order by sequence limit ?`,
      ...[after, since, until, LIMITS.outboundRowsPerTurn],
    );
    for (const { sequence } of failed) this.again(sequence, now);
    return failed.map(({ sequence }) => sequence);
  }

  again(sequence: number, now: number): void {
    this.#sql.exec(`update deliveries set state = 'retry', next_at = ?, tries = 0 where sequence = ?`, now, sequence);
  }

  /** The newest first. */
  list(before: number, state: DeliveryState | undefined, limit: number): Delivery[] {
    // Said literally, because SQLite takes a partial index only where the query implies its condition.
    const matches = state === undefined ? 'true' : `state = '${state}'`;
    return this.#read(`where ${matches} and sequence < ? order by sequence desc limit ?`, before, limit);
  }

  /** How many wait, `new` ones from a number on. */
  waiting(after: number): number {
    return this.#sql
      .exec<{ count: number }>(
        `select (select count(*) from deliveries where sequence > ? and state = 'new') +
          (select count(*) from deliveries where state = 'retry') as count`,
        after,
      )
      .one().count;
  }

  hour(hour: number): HourFigures | undefined {
    return this.hours(hour)[0];
  }

  /** The oldest first. */
  hours(since: number): HourFigures[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & HourFigures>('select * from hours where hour >= ? order by hour', since)
      .toArray();
  }

  saveHour({ hour, attempts, delivered, failed, milliseconds }: HourFigures): void {
    this.#sql.exec(
      'insert or replace into hours values (?, ?, ?, ?, ?)',
      hour,
      attempts,
      delivered,
      failed,
      milliseconds,
    );
  }

  state(): string | undefined {
    return this.#sql.exec<{ value: string }>(`select value from meta where name = 'state'`).toArray()[0]?.value;
  }

  saveState(value: string): void {
    this.#sql.exec(`insert or replace into meta values ('state', ?)`, value);
  }

  oldestAt(): number | undefined {
    return this.#read('order by sequence limit 1')[0]?.createdAt;
  }

  /** Deletes a part of what is older, whatever came of it; returns how many. The newest stays: see `last`. */
  prune(createdBefore: number): number {
    this.#sql.exec('delete from hours where hour < ?', createdBefore);
    return this.#sql
      .exec(
        `delete from deliveries where sequence in (
         select sequence from (select sequence, created_at from deliveries order by sequence limit ?)
         where created_at < ? and sequence < (select max(sequence) from deliveries))
       returning sequence`,
        ...[LIMITS.outboundRowsPerTurn, createdBefore],
      )
      .toArray().length;
  }

  #read(rest: string, ...values: readonly SqlStorageValue[]): Delivery[] {
    return this.#sql
      .exec<Row>(`select * from deliveries ${rest}`, ...values)
      .toArray()
      .map(deliveryOf);
  }
}

const deliveryOf = (row: Row): Delivery => ({
  sequence: row.sequence,
  message: row.message,
  eventType: row.event_type,
  createdAt: row.created_at,
  state: row.state,
  nextAt: row.next_at,
  tries: row.tries,
  attempts: JSON.parse(row.attempts) as Attempt[],
});
