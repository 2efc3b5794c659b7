/**
 * The storage of one instance of an object, with the platform's rules: what one stretch of code without an
 * `await` writes is one batch; a batch becomes durable later, in order, or never.
 *
 * The disk is a log of writes. An instance works on an SQLite database of its own, made by running the log.
 */

import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

type Row = Record<string, SqlStorageValue>;

export type Change =
  | { readonly kind: 'sql'; readonly text: string; readonly values: readonly SQLInputValue[] }
  | { readonly kind: 'alarm'; readonly at: number | undefined };

/** What outlives every instance. */
export interface Disk {
  readonly writes: Extract<Change, { kind: 'sql' }>[];
  /** On the clock that programs see. */
  alarmAt: number | undefined;
}

/** Definitions of tables. They are the same for every instance, so a database keeps them when it is used again. */
const schema: string[] = [];
const idle: Database[] = [];
let lent: Database[] = [];

class Database {
  readonly #database = new DatabaseSync(':memory:');
  readonly #statements = new Map<string, StatementSync>();
  #defined = 0;
  #open = false;

  /** Empties the tables and runs a log of writes. */
  restore(writes: Disk['writes']): void {
    if (this.#open) this.#database.exec('rollback');
    for (; this.#defined < schema.length; this.#defined++) this.#database.exec(schema[this.#defined] ?? '');
    this.#database.exec('begin');
    this.#open = true;
    for (const { text, values } of writes) this.statement(text).all(...values);
  }

  statement(text: string): StatementSync {
    let known = this.#statements.get(text);
    if (known === undefined) this.#statements.set(text, (known = this.#database.prepare(text)));
    return known;
  }

  exec(text: string): void {
    this.#database.exec(text);
  }
}

/** Call between two simulations: no instance of the former may be alive. */
export function reclaimDatabases(): void {
  idle.push(...lent);
  lent = [];
}

export interface StorageEvents {
  /** A write that is not durable yet. */
  changed(change: Change): void;
  /** Takes back the newest changes: their transaction was rolled back. */
  withdraw(count: number): void;
  /** Throws when the instance is gone. */
  assertAlive(): void;
  /** Whether an alarm set for this instant would be lost. */
  losesAlarm(at: number): boolean;
  durable(): Promise<void>;
}

const DEFINITION = /^\s*(?:create|drop|alter|pragma)\b/i;
const WRITE = /^\s*(?:insert|update|delete|replace)\b/i;
const RETURNING = /\breturning\b/i;

export class Storage {
  readonly #database: Database;
  readonly #events: StorageEvents;
  readonly #writes: Disk['writes'];
  #alarmAt: number | undefined;
  #changes = 0;
  readonly sql = { exec: (text: string, ...values: unknown[]) => this.#exec(text, values) };

  constructor(disk: Disk, events: StorageEvents) {
    this.#database = idle.pop() ?? new Database();
    lent.push(this.#database);
    this.#writes = [...disk.writes];
    this.#alarmAt = disk.alarmAt;
    this.#events = events;
    this.#database.restore(this.#writes);
  }

  /** For the simulator's own questions. */
  count(text: string): number {
    return Number(Object.values(this.#database.statement(text).get() ?? {})[0] ?? 0);
  }

  #exec(text: string, given: readonly unknown[]): unknown {
    this.#events.assertAlive();
    if (DEFINITION.test(text)) {
      this.#define(text);
      return cursor([], 0);
    }
    const values = given.map(bound);
    const statement = this.#database.statement(text);
    if (!WRITE.test(text)) return cursor(statement.all(...values) as Row[], 0);
    const change = { kind: 'sql', text, values } as const;
    let rows: Row[] = [];
    let written: number;
    if (RETURNING.test(text)) {
      rows = statement.all(...values) as Row[];
      written = rows.length;
    } else written = Number(statement.run(...values).changes);
    if (written > 0) this.#change(change);
    return cursor(rows, written);
  }

  #define(text: string): void {
    if (schema.includes(text)) return;
    schema.push(text);
    this.#database.restore(this.#writes);
  }

  #change(change: Change): void {
    if (change.kind === 'sql') this.#writes.push(change);
    this.#changes++;
    this.#events.changed(change);
  }

  transactionSync<T>(run: () => T): T {
    const changes = this.#changes;
    const writes = this.#writes.length;
    this.#database.exec('savepoint transaction_sync');
    try {
      const result = run();
      this.#database.exec('release transaction_sync');
      return result;
    } catch (thrown) {
      this.#database.exec('rollback to transaction_sync');
      this.#database.exec('release transaction_sync');
      this.#writes.length = writes;
      this.#events.withdraw(this.#changes - changes);
      this.#changes = changes;
      throw thrown;
    }
  }

  setAlarm(at: number | Date): Promise<void> {
    this.#events.assertAlive();
    const instant = Number(at);
    if (this.#events.losesAlarm(instant)) return Promise.resolve();
    this.#alarmAt = instant;
    this.#change({ kind: 'alarm', at: instant });
    return Promise.resolve();
  }

  deleteAlarm(): Promise<void> {
    this.#events.assertAlive();
    this.#alarmAt = undefined;
    this.#change({ kind: 'alarm', at: undefined });
    return Promise.resolve();
  }

  getAlarm(): Promise<number | null> {
    return Promise.resolve(this.#alarmAt ?? null);
  }

  /** The platform takes the alarm away as it calls the handler. */
  alarmFired(): void {
    this.#alarmAt = undefined;
  }

  sync(): Promise<void> {
    return this.#events.durable();
  }
}

function cursor(rows: readonly Row[], rowsWritten: number): unknown {
  return {
    rowsWritten,
    rowsRead: rows.length,
    columnNames: Object.keys(rows[0] ?? {}),
    toArray: () => rows,
    one: () => {
      if (rows.length !== 1) throw new Error(`Expected exactly one result from SQL query, but got ${rows.length}.`);
      return rows[0];
    },
    [Symbol.iterator]: () => rows[Symbol.iterator](),
  };
}

function bound(value: unknown): SQLInputValue {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw new TypeError(`The storage takes no ${typeof value} as a parameter.`);
}
