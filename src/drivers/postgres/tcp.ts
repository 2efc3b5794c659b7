/**
 * Postgres over TCP, by postgres.js on a socket of ours.
 *
 * Guarantees: a connection serves one attempt, so no session state reaches another; it is opened once, so no
 * statement runs outside of the transaction that it was meant for; an attempt that is given up ends its statement
 * on the server. Accepted weakness: each attempt pays for a handshake (docs/design/drivers.md).
 */

import { EventEmitter } from 'node:events';
import * as v from 'valibot';
import { FaultError, fault, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { inTime } from '../kit/in-time.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import type { BatchOptions, Statement } from '../kit/sql-driver.ts';
import {
  declared,
  fetched,
  sqlFault,
  type PostgresAddress,
  type PostgresDriver,
  type PostgresResult,
} from './driver.ts';
import { cancelOnServer, PostgresSocket, type SocketTarget, type SocketUse } from './socket.ts';
import { parameterOf, parserOf } from './values.ts';

export interface TcpConnection extends PostgresAddress {
  readonly tls: SocketTarget['tls'];
}

interface TcpWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal: AbortSignal | undefined;
}

export function createTcpDriver(connection: TcpConnection, wire: TcpWire): PostgresDriver {
  const inSession = <T>(use: (session: Session) => Promise<T>): Promise<Result<T>> =>
    withSession(connection, wire, use);
  return {
    query: (statement) => inSession((session) => session.run(statement)),
    batch: (statements, options) =>
      inSession(async (session) => {
        await session.run(beginOf(options));
        const results: PostgresResult[] = [];
        for (const statement of statements) {
          results.push(await session.run(statement));
          session.mustBeInTransaction();
        }
        await session.run(COMMIT);
        return results;
      }),
    read: (statement, maximumRows) => inSession((session) => readRows(session, statement, maximumRows)),
  };
}

async function readRows(session: Session, statement: Statement, maximumRows: number) {
  await session.run(beginOf({ readOnly: true }));
  await session.run(declared(statement));
  const rows: Record<string, unknown>[] = [];
  while (rows.length <= maximumRows) {
    const wanted = Math.min(LIMITS.databaseCursorRows, maximumRows + 1 - rows.length);
    const batch = await session.run(fetched(wanted));
    rows.push(...batch.rows);
    if (batch.rows.length < wanted) return { rows, more: false };
  }
  return { rows: rows.slice(0, maximumRows), more: true };
}

const COMMIT: Statement = { sql: 'commit', params: [] };

const LEVELS = {
  ReadUncommitted: 'read uncommitted',
  ReadCommitted: 'read committed',
  RepeatableRead: 'repeatable read',
  Serializable: 'serializable',
} as const;

function beginOf({ isolationLevel, readOnly, deferrable }: BatchOptions = {}): Statement {
  const level = isolationLevel === undefined ? '' : ` isolation level ${LEVELS[isolationLevel]}`;
  return { sql: `begin${level}${readOnly ? ' read only' : ''}${deferrable ? ' deferrable' : ''}`, params: [] };
}

interface Session {
  run(statement: Statement): Promise<PostgresResult>;
  /** @throws FaultError where a statement has ended the transaction: the next would be outside of it */
  mustBeInTransaction(): void;
}

const backend = v.object({ pid: v.number(), secret: v.number() });

async function withSession<T>(
  connection: TcpConnection,
  wire: TcpWire,
  use: (session: Session) => Promise<T>,
): Promise<Result<T>> {
  const { connect, signal } = wire;
  if (signal?.aborted) return { ok: false, fault: abortFault(signal) };
  const line = new Line(connection, connect);
  // Loaded at the first use: the start of the gateway must not wait for it.
  const { default: postgres } = await import('postgres');
  const client = postgres(optionsOf(connection, () => line.open()));
  let running: object | undefined;
  const session: Session = {
    async run({ sql, params }) {
      const query = client.unsafe(sql, params.map(parameterOf), ONE_STATEMENT).raw();
      running = query;
      const result = resultOf(await query);
      running = undefined;
      return result;
    },
    mustBeInTransaction() {
      if (line.transaction === 'T') return;
      throw new FaultError(fault('upstream.rejected', 'A statement of the batch ended its transaction.'));
    },
  };
  const attempt = use(session);
  try {
    return ok(await untilAborted(attempt, signal));
  } catch (thrown) {
    attempt.catch(() => undefined);
    if (signal?.aborted && running !== undefined) {
      const state = v.safeParse(backend, Reflect.get(running, 'state'));
      if (state.success) {
        // Where it fails, the statement ends with the server's own timeout.
        const told = cancelOnServer(connect, connection, state.output).catch(() => undefined);
        await inTime(LIMITS.databaseCancelMilliseconds, told);
      }
    }
    line.close(faultFrom(thrown));
    return { ok: false, fault: faultFrom(thrown) };
  } finally {
    // Says goodbye where the socket is still open; there is nothing left to wait for.
    await client.end({ timeout: 0 });
  }
}

