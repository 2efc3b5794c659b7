/** How a MySQL is reached: over TCP, or over HTTP (PlanetScale, or a bridge). */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { MysqlDriver, MysqlResult } from '../../drivers/mysql/driver.ts';
import { createHttpDriver } from '../../drivers/mysql/http.ts';
import { createTcpDriver } from '../../drivers/mysql/tcp.ts';
import { hostName, password, portOr, tlsOr, user } from '../kit/address.ts';
import { originOf, type ActionContext, type ConnectionFacts } from '../kit/types.ts';

/** Checked as a whole when a connection is opened: either `endpoint`, or `host` and `database`. */
const settings = v.strictObject({
  host: v.optional(v.pipe(hostName, v.description('The server, reached over TCP.'))),
  port: portOr(3306),
  database: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
  tls: tlsOr('`verify` requires a certificate that is valid for `host`; `disable` sends data in the clear.'),
  endpoint: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^https?:\/\/[^\s/?#@\\]+\/?$/, 'Must be an absolute URL without user name, path, query and fragment.'),
      v.description('Instead of `host`: PlanetScale’s HTTP address, or that of a bridge.'),
    ),
  ),
});

const secrets = v.strictObject({ user, password: v.pipe(password, v.description('At a bridge its token.')) });

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'query', params: { sql: 'select 1' } }),
  origins: ({ endpoint }) => (endpoint === undefined ? [] : [originOf(endpoint)]),
  sockets: ({ endpoint, host, port }) =>
    endpoint !== undefined || host === undefined ? [] : [{ hostname: host, port }],
};

export function open({ connection, connect, fetch, signal, now }: Context): Result<MysqlDriver> {
  const { endpoint, host, port, database, tls } = connection.settings;
  const { user, password } = connection.secrets;
  if (endpoint !== undefined && host !== undefined) {
    return fail('connection.invalid', 'Give either `host` or `endpoint`.');
  }
  if (endpoint !== undefined && !URL.canParse(endpoint)) return fail('connection.invalid', '`endpoint` is no URL.');
  if (endpoint !== undefined) return ok(createHttpDriver({ endpoint, user, password }, { fetch, signal, now }));
  if (host === undefined || database === undefined) {
    return fail('connection.invalid', 'Give `host` and `database`, or `endpoint`.');
  }
  return ok(createTcpDriver({ host, port, database, user, password, tls }, { connect, signal }));
}

export const shown = ({ rows, rowCount, insertId }: MysqlResult) => ({ rows, rowCount, insertId });
