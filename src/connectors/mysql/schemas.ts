/** The connection and the parameters of `mysql.*`. */

import * as v from 'valibot';

/** Checked as a whole when a connection is opened: either `endpoint`, or `host` and `database`. */
export const settings = v.strictObject({
  host: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[^\s:/?#@\\[\]]+$/, 'Must be the name or the IPv4 address of a host, without a port.'),
      v.description('The server, reached over TCP.'),
    ),
  ),
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)), 3306),
  database: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
  tls: v.optional(
    v.pipe(
      v.picklist(['require', 'disable']),
      v.description('With "require" the certificate must be valid for `host`.'),
    ),
    'require',
  ),
  endpoint: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^https?:\/\/[^\s/?#@\\]+\/?$/, 'Must be an absolute URL without user name, path, query and fragment.'),
      v.description('Instead of `host`: PlanetScale’s HTTP address, or that of a bridge.'),
    ),
  ),
});

export const secrets = v.strictObject({
  user: v.pipe(v.string(), v.minLength(1)),
  password: v.pipe(v.string(), v.minLength(1), v.description('At a bridge its token.')),
});

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

export const queryParams = v.strictObject({ sql, params });

export const batchParams = v.strictObject({
  statements: v.pipe(v.array(queryParams), v.minLength(1), v.maxLength(1_000)),
  isolationLevel: v.optional(v.picklist(['ReadUncommitted', 'ReadCommitted', 'RepeatableRead', 'Serializable'])),
  readOnly: v.optional(v.pipe(v.boolean(), v.description('Refuses every change.'))),
});
