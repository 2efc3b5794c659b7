/** `d1.*`: the embedded database of the owner's data. It needs no connection. */

import * as v from 'valibot';
import { defineAction, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

const sql = v.pipe(
  v.string(),
  v.minLength(1),
  v.description('One statement. Values belong into `params`, never here.'),
);
const params = v.optional(
  v.pipe(v.array(v.unknown()), v.description('For ?1, ?2, … or ?. Lists and objects are bound as JSON text.')),
  [],
);
const statement = v.strictObject({ sql, params });

export const d1: Connector = {
  name: 'd1',
  title: 'Embedded database',
  actions: {
    query: defineAction({
      title: 'Run a statement',
      effect: 'external',
      params: statement,
      example: { sql: 'select * from notes where id = ?1', params: [1] },
      run: (given, { data }) => attempt(async () => resultOf(await prepared(data, given).all())),
    }),
    batch: defineAction({
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({ statements: v.pipe(v.array(statement), v.minLength(1), v.maxLength(1_000)) }),
      example: { statements: [{ sql: 'insert into notes (text) values (?1)', params: ['first'] }] },
      run: ({ statements }, { data }) =>
        attempt(async () => {
          const results = await data.batch(statements.map((given) => prepared(data, given)));
          return { results: results.map(resultOf) };
        }),
    }),
  },
};

const prepared = (data: D1Database, given: v.InferOutput<typeof statement>): D1PreparedStatement =>
  data.prepare(given.sql).bind(...given.params.map(bindable));

/** D1 takes texts, numbers, booleans and null. */
const bindable = (value: unknown): unknown => {
  if (value === undefined) return null;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
};

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
