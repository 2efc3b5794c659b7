/**
 * Postgres over HTTP, in the protocol of @neondatabase/serverless (`POST /sql`).
 *
 * Guarantees: a batch is one transaction or nothing; a request leaves no session state (open transaction,
 * `SET`, temporary table, lock) to the next one; a query whose caller has gone is cancelled; rows over a
 * bound are a failure, not a full memory.
 * Accepted weakness: with `hosts`, a caller who knows credentials may use them through the bridge.
 */

import type { Server } from 'node:http';
import pg, { type PoolClient, type QueryArrayConfig } from 'pg';
import { BridgeError, createBridge, type BridgeAnswer, type BridgeCall } from './http.ts';

export interface PostgresBridgeOptions {
  /** Every request goes to this database, whatever its own connection string says. */
  readonly connectionString?: string;
  /** Instead: `host:port` of the servers that a request's own connection string may name. */
  readonly hosts?: readonly string[];
  /** Asked as a bearer token. Required with `connectionString`, where nothing else guards the database. */
  readonly token?: string;
  readonly connectionsPerDatabase?: number;
  readonly statementTimeoutMilliseconds?: number;
}

/** Text of all values of one request. Beyond it a reply belongs into pages. */
const RESULT_CHARACTERS = 64 * 1024 * 1024;
/** Pools of different connection strings; the oldest makes room. */
const POOLS = 20;

interface Statement {
  readonly query: string;
  readonly params: readonly unknown[];
}

const ISOLATION: Readonly<Record<string, string>> = {
  ReadUncommitted: 'READ UNCOMMITTED',
  ReadCommitted: 'READ COMMITTED',
  RepeatableRead: 'REPEATABLE READ',
  Serializable: 'SERIALIZABLE',
};

const ERROR_FIELDS = (
  'severity code detail hint position internalPosition internalQuery where schema table column dataType constraint ' +
  'file line routine'
).split(' ');

export function createPostgresBridge(options: PostgresBridgeOptions): Server {
  if (options.connectionString !== undefined && options.token === undefined) {
    throw new Error('A bridge to one database needs a token.');
  }
  const pools = createPools(options);
  const server = createBridge({
    token: options.token,
    failure: (message) => ({ message }),
    answer: (call) => answer(pools, targetOf(options, call), call),
  });
  server.once('close', () => pools.close());
  return server;
}

function targetOf(options: PostgresBridgeOptions, call: BridgeCall): string {
  if (call.path !== '/sql') throw new BridgeError(404, 'Use /sql.');
  if (options.connectionString !== undefined) return options.connectionString;
  const given = call.headers['neon-connection-string'];
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined) throw new BridgeError(400, 'Send the header Neon-Connection-String.');
  // A parameter such as `?host=` would lead past the list.
  if ([...url.searchParams.keys()].some((name) => name !== 'application_name' && name !== 'sslmode')) {
    throw new BridgeError(400, 'The connection string may have no parameters but sslmode and application_name.');
  }
  const host = `${url.hostname}:${url.port || 5432}`;
  if (!options.hosts?.includes(host)) throw new BridgeError(403, `The bridge does not lead to ${host}.`);
  return url.href;
}

interface Pools {
  get(connectionString: string): pg.Pool;
  close(): void;
}

function createPools(options: PostgresBridgeOptions): Pools {
  const pools = new Map<string, pg.Pool>();
  const end = (key: string): void => {
    const pool = pools.get(key);
    pools.delete(key);
    // Ends once its last query has; a failure to say goodbye concerns nobody.
    void pool?.end().catch(() => undefined);
  };
  return {
    get(connectionString) {
      const pool =
        pools.get(connectionString) ??
        new pg.Pool({
          connectionString,
          max: options.connectionsPerDatabase ?? 10,
          idleTimeoutMillis: 30_000,
          connectionTimeoutMillis: 10_000,
          statement_timeout: options.statementTimeoutMilliseconds ?? 60_000,
          // One that an abandoned batch left open must not hold its locks for long.
          idle_in_transaction_session_timeout: 10_000,
        }).on('error', () => undefined);
      pools.delete(connectionString);
      pools.set(connectionString, pool);
      const [oldest] = pools.keys();
      if (pools.size > POOLS && oldest !== undefined) end(oldest);
      return pool;
    },
    close: () => [...pools.keys()].forEach(end),
  };
}

