/** `mysql.query` and `batch`: SQL of the author. */

import * as v from 'valibot';
import { ok } from '../../core/errors.ts';
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
    v.description('One for each ?. Objects and lists become JSON. Give bigint beyond 2^53 as text.'),
  ),
  [],
);

const queryParams = v.strictObject({ sql, params });

const batchParams = v.strictObject({
  statements: v.pipe(v.array(queryParams), v.minLength(1), v.maxLength(1_000)),
  isolationLevel: v.optional(v.picklist(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'])),
  readOnly: v.optional(v.pipe(v.boolean(), v.description('Refuses every change.'))),
});

export const statements = {
  query: defineAction(
    {
      title: 'Run a statement',
      effect: 'external',
      params: queryParams,
      example: { sql: 'select * from orders where id = ?', params: [42] },
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
      params: batchParams,
      example: {
        statements: [
          { sql: 'update accounts set balance = balance - ? where id = ?', params: [10, 1] },
          { sql: 'update accounts set balance = balance + ? where id = ?', params: [10, 2] },
        ],
        isolationLevel: 'Serializable',
      },
      async run({ statements, isolationLevel, readOnly }, context) {
        const driver = open(context);
        if (!driver.ok) return driver;
        const results = await driver.value.batch(statements, {
          ...(isolationLevel !== undefined && { isolationLevel }),
          ...(readOnly !== undefined && { readOnly }),
        });
        return results.ok ? ok({ results: results.value.map(shown) }) : results;
      },
    },
    connection,
  ),
};
