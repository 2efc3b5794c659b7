/** `mysql.select`, `insert`, `update`, `delete`, `upsert` and `bulkUpsert`: statements from JSON. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import * as build from '../../drivers/kit/sql.ts';
import type { MysqlResult } from '../../drivers/mysql/driver.ts';
import { bulkUpsert, upsert } from '../../drivers/mysql/upsert.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown, type Context } from './connection.ts';

/** Several statements are one transaction. */
async function run(built: Result<readonly SQL[]>, context: Context): Promise<Result<readonly MysqlResult[]>> {
  if (!built.ok) return built;
  const driver = open(context);
  if (!driver.ok) return driver;
  // Loaded at the first use: it brings all that drizzle knows of MySQL.
  const { MySqlDialect } = await import('drizzle-orm/mysql-core');
  const dialect = new MySqlDialect();
  const [first, ...others] = built.value.map((each) => dialect.sqlToQuery(each));
  if (first === undefined) return ok([]);
  if (others.length > 0) return driver.value.batch([first, ...others]);
  const result = await driver.value.query(first);
  return result.ok ? ok([result.value]) : result;
}

async function runOne(built: Result<SQL>, context: Context): Promise<Result<unknown>> {
  const results = await run(built.ok ? ok([built.value]) : built, context);
  return results.ok ? ok(results.value.map(shown)[0]) : results;
}

const table = v.pipe(v.string(), v.minLength(1), v.description('`table` or `database.table`.'));
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
const updated = v.optional(
  v.pipe(
    v.array(v.string()),
    v.description('Columns that a row that is there gets anew; default all, `[]` leaves it alone.'),
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
        columns: v.optional(v.pipe(v.array(v.string()), v.minLength(1), v.description('Default: all.'))),
        where,
        orderBy: v.optional(
          v.pipe(
            v.array(v.strictObject({ column: v.string(), direction: v.optional(v.picklist(['asc', 'desc'])) })),
            v.minLength(1),
          ),
        ),
        limit: count,
        offset: v.optional(
          v.pipe(v.number(), v.integer(), v.minValue(0), v.description('Of rows to skip; needs `limit`.')),
        ),
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
      run: (given, context) =>
        given.offset !== undefined && given.limit === undefined
          ? fail('step.params', 'offset: MySQL skips rows only where `limit` is given too.')
          : runOne(build.select(given), context),
    },
    connection,
  ),
  insert: defineAction(
    {
      title: 'Insert rows into a table',
      effect: 'external',
      params: v.strictObject({ table, rows: rowsUpTo(LIMITS.databaseInsertRows) }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }] },
      run: (given, context) => runOne(build.insert(given), context),
    },
    connection,
  ),
  update: defineAction(
    {
      title: 'Update rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, set: values, where, all }),
      example: { table: 'orders', set: { vip: true }, where: { column: 'customer', in: ['Ada', 'Grace'] } },
      run: (given, context) => runOne(build.update(given), context),
    },
    connection,
  ),
  delete: defineAction(
    {
      title: 'Delete rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, where, all }),
      example: { table: 'orders', where: { column: 'placed_at', lt: '2020-01-01 00:00:00' } },
      run: (given, context) => runOne(build.remove(given), context),
    },
    connection,
  ),
  upsert: defineAction(
    {
      title: 'Insert rows, or update those with the same unique key',
      effect: 'idempotent',
      params: v.strictObject({ table, rows: rowsUpTo(LIMITS.databaseInsertRows), update: updated }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }] },
      run: (given, context) => runOne(upsert(given), context),
    },
    connection,
  ),
  bulkUpsert: defineAction(
    {
      title: 'Insert thousands of rows, or update those with the same unique key, in one transaction',
      effect: 'idempotent',
      params: v.strictObject({
        table,
        rows: v.pipe(rowsUpTo(LIMITS.databaseBulkRows), v.description('Every row with the same columns.')),
        update: updated,
      }),
      example: { table: 'orders', rows: [{ id: 42, customer: 'Ada' }] },
      async run(given, context) {
        const results = await run(bulkUpsert(given), context);
        if (!results.ok) return results;
        return ok({ rowCount: results.value.reduce((sum, { rowCount }) => sum + rowCount, 0) });
      },
    },
    connection,
  ),
};
