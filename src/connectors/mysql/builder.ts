/** `mysql.select`, `insert`, `update`, `delete`, `upsert` and `bulkUpsert`: statements from JSON. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import * as build from '../../drivers/kit/sql.ts';
import type { MysqlResult } from '../../drivers/mysql/driver.ts';
import { bulkUpsert, upsert } from '../../drivers/mysql/upsert.ts';
import { examples, fields, rowsUpTo, selectAction, tableField, updated } from '../kit/sql.ts';
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

const table = tableField('`table` or `database.table`.');
const { where, all } = fields;
const rows = rowsUpTo(LIMITS.databaseInsertRows);
const example = { table: 'orders', rows: examples.rows };

export const builder = {
  select: selectAction({ table, connection, run: runOne }, 'MySQL'),
  insert: defineAction(
    {
      title: 'Insert rows into a table',
      effect: 'external',
      params: v.strictObject({ table, rows }),
      example,
      run: (given, context) => runOne(build.insert(given), context),
    },
    connection,
  ),
  update: defineAction(
    {
      title: 'Update rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, set: fields.set, where, all }),
      example: examples.update,
      run: (given, context) => runOne(build.update(given), context),
    },
    connection,
  ),
  delete: defineAction(
    {
      title: 'Delete rows of a table',
      effect: 'idempotent',
      params: v.strictObject({ table, where, all }),
      example: examples.delete('2020-01-01 00:00:00'),
      run: (given, context) => runOne(build.remove(given), context),
    },
    connection,
  ),
  upsert: defineAction(
    {
      title: 'Insert rows, or update those with the same unique key',
      effect: 'idempotent',
      params: v.strictObject({ table, rows, update: updated('all') }),
      example,
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
        update: updated('all'),
      }),
      example,
      async run(given, context) {
        const results = await run(bulkUpsert(given), context);
        if (!results.ok) return results;
        return ok({ rowCount: results.value.reduce((sum, { rowCount }) => sum + rowCount, 0) });
      },
    },
    connection,
  ),
};
