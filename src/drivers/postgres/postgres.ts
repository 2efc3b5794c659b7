/**
 * Postgres over HTTP: Neon's endpoint or a bridge with the same protocol.
 *
 * `neonConfig` is global, so it holds nothing of a call: one dispatcher is set for good, and each call
 * carries its own fetch and address through the options that the library hands on untouched.
 */

import { neon, neonConfig, NeonDbError, type FullQueryResults } from '@neondatabase/serverless';
import { FaultError, fail, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { exchange, refusal, type Wire } from '../kit/exchange.ts';
import { parserOf } from './values.ts';

export interface PostgresConnection {
  /** Address of a bridge's `/sql`; without it the connection string must name a Neon host. */
  readonly endpoint?: string;
  readonly connectionString: string;
  /** Bearer token of the bridge. */
  readonly token?: string;
}

interface Statement {
  readonly sql: string;
  /** For `$1`, `$2`, …; arrays become Postgres arrays, objects JSON. */
  readonly params: readonly unknown[];
}

export interface PostgresResult {
  /** By column name; of two columns with one name the last. */
  readonly rows: readonly Record<string, unknown>[];
  /** Rows that the statement returned or changed. */
  readonly rowCount: number;
  readonly fields: readonly { readonly name: string; readonly typeId: number }[];
}

interface BatchOptions {
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable';
  readonly readOnly?: boolean;
}

export interface PostgresDriver {
  query(statement: Statement): Promise<Result<PostgresResult>>;
  /** All statements in one transaction: the results in order, or nothing has happened. */
  batch(statements: readonly Statement[], options?: BatchOptions): Promise<Result<readonly PostgresResult[]>>;
}

const CALL = Symbol('call');

interface Call extends Wire {
  readonly endpoint: string | undefined;
}

/** What the library calls `fetch` with. */
interface LibraryRequest {
  readonly headers: HeadersInit;
  readonly body: string;
  readonly [CALL]: Call;
}

neonConfig.fetchFunction = async (address: string, init: LibraryRequest) => {
  const call = init[CALL];
  const reply = await exchange(call, {
    url: call.endpoint ?? address,
    method: 'POST',
    headers: Object.fromEntries(new Headers(init.headers)),
    body: init.body,
  });
  if (!reply.ok) throw new FaultError(reply.fault);
  const { status, bytes } = reply.value;
  // 400 is Postgres' own error, which the library parses.
  if (status !== 200 && status !== 400) throw new FaultError(refusal('Postgres', reply.value, call.now()));
  return new Response(bytes, { status });
};

export function createPostgresDriver(connection: PostgresConnection, wire: Wire): Result<PostgresDriver> {
  const { endpoint, connectionString, token } = connection;
  const unfit = connectionFault(connection);
  if (unfit !== undefined) return { ok: false, fault: unfit };
  const call: Call = { fetch: wire.fetch, signal: wire.signal, now: wire.now, endpoint };
  const sql = neon(connectionString, {
    fullResults: true,
    fetchOptions: { [CALL]: call },
    ...(token === undefined ? {} : { authToken: token }),
  });
  // The library takes the parsers of values per statement only.
  const prepare = ({ sql: text, params }: Statement) =>
    sql.query(text, [...params], { types: { getTypeParser: parserOf } });
  return ok({
    query: (statement) => attempt(async () => resultOf(await prepare(statement))),
    batch: (statements, options) =>
      attempt(async () => (await sql.transaction(statements.map(prepare), options)).map(resultOf)),
  });
}

/**
 * Without an endpoint the library derives an address from the host. Only Neon's may be derived: any
 * other host would get the password sent to a neighbour in its domain.
 */
function connectionFault({ endpoint, connectionString }: PostgresConnection): Fault | undefined {
  const url = URL.canParse(connectionString) ? new URL(connectionString) : undefined;
  if (
    url === undefined ||
    !/^postgres(ql)?:$/.test(url.protocol) ||
    url.username === '' ||
    url.hostname === '' ||
    url.pathname.length < 2
  ) {
    return fault(
      'connection.invalid',
      '`connectionString` must have the form postgresql://user:password@host/database.',
    );
  }
  if (endpoint === undefined && !url.hostname.endsWith('.neon.tech')) {
    return fault('connection.invalid', 'Give `endpoint`, the address of the bridge: the host is not one of Neon.');
  }
  return undefined;
}

const resultOf = (result: FullQueryResults<false>): PostgresResult => ({
  rows: result.rows,
  rowCount: result.rowCount,
  fields: result.fields.map(({ name, dataTypeID }) => ({ name, typeId: dataTypeID })),
});

async function attempt<T>(run: () => Promise<T>): Promise<Result<T>> {
  try {
    return ok(await run());
  } catch (thrown) {
    if (!(thrown instanceof NeonDbError)) {
      // A body that is no JSON, or JSON of another shape.
      return fail('upstream.invalid', 'Postgres sent something that cannot be read; check `endpoint`.', {
        detail: thrown,
      });
    }
    if (thrown.sourceError !== undefined) return { ok: false, fault: faultOf(thrown.sourceError) };
    return { ok: false, fault: sqlFault(thrown) };
  }
}

type Treatment = Pick<Fault, 'code' | 'retryable'>;

/** By class or code of SQLSTATE (Postgres, appendix A); the longest match counts. */
const SQLSTATE: Readonly<Record<string, Treatment>> = {
  '08': { code: 'upstream.unavailable', retryable: true },
  '28': { code: 'upstream.unauthorized', retryable: false },
  '53': { code: 'upstream.unavailable', retryable: true },
  '57P': { code: 'upstream.unavailable', retryable: true },
  // Serialization failure and deadlock: Postgres asks for another attempt.
  '40001': { code: 'upstream.rejected', retryable: true },
  '40P01': { code: 'upstream.rejected', retryable: true },
  '54000': { code: 'upstream.too-large', retryable: false },
  // Lock not available, statement timeout.
  '55P03': { code: 'upstream.rejected', retryable: true },
  '57014': { code: 'upstream.rejected', retryable: true },
};

function sqlFault(error: NeonDbError): Fault {
  const sqlState = error.code ?? '';
  const { code, retryable } = SQLSTATE[sqlState] ??
    SQLSTATE[sqlState.slice(0, 3)] ??
    SQLSTATE[sqlState.slice(0, 2)] ?? { code: 'upstream.rejected' as const, retryable: false };
  const { severity, detail, hint, position, schema, table, column, constraint } = error;
  return fault(code, `Postgres: ${error.message}${sqlState === '' ? '' : ` (${sqlState})`}`, {
    retryable,
    data: { code: sqlState, severity, detail, hint, position, schema, table, column, constraint },
  });
}
