/** How a Postgres is reached: over HTTP (Neon, or a bridge), over TCP, or through a Hyperdrive of the owner. */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { addressOf, MALFORMED, type PostgresDriver, type PostgresResult } from '../../drivers/postgres/driver.ts';
import { createHttpDriver, isNeon } from '../../drivers/postgres/http.ts';
import { createTcpDriver } from '../../drivers/postgres/tcp.ts';
import { tlsOr } from '../kit/address.ts';
import { originOf, type ActionContext, type ConnectionFacts } from '../kit/types.ts';

const settings = v.strictObject({
  transport: v.optional(
    v.pipe(
      v.picklist(['http', 'tcp', 'hyperdrive']),
      v.description(
        'Default: `tcp`; `http` with an `endpoint` and for a database of Neon, `hyperdrive` with that setting.',
      ),
    ),
  ),
  endpoint: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
      v.description('`http`: the `/sql` address of a bridge. Not needed for a database of Neon.'),
    ),
  ),
  hyperdrive: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z_]\w*$/, 'Must be the name of a binding.'),
      v.description('The Hyperdrive binding of the Worker, which knows the database and its credentials.'),
    ),
  ),
  tls: tlsOr('`tcp`: `verify` requires a certificate that the runtime trusts; `disable` sends data in the clear.'),
});

const secrets = v.strictObject({
  connectionString: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^postgres(ql)?:\/\/[^\s]+$/, 'Must have the form postgresql://user:password@host/database.'),
      v.description('Required but for `hyperdrive`.'),
    ),
  ),
  token: v.optional(v.pipe(v.string(), v.minLength(1), v.description('`http`: the token of the bridge.'))),
});

export const connection = { settings, secrets };
export type Settings = v.InferOutput<typeof settings>;
export type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

type Transport = NonNullable<Settings['transport']>;

export function transportOf(
  { transport, endpoint, hyperdrive }: Settings,
  { connectionString = '' }: Secrets,
): Transport {
  if (transport !== undefined) return transport;
  if (hyperdrive !== undefined) return 'hyperdrive';
  const address = addressOf(connectionString);
  return endpoint !== undefined || address === undefined || isNeon(address.hostname) ? 'http' : 'tcp';
}

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'query', params: { sql: 'select 1' } }),
  origins(settings, secrets) {
    if (transportOf(settings, secrets) !== 'http') return [];
    return [settings.endpoint === undefined ? 'https://*.neon.tech' : originOf(settings.endpoint)];
  },
  sockets(settings, secrets) {
    const address = addressOf(secrets.connectionString ?? '');
    return address === undefined || transportOf(settings, secrets) !== 'tcp' ? [] : [address];
  },
};

function openHttp({ connection, fetch, signal, now }: Context): Result<PostgresDriver> {
  const { endpoint } = connection.settings;
  const { connectionString = '', token } = connection.secrets;
  return createHttpDriver(
    { connectionString, ...(endpoint !== undefined && { endpoint }), ...(token !== undefined && { token }) },
    { fetch, signal, now },
  );
}

function openTcp({ connection, connect, signal }: Context): Result<PostgresDriver> {
  const address = addressOf(connection.secrets.connectionString ?? '');
  if (address === undefined) return { ok: false, fault: MALFORMED };
  return ok(createTcpDriver({ ...address, tls: connection.settings.tls }, { connect, signal }));
}

function openHyperdrive({ connection, hyperdrive, signal }: Context): Result<PostgresDriver> {
  const { hyperdrive: binding = '' } = connection.settings;
  const bound = hyperdrive?.(binding);
  if (bound === undefined) {
    return fail('connection.invalid', `\`hyperdrive\`: the Worker has no Hyperdrive binding named "${binding}".`);
  }
  const { host: hostname, port, user, password, database } = bound;
  // Hyperdrive itself speaks TLS with the database; the way to it does not leave the platform.
  return ok(
    createTcpDriver(
      { hostname, port, user, password, database, tls: 'disable' },
      { connect: () => ok(bound.connect()), signal },
    ),
  );
}

const OPENERS: Readonly<Record<Transport, (context: Context) => Result<PostgresDriver>>> = {
  http: openHttp,
  tcp: openTcp,
  hyperdrive: openHyperdrive,
};

export function open(context: Context): Result<PostgresDriver> {
  const { settings, secrets } = context.connection;
  return OPENERS[transportOf(settings, secrets)](context);
}

export const shown = ({ rows, rowCount }: PostgresResult) => ({ rows, rowCount });
