/**
 * MySQL and MariaDB over TCP, by mysql2 on a socket of ours.
 *
 * Guarantees: the library opens no socket; statements are prepared, one at a time, and values never become
 * text of SQL; no file is given to a server that asks for one (`LOAD DATA LOCAL`); without TLS the password
 * leaves only as an answer to a challenge, never in the clear or for a key that the network sent; a statement
 * whose caller gave up is killed, and none takes longer than a minute.
 * Accepted weakness: each call connects anew, as the platform binds a socket to the request that opened it.
 */

import type { Connection, ConnectionOptions, QueryError } from 'mysql2';
import * as v from 'valibot';
import { FaultError, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import type { Statement } from '../kit/sql-driver.ts';
import { beginOf, type MysqlDriver, type MysqlResult } from './driver.ts';
import { sqlFault } from './faults.ts';
import { resultOf } from './result.ts';
import { GreetedStream } from './greeted-stream.ts';
import { parameterOf } from './values.ts';

export interface TcpConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly tls: 'verify' | 'disable';
}

export interface SocketWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

/** Instants arrive in UTC. The comments are for MariaDB and for MySQL, each of which skips the other's. */
const SETUP =
  "set time_zone = '+00:00' /*M!100101 , max_statement_time = 60 */ /*!50708 , max_execution_time = 60000 */";

const SAFE: ConnectionOptions = {
  charset: 'utf8mb4',
  connectTimeout: LIMITS.databaseConnectMilliseconds,
  dateStrings: true,
  // Workers generate no code.
  disableEval: true,
  flags: ['-LOCAL_FILES', '-CONNECT_ATTRS'],
  jsonStrings: true,
  multipleStatements: false,
  rowsAsArray: true,
  supportBigNumbers: true,
  bigNumberStrings: true,
};

export function createTcpDriver(connection: TcpConnection, wire: SocketWire): MysqlDriver {
  return {
    query: (statement) => inSession(connection, wire, (session) => session.run(statement)),
    batch: (statements, options = {}) =>
      inSession(connection, wire, async (session) => {
        for (const sql of beginOf(options)) await session.control(sql);
        const results: MysqlResult[] = [];
        for (const statement of statements) results.push(await session.run(statement, 'in transaction'));
        await session.control('commit');
        return results;
      }),
  };
}

interface Session {
  /** @throws what mysql2 does, or FaultError */
  run(statement: Statement, where?: 'in transaction'): Promise<MysqlResult>;
  control(sql: string): Promise<void>;
}

