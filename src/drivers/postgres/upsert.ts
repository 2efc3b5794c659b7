/** `insert … on conflict`, of a few rows as parameters or of thousands as one JSON document. */

import { sql, type SQL } from 'drizzle-orm';
import { fail, ok, type Result } from '../../core/errors.ts';
import { insert, quotedColumns, quotedTable } from '../kit/sql.ts';

type Row = Readonly<Record<string, unknown>>;

export interface Upsert {
  readonly table: string;
  readonly rows: readonly Row[];
  /** Columns of a unique index. */
  readonly conflict: readonly string[];
  /** Columns that a row that is there gets anew; default all others of the rows, none leaves it alone. */
  readonly update?: readonly string[] | undefined;
  readonly returning?: readonly string[] | undefined;
}

/** Fault `step.params`. */
export function upsert(given: Upsert): Result<SQL> {
  const conflict = onConflict(given);
  return conflict.ok ? insert(given, conflict.value) : conflict;
}

/**
 * The rows travel as one parameter, which Postgres reads by the types of the table's columns: their number is not
 * bound by that of parameters. Every row must have the same columns, since a missing one would be null.
 * Fault `step.params`.
 */
export function bulkUpsert(given: Upsert): Result<SQL> {
  const names = Object.keys(given.rows[0] ?? {});
  const odd = given.rows.findIndex(
    (row) => Object.keys(row).length !== names.length || !names.every((name) => Object.hasOwn(row, name)),
  );
  if (odd >= 0) return fail('step.params', `rows[${odd}]: every row must have the columns of the first.`);
  const table = quotedTable(given.table);
  const columns = quotedColumns(names);
  const conflict = onConflict(given);
  if (!table.ok) return table;
  if (!columns.ok) return columns;
  if (!conflict.ok) return conflict;
  const rows = sql`json_populate_recordset(null::${table.value}, ${JSON.stringify(given.rows)}::json)`;
  return ok(sql`insert into ${table.value} (${columns.value}) select ${columns.value} from ${rows} ${conflict.value}`);
}

function onConflict({ rows, conflict, update }: Upsert): Result<SQL> {
  const target = quotedColumns(conflict);
  if (!target.ok) return target;
  const others = new Set(rows.flatMap((row) => Object.keys(row)));
  const changed = update ?? [...others].filter((name) => !conflict.includes(name));
  const assignments: SQL[] = [];
  for (const name of changed) {
    const column = quotedColumns([name]);
    if (!column.ok) return column;
    assignments.push(sql`${column.value} = excluded.${column.value}`);
  }
  const action = assignments.length === 0 ? sql`nothing` : sql`update set ${sql.join(assignments, sql`, `)}`;
  return ok(sql`on conflict (${target.value}) do ${action}`);
}
