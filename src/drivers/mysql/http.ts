/**
 * MySQL over HTTP, in PlanetScale's protocol: PlanetScale itself, or a bridge that speaks it.
 *
 * The protocol takes statements with the values inside; the library puts them there, escaped, and refuses places
 * in which servers read SQL in different ways.
 */

import { Buffer } from 'node:buffer';
import { connect, DatabaseError, format, type Connection } from '@planetscale/database';
import { FaultError, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { exchange, refusal, textOf, type Wire } from '../kit/exchange.ts';
import type { Statement } from '../kit/sql-driver.ts';
import { beginOf, type MysqlDriver, type MysqlResult } from './driver.ts';
import { sqlFault } from './faults.ts';
import { insertIdOf, parameterOf, readerOf } from './values.ts';

export interface HttpConnection {
  /** Origin of PlanetScale or of a bridge. */
  readonly endpoint: string;
  readonly user: string;
  /** At a bridge its token. */
  readonly password: string;
}

export function createHttpDriver(connection: HttpConnection, wire: Wire): MysqlDriver {
  return {
    query: (statement) => attempt(() => execute(open(connection, wire), statement)),
    batch: (statements, options = {}) =>
      attempt(async () => {
        // The session, and with it the transaction, is the connection's.
        const session = open(connection, wire);
        try {
          for (const sql of beginOf(options)) await session.execute(sql);
          const results: MysqlResult[] = [];
          for (const statement of statements) results.push(await execute(session, statement));
          await session.execute('commit');
          return results;
        } catch (thrown) {
          // Where this fails, too, the other side rolls back when it hears nothing more.
          await session.execute('rollback').catch(() => undefined);
          throw thrown;
        }
      }),
  };
}

function open({ endpoint, user, password }: HttpConnection, wire: Wire): Connection {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return connect({
    host: 'unused',
    // The library's own would take no characters beyond Latin-1, and no address without TLS.
    fetch: async (address, init) => {
      const reply = await exchange(wire, {
        url: new URL(new URL(address).pathname, endpoint).href,
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization },
        body: init?.body ?? '',
      });
      if (!reply.ok) throw new FaultError(reply.fault);
      const { status, bytes } = reply.value;
      // Errors of MySQL itself come with 200 too.
      if (status !== 200) throw new FaultError(refusal('MySQL', reply.value, wire.now()));
      return { ok: true, status, statusText: '', text: () => Promise.resolve(textOf(bytes)) };
    },
    cast: (field, value: unknown) => {
      if (typeof value !== 'string') return null;
      // Each character is a byte.
      return readerOf(field.type, field.charset ?? 0)(Buffer.from(value, 'latin1'));
    },
  });
}

async function execute(session: Connection, { sql, params }: Statement): Promise<MysqlResult> {
  const { headers, rows, rowsAffected, insertId } = await session.execute(withValues(sql, params), null, {
    as: 'array',
  });
  // By `fromEntries`, for which `__proto__` is a name like any other.
  const shown = rows.map((row) => Object.fromEntries(headers.map((name, index) => [name, row[index] as unknown])));
  return {
    rows: shown,
    rowCount: headers.length > 0 ? shown.length : rowsAffected,
    insertId: insertIdOf(insertId),
  };
}

/** @throws FaultError `step.params` where values and places do not match, or a place takes none */
function withValues(sql: string, params: readonly unknown[]): string {
  let places = 0;
  const probe = { toString: () => String((places += 1)) };
  let text: string;
  try {
    format(
      sql,
      Array.from({ length: params.length + 1 }, () => probe),
    );
    text = format(sql, params.map(parameterOf));
  } catch (thrown) {
    throw new FaultError(fault('step.params', `sql: ${thrown instanceof Error ? thrown.message : 'is not valid'}.`));
  }
  if (places === params.length) return text;
  const found = places > params.length ? `more than ${params.length}` : String(places);
  const message = `params: The statement has ${found} \`?\`, and ${params.length} values were given.`;
  throw new FaultError(fault('step.params', message));
}

async function attempt<T>(run: () => Promise<T>): Promise<Result<T>> {
  try {
    return ok(await run());
  } catch (thrown) {
    return { ok: false, fault: faultFrom(thrown) };
  }
}

function faultFrom(thrown: unknown): Fault {
  if (thrown instanceof FaultError) return faultOf(thrown);
  if (thrown instanceof DatabaseError) {
    const [, said = thrown.message] = /\bdesc = (.*?) \(errno \d+\)/s.exec(thrown.message) ?? [];
    const errno = Number(/\(errno (\d+)\)/.exec(thrown.message)?.[1] ?? 0);
    const sqlState = /\(sqlstate (\w{5})\)/.exec(thrown.message)?.[1];
    return sqlFault({ errno, sqlState, message: said });
  }
  // A body that is no JSON, or JSON of another shape.
  return fault('upstream.invalid', 'MySQL sent something that cannot be read; check `endpoint`.', { detail: thrown });
}
