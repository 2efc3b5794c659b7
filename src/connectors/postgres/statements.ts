/** `postgres.query`, `batch` and `read`: SQL of the author. */

import * as v from 'valibot';
import { LIMITS } from '../../core/limits.ts';
import { listOf, runBatch, runQuery, statementFields, transactionFields, transfer } from '../kit/sql.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown } from './connection.ts';

const statement = v.strictObject(
  statementFields('For $1, $2, …. An array becomes a Postgres array, an object JSON. Give int8 beyond 2^53 as text.'),
);

export const statements = {
  query: defineAction(
    {
      title: 'Run a statement',
      effect: 'external',
      params: statement,
      example: { sql: 'select * from orders where id = $1', params: [42] },
      run: (given, context) => runQuery(open(context), given, shown),
    },
    connection,
  ),
  batch: defineAction(
    {
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({
        statements: listOf(statement),
        ...transactionFields,
        deferrable: v.optional(
          v.pipe(
            v.boolean(),
            v.description('With `Serializable` and `readOnly`: waits for a snapshot that cannot fail.'),
          ),
        ),
      }),
      example: { statements: transfer('$1', '$2'), isolationLevel: 'Serializable' },
      run: ({ statements, ...options }, context) => runBatch(open(context), statements, options, shown),
    },
    connection,
  ),
  read: defineAction(
    {
      title: 'Read the first rows of a large result',
      effect: 'idempotent',
      params: v.strictObject({
        sql: v.pipe(v.string(), v.minLength(1), v.description('One `select` or `values`; it may change nothing.')),
        params: statement.entries.params,
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
