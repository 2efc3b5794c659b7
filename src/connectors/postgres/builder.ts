/** `postgres.select`, `insert`, `update`, `delete`, `upsert` and `bulkUpsert`: statements from JSON. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import * as build from '../../drivers/kit/sql.ts';
import { bulkUpsert, upsert } from '../../drivers/postgres/upsert.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown, type Context } from './connection.ts';

async function run(built: Result<SQL>, context: Context): Promise<Result<unknown>> {
  if (!built.ok) return built;
  const driver = open(context);
  if (!driver.ok) return driver;
  // Loaded at the first use: it brings all that drizzle knows of Postgres.
  const { PgDialect } = await import('drizzle-orm/pg-core');
  const { sql, params } = new PgDialect().sqlToQuery(built.value);
  const result = await driver.value.query({ sql, params });
  return result.ok ? ok(shown(result.value)) : result;
}

const table = v.pipe(v.string(), v.minLength(1), v.description('`table` or `schema.table`.'));
const columns = v.pipe(v.array(v.string()), v.minLength(1));
const returning = v.optional(
  v.pipe(columns, v.description('Columns of the rows that changed to give back; `["*"]` for all.')),
);
const where = v.optional(
  v.pipe(
    v.record(v.string(), v.unknown()),
    v.description(
      'A column with `eq ne lt lte gt gte in like isNull`, all of which must hold; or `and`, `or` with a list of conditions, `not` with one.',
    ),
  ),
);
const all = v.optional(v.pipe(v.boolean(), v.description('Without `where`: must be true to change every row.')));
const values = v.pipe(v.record(v.string(), v.unknown()), v.description('Values by column.'));
const rowsUpTo = (most: number) => v.pipe(v.array(values), v.minLength(1), v.maxLength(most));
const conflict = v.pipe(columns, v.description('Columns of a unique index.'));
const updated = v.optional(
  v.pipe(
    v.array(v.string()),
    v.description('Columns that a row that is there gets anew; default all others, `[]` leaves it alone.'),
  ),
);
const count = v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)));

export const builder = {
  select: defineAction(
    {
      title: 'Select rows of a table',
      effect: 'idempotent',
      params: v.strictObject({
        table,
        columns: v.optional(v.pipe(columns, v.description('Default: all.'))),
        where,
        orderBy: v.optional(
          v.pipe(
            v.array(v.strictObject({ column: v.string(), direction: v.optional(v.picklist(['asc', 'desc'])) })),
            v.minLength(1),
          ),
        ),
        limit: count,
        offset: count,
      }),
      example: {
        table: 'orders',
        columns: ['id', 'total'],
        where: {
          and: [
            { column: 'vip', eq: true },
            { column: 'total', gte: 100, lt: 500 },
          ],
        },
        orderBy: [{ column: 'total', direction: 'desc' }],
        limit: 20,
      },
      run: (given, context) => run(build.select(given), context),
    },
    connection,
  ),
  insert: defineAction(
    {
      title: 'Insert rows into a table',
      effect: 'external',
      params: v.strictObject({ table, rows: rowsUpTo(LIMITS.databaseInsertRows), returning }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }], returning: ['id'] },
      run: (given, context) => run(build.insert(given), context),
    },
    connection,
  ),
  update: defineAction(
    {
      title: 'Update rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, set: values, where, all, returning }),
      example: { table: 'orders', set: { vip: true }, where: { column: 'customer', in: ['Ada', 'Grace'] } },
      run: (given, context) => run(build.update(given), context),
    },
    connection,
  ),
  delete: defineAction(
    {
      title: 'Delete rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, where, all, returning }),
      example: { table: 'orders', where: { column: 'placed_at', lt: '2020-01-01T00:00:00Z' } },
      run: (given, context) => run(build.remove(given), context),
    },
    connection,
  ),
  upsert: defineAction(
    {
      title: 'Insert rows, or update those that are there',
      effect: 'idempotent',
      params: v.strictObject({
        table,
        rows: rowsUpTo(LIMITS.databaseInsertRows),
        conflict,
        update: updated,
        returning,
      }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }], conflict: ['id'], returning: ['*'] },
      run: (given, context) => run(upsert(given), context),
    },
    connection,
  ),
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
        conflict,
        update: updated,
      }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }], conflict: ['id'] },
      run: (given, context) => run(bulkUpsert(given), context),
    },
    connection,
  ),
};
