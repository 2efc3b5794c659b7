/** `d1.*`: the embedded database of the owner's data. It needs no connection. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { changeActions, listOf, selectAction, statementFields, tableField } from '../kit/sql.ts';
import { defineAction, type ActionContext, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Statement } from '../../drivers/kit/sql-driver.ts';
import { bindable, insert, rendered, upsert } from '../../drivers/sqlite/statements.ts';

const statement = v.strictObject(statementFields('For ?1, ?2, … or ?. Lists and objects are bound as JSON text.'));

const run = (given: Statement, { data }: Pick<ActionContext, 'data'>): Promise<Result<unknown>> =>
  attempt(async () => resultOf(await prepared(data, given).all()));

const dialect = {
  table: tableField('Its name.'),
  run: async (built: Result<SQL>, context: ActionContext) =>
    built.ok ? run(await rendered(built.value), context) : built,
};

export const d1: Connector = {
  name: 'd1',
  title: 'Embedded database',
  actions: {
    query: defineAction({
      title: 'Run a statement',
      effect: 'external',
      params: statement,
      example: { sql: 'select * from notes where id = ?1', params: [1] },
      run,
    }),
    batch: defineAction({
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({ statements: listOf(statement) }),
      example: { statements: [{ sql: 'insert into notes (text) values (?1)', params: ['first'] }] },
      run: ({ statements }, { data }) =>
        attempt(async () => {
          const results = await data.batch(statements.map((given) => prepared(data, given)));
          return { results: results.map(resultOf) };
        }),
    }),
    select: selectAction(dialect, 'SQLite'),
    ...changeActions(dialect, { before: '2020-01-01', insert, upsert }),
  },
};

const prepared = (data: D1Database, { sql, params }: Statement): D1PreparedStatement =>
  data.prepare(sql).bind(...params.map(bindable));

const resultOf = ({ results, meta }: D1Result) => ({
  /** Blobs come as lists of bytes, as D1 gives them. */
  rows: results,
  rowsRead: meta.rows_read,
  rowsWritten: meta.rows_written,
  changes: meta.changes,
  lastRowId: meta.last_row_id,
});

/** What D1 says when it is not the statement's fault (its docs, "Error list"); SQLite's own errors name their code. */
const TRANSIENT =
  /^(?!.*SQLITE_).*(network connection lost|storage caused object to be reset|reset because its code|overloaded|timed? ?out)/is;

async function attempt<T>(run: () => Promise<T>): Promise<Result<T>> {
  try {
    return ok(await run());
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (TRANSIENT.test(message)) {
      return fail('storage.unavailable', 'The embedded database did not answer.', { detail: thrown });
    }
    return fail('upstream.rejected', `D1: ${message.replace(/^D1_ERROR: /, '')}`);
  }
}
