/**
 * MySQL and MariaDB over HTTP, in the protocol of @planetscale/database (`POST /psdb.v1alpha1.Database/Execute`).
 *
 * Guarantees: one statement a request; each request outside of a transaction has a connection of its own, so
 * nothing is left to the next; a transaction whose caller says nothing for ten seconds is rolled back; a statement
 * whose caller has gone is killed; rows over a bound are a failure, not a full memory; no file of the bridge is
 * given to a server that asks for one.
 */

import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import mysql, { type Connection, type ConnectionOptions, type FieldPacket, type ResultSetHeader } from 'mysql2';
import { BridgeError, createBridge, type BridgeAnswer, type BridgeCall } from './http.ts';
import { fieldOf, rowOf } from './vitess.ts';

export interface MysqlBridgeOptions {
  /** `mysql://user:password@host:port/database`, with `?tls=require` where the server has a valid certificate. */
  readonly url: string;
  /** Asked as the password of any user, or as a bearer token. */
  readonly token: string;
  /** Requests and transactions at a time. */
  readonly connections?: number;
}

const EXECUTE = '/psdb.v1alpha1.Database/Execute';
/** All values of one request. Beyond it a reply belongs into pages. */
const RESULT_BYTES = 64 * 1024 * 1024;
const SESSION_IDLE_MILLISECONDS = 10_000;

/** Clients escape by backslashes, and read UTF-8. The comments are for MariaDB and for MySQL. */
const SETUP =
  "set names utf8mb4, time_zone = '+00:00', sql_mode = replace(@@sql_mode, 'NO_BACKSLASH_ESCAPES', '')" +
  ' /*M!100101 , max_statement_time = 60 */ /*!50708 , max_execution_time = 60000 */';

/** After these a session goes on; any other statement outside of a transaction is alone in its own. */
const BEGINS =
  /^\s*(?:begin|start\s+transaction(?:\s+read\s+only)?|set\s+transaction\s+isolation\s+level\s+[a-z ]+)\s*$/i;
const ENDS = /^\s*(?:commit|rollback)\s*$/i;

const IN_TRANSACTION = 0x0001;

interface Session {
  readonly id: string;
  readonly connection: Connection;
  idle?: NodeJS.Timeout;
}

interface Bridge {
  readonly target: ConnectionOptions;
  readonly connections: number;
  /** All that are open, by id. */
  readonly sessions: Map<string, Session>;
}

export function createMysqlBridge({ url, token, connections = 50 }: MysqlBridgeOptions): Server {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  const bridge: Bridge = {
    target: {
      host: hostname,
      port: Number(port || 3306),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      charset: 'utf8mb4',
      flags: ['-LOCAL_FILES'],
      rowsAsArray: true,
      // Its generated code throws where nobody catches, for a column named `__proto__`.
      disableEval: true,
      typeCast: (field) => field.buffer(),
      ...(searchParams.get('tls') === 'require' && { ssl: { verifyIdentity: true } }),
    },
    connections,
    sessions: new Map(),
  };
  const server = createBridge({
    token,
    failure: (message) => ({ error: { code: 'UNKNOWN', message } }),
    answer: (call) => answer(bridge, call),
  });
  server.once('close', () => bridge.sessions.forEach((session) => end(bridge, session)));
  return server;
}

async function answer(bridge: Bridge, call: BridgeCall): Promise<BridgeAnswer> {
  if (call.path !== EXECUTE) throw new BridgeError(404, `Use ${EXECUTE}.`);
  const { query, sessionId } = requestOf(call.body);
  const session = sessionOf(bridge, sessionId);
  clearTimeout(session.idle);
  const cancel = (): void => {
    kill(bridge, session);
    end(bridge, session);
  };
  call.signal.addEventListener('abort', cancel, { once: true });
  let stays = BEGINS.test(query) || (sessionId !== undefined && !ENDS.test(query));
  try {
    if (call.signal.aborted) throw new BridgeError(499, 'The caller has gone.');
    if (sessionId === undefined) await run(session.connection, SETUP);
    const outcome = await run(session.connection, query);
    if (stays && !BEGINS.test(query) && outcome.endedTransaction) {
      stays = false;
      const message = 'A statement of the batch ended its transaction; what came before it may have taken effect.';
      return { status: 200, body: { session: null, error: { code: 'ABORTED', message } } };
    }
    return { status: 200, body: { session: stays ? { id: session.id } : null, result: outcome.result } };
  } catch (error) {
    stays &&= sessionId !== undefined;
    return failed(error);
  } finally {
    call.signal.removeEventListener('abort', cancel);
    if (!stays) end(bridge, session);
    else session.idle = setTimeout(() => end(bridge, session), SESSION_IDLE_MILLISECONDS);
  }
}

