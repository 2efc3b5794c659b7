/** `postgres.query`, `batch` and `read`: SQL of the author. */

import * as v from 'valibot';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown } from './connection.ts';

const sql = v.pipe(
  v.string(),
  v.minLength(1),
  v.description('One statement. Values belong into `params`, never here.'),
);
const params = v.optional(
  v.pipe(
    v.array(v.unknown()),
    v.description('For $1, $2, …. An array becomes a Postgres array, an object JSON. Give int8 beyond 2^53 as text.'),
  ),
  [],
);

export const statements = {
  query: defineAction(
    {
      title: 'Run a statement',
      effect: 'external',
      params: v.strictObject({ sql, params }),
      example: { sql: 'select * from orders where id = $1', params: [42] },
      async run(statement, context) {
        const driver = open(context);
        if (!driver.ok) return driver;
        const result = await driver.value.query(statement);
        return result.ok ? ok(shown(result.value)) : result;
      },
    },
    connection,
  ),
  batch: defineAction(
    {
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({
        statements: v.pipe(v.array(v.strictObject({ sql, params })), v.minLength(1), v.maxLength(1_000)),
        isolationLevel: v.optional(v.picklist(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'])),
        readOnly: v.optional(v.pipe(v.boolean(), v.description('Refuses every change.'))),
        deferrable: v.optional(
          v.pipe(
            v.boolean(),
            v.description('With `Serializable` and `readOnly`: waits for a snapshot that cannot fail.'),
          ),
        ),
      }),
      example: {
        statements: [
          { sql: 'update accounts set balance = balance - $1 where id = $2', params: [10, 1] },
          { sql: 'update accounts set balance = balance + $1 where id = $2', params: [10, 2] },
        ],
        isolationLevel: 'Serializable',
      },
      async run({ statements, isolationLevel, readOnly, deferrable }, context) {
        const driver = open(context);
        if (!driver.ok) return driver;
        const results = await driver.value.batch(statements, {
          ...(isolationLevel !== undefined && { isolationLevel }),
          ...(readOnly !== undefined && { readOnly }),
          ...(deferrable !== undefined && { deferrable }),
        });
        return results.ok ? ok({ results: results.value.map(shown) }) : results;
      },
    },
    connection,
  ),
  read: defineAction(
    {
      title: 'Read the first rows of a large result',
      effect: 'idempotent',
      params: v.strictObject({
        sql: v.pipe(v.string(), v.minLength(1), v.description('One `select` or `values`; it may change nothing.')),
        params,
        maximumRows: v.pipe(
          v.number(),
          v.integer(),
          v.minValue(1),
          v.maxValue(LIMITS.databaseReadRows),
          v.description('`more` of the output tells whether there were others.'),
        ),
      }),
      example: { sql: 'select * from orders where id > $1 order by id', params: [42], maximumRows: 10_000 },
      async run({ maximumRows, ...statement }, context) {
        const driver = open(context);
        return driver.ok ? driver.value.read(statement, maximumRows) : driver;
      },
    },
    connection,
  ),
};
