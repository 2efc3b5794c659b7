/**
 * Postgres over HTTP: Neon's endpoint or a bridge with the same protocol.
 *
 * `neonConfig` is global, so it holds nothing of a call: one dispatcher is set for good, and each call
 * carries its own fetch and address through the options that the library hands on untouched.
 */

import { neon, neonConfig, NeonDbError, type FullQueryResults } from '@neondatabase/serverless';
import { FaultError, fail, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { exchange, refusal, type Wire } from '../kit/exchange.ts';
import type { Statement } from '../kit/sql-driver.ts';
import {
  addressOf,
  declared,
  fetched,
  MALFORMED,
  sqlFault,
  type PostgresDriver,
  type PostgresResult,
} from './driver.ts';
import { parserOf } from './values.ts';

export interface HttpConnection {
  /** Address of a bridge's `/sql`; without it the connection string must name a Neon host. */
  readonly endpoint?: string;
  readonly connectionString: string;
  /** Bearer token of the bridge. */
  readonly token?: string;
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

export function createHttpDriver(connection: HttpConnection, wire: Wire): Result<PostgresDriver> {
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
  const batch: PostgresDriver['batch'] = (statements, { isolationLevel, readOnly, deferrable } = {}) =>
    attempt(async () => {
      const options = {
        ...(isolationLevel !== undefined && { isolationLevel }),
        ...(readOnly !== undefined && { readOnly }),
        ...(deferrable !== undefined && { deferrable }),
      };
      return (await sql.transaction(statements.map(prepare), options)).map(resultOf);
    });
  return ok({
    query: (statement) => attempt(async () => resultOf(await prepare(statement))),
    batch,
    async read(statement, maximumRows) {
      const results = await batch([declared(statement), fetched(maximumRows + 1)], { readOnly: true });
      if (!results.ok) return results;
      const rows = results.value[1]?.rows ?? [];
      return ok({ rows: rows.slice(0, maximumRows), more: rows.length > maximumRows });
    },
  });
}

export const isNeon = (hostname: string): boolean => hostname.endsWith('.neon.tech');

/**
 * Without an endpoint the library derives an address from the host. Only Neon's may be derived: any
 * other host would get the password sent to a neighbour in its domain.
 */
function connectionFault({ endpoint, connectionString }: HttpConnection): Fault | undefined {
  const address = addressOf(connectionString);
  if (address === undefined) return MALFORMED;
  if (endpoint === undefined && !isNeon(address.hostname)) {
    return fault('connection.invalid', 'Give `endpoint`, the address of the bridge: the host is not one of Neon.');
  }
  return undefined;
}

const resultOf = (result: FullQueryResults<false>): PostgresResult => ({
  rows: result.rows,
  rowCount: result.rowCount,
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
    return { ok: false, fault: sqlErrorOf(thrown) };
  }
}

function sqlErrorOf(error: NeonDbError): Fault {
  const { message, code, severity, detail, hint, position, schema, table, column, constraint } = error;
  return sqlFault({ message, code, severity, detail, hint, position, schema, table, column, constraint });
}
