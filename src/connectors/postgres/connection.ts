/** How a Postgres is reached: over HTTP (Neon, or a bridge) or over TCP. */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { addressOf, MALFORMED, type PostgresDriver, type PostgresResult } from '../../drivers/postgres/driver.ts';
import { createHttpDriver, isNeon } from '../../drivers/postgres/http.ts';
import { createTcpDriver } from '../../drivers/postgres/tcp.ts';
import { originOf, type ActionContext, type ConnectionFacts } from '../kit/types.ts';

const settings = v.strictObject({
  transport: v.optional(
    v.pipe(
      v.picklist(['http', 'tcp']),
      v.description('Default: `http` with an `endpoint` and for a database of Neon, otherwise `tcp`.'),
    ),
  ),
  endpoint: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
      v.description('`http`: the `/sql` address of a bridge. Not needed for a database of Neon.'),
    ),
  ),
  tls: v.optional(
    v.pipe(
      v.picklist(['verify', 'disable']),
      v.description(
        '`tcp`: `verify` requires a certificate that the runtime trusts; `disable` sends data in the clear.',
      ),
    ),
    'verify',
  ),
});

const secrets = v.strictObject({
  connectionString: v.pipe(
    v.string(),
    v.regex(/^postgres(ql)?:\/\/[^\s]+$/, 'Must have the form postgresql://user:password@host/database.'),
  ),
  token: v.optional(v.pipe(v.string(), v.minLength(1), v.description('`http`: the token of the bridge.'))),
});

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

function transportOf({ transport, endpoint }: Settings, { connectionString }: Secrets): 'http' | 'tcp' {
  if (transport !== undefined) return transport;
  const address = addressOf(connectionString);
  return endpoint !== undefined || address === undefined || isNeon(address.hostname) ? 'http' : 'tcp';
}

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  origins(settings, secrets) {
    if (transportOf(settings, secrets) === 'tcp') return [];
    return [settings.endpoint === undefined ? 'https://*.neon.tech' : originOf(settings.endpoint)];
  },
  sockets(settings, secrets) {
    const address = addressOf(secrets.connectionString);
    return address === undefined || transportOf(settings, secrets) === 'http' ? [] : [address];
  },
};

export function open({ connection, fetch, connect, signal, now }: Context): Result<PostgresDriver> {
  const { settings, secrets } = connection;
  const { connectionString, token } = secrets;
  const { endpoint, tls } = settings;
  if (transportOf(settings, secrets) === 'tcp') {
    if (endpoint !== undefined) return fail('connection.invalid', '`endpoint` is for the transport `http` only.');
    const address = addressOf(connectionString);
    if (address === undefined) return { ok: false, fault: MALFORMED };
    return ok(createTcpDriver({ ...address, tls }, { connect, signal }));
  }
  return createHttpDriver(
    {
      connectionString,
      ...(endpoint !== undefined && { endpoint }),
      ...(token !== undefined && { token }),
    },
    { fetch, signal, now },
  );
}

export const shown = ({ rows, rowCount }: PostgresResult) => ({ rows, rowCount });
