/** `mysql.query` and `batch`: SQL of the author. */

import * as v from 'valibot';
import { listOf, runBatch, runQuery, statementFields, transactionFields, transfer } from '../kit/sql.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open, shown } from './connection.ts';

const statement = v.strictObject(
  statementFields('One for each ?. Objects and lists become JSON. Give bigint beyond 2^53 as text.'),
);

export const statements = {
  query: defineAction(
    {
      title: 'Run a statement',
      effect: 'external',
      params: statement,
      example: { sql: 'select * from orders where id = ?', params: [42] },
      run: (given, context) => runQuery(open(context), given, shown),
    },
    connection,
  ),
  batch: defineAction(
    {
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({ statements: listOf(statement), ...transactionFields }),
      example: { statements: transfer('?', '?'), isolationLevel: 'Serializable' },
      run: ({ statements, ...options }, context) => runBatch(open(context), statements, options, shown),
    },
    connection,
  ),
};
