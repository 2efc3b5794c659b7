/**
 * A database of the owner, or of one end customer: an object each, which holds nothing else.
 *
 * Guarantee: the object is found by tenant and name together, so that no name, whatever it holds, reaches the
 * database of another tenant.
 */

import { DurableObject } from 'cloudflare:workers';
import { callAgain } from './object-call.ts';
import type { ConnectionRef } from '../core/chain/connection.ts';
import { ok, type Result } from '../core/errors.ts';
import {
  runStatements,
  unanswered,
  type Access,
  type SqliteDatabase,
  type SqliteResult,
} from '../drivers/sqlite/database.ts';
import type { Statement } from '../drivers/kit/sql-driver.ts';
import type { Env } from '../env.ts';

export class SqliteObject extends DurableObject<Env> {
  run(statements: readonly Statement[], access: Access): Result<readonly SqliteResult[]> {
    return runStatements(this.ctx.storage, statements, access);
  }

  async clear(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}

/** @param place whose database, and its name */
export function sqliteDatabase(namespace: Env['SQLITE'], { tenant, name }: ConnectionRef): SqliteDatabase {
  const stub = () => namespace.getByName(JSON.stringify([tenant, name]));
  return {
    async run(statements, access) {
      // Copies: what crosses to the object must be plain.
      const plain = statements.map(({ sql, params }) => ({ sql, params: [...params] }));
      const call = async (): Promise<Result<readonly SqliteResult[]>> => stub().run(plain, access);
      try {
        // What writes may have taken effect although its answer was lost.
        return await call().catch((thrown: unknown) => {
          if (access === 'read') return callAgain(thrown, call);
          throw thrown;
        });
      } catch (thrown) {
        return unanswered(thrown);
      }
    },
    async clear() {
      try {
        await stub().clear();
        return ok(undefined);
      } catch (thrown) {
        return unanswered(thrown);
      }
    },
  };
}
