/** What can be done with a Postgres, by whatever way it is reached. */

import { fault, type Fault, type Result } from '../../core/errors.ts';
import type { SqlDriver, Statement } from '../kit/sql-driver.ts';

export interface PostgresResult {
  /** By column name; of two columns with one name the last. */
  readonly rows: readonly Record<string, unknown>[];
  /** Rows that the statement returned or changed. */
  readonly rowCount: number;
}

/** Parameters are for `$1`, `$2`, …; arrays become Postgres arrays, objects JSON. */
export interface PostgresDriver extends SqlDriver<PostgresResult> {
  /** The first rows of a query, which is not run to its end for them. */
  read(
    statement: Statement,
    maximumRows: number,
  ): Promise<Result<{ readonly rows: PostgresResult['rows']; readonly more: boolean }>>;
}

export interface PostgresAddress {
  /** As it was written, IPv6 in brackets. */
  readonly hostname: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

const DEFAULT_PORT = 5432;

/** Undefined for what is not `postgresql://user:password@host/database`. Parameters of the string are ignored. */
export function addressOf(connectionString: string): PostgresAddress | undefined {
  const url = URL.parse(connectionString);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return undefined;
  const { hostname, port, username, password, pathname } = url;
  if (username === '' || hostname === '' || pathname.length < 2) return undefined;
  try {
    return {
      hostname,
      port: port === '' ? DEFAULT_PORT : Number(port),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
    };
  } catch {
    return undefined;
  }
}

export const MALFORMED: Fault = fault(
  'connection.invalid',
  '`connectionString` must have the form postgresql://user:password@host/database.',
);

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

/** The fields of Postgres' ErrorResponse. */
interface SqlError {
  readonly message: string;
  /** SQLSTATE. */
  readonly code: string | undefined;
  readonly severity: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: string | undefined;
  readonly schema: string | undefined;
  readonly table: string | undefined;
  readonly column: string | undefined;
  readonly constraint: string | undefined;
}

export function sqlFault({ message, code: sqlState = '', ...data }: SqlError): Fault {
  const { code, retryable } = SQLSTATE[sqlState] ??
    SQLSTATE[sqlState.slice(0, 3)] ??
    SQLSTATE[sqlState.slice(0, 2)] ?? { code: 'upstream.rejected' as const, retryable: false };
  return fault(code, `Postgres: ${message}${sqlState === '' ? '' : ` (${sqlState})`}`, {
    retryable,
    data: { code: sqlState, ...data },
  });
}

const CURSOR = 'tidegate_read';

/** A query as a cursor of its transaction. */
export const declared = ({ sql, params }: Statement): Statement => ({
  sql: `declare ${CURSOR} no scroll cursor for ${sql}`,
  params,
});

export const fetched = (rows: number): Statement => ({ sql: `fetch forward ${rows} from ${CURSOR}`, params: [] });
