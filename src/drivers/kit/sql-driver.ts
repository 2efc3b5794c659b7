/** What can be done with any SQL database, by whatever way it is reached. */

import type { Result } from '../../core/errors.ts';

export interface Statement {
  readonly sql: string;
  /** One for each placeholder, which each database writes in its own way. */
  readonly params: readonly unknown[];
}

export interface BatchOptions {
  readonly isolationLevel?: 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable' | undefined;
  readonly readOnly?: boolean | undefined;
  /** Postgres, with `Serializable` and `readOnly`: waits for a snapshot that cannot fail. */
  readonly deferrable?: boolean | undefined;
}

export interface SqlDriver<R> {
  query(statement: Statement): Promise<Result<R>>;
  /** All statements in one transaction: the results in order, or nothing has happened. */
  batch(statements: readonly Statement[], options?: BatchOptions): Promise<Result<readonly R[]>>;
}
