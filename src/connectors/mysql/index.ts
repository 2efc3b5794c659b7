/** `mysql.*`: MySQL and MariaDB over TCP, or over the HTTP protocol of PlanetScale; docs/mysql.md. */

import * as v from 'valibot';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import type { MysqlDriver, MysqlResult } from '../../drivers/mysql/driver.ts';
import { createHttpDriver } from '../../drivers/mysql/http.ts';
import { createTcpDriver } from '../../drivers/mysql/tcp.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { batchParams, queryParams, secrets, settings } from './schemas.ts';

const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Context = ActionContext<Settings, v.InferOutput<typeof secrets>>;

function open({ connection, connect, fetch, signal, now }: Context): Result<MysqlDriver> {
  const { endpoint, host, port, database, tls } = connection.settings;
  const { user, password } = connection.secrets;
  if (endpoint !== undefined) return ok(createHttpDriver({ endpoint, user, password }, { fetch, signal, now }));
  if (host === undefined || database === undefined) {
    return fail('connection.invalid', 'Give `host` and `database`, or `endpoint`.');
  }
  return ok(createTcpDriver({ host, port, database, user, password, tls }, { connect, signal }));
}

const shown = ({ rows, rowCount, insertId }: MysqlResult) => ({ rows, rowCount, insertId });

export const mysql: Connector = {
  name: 'mysql',
  title: 'MySQL and MariaDB',
  connection: {
    required: true,
    ...connection,
    origins: ({ endpoint }: Settings) => (endpoint === undefined ? [] : [originOf(endpoint)]),
    sockets: ({ host, port }: Settings) => (host === undefined ? [] : [{ hostname: host, port }]),
  },
  actions: {
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
  },
};
