/** What both ways to MySQL and MariaDB, over HTTP and over TCP, have in common. */

import type { BatchOptions, SqlDriver } from '../kit/sql-driver.ts';

export interface MysqlResult {
  /** By column name; of two columns with one name the last. */
  readonly rows: readonly Record<string, unknown>[];
  /** Rows that the statement returned, or that it matched, inserted or deleted. */
  readonly rowCount: number;
  /** The first `auto_increment` value that it made; null for none. */
  readonly insertId: number | string | null;
}

const ISOLATION_LEVELS: Readonly<Record<NonNullable<BatchOptions['isolationLevel']>, string>> = {
  ReadUncommitted: 'read uncommitted',
  ReadCommitted: 'read committed',
  RepeatableRead: 'repeatable read',
  Serializable: 'serializable',
};

/** Parameters are for each `?`; objects and lists become JSON. */
export type MysqlDriver = SqlDriver<MysqlResult>;

/** What begins a transaction; MySQL takes the level for the next one only. */
export const beginOf = ({ isolationLevel, readOnly }: BatchOptions): readonly string[] => [
  ...(isolationLevel === undefined ? [] : [`set transaction isolation level ${ISOLATION_LEVELS[isolationLevel]}`]),
  readOnly === true ? 'start transaction read only' : 'begin',
];
