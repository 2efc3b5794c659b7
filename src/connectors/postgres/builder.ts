/** `postgres.select`, `insert`, `update`, `delete`, `upsert` and `bulkUpsert`: statements from JSON. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import type { Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { insert } from '../../drivers/kit/sql.ts';
import { bulkUpsert, upsert } from '../../drivers/postgres/upsert.ts';
import { changeActions, examples, fields, rowsUpTo, runQuery, selectAction, tableField, updated } from '../kit/sql.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown, type Context } from './connection.ts';

async function run(built: Result<SQL>, context: Context): Promise<Result<unknown>> {
  if (!built.ok) return built;
  // Loaded at the first use: it brings all that drizzle knows of Postgres.
  const { PgDialect } = await import('drizzle-orm/pg-core');
  const { sql, params } = new PgDialect().sqlToQuery(built.value);
  return runQuery(open(context), { sql, params }, shown);
}

const table = tableField('`table` or `schema.table`.');
const dialect = { table, connection, run };

export const builder = {
  select: selectAction(dialect),
  ...changeActions(dialect, { before: '2020-01-01T00:00:00Z', insert, upsert }),
  bulkUpsert: defineAction(
    {
      title: 'Insert thousands of rows, or update those that are there, in one statement',
      effect: 'idempotent',
      params: v.strictObject({
        table,
        rows: v.pipe(
          rowsUpTo(LIMITS.databaseBulkRows),
          v.description('Every row with the same columns, as JSON: in a column of JSON, a text is a JSON text.'),
        ),
        conflict: fields.conflict,
        update: updated('all others'),
      }),
      example: { table: 'orders', rows: examples.rows, conflict: ['id'] },
      run: (given, context) => run(bulkUpsert(given), context),
    },
    connection,
  ),
};
