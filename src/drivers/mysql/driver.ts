/** What both ways to MySQL and MariaDB, over HTTP and over TCP, have in common. */

import type { Result } from '../../core/errors.ts';

export interface Statement {
  readonly sql: string;
  /** One for each `?`; objects and lists become JSON. */
  readonly params: readonly unknown[];
}

export interface MysqlResult {
  /** By column name; of two columns with one name the last. */
  readonly rows: readonly Record<string, unknown>[];
  /** Rows that the statement returned, or that it matched, inserted or deleted. */
  readonly rowCount: number;
  /** The first `auto_increment` value that it made; null for none. */
  readonly insertId: number | string | null;
}

export const ISOLATION_LEVELS = {
  ReadUncommitted: 'read uncommitted',
  ReadCommitted: 'read committed',
  RepeatableRead: 'repeatable read',
  Serializable: 'serializable',
} as const;

export interface BatchOptions {
  readonly isolationLevel?: keyof typeof ISOLATION_LEVELS;
  readonly readOnly?: boolean;
}

export interface MysqlDriver {
  query(statement: Statement): Promise<Result<MysqlResult>>;
  /** All statements in one transaction: the results in order, or nothing has happened. */
  batch(statements: readonly Statement[], options?: BatchOptions): Promise<Result<readonly MysqlResult[]>>;
}

/** What begins a transaction; MySQL takes the level for the next one only. */
export const beginOf = ({ isolationLevel, readOnly }: BatchOptions): readonly string[] => [
  ...(isolationLevel === undefined ? [] : [`set transaction isolation level ${ISOLATION_LEVELS[isolationLevel]}`]),
  readOnly === true ? 'start transaction read only' : 'begin',
];