async function answer(pools: Pools, connectionString: string, call: BridgeCall): Promise<BridgeAnswer> {
  const { batch, statements } = statementsOf(call.body);
  const begin = batch ? beginOf(call) : undefined;
  let client: PoolClient;
  try {
    client = await pools.get(connectionString).connect();
  } catch (error) {
    return failed(error);
  }
  const cancel = (): void => void cancelQuery(connectionString, client);
  call.signal.addEventListener('abort', cancel, { once: true });
  try {
    if (call.signal.aborted) throw new BridgeError(499, 'The caller has gone.');
    const budget = { characters: RESULT_CHARACTERS };
    if (begin === undefined) {
      const [statement] = statements;
      if (statement === undefined) throw new BridgeError(400, 'Send `query`.');
      return { status: 200, body: await query(client, statement, budget) };
    }
    await client.query(begin);
    const results: unknown[] = [];
    for (const statement of statements) {
      results.push(await query(client, statement, budget));
      if (client.getTransactionStatus() !== 'T') {
        throw new BridgeError(400, 'A statement of the batch ended its transaction.');
      }
    }
    await client.query('COMMIT');
    return { status: 200, body: { results } };
  } catch (error) {
    if (error instanceof BridgeError) throw error;
    return failed(error);
  } finally {
    call.signal.removeEventListener('abort', cancel);
    await giveBack(client, call.signal.aborted);
  }
}

/** Only a connection without traces serves the next request; a cancelled one might be hit by a late cancel. */
async function giveBack(client: PoolClient, spoiled: boolean): Promise<void> {
  try {
    if (!spoiled && client.getTransactionStatus() !== 'I') await client.query('ROLLBACK');
    if (!spoiled) await client.query('DISCARD ALL');
    client.release(spoiled);
  } catch {
    client.release(true);
  }
}

async function cancelQuery(connectionString: string, client: PoolClient): Promise<void> {
  if (!('processID' in client) || typeof client.processID !== 'number') return;
  const other = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 });
  try {
    await other.connect();
    await other.query('select pg_cancel_backend($1)', [client.processID]);
  } catch {
    // The statement timeout ends the query then.
  } finally {
    await other.end().catch(() => undefined);
  }
}

async function query(client: PoolClient, statement: Statement, budget: { characters: number }): Promise<unknown> {
  // Called for each value, so that a result over the bound stops to grow while it still arrives.
  const read = (text: string): string => {
    budget.characters -= text.length;
    if (budget.characters < 0) {
      throw Object.assign(new Error('The result is too large for the bridge; select fewer rows.'), { code: '54000' });
    }
    return text;
  };
  const config: QueryArrayConfig & { readonly queryMode: 'extended' } = {
    text: statement.query,
    values: [...statement.params],
    rowMode: 'array',
    types: { getTypeParser: () => read },
    // One statement a query, also without parameters: the simple protocol would run `…; drop table …`.
    queryMode: 'extended',
  };
  const result = await client.query(config);
  return {
    command: result.command,
    rowCount: result.rowCount,
    fields: result.fields,
    rows: result.rows,
    rowAsArray: true,
  };
}

function statementsOf(body: unknown): { readonly batch: boolean; readonly statements: readonly Statement[] } {
  if (typeof body === 'object' && body !== null && 'queries' in body && Array.isArray(body.queries)) {
    return { batch: true, statements: body.queries.map(statementOf) };
  }
  return { batch: false, statements: [statementOf(body)] };
}

function statementOf(body: unknown): Statement {
  if (typeof body !== 'object' || body === null || !('query' in body) || typeof body.query !== 'string') {
    throw new BridgeError(400, 'Send `query` as a text.');
  }
  const params: unknown = 'params' in body ? body.params : [];
  if (!Array.isArray(params)) throw new BridgeError(400, 'Send `params` as an array.');
  return { query: body.query, params };
}

function beginOf({ headers }: BridgeCall): string {
  const isolation = headers['neon-batch-isolation-level'];
  const level = typeof isolation === 'string' ? ISOLATION[isolation] : undefined;
  if (isolation !== undefined && level === undefined) throw new BridgeError(400, 'There is no such isolation level.');
  return [
    'BEGIN',
    level === undefined ? '' : `ISOLATION LEVEL ${level}`,
    headers['neon-batch-read-only'] === 'true' ? 'READ ONLY' : '',
    headers['neon-batch-deferrable'] === 'true' ? 'DEFERRABLE' : '',
  ].join(' ');
}

/** What Postgres said, with status 400; what kept the bridge from asking, with 503. */
function failed(error: unknown): BridgeAnswer {
  const message = error instanceof Error ? error.message : 'The query failed.';
  const fields = new Map(typeof error === 'object' && error !== null ? Object.entries(error) : []);
  const code: unknown = fields.get('code');
  const fromPostgres = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code);
  if (!fromPostgres) return { status: 503, body: { message: 'The bridge cannot reach Postgres.' } };
  return {
    status: 400,
    body: { message, ...Object.fromEntries(ERROR_FIELDS.map((name) => [name, fields.get(name)])) },
  };
}
