/** Values made values of another type, or refused: nothing is rounded, cut or guessed. */

import { readDate, writeDate, type DateForm } from './dates.ts';
import { parseJson } from './exact-json.ts';
import { compileReplacement } from './path.ts';
import { at, IssueList } from '../chain/issues.ts';
import { fail, ok, type Result } from '../errors.ts';

const wrong = (message: string): Result<never> => fail('data.malformed', message);

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const INTEGER = /^[+-]?\d+$/;
const TRUTHS = new Map<unknown, boolean>([
  [true, true],
  ['true', true],
  ['1', true],
  [1, true],
  [false, false],
  ['false', false],
  ['0', false],
  [0, false],
]);

const PLAIN = {
  text: (value: unknown): Result<unknown> => ok(typeof value === 'string' ? value : JSON.stringify(value)),
  number(value: unknown): Result<unknown> {
    if (typeof value === 'number') return ok(value);
    const text = typeof value === 'string' ? value.trim() : '';
    const number = Number(text);
    if (!NUMBER.test(text) || !Number.isFinite(number)) return wrong('Must be a number.');
    if (INTEGER.test(text) && !Number.isSafeInteger(number)) {
      return wrong('Would lose digits as a number; take `integer`, which keeps them as text.');
    }
    return ok(number);
  },
  /** Beyond 2^53 its digits as text, as JSON from outside is read. */
  integer(value: unknown): Result<unknown> {
    if (Number.isSafeInteger(value)) return ok(value);
    const text = typeof value === 'string' ? value.trim() : '';
    if (!INTEGER.test(text)) return wrong('Must be a whole number.');
    const number = Number(text);
    return ok(Number.isSafeInteger(number) ? number : text);
  },
  boolean(value: unknown): Result<unknown> {
    const truth = TRUTHS.get(typeof value === 'string' ? value.trim().toLowerCase() : value);
    return truth === undefined ? wrong('Must be true, false, 1 or 0.') : ok(truth);
  },
  json(value: unknown): Result<unknown> {
    const parsed = typeof value === 'string' ? parseJson(value) : wrong('Must be a text of JSON.');
    return parsed.ok ? parsed : wrong(parsed.fault.message);
  },
} as const;

export type PlainType = keyof typeof PLAIN;
export const PLAIN_TYPES = Object.keys(PLAIN) as [PlainType, ...PlainType[]];
export type Type = PlainType | { readonly date: { readonly from: DateForm; readonly to: DateForm } };

function convert(value: unknown, type: Type): Result<unknown> {
  if (value === null || value === undefined) return ok(value);
  // An empty cell is no value; only a text may be empty.
  if (value === '' && type !== 'text') return ok(null);
  if (typeof type === 'string') return PLAIN[type](value);
  const instant = readDate(value, type.date.from);
  return instant.ok ? writeDate(instant.value, type.date.to) : instant;
}

/**
 * @param types by path in the value, or in each item where it is a list
 * Fault `data.malformed`, with all that is wrong as issues; `step.params` for a wrong path.
 */
export function convertTypes(value: unknown, types: Readonly<Record<string, Type>>): Result<unknown> {
  const issues = new IssueList();
  let items: readonly unknown[] = Array.isArray(value) ? value : [value];
  for (const [path, type] of Object.entries(types)) {
    const replace = compileReplacement(path, at('types', path));
    if (!replace.ok) return replace;
    items = items.map((item, index) =>
      replace.value(item, (found) => {
        const converted = convert(found, type);
        if (converted.ok) return converted.value;
        issues.add(
          at(Array.isArray(value) ? at('value', index) : 'value', path === '$' ? '' : path),
          converted.fault.message,
        );
        return found;
      }),
    );
  }
  const [first] = issues.all;
  if (first !== undefined) return fail('data.malformed', `${first.path}: ${first.message}`, { issues: issues.all });
  return ok(Array.isArray(value) ? items : items[0]);
}
