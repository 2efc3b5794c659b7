/**
 * A SQLite database inside a Durable Object.
 *
 * Guarantee: the statements of a call are one transaction, and what only reads is rolled back whatever it did; no
 * setting of one call is left to the next. The platform itself refuses other files (`attach`, `vacuum into`),
 * extensions, transactions by SQL, temporary tables and its own tables.
 * Accepted weakness: a statement cannot be interrupted; one that never ends holds up the other calls of this
 * database until the platform ends it.
 */

import { fail, fault, FaultError, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Statement } from '../kit/sql-driver.ts';
import { scan } from './scan.ts';

export interface SqliteResult {
  /** By column name; of two columns with one name the last. Blobs are texts of hexadecimal digits. */
  readonly rows: readonly Readonly<Record<string, string | number | null>>[];
  /** Rows that the statement inserted, updated or deleted, without those of triggers. */
  readonly changes: number;
  /** Of the last `insert` into a table with row ids; a text beyond 2^53. */
  readonly lastRowId: number | string;
}

export type Access = 'read' | 'write';

/** A database by name, wherever its object is. Faults `step.params`, `upstream.*`, `storage.unavailable`. */
export interface SqliteDatabase {
  run(statements: readonly Statement[], access: Access): Promise<Result<readonly SqliteResult[]>>;
  /** Removes all that is in it. */
  clear(): Promise<Result<undefined>>;
}

const READING: ReadonlySet<string> = new Set(['select', 'values', 'with', 'explain', 'pragma']);
/** Others that the platform lets through, such as `foreign_keys = off`, would hold for later calls. */
const PRAGMAS: ReadonlySet<string | undefined> = new Set([
  'table_list',
  'table_info',
  'table_xinfo',
  'index_list',
  'index_info',
  'index_xinfo',
  'foreign_key_list',
  'foreign_key_check',
  'defer_foreign_keys',
  'optimize',
]);

/** Ends the transaction of statements that read, with what they read. */
class Undone extends Error {
  readonly results: readonly SqliteResult[];
  constructor(results: readonly SqliteResult[]) {
    super('Reading leaves nothing behind.');
    this.results = results;
  }
}

type Storage = Pick<DurableObjectStorage, 'sql' | 'transactionSync'>;

export function runStatements(
  storage: Storage,
  statements: readonly Statement[],
  access: Access,
): Result<readonly SqliteResult[]> {
  for (const { sql } of statements) {
    const refused = refusalOf(sql, access);
    if (refused !== undefined) return { ok: false, fault: refused };
  }
  const room = { rows: LIMITS.databaseReadRows, bytes: LIMITS.responseBodyBytes };
  try {
    return storage.transactionSync(() => {
      const results = statements.map((statement) => runOne(storage.sql, statement, access, room));
      if (access === 'read') throw new Undone(results);
      return ok(results);
    });
  } catch (thrown) {
    if (thrown instanceof Undone) return ok(thrown.results);
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    return { ok: false, fault: faultOfSqlite(thrown) };
  }
}

function refusalOf(text: string, access: Access): Fault | undefined {
  const { kind, pragma, isSingle } = scan(text);
  if (!isSingle) return fault('step.params', 'sql: give one statement; several belong into `batch`.');
  if (access === 'read' && !READING.has(kind)) {
    return fault('step.params', 'sql: a query only reads; use `execute` or `batch` for what writes.');
  }
  if (kind === 'pragma' && !PRAGMAS.has(pragma)) {
    return fault('step.params', `sql: this pragma is not allowed; those are: ${[...PRAGMAS].join(', ')}.`);
  }
  return undefined;
}

interface Room {
  rows: number;
  bytes: number;
}

function runOne(sql: SqlStorage, { sql: text, params }: Statement, access: Access, room: Room): SqliteResult {
  const before = changesSoFar(sql);
  const cursor = sql.exec(text, ...params);
  const rows: SqliteResult['rows'][number][] = [];
  for (const raw of cursor) {
    const row = Object.fromEntries(Object.entries(raw).map(([column, value]) => [column, shown(column, value)]));
    room.rows -= 1;
    room.bytes -= JSON.stringify(row).length;
    if (room.rows < 0 || room.bytes < 0) throw new FaultError(tooLarge());
    rows.push(row);
  }
  const after = changesSoFar(sql);
  const hasChanged = after.total !== before.total;
  if (access === 'read' && (hasChanged || cursor.rowsWritten > 0)) {
    throw new FaultError(fault('step.params', 'sql: a query only reads; use `execute` or `batch` for what writes.'));
  }
  const id = Number(after.lastRowId);
  return {
    rows,
    changes: hasChanged ? after.changes : 0,
    lastRowId: Number.isSafeInteger(id) ? id : after.lastRowId,
  };
}

/** Unlike the figures of the cursor these leave out indexes. */
const changesSoFar = (sql: SqlStorage): { changes: number; total: number; lastRowId: string } =>
  sql
    .exec<{ changes: number; total: number; lastRowId: string }>(
      'select changes() as changes, total_changes() as total, cast(last_insert_rowid() as text) as lastRowId',
    )
    .one();

const tooLarge = (): Fault =>
  fault(
    'upstream.too-large',
    `The result has more than ${LIMITS.databaseReadRows} rows or ${LIMITS.responseBodyBytes} bytes; select less.`,
  );

const LONGEST_INTEGER = 2 ** 63;

/** The platform gives integers as doubles. One that may have lost digits is refused instead of given wrong. */
function shown(column: string, value: SqlStorageValue): string | number | null {
  if (value instanceof ArrayBuffer) {
    return Array.from(new Uint8Array(value), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    if (Math.abs(value) <= LONGEST_INTEGER) throw new FaultError(inexact(column));
  }
  return value;
}

const inexact = (column: string): Fault =>
  fault(
    'upstream.invalid',
    `The column ${column} holds a number beyond 2^53, whose digits would be lost; select cast(${column} as text).`,
  );

/** SQLite's own words, e.g. `UNIQUE constraint failed: notes.text: SQLITE_CONSTRAINT`. */
function faultOfSqlite(thrown: unknown): Fault {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (message.includes('SQLITE_TOOBIG')) return fault('upstream.too-large', `SQLite: ${message}`);
  // A database at its bound of 10 GB takes rows again once some are deleted.
  return fault('upstream.rejected', `SQLite: ${message}`);
}

/** For calls of an object that did not come to an answer. */
export const unanswered = (thrown: unknown): Result<never> =>
  fail('storage.unavailable', 'The database did not answer.', { detail: thrown });
