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

type Tell = (path: string, message: string) => void;

/**
 * Makes the values at the paths of an item values of their types; what cannot be stays, and is told.
 *
 * Fault `step.params` for a wrong path.
 */
function compileTypes(types: Readonly<Record<string, Type>>): Result<(item: unknown, tell: Tell) => unknown> {
  const changes: ((item: unknown, tell: Tell) => unknown)[] = [];
  for (const [path, type] of Object.entries(types)) {
    const replace = compileReplacement(path, at('types', path));
    if (!replace.ok) return replace;
    changes.push((item, tell) =>
      replace.value(item, (found) => {
        const converted = convert(found, type);
        if (!converted.ok) tell(path === '$' ? '' : path, converted.fault.message);
        return converted.ok ? converted.value : found;
      }),
    );
  }
  return ok((item, tell) => changes.reduce((changed, change) => change(changed, tell), item));
}

/**
 * @param types by path in the value, or in each item where it is a list
 * Fault `data.malformed`, with all that is wrong as issues; `step.params` for a wrong path.
 */
export function convertTypes(value: unknown, types: Readonly<Record<string, Type>>): Result<unknown> {
  const issues = new IssueList();
  const change = compileTypes(types);
  if (!change.ok) return change;
  const each = (item: unknown, place: string): unknown =>
    change.value(item, (path, message) => issues.add(at(place, path), message));
  const converted = Array.isArray(value)
    ? value.map((item, index) => each(item, at('value', index)))
    : each(value, 'value');
  const [first] = issues.all;
  if (first !== undefined) return fail('data.malformed', `${first.path}: ${first.message}`, { issues: issues.all });
  return ok(converted);
}

/**
 * The same for items that come one after another.
 *
 * Fault `step.params` for a wrong path; of an item `data.malformed`.
 */
export function compileItemTypes(types: Readonly<Record<string, Type>>): Result<(item: unknown) => Result<unknown>> {
  const change = compileTypes(types);
  if (!change.ok) return change;
  return ok((item) => {
    let mistake: string | undefined;
    const converted = change.value(
      item,
      (path, message) => (mistake ??= path === '' ? message : `${path}: ${message}`),
    );
    return mistake === undefined ? ok(converted) : wrong(mistake);
  });
}
