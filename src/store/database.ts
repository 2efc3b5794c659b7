/** The connection to D1, and what every change of the configuration writes besides its own rows. */

import { DrizzleQueryError, sql, type SQL } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core';
import { drizzle, type DrizzleD1Database } from 'drizzle-orm/d1';
import { auditLog, configuration } from './schema.ts';
import { fault, type Fault } from '../core/errors.ts';
import { contentOf } from '../core/seal.ts';

export type Database = DrizzleD1Database;

export const connect = (db: D1Database): Database => drizzle(db);

/** Who did what to which record. `detail` never holds a secret. */
export interface Audit {
  readonly at: number;
  readonly actor: string;
  /** `chain.publish`, `key.remove`, … */
  readonly action: string;
  readonly subject: string;
  readonly detail?: Record<string, unknown>;
}

export const appendAudit = (database: Database, audit: Audit) => database.insert(auditLog).values(audit);

/**
 * Writes a change of the configuration, the revision that it makes and its line in the audit log, or
 * nothing: D1 runs a batch as one transaction.
 */
export async function change(
  database: Database,
  audit: Audit,
  statements: readonly BatchItem<'sqlite'>[],
): Promise<void> {
  await database.batch([
    database
      .insert(configuration)
      .values({ id: 1, revision: 1 })
      .onConflictDoUpdate({ target: configuration.id, set: { revision: sql`${configuration.revision} + 1` } }),
    appendAudit(database, audit),
    ...statements,
  ]);
}

/** A change of what no isolate holds in memory, with its line in the audit log, or nothing. */
export async function changeApart(
  database: Database,
  audit: Audit,
  statements: readonly BatchItem<'sqlite'>[],
): Promise<void> {
  await database.batch([appendAudit(database, audit), ...statements]);
}

/** Whether a column holds the same content, whichever master key it is wrapped by. */
export function hasContent(column: SQLiteColumn, sealed: string): SQL {
  const content = contentOf(sealed);
  return sql`substr(${column}, ${-content.length}) = ${content}`;
}

/** Drizzle's own message quotes the parameters of the query, so only the cause is ever looked at or logged. */
const causeOf = (thrown: unknown): unknown => (thrown instanceof DrizzleQueryError ? thrown.cause : thrown);

/** Whether a statement met a row that has the same key in that table. */
export function isTaken(thrown: unknown, table: string): boolean {
  const cause = causeOf(thrown);
  return cause instanceof Error && cause.message.includes(`UNIQUE constraint failed: ${table}.`);
}

/** The fault for an exception of D1; undefined for any other. */
export function storageFault(thrown: unknown): Fault | undefined {
  const cause = causeOf(thrown);
  const message = cause instanceof Error ? cause.message : String(cause);
  if (!(thrown instanceof DrizzleQueryError) && !/\bD1_[A-Z_]*ERROR\b/.test(message)) return undefined;
  return fault('storage.unavailable', 'The database did not answer; try again.', { detail: message });
}
