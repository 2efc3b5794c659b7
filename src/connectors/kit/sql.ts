/** What the connectors of SQL databases have in common: the fields of their actions, and the actions themselves. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import type { GenericSchema, InferOutput } from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import * as build from '../../drivers/kit/sql.ts';
import type { BatchOptions, SqlDriver, Statement } from '../../drivers/kit/sql-driver.ts';
import type { Upsert } from '../../drivers/kit/upsert.ts';
import { defineAction, type Action, type ActionContext } from './types.ts';

/** @param params what to say of the placeholders and of the values for them */
export const statementFields = (params: string) => ({
  sql: v.pipe(v.string(), v.minLength(1), v.description('One statement. Values belong into `params`, never here.')),
  params: v.optional(v.pipe(v.array(v.unknown()), v.description(params)), []),
});

export const listOf = <S extends GenericSchema>(statement: S) =>
  v.pipe(v.array(statement), v.minLength(1), v.maxLength(LIMITS.databaseBatchStatements));

export const transactionFields = {
  isolationLevel: v.optional(v.picklist(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'])),
  readOnly: v.optional(v.pipe(v.boolean(), v.description('Refuses every change.'))),
};

/** The example of every `batch`. */
export const transfer = (one: string, two: string): readonly Statement[] => [
  { sql: `update accounts set balance = balance - ${one} where id = ${two}`, params: [10, 1] },
  { sql: `update accounts set balance = balance + ${one} where id = ${two}`, params: [10, 2] },
];

export async function runQuery<R>(
  driver: Result<SqlDriver<R>>,
  statement: Statement,
  shown: (result: R) => unknown,
): Promise<Result<unknown>> {
  if (!driver.ok) return driver;
  const result = await driver.value.query(statement);
  return result.ok ? ok(shown(result.value)) : result;
}

export async function runBatch<R>(
  driver: Result<SqlDriver<R>>,
  statements: readonly Statement[],
  options: BatchOptions,
  shown: (result: R) => unknown,
): Promise<Result<unknown>> {
  if (!driver.ok) return driver;
  const results = await driver.value.batch(statements, options);
  return results.ok ? ok({ results: results.value.map(shown) }) : results;
}

const columns = v.pipe(v.array(v.string()), v.minLength(1));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const values = v.pipe(v.record(v.string(), v.unknown()), v.description('Values by column.'));

export const tableField = (description: string) => v.pipe(v.string(), v.minLength(1), v.description(description));
export const rowsUpTo = (most: number) => v.pipe(v.array(values), v.minLength(1), v.maxLength(most));

const where = v.optional(
  v.pipe(
    v.record(v.string(), v.unknown()),
    v.description(
      'A column with `eq ne lt lte gt gte in like isNull`, all of which must hold; or `and`, `or` with a list of conditions, `not` with one.',
    ),
  ),
);

export const updated = (usual: string) =>
  v.optional(
    v.pipe(
      v.array(v.string()),
      v.description(`Columns that a row that is there gets anew; default ${usual}, \`[]\` leaves it alone.`),
    ),
  );

export const fields = {
  set: values,
  where,
  all: v.optional(v.pipe(v.boolean(), v.description('Without `where`: must be true to change every row.'))),
  conflict: v.pipe(columns, v.description('Columns of a unique index.')),
  returning: v.optional(
    v.pipe(columns, v.description('Columns of the rows that changed to give back; `["*"]` for all.')),
  ),
};

export const examples = {
  rows: [{ id: 42, customer: 'Ada' }],
  update: { table: 'orders', set: { vip: true }, where: { column: 'customer', in: ['Ada', 'Grace'] } },
  delete: (before: string) => ({ table: 'orders', where: { column: 'placed_at', lt: before } }),
};

/** How a database takes a statement that was built. */
export interface Dialect<S extends GenericSchema, C extends GenericSchema> {
  readonly table: GenericSchema<unknown, string>;
  readonly connection?: { readonly settings: S; readonly secrets: C };
  /** Fields that say which database is meant, where no connection does. */
  readonly place?: { readonly fields: v.ObjectEntries; readonly example: Readonly<Record<string, unknown>> };
  run(
    built: Result<SQL>,
    context: ActionContext<InferOutput<S>, InferOutput<C>>,
    given: Readonly<Record<string, unknown>>,
  ): Promise<Result<unknown>>;
}

/** @param offsetNeedsLimit the name of a database that has no `offset` without a `limit` */
export function selectAction<S extends GenericSchema, C extends GenericSchema>(
  dialect: Dialect<S, C>,
  offsetNeedsLimit?: string,
): Action {
  const offset =
    offsetNeedsLimit === undefined ? count : v.pipe(count, v.description('Of rows to skip; needs `limit`.'));
  return defineAction(
    {
      title: 'Select rows of a table',
      effect: 'idempotent',
      params: v.strictObject({
        ...dialect.place?.fields,
        table: dialect.table,
        columns: v.optional(v.pipe(columns, v.description('Default: all.'))),
        where,
        orderBy: v.optional(
          v.pipe(
            v.array(v.strictObject({ column: v.string(), direction: v.optional(v.picklist(['asc', 'desc'])) })),
            v.minLength(1),
          ),
        ),
        limit: v.optional(count),
        offset: v.optional(offset),
      }),
      example: {
        ...dialect.place?.example,
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
        given.offset !== undefined && given.limit === undefined && offsetNeedsLimit !== undefined
          ? fail('step.params', `offset: ${offsetNeedsLimit} skips rows only where \`limit\` is given too.`)
          : dialect.run(build.select(given), context, given),
    },
    dialect.connection,
  );
}

interface Building {
  /** An instant as the database writes it, for an example. */
  readonly before: string;
  /** Where it differs from plain SQL. */
  insert(given: Pick<Upsert, 'table' | 'rows' | 'returning'>): Result<SQL>;
  upsert(given: Upsert): Result<SQL>;
}

/** `insert`, `update`, `delete` and `upsert` of a database with `returning` and `on conflict`. */
export function changeActions<S extends GenericSchema, C extends GenericSchema>(
  dialect: Dialect<S, C>,
  building: Building,
): Record<'insert' | 'update' | 'delete' | 'upsert', Action> {
  const { connection, table } = dialect;
  const place = dialect.place?.fields;
  const example = dialect.place?.example;
  const { where, all, returning, conflict } = fields;
  const rows = rowsUpTo(LIMITS.databaseInsertRows);
  return {
    insert: defineAction(
      {
        title: 'Insert rows into a table',
        effect: 'external',
        params: v.strictObject({ ...place, table, rows, returning }),
        example: { ...example, table: 'orders', rows: examples.rows, returning: ['id'] },
        run: (given, context) => dialect.run(building.insert(given), context, given),
      },
      connection,
    ),
    update: defineAction(
      {
        title: 'Update rows of a table',
        effect: 'idempotent',
        params: v.strictObject({ ...place, table, set: fields.set, where, all, returning }),
        example: { ...example, ...examples.update },
        run: (given, context) => dialect.run(build.update(given), context, given),
      },
      connection,
    ),
    delete: defineAction(
      {
        title: 'Delete rows of a table',
        effect: 'idempotent',
        params: v.strictObject({ ...place, table, where, all, returning }),
        example: { ...example, ...examples.delete(building.before) },
        run: (given, context) => dialect.run(build.remove(given), context, given),
      },
      connection,
    ),
    upsert: defineAction(
      {
        title: 'Insert rows, or update those that are there',
        effect: 'idempotent',
        params: v.strictObject({ ...place, table, rows, conflict, update: updated('all others'), returning }),
        example: { ...example, table: 'orders', rows: examples.rows, conflict: ['id'], returning: ['*'] },
        run: (given, context) => dialect.run(building.upsert(given), context, given),
      },
      connection,
    ),
  };
}
