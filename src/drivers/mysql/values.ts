/**
 * Values of MySQL as JSON, by type, the same over both protocols.
 *
 * Nothing loses its value: `bigint` and `decimal` become numbers only where a double holds them exactly and
 * stay texts beyond. `datetime` becomes ISO 8601 without a zone; `timestamp` ends in `Z`, as sessions are in UTC.
 * Bytes become base64, `bit` a number, JSON what it says. Dates that are none (`0000-00-00`) stay texts.
 */

import { Buffer } from 'node:buffer';

/** Bytes as they came, a text, or a number that the protocol has as such. */
type Raw = Uint8Array | string | number;
type Reader = (raw: Raw) => unknown;

/** Every decimal of so many digits survives the way through a double and back. */
const EXACT_DIGITS = 15;
/** Of `float`, which the binary protocol sends as bits: what is shortest and means the same bits. */
const FLOAT_DIGITS = [6, 7, 8, 9];

const textOf = (raw: Raw): string => (raw instanceof Uint8Array ? new TextDecoder().decode(raw) : String(raw));
const bytesOf = (raw: Raw): Buffer => Buffer.from(raw instanceof Uint8Array ? raw : Buffer.from(String(raw)));

const number: Reader = (raw) => Number(textOf(raw));
const float: Reader = (raw) => {
  const value = Number(textOf(raw));
  const digits = FLOAT_DIGITS.find((count) => Math.fround(Number(value.toPrecision(count))) === Math.fround(value));
  return digits === undefined ? value : Number(value.toPrecision(digits));
};
const integer: Reader = (raw) => {
  const text = textOf(raw);
  return Number.isSafeInteger(Number(text)) ? Number(text) : text;
};
const decimal: Reader = (raw) => {
  const text = textOf(raw);
  return text.replace(/^-|\./g, '').length <= EXACT_DIGITS ? Number(text) : text;
};
const json: Reader = (raw) => {
  const value: unknown = JSON.parse(textOf(raw));
  return value;
};
const bits: Reader = (raw) => integer(BigInt(`0x0${bytesOf(raw).toString('hex')}`).toString());
const base64: Reader = (raw) => bytesOf(raw).toString('base64');

/** Each protocol pads fractions with zeros in its own way. */
const time: Reader = (raw) =>
  textOf(raw).replace(/\.(\d*?)0*$/, (_, digits: string) => (digits === '' ? '' : `.${digits}`));
const datetime: Reader = (raw) => {
  const text = String(time(raw));
  return /^\d{4}-(?!00)\d\d-(?!00)\d\d /.test(text) ? text.replace(' ', 'T') : text;
};
const timestamp: Reader = (raw) => {
  const text = String(datetime(raw));
  return text.includes('T') ? `${text}Z` : text;
};

/** By the name in Vitess' protocol and the number in MySQL's. What is missing is text, or base64 where binary. */
const TYPES: readonly (readonly [names: string, codes: readonly number[], reader: Reader])[] = [
  ['INT8 INT16 INT24 INT32 UINT8 UINT16 UINT24 UINT32 YEAR', [1, 2, 3, 9, 13], number],
  ['FLOAT32', [4], float],
  ['FLOAT64', [5], number],
  ['INT64 UINT64', [8], integer],
  ['DECIMAL', [0, 246], decimal],
  ['DATE', [10, 14], textOf],
  ['TIME', [11], time],
  ['DATETIME', [12], datetime],
  ['TIMESTAMP', [7], timestamp],
  ['BIT', [16], bits],
  ['JSON', [245], json],
  ['GEOMETRY', [255], base64],
];

const BY_NAME = new Map(TYPES.flatMap(([names, , reader]) => names.split(' ').map((name) => [name, reader] as const)));
const BY_CODE = new Map(TYPES.flatMap(([, codes, reader]) => codes.map((code) => [code, reader] as const)));

/** The pseudo character set of bytes. */
const BINARY = 63;

/**
 * @param type `INT64` of Vitess, or 8 of MySQL
 * @param format what MariaDB says of its aliases, e.g. `json`
 */
export function readerOf(type: string | number, charset: number, format?: string): Reader {
  if (format === 'json') return json;
  const reader = typeof type === 'number' ? BY_CODE.get(type) : BY_NAME.get(type);
  return reader ?? (charset === BINARY ? base64 : textOf);
}

/** A value of JSON as a parameter: MySQL has neither booleans nor lists. */
export function parameterOf(value: unknown): string | number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' || typeof value === 'string' ? value : JSON.stringify(value);
}

/** `insertId` is 0 where the statement made none. */
export const insertIdOf = (id: string | number): number | string | null => {
  const value = integer(id);
  return typeof value === 'number' || typeof value === 'string' ? (value === 0 ? null : value) : null;
};
