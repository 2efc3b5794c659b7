/** `insert … on conflict`, of a few rows as parameters or of thousands as one JSON document. */

import { sql, type SQL } from 'drizzle-orm';
import { ok, type Result } from '../../core/errors.ts';
import { insert, quotedColumns, quotedTable } from '../kit/sql.ts';
import { onConflict, sharedColumns, type Upsert } from '../kit/upsert.ts';

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
  const names = sharedColumns(given.rows);
  if (!names.ok) return names;
  const table = quotedTable(given.table);
  const columns = quotedColumns(names.value);
  const conflict = onConflict(given);
  if (!table.ok) return table;
  if (!columns.ok) return columns;
  if (!conflict.ok) return conflict;
  const rows = sql`json_populate_recordset(null::${table.value}, ${JSON.stringify(given.rows)}::json)`;
  return ok(sql`insert into ${table.value} (${columns.value}) select ${columns.value} from ${rows} ${conflict.value}`);
}
