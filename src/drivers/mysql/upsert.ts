/** `insert … on duplicate key update`. */

import { sql, type SQL } from 'drizzle-orm';
import { fail, ok, type Result } from '../../core/errors.ts';
import { insert, quotedColumns } from '../kit/sql.ts';
import { sharedColumns, type Upsert as UpsertOnConflict } from '../kit/upsert.ts';

/** MySQL itself finds the unique key; by default all columns of the rows are updated. */
export type Upsert = Pick<UpsertOnConflict, 'table' | 'rows' | 'update'>;

/** Placeholders of one statement, by MySQL's protocol. */
const PLACEHOLDERS = 65_535;

/** Fault `step.params`. */
export function upsert({ table, rows, update }: Upsert): Result<SQL> {
  const [first] = Object.keys(rows[0] ?? {});
  if (first === undefined) return fail('step.params', 'rows[0]: name at least one column.');
  const changed = update ?? [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const assignments: SQL[] = [];
  for (const name of changed) {
    const column = quotedColumns([name]);
    if (!column.ok) return column;
    assignments.push(sql`${column.value} = values(${column.value})`);
  }
  // Not `insert ignore`, which would swallow other mistakes as well.
  const same = quotedColumns([first]);
  if (!same.ok) return same;
  if (assignments.length === 0) assignments.push(sql`${same.value} = ${same.value}`);
  return insert({ table, rows }, sql`on duplicate key update ${sql.join(assignments, sql.raw(', '))}`);
}

/** As many statements as the rows need, each with the same columns. Fault `step.params`. */
export function bulkUpsert(given: Upsert): Result<readonly SQL[]> {
  const names = sharedColumns(given.rows);
  if (!names.ok) return names;
  const size = Math.max(1, Math.floor(PLACEHOLDERS / Math.max(1, names.value.length)));
  const statements: SQL[] = [];
  for (let start = 0; start < given.rows.length; start += size) {
    const statement = upsert({ ...given, rows: given.rows.slice(start, start + size) });
    if (!statement.ok) return statement;
    statements.push(statement.value);
  }
  return ok(statements);
}