function sessionOf({ target, connections, sessions }: Bridge, id: string | undefined): Session {
  const known = id === undefined ? undefined : sessions.get(id);
  if (known !== undefined) return known;
  if (id !== undefined) throw new BridgeError(400, 'The transaction has ended: nothing was heard of it for too long.');
  if (sessions.size >= connections) throw new BridgeError(503, 'The bridge has as many connections as it may have.');
  const session: Session = { id: randomUUID(), connection: mysql.createConnection(target) };
  session.connection.on('error', () => undefined);
  sessions.set(session.id, session);
  return session;
}

/** What is not committed is rolled back with it. */
function end({ sessions }: Bridge, { id, connection, idle }: Session): void {
  clearTimeout(idle);
  if (sessions.delete(id)) connection.destroy();
}

/** Where it fails, the longest time of a statement ends it. */
function kill({ target }: Bridge, { connection: { threadId } }: Session): void {
  if (threadId === null) return;
  const other = mysql.createConnection(target);
  other.on('error', () => undefined);
  other.query(`kill ${threadId}`, () => other.destroy());
}

interface Outcome {
  readonly result: unknown;
  /** Of statements without rows only; those with rows cannot. */
  readonly endedTransaction: boolean;
}

/** By events, so that a result over the bound stops to grow while it still arrives. */
function run(connection: Connection, sql: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let fields: readonly FieldPacket[] | undefined;
    let header: ResultSetHeader | undefined;
    const rows: unknown[] = [];
    let bytes = 0;
    // A connection that is lost, or was never there, tells only itself.
    connection.once('error', reject);
    connection
      .query(sql)
      .on('error', reject)
      .on('fields', (found: readonly FieldPacket[] | undefined) => (fields ??= found))
      .on('result', (row: readonly (Buffer | null)[] | ResultSetHeader, index: number) => {
        if ('serverStatus' in row) header = row;
        // Of a procedure the first rows.
        else if (index === 0) {
          bytes += row.reduce((sum, value) => sum + (value?.length ?? 0), 0);
          if (bytes > RESULT_BYTES) {
            reject(new BridgeError(413, 'The result is too large for the bridge; select fewer rows.'));
            connection.destroy();
          } else rows.push(rowOf(row));
        }
      })
      .on('end', () => {
        connection.off('error', reject);
        const affected = header === undefined ? {} : affectedOf(header);
        resolve({
          result: { ...affected, ...(fields !== undefined && { fields: fields.map(fieldOf), rows }) },
          endedTransaction: header !== undefined && (header.serverStatus & IN_TRANSACTION) === 0,
        });
      });
  });
}

const affectedOf = ({ affectedRows, insertId }: ResultSetHeader) => ({
  rowsAffected: String(affectedRows),
  ...(insertId > 0 && { insertId: String(insertId) }),
});

function requestOf(body: unknown): { readonly query: string; readonly sessionId: string | undefined } {
  if (typeof body !== 'object' || body === null || !('query' in body) || typeof body.query !== 'string') {
    throw new BridgeError(400, 'Send `query` as a text.');
  }
  const session: unknown = 'session' in body ? body.session : null;
  if (session === null || session === undefined) return { query: body.query, sessionId: undefined };
  if (typeof session !== 'object' || !('id' in session) || typeof session.id !== 'string') {
    throw new BridgeError(400, 'Send `session` as it was answered.');
  }
  return { query: body.query, sessionId: session.id };
}

/** What MySQL said, with status 200 and in Vitess' words; what kept the bridge from asking, with 503. */
function failed(error: unknown): BridgeAnswer {
  if (error instanceof BridgeError) throw error;
  const { errno, sqlState, sqlMessage } = Object.assign({ errno: 0, sqlState: '', sqlMessage: '' }, error);
  if (sqlMessage === '') throw new BridgeError(503, 'The bridge cannot reach MySQL.');
  const message = `rpc error: code = Unknown desc = ${sqlMessage} (errno ${errno}) (sqlstate ${sqlState})`;
  return { status: 200, body: { session: null, error: { code: 'UNKNOWN', message } } };
}