/** The one socket of a session. The library would connect anew after a loss; what ran before is gone by then. */
export class Line {
  private socket: PostgresSocket | undefined;
  private used = false;
  private closed = false;
  private readonly target: SocketTarget;
  private readonly connect: GuardedConnect;
  private readonly use: SocketUse | undefined;

  constructor(target: SocketTarget, connect: GuardedConnect, use?: SocketUse) {
    this.target = target;
    this.connect = connect;
    this.use = use;
  }

  get transaction(): string | undefined {
    return this.socket?.transaction;
  }

  async open(): Promise<PostgresSocket> {
    if (this.used) throw new FaultError(fault('upstream.unreachable', 'Postgres broke off the connection.'));
    this.used = true;
    const opening = PostgresSocket.open(this.connect, this.target, this.use);
    const socket = await inTime(LIMITS.databaseConnectMilliseconds, opening);
    if (socket === undefined || this.closed) {
      opening.then(
        (late) => late.destroy(),
        () => undefined,
      );
      throw new FaultError(fault('upstream.timeout', 'Postgres could not be reached in time.'));
    }
    return (this.socket = socket);
  }

  close(reason: Fault): void {
    this.closed = true;
    if (this.socket?.transaction !== 'I') this.socket?.fail(reason);
  }
}

/** `simple` would run several statements of one text; named ones (`prepare`) fail behind poolers. */
const ONE_STATEMENT = { simple: false, prepare: false };

/** Texts go out as they are: what {@link parameterOf} wrote must not be written once more. */
const AS_WRITTEN = {
  to: 0,
  from: [16, 17, 21, 23, 26, 114, 700, 701, 1082, 1114, 1184, 3802],
  serialize: (text: string) => text,
  parse: (text: string) => text,
};

export const optionsOf = (
  { hostname, port, user, password, database }: TcpConnection,
  socket: () => Promise<PostgresSocket>,
) => ({
  host: hostname,
  port,
  user,
  password,
  database,
  socket,
  // Ours is secure already.
  ssl: false,
  max: 1,
  connect_timeout: LIMITS.databaseConnectMilliseconds / 1_000,
  // Timers that would outlive the attempt.
  idle_timeout: 0,
  max_lifetime: null,
  fetch_types: false,
  types: { asWritten: AS_WRITTEN },
  connection: { application_name: 'tidegate' },
  // Its default prints them.
  onnotice: () => undefined,
  // Without it the library keeps the text of every failed statement in memory for good.
  debug: true,
});

/** What the library gives for `.raw()`: a list of rows, of which each cell is the text of a value. */
interface RawResult extends Iterable<readonly (Buffer | null)[]> {
  readonly columns: readonly { readonly name: string; readonly type: number }[];
  readonly count: number | null;
}

function resultOf(result: RawResult | EventEmitter): PostgresResult {
  if (result instanceof EventEmitter) {
    // The end of the session is an error to it, which nobody else would hear.
    result.on('error', () => undefined);
    throw new FaultError(fault('upstream.rejected', 'Postgres: COPY to or from the client is not offered.'));
  }
  const columns = result.columns.map(({ name, type }) => ({ name, parse: parserOf(type) }));
  const rows = Array.from(result, (cells) =>
    Object.fromEntries(
      columns.map(({ name, parse }, index) => {
        const cell = cells[index] ?? null;
        return [name, cell === null ? null : parse(cell.toString('utf8'))];
      }),
    ),
  );
  return { rows, rowCount: result.count ?? 0 };
}

function abortFault(signal: AbortSignal): Fault {
  return signal.reason instanceof FaultError
    ? signal.reason.fault
    : fault('step.timeout', 'Postgres did not answer in time.');
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(new FaultError(abortFault(signal)));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** By the codes of postgres.js. */
const LIBRARY_FAULTS: Readonly<Record<string, Fault>> = {
  CONNECT_TIMEOUT: fault('upstream.timeout', 'Postgres did not open a session in time.'),
  CONNECTION_CLOSED: fault('upstream.unreachable', 'Postgres broke off the connection.'),
  CONNECTION_DESTROYED: fault('upstream.unreachable', 'Postgres broke off the connection.'),
  MAX_PARAMETERS_EXCEEDED: fault('step.params', 'Postgres takes at most 65,533 parameters a statement.'),
};

const text = v.fallback(v.optional(v.string()), undefined);

const postgresError = v.object({
  name: v.literal('PostgresError'),
  message: v.string(),
  code: text,
  severity: text,
  detail: text,
  hint: text,
  position: text,
  schema_name: text,
  table_name: text,
  column_name: text,
  constraint_name: text,
});

export function faultFrom(thrown: unknown): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  const error = v.safeParse(postgresError, thrown);
  if (error.success) {
    const { message, code, severity, detail, hint, position, schema_name, table_name, column_name } = error.output;
    const { constraint_name: constraint } = error.output;
    const place = { schema: schema_name, table: table_name, column: column_name, constraint };
    return sqlFault({ message, code, severity, detail, hint, position, ...place });
  }
  const code: unknown = typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, 'code') : undefined;
  const known = typeof code === 'string' ? LIBRARY_FAULTS[code] : undefined;
  return known ?? fault('upstream.invalid', 'Postgres sent something that cannot be read; check host and port.');
}