async function inSession<T>(
  connection: TcpConnection,
  wire: SocketWire,
  use: (session: Session) => Promise<T>,
): Promise<Result<T>> {
  const { signal } = wire;
  const outOfTime = fault('step.timeout', `${connection.host} did not answer in time.`);
  if (signal?.aborted === true) return { ok: false, fault: outOfTime };
  const opened = await open(connection, wire);
  if (!opened.ok) return opened;
  const { client, stream } = opened.value;
  // Found again by it in the server, which may be one of several behind the address.
  const mark = `/* tidegate ${crypto.randomUUID()} */`;
  const abort = (): void => void stream.destroy(new FaultError(outOfTime));
  signal?.addEventListener('abort', abort, { once: true });
  let connected = false;
  try {
    const session = sessionOf(client, mark);
    await session.control(SETUP);
    connected = true;
    const value = await use(session);
    client.end();
    return ok(value);
  } catch (thrown) {
    // What is not committed is rolled back with it.
    stream.destroy();
    if (thrown instanceof FaultError && thrown.fault === outOfTime)
      await kill(connection, wire.connect, client.threadId, mark);
    return { ok: false, fault: faultFrom(thrown, connection.host, connected) };
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function open(
  { host, port, database, user, password, tls }: TcpConnection,
  { connect }: SocketWire,
): Promise<Result<{ readonly client: Connection; readonly stream: GreetedStream }>> {
  const secure = tls === 'verify';
  const { createConnection, authPlugins } = (await import('mysql2')).default;
  const socket = connect(
    { hostname: host, port },
    { secureTransport: secure ? 'starttls' : 'off', allowHalfOpen: false },
  );
  if (!socket.ok) return socket;
  const stream = new GreetedStream(socket.value, secure);
  const onServerPublicKey = (): never => {
    throw new Error('a key from the network was refused');
  };
  const client = createConnection({
    ...SAFE,
    host,
    port,
    database,
    user,
    password,
    stream: () => stream,
    enableCleartextPlugin: secure,
    ...(secure
      ? { ssl: {} }
      : {
          authPlugins: {
            caching_sha2_password: authPlugins.caching_sha2_password({ onServerPublicKey }),
            sha256_password: authPlugins.sha256_password({ onServerPublicKey }),
          },
        }),
  });
  // Its own would wrap the stream with node:tls, which the platform has for sockets of node:net only.
  Object.assign(client, {
    startTLS: (done: (error?: unknown) => void) => void stream.startTls().then(() => done(), done),
  });
  // What goes wrong is told to the command that waits; without a listener it would be thrown as well.
  client.on('error', () => undefined);
  return ok({ client, stream });
}

/** What the types of mysql2 leave out. */
const preparedSchema = v.object({ parameters: v.array(v.unknown()) });

const sessionOf = (client: Connection, mark: string): Session => ({
  control: (sql) =>
    new Promise((resolve, reject) => {
      client.query(sql, (error: QueryError | null) => (error === null ? resolve() : reject(error)));
    }),
  run: ({ sql, params }, where) =>
    new Promise((resolve, reject) => {
      client.prepare(`${mark} ${sql}`, (refused, statement) => {
        if (refused !== null) return reject(refused);
        const { length } = v.parse(preparedSchema, statement).parameters;
        if (length !== params.length) {
          const message = `params: The statement has ${length} \`?\`, and ${params.length} values were given.`;
          return reject(new FaultError(fault('step.params', message)));
        }
        statement.execute(params.map(parameterOf), (error: QueryError | null, rows: unknown, fields: unknown) => {
          if (error !== null) return reject(error);
          const { result, inTransaction } = resultOf(rows, fields);
          if (where === undefined || inTransaction) return resolve(result);
          const message = 'A statement of the batch ended its transaction; what came before it may have taken effect.';
          reject(new FaultError(fault('upstream.rejected', message)));
        });
      });
    }),
});

/** Without it the server would go on for a caller that has left; where it fails, the session's own limit ends it. */
async function kill(
  connection: TcpConnection,
  connect: GuardedConnect,
  threadId: number | null,
  mark: string,
): Promise<void> {
  if (threadId === null) return;
  await inSession(
    connection,
    { connect, signal: AbortSignal.timeout(LIMITS.databaseCancelMilliseconds) },
    async (session) => {
      const sql = 'select id from information_schema.processlist where id = ? and left(info, ?) = ?';
      const { rows } = await session.run({ sql, params: [threadId, mark.length, mark] });
      if (rows.length > 0) await session.control(`kill ${Number(threadId)}`);
    },
  );
}

/** What stands behind an error of mysql2 that no server sent, by its code. */
const CLIENT_FAULTS: Readonly<Record<string, (host: string) => Fault>> = {
  HANDSHAKE_NO_SSL_SUPPORT: (host) =>
    fault('connection.invalid', `${host} offers no TLS; switch it on there, or set \`tls\` to "disable".`),
  HANDSHAKE_SSL_ERROR: (host) =>
    fault('upstream.unreachable', `TLS with ${host} failed; its certificate must be valid for this name.`),
  MYSQL_CLEAR_PASSWORD_NOT_ENABLED: (host) =>
    fault('upstream.unauthorized', `${host} wants the password in the clear, which it gets over TLS only.`),
  AUTH_SWITCH_PLUGIN_ERROR: (host) =>
    fault(
      'upstream.unauthorized',
      `${host} wants a way of authentication that is not there, or not without TLS; set \`tls\` to "verify".`,
    ),
};

const errorSchema = v.object({
  message: v.string(),
  code: v.optional(v.string(), ''),
  errno: v.optional(v.number()),
  sqlMessage: v.optional(v.string()),
  sqlState: v.optional(v.string()),
});

function faultFrom(thrown: unknown, host: string, connected: boolean): Fault {
  if (thrown instanceof FaultError) return faultOf(thrown);
  const parsed = v.safeParse(errorSchema, thrown);
  if (!parsed.success) return faultOf(thrown);
  const { message, code, errno, sqlMessage, sqlState } = parsed.output;
  if (errno !== undefined && sqlMessage !== undefined) return sqlFault({ errno, sqlState, message: sqlMessage });
  const known = Object.hasOwn(CLIENT_FAULTS, code) ? CLIENT_FAULTS[code]?.(host) : undefined;
  if (known !== undefined) return { ...known, detail: message };
  if (message.includes('LOCAL INFILE')) {
    return fault('upstream.rejected', `${host} asked for a file of the gateway, which it does not get.`);
  }
  return connected
    ? fault('upstream.unavailable', `The connection to ${host} was lost.`, { detail: message })
    : fault('upstream.unreachable', `${host} could not be reached, or is no MySQL.`, { detail: message });
}
