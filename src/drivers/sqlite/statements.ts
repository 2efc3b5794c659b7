/**
 * Statements for SQLite as the platform runs it, in D1 and in objects: at most 100 parameters each, no `default`
 * among the values of an `insert`, and values that are texts, numbers, null or bytes.
 */

import { sql, type SQL } from 'drizzle-orm';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { quotedColumns, quotedTable } from '../kit/sql.ts';
import type { Statement } from '../kit/sql-driver.ts';
import { onConflict, sharedColumns, type Row, type Upsert } from '../kit/upsert.ts';

/** A value as SQLite takes it. */
export function bindable(value: unknown): string | number | null {
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value === undefined || value === null ? null : JSON.stringify(value);
}

/** A statement as text and parameters. Loads drizzle's dialect at the first use. */
export async function rendered(built: SQL): Promise<Statement> {
  const { SQLiteSyncDialect } = await import('drizzle-orm/sqlite-core');
  const dialect = new SQLiteSyncDialect();
  // SQLite takes a name in double quotes that it does not know for a text: a condition on a column that is not
  // there would then hold for every row. Between backticks it is a name and nothing else.
  dialect.escapeName = (name) => `\`${name.replaceAll('`', '``')}\``;
  const { sql: text, params } = dialect.sqlToQuery(built);
  return { sql: text, params: params.map(bindable) };
}

/**
 * The rows travel as one parameter, a list of lists in JSON, since there may be more values than parameters.
 * Every row must have the same columns. Fault `step.params`.
 */
export function insert(
  { table, rows, returning }: Pick<Upsert, 'table' | 'rows' | 'returning'>,
  conflict: SQL = sql``,
): Result<SQL> {
  const names = sharedColumns(rows);
  if (!names.ok) return names;
  if (names.value.length === 0) return fail('step.params', 'rows: name at least one column.');
  const target = quotedTable(table);
  if (!target.ok) return target;
  const columns = quotedColumns(names.value);
  if (!columns.ok) return columns;
  const json = listsOf(rows, names.value);
  if (json.length > LIMITS.sqliteValueBytes / 3 && new TextEncoder().encode(json).length > LIMITS.sqliteValueBytes) {
    return fail('step.params', `rows: they take more than ${LIMITS.sqliteValueBytes} bytes; give fewer at a time.`);
  }
  const back = returningOf(returning);
  if (!back.ok) return back;
  const cells = names.value.map((_, index) => sql.raw(`json_extract(value, '$[${index}]')`));
  // `where true` tells the parser that `on` does not belong to a join.
  return ok(
    sql`insert into ${target.value} (${columns.value}) select ${sql.join(cells, sql.raw(', '))} from json_each(${json}) where true ${conflict}${back.value}`,
  );
}

/** Fault `step.params`. */
export function upsert(given: Upsert): Result<SQL> {
  const conflict = onConflict(given);
  return conflict.ok ? insert(given, conflict.value) : conflict;
}

const listsOf = (rows: readonly Row[], names: readonly string[]): string =>
  JSON.stringify(rows.map((row) => names.map((name) => row[name] ?? null)));

function returningOf(names: readonly string[] | undefined): Result<SQL> {
  if (names === undefined) return ok(sql``);
  if (names.length === 1 && names[0] === '*') return ok(sql` returning *`);
  const columns = quotedColumns(names);
  return columns.ok ? ok(sql` returning ${columns.value}`) : columns;
}
