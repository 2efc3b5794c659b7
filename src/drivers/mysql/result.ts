/** What mysql2 gives for a statement, with `rowsAsArray`, as a result of ours. */

import * as v from 'valibot';
import type { MysqlResult } from './driver.ts';
import { insertIdOf, readerOf } from './values.ts';

const cell = v.nullable(v.union([v.string(), v.number(), v.instance(Uint8Array)]));
const rowsSchema = v.array(v.array(cell));
const fieldsSchema = v.array(
  v.object({
    name: v.string(),
    columnType: v.number(),
    characterSet: v.number(),
    extendedFormat: v.optional(v.string()),
  }),
);
/** The OK packet of a statement without rows. */
const headerSchema = v.object({
  affectedRows: v.number(),
  insertId: v.union([v.number(), v.string()]),
  serverStatus: v.optional(v.number(), 0),
});

const IN_TRANSACTION = 0x0001;

interface Outcome {
  readonly result: MysqlResult;
  /** True also where the statement cannot have ended one, as it gave rows. */
  readonly inTransaction: boolean;
}

/**
 * Of a procedure the first rows, and the state that it ended with.
 * @throws ValiError for what mysql2 never gives
 */
export function resultOf(rows: unknown, fields: unknown): Outcome {
  const several = Array.isArray(fields) && fields.some((each) => each === undefined || Array.isArray(each));
  if (several && Array.isArray(rows)) {
    const index = fields.findIndex((each) => each !== undefined);
    const first = resultOf(rows[index], fields[index]);
    return { ...first, inTransaction: resultOf(rows.at(-1), fields.at(-1)).inTransaction };
  }
  if (fields === undefined) {
    const { affectedRows, insertId, serverStatus } = v.parse(headerSchema, rows);
    const result = { rows: [], rowCount: affectedRows, insertId: insertIdOf(insertId) };
    return { result, inTransaction: (serverStatus & IN_TRANSACTION) !== 0 };
  }
  const columns = v.parse(fieldsSchema, fields).map(({ name, columnType, characterSet, extendedFormat }) => ({
    name,
    read: readerOf(columnType, characterSet, extendedFormat),
  }));
  // By `fromEntries`, for which `__proto__` is a name like any other.
  const shown = v.parse(rowsSchema, rows).map((row) =>
    Object.fromEntries(
      columns.map(({ name, read }, index) => {
        const raw = row[index];
        return [name, raw === null || raw === undefined ? null : read(raw)];
      }),
    ),
  );
  return { result: { rows: shown, rowCount: shown.length, insertId: null }, inTransaction: true };
}
