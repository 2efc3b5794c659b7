/** `postgres.*`: any Postgres, over Neon's HTTP protocol; docs/bridges.md tells how one gets to speak it. */

import * as v from 'valibot';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import { createPostgresDriver, type PostgresDriver, type PostgresResult } from '../../drivers/postgres/postgres.ts';
import { ok, type Result } from '../../core/errors.ts';

const settings = v.strictObject({
  endpoint: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
      v.description('The `/sql` address of a bridge. Not needed for a database of Neon.'),
    ),
  ),
});

const secrets = v.strictObject({
  connectionString: v.pipe(
    v.string(),
    v.regex(/^postgres(ql)?:\/\/[^\s]+$/, 'Must have the form postgresql://user:password@host/database.'),
  ),
  token: v.optional(v.pipe(v.string(), v.minLength(1), v.description('The token of the bridge.'))),
});

const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Context = ActionContext<Settings, v.InferOutput<typeof secrets>>;

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

const open = ({ connection, fetch, signal, now }: Context): Result<PostgresDriver> => {
  const { settings, secrets } = connection;
  return createPostgresDriver(
    {
      connectionString: secrets.connectionString,
      ...(settings.endpoint !== undefined && { endpoint: settings.endpoint }),
      ...(secrets.token !== undefined && { token: secrets.token }),
    },
    { fetch, signal, now },
  );
};

const shown = ({ rows, rowCount }: PostgresResult) => ({ rows, rowCount });

export const postgres: Connector = {
  name: 'postgres',
  title: 'Postgres',
  connection: {
    required: true,
    ...connection,
    probe: () => ({ action: 'query', params: { sql: 'select 1' } }),
    origins: ({ endpoint }: Settings) => [endpoint === undefined ? 'https://*.neon.tech' : originOf(endpoint)],
  },
  actions: {
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
          isolationLevel: v.optional(
            v.picklist(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable']),
          ),
          readOnly: v.optional(v.pipe(v.boolean(), v.description('Refuses every change.'))),
        }),
        example: {
          statements: [
            { sql: 'update accounts set balance = balance - $1 where id = $2', params: [10, 1] },
            { sql: 'update accounts set balance = balance + $1 where id = $2', params: [10, 2] },
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
  },
};
