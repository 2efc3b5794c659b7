/** Rows of MySQL in the form of Vitess: named types, and the bytes of all values of a row in one text. */

import type { FieldPacket } from 'mysql2';

const BINARY = 63;
const UNSIGNED = 0x20;

/** By the numbers of MySQL's protocol; those of integers have an unsigned twin. */
const TYPES: Readonly<Record<number, string>> = {
  0: 'DECIMAL',
  1: 'INT8',
  2: 'INT16',
  3: 'INT32',
  4: 'FLOAT32',
  5: 'FLOAT64',
  7: 'TIMESTAMP',
  8: 'INT64',
  9: 'INT24',
  10: 'DATE',
  11: 'TIME',
  12: 'DATETIME',
  13: 'YEAR',
  16: 'BIT',
  245: 'JSON',
  246: 'DECIMAL',
  255: 'GEOMETRY',
};

export function fieldOf({ name, columnType = 0, flags, characterSet = 0, extendedFormat }: FieldPacket): unknown {
  const type = TYPES[columnType] ?? (characterSet === BINARY ? 'VARBINARY' : 'VARCHAR');
  const isUnsigned = type.startsWith('INT') && (Number(flags) & UNSIGNED) !== 0;
  return {
    name,
    type: extendedFormat === 'json' ? 'JSON' : isUnsigned ? `U${type}` : type,
    charset: characterSet,
    flags: Number(flags),
  };
}

export const rowOf = (row: readonly (Buffer | null)[]): unknown => ({
  lengths: row.map((value) => String(value?.length ?? -1)),
  values: Buffer.concat(row.map((value) => value ?? Buffer.alloc(0))).toString('base64'),
});
