/** How a MongoDB is reached: one server, `mongos`, or the members of a replica set. */

import * as v from 'valibot';
import type { Result } from '../../core/errors.ts';
import type { SocketHost } from '../../core/policy/egress.ts';
import { inSession, type MongoTarget, type Session } from '../../drivers/mongodb/session.ts';
import { password, tlsOr, user } from '../kit/address.ts';
import type { ActionContext, ConnectionFacts } from '../kit/types.ts';

const DEFAULT_PORT = 27_017;
const HOSTS = /^[^\s:/?#@\\[\],]+(?::\d{1,5})?$/;

const settings = v.strictObject({
  hosts: v.pipe(
    v.array(v.pipe(v.string(), v.regex(HOSTS, 'Must be `host` or `host:port`, by name or IPv4 address.'))),
    v.minLength(1),
    v.maxLength(50),
    v.description('The server, or all members of the replica set, as its configuration names them; port 27017.'),
  ),
  database: v.pipe(
    v.string(),
    v.regex(/^[^\s/\\."$*<>:|?\0]{1,63}$/, 'Must be the name of a database.'),
    v.description('What the steps work on.'),
  ),
  authSource: v.optional(v.pipe(v.string(), v.minLength(1), v.description('The database of the user.')), 'admin'),
  tls: tlsOr('`verify` requires certificates that are valid for `hosts`; `disable` sends data in the clear.'),
});

const secrets = v.strictObject({ user, password });

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

function hostsOf({ hosts }: Settings): readonly SocketHost[] {
  return hosts.map((text) => {
    const [hostname = '', port] = text.split(':');
    return { hostname, port: port === undefined ? DEFAULT_PORT : Number(port) };
  });
}

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'command', params: { command: { ping: 1 } } }),
  origins: () => [],
  sockets: hostsOf,
};

/** Work with the database of the connection, on one socket. */
export function using<T>(context: Context, use: (session: Session) => Promise<T>): Promise<Result<T>> {
  const { connection, connect, signal } = context;
  const target: MongoTarget = { ...connection.settings, ...connection.secrets, hosts: hostsOf(connection.settings) };
  return inSession(target, { connect, signal }, use);
}
