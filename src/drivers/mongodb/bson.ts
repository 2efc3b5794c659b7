/**
 * BSON and its JSON: Extended JSON (relaxed) in and out, so that identifiers, instants, decimals, 64-bit integers
 * and bytes survive their way through a chain.
 */

import { fail, ok, type Result } from '../../core/errors.ts';

/** Loaded at the first use: the start of the gateway must not wait for it. */
export const loadBson = () => import('bson');

export type Bson = Awaited<ReturnType<typeof loadBson>>;
export type Document = Readonly<Record<string, unknown>>;

/** What Extended JSON version 2 writes as an object of one key that begins with `$`. */
export const TYPE_KEYS: ReadonlySet<string> = new Set([
  '$oid',
  '$date',
  '$numberInt',
  '$numberLong',
  '$numberDouble',
  '$numberDecimal',
  '$binary',
  '$uuid',
  '$timestamp',
  '$minKey',
  '$maxKey',
]);

/** Those that a server does more with than compare them. */
export const ACTIVE_TYPE_KEYS: ReadonlySet<string> = new Set(['$regularExpression', '$code']);

const INT32 = 2 ** 31;

/**
 * JSON as values of BSON. Whole numbers beyond 32 bits become 64-bit integers.
 * @param path where the value stands in the parameters; fault `step.params` for what is no Extended JSON
 */
export function fromJson(bson: Bson, value: unknown, path: string): Result<unknown> {
  try {
    return ok(parsed(bson, value));
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    return fail('step.params', `${path}: ${reason.slice(0, 500)}`);
  }
}

function parsed(bson: Bson, value: unknown): unknown {
  if (typeof value === 'number') {
    const isLong = Number.isSafeInteger(value) && (value < -INT32 || value >= INT32);
    return isLong ? bson.Long.fromNumber(value) : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => parsed(bson, item));
  const keys = Object.keys(value);
  const [only = ''] = keys;
  if (keys.length === 1 && (TYPE_KEYS.has(only) || ACTIVE_TYPE_KEYS.has(only))) {
    const typed: unknown = bson.EJSON.deserialize({ value }, { relaxed: false })['value'];
    const isTyped = typed instanceof Date ? !Number.isNaN(typed.getTime()) : '_bsontype' in Object(typed);
    if (!isTyped) throw new Error(`The value of \`${only}\` is none of its type.`);
    return typed;
  }
  // What the library takes for a value of its own.
  if (keys.includes('_bsontype')) throw new Error('A field cannot be called `_bsontype`.');
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, parsed(bson, field)]));
}

/** Years that ISO 8601 writes with four digits; Extended JSON has the others as a number. */
const FIRST_INSTANT = Date.UTC(1970, 0, 1);
const LAST_INSTANT = Date.UTC(10_000, 0, 1) - 1;

/** Values of BSON as JSON. An integer beyond 2^53 keeps its digits. */
export function toJson(bson: Bson, value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : { $numberDouble: String(value) };
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) {
    const time = value.getTime();
    const isUsual = time >= FIRST_INSTANT && time <= LAST_INSTANT;
    return { $date: isUsual ? value.toISOString() : { $numberLong: String(time) } };
  }
  if (Array.isArray(value)) return value.map((item) => toJson(bson, item));
  // Its own values have it from their classes; a field of that name is just a field.
  if ('_bsontype' in value && !Object.hasOwn(value, '_bsontype')) {
    // The relaxed form of an integer would lose digits.
    const relaxed = value._bsontype !== 'Long';
    const shown: unknown = bson.EJSON.serialize({ value }, { relaxed })['value'];
    return shown;
  }
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, toJson(bson, field)]));
}
