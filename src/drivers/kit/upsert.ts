/** `insert … on conflict`, as Postgres and SQLite write it, and what all bulk inserts check. */

import { sql, type SQL } from 'drizzle-orm';
import { fail, ok, type Result } from '../../core/errors.ts';
import { quotedColumns } from './sql.ts';

export type Row = Readonly<Record<string, unknown>>;

export interface Upsert {
  readonly table: string;
  readonly rows: readonly Row[];
  /** Columns of a unique index. */
  readonly conflict: readonly string[];
  /** Columns that a row that is there gets anew; default all others of the rows, none leaves it alone. */
  readonly update?: readonly string[] | undefined;
  readonly returning?: readonly string[] | undefined;
}

/** The columns that all rows have; a fault where one has others. */
export function sharedColumns(rows: readonly Row[]): Result<string[]> {
  const names = Object.keys(rows[0] ?? {});
  const odd = rows.findIndex(
    (row) => Object.keys(row).length !== names.length || !names.every((name) => Object.hasOwn(row, name)),
  );
  return odd < 0 ? ok(names) : fail('step.params', `rows[${odd}]: every row must have the columns of the first.`);
}

/** Fault `step.params`. */
export function onConflict({ rows, conflict, update }: Omit<Upsert, 'table'>): Result<SQL> {
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
