/** What the steps that work on rows and lists take alike. */

import * as v from 'valibot';
import { tableOf } from './table.ts';
import { isTimeZone } from '../../core/data/dates.ts';
import { OPERATION_NAMES } from '../../core/data/items/aggregate.ts';
import { PLAIN_TYPES, type Type } from '../../core/data/types.ts';
import { LIMITS } from '../../core/limits.ts';

function isCharset(label: string): boolean {
  try {
    return new TextDecoder(label).encoding !== '';
  } catch {
    return false;
  }
}

const zone = v.optional(
  v.pipe(
    v.string(),
    v.check(isTimeZone, 'Must be a time zone, e.g. `Europe/Berlin`.'),
    v.description('A time zone, e.g. `Europe/Berlin`. Default: UTC.'),
  ),
  'UTC',
);
const dateForm = v.optional(
  v.pipe(
    v.string(),
    v.minLength(1),
    v.maxLength(100),
    v.description(
      '`iso` (default), `unix` (seconds), `unix-ms`, or a pattern of `yyyy`, `MM`, `dd`, `HH`, `mm`, `ss`, `SSS` and `XXX`.',
    ),
  ),
  'iso',
);
const date = v.strictObject({ from: dateForm, fromZone: zone, to: dateForm, toZone: zone });
const type = v.union([v.picklist(PLAIN_TYPES), v.strictObject({ date })]);

export const types = tableOf(type);

export const typesOf = (given: v.InferOutput<typeof types>): Readonly<Record<string, Type>> =>
  Object.fromEntries(Object.entries(given).map(([path, each]) => [path, typeOf(each)]));

const typeOf = (given: v.InferOutput<typeof type>): Type => {
  if (typeof given === 'string') return given;
  const { from, fromZone, to, toZone } = given.date;
  return { date: { from: { form: from, zone: fromZone }, to: { form: to, zone: toZone } } };
};

export const charset = v.optional(
  v.pipe(
    v.string(),
    v.check(isCharset, 'Must be a character encoding, e.g. `windows-1252`.'),
    v.description('How bytes are read as text. Default: UTF-8, which is also what is written.'),
  ),
  'utf-8',
);

export const delimiter = v.optional(v.pipe(v.string(), v.regex(/^[^\r\n"\ufeff]$/u, 'Must be one character.')), ',');
export const header = v.optional(v.pipe(v.boolean(), v.description('The first row names the columns.')), true);
export const escapeFormulas = v.optional(
  v.pipe(v.boolean(), v.description("Puts `'` before what a spreadsheet would compute.")),
  false,
);

export const path = v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.dataPathCharacters));
export const few = <T extends v.GenericSchema>(schema: T) =>
  v.pipe(v.array(schema), v.minLength(1), v.maxLength(LIMITS.dataFields));
export const asList = <T>(value: T | readonly T[]): readonly T[] => (Array.isArray(value) ? value : [value as T]);

/** One path, or several that count together. */
export const keys = v.union([path, few(path)]);

export const groupBy = v.optional(
  v.pipe(
    tableOf(path),
    v.description('Paths whose values make a group, by the names that they get in the result. Without it, one object.'),
  ),
);
export const figures = v.pipe(
  tableOf(
    v.strictObject({
      op: v.picklist(OPERATION_NAMES),
      of: v.optional(v.pipe(path, v.description('Path of the value. Default: the item itself.'))),
    }),
  ),
  v.description('What to compute, by the names that it gets in the result.'),
);
