/** The items that meet a condition. A condition is data: nothing in it is executed. */

import { at } from '../../chain/issues.ts';
import { ok, type Result } from '../../errors.ts';
import { isObject } from '../../json.ts';
import { byCodeUnit, keyOf } from '../order.ts';
import { compilePath } from '../path.ts';

type Test = (value: unknown) => boolean;

const equals = (expected: unknown): Test => {
  const key = keyOf([expected]);
  return (value) => keyOf([value]) === key;
};

const isOneOf = (choices: readonly unknown[]): Test => {
  const keys = new Set(choices.map((choice) => keyOf([choice])));
  return (value) => keys.has(keyOf([value]));
};

/** Only a number is compared with a number, and only a text with a text. */
const compares =
  (holds: (difference: number) => boolean) =>
  (limit: number | string): Test =>
  (value) =>
    typeof limit === 'number'
      ? typeof value === 'number' && holds(value - limit)
      : typeof value === 'string' && holds(byCodeUnit(value, limit));

const not =
  (test: Test): Test =>
  (value) =>
    !test(value);

export interface Tests {
  readonly eq?: unknown;
  readonly ne?: unknown;
  readonly gt?: number | string | undefined;
  readonly gte?: number | string | undefined;
  readonly lt?: number | string | undefined;
  readonly lte?: number | string | undefined;
  readonly in?: readonly unknown[] | undefined;
  readonly notIn?: readonly unknown[] | undefined;
  readonly contains?: unknown;
  readonly startsWith?: string | undefined;
  readonly endsWith?: string | undefined;
  readonly exists?: boolean | undefined;
}

const TESTS: { readonly [Name in keyof Tests]-?: (operand: Exclude<Tests[Name], undefined>) => Test } = {
  eq: equals,
  ne: (expected) => not(equals(expected)),
  gt: compares((difference) => difference > 0),
  gte: compares((difference) => difference >= 0),
  lt: compares((difference) => difference < 0),
  lte: compares((difference) => difference <= 0),
  in: isOneOf,
  notIn: (choices) => not(isOneOf(choices)),
  contains: (part) => {
    const isPart = equals(part);
    return (value) =>
      Array.isArray(value)
        ? value.some(isPart)
        : typeof value === 'string' && typeof part === 'string' && value.includes(part);
  },
  startsWith: (start) => (value) => typeof value === 'string' && value.startsWith(start),
  endsWith: (end) => (value) => typeof value === 'string' && value.endsWith(end),
  exists: (wanted) => (value) => ((value ?? null) !== null) === wanted,
};

/** Paths with what must hold there: a plain value must be equal. All of them must hold. */
export type Condition = Readonly<Record<string, string | number | boolean | null | Tests>>;

/** @param where a list of conditions: one of them must hold */
export function filterItems(items: readonly unknown[], where: Condition | readonly Condition[]): Result<unknown[]> {
  const isList = Array.isArray(where);
  const conditions: readonly Condition[] = isList ? where : [where];
  const any: Test[] = [];
  for (const [index, condition] of conditions.entries()) {
    const test = compileCondition(condition, isList ? at('where', index) : 'where');
    if (!test.ok) return test;
    any.push(test.value);
  }
  return ok(items.filter((item) => any.some((test) => test(item))));
}

function compileCondition(condition: Condition, field: string): Result<Test> {
  const all: Test[] = [];
  for (const [path, expected] of Object.entries(condition)) {
    const read = compilePath(path, at(field, path));
    if (!read.ok) return read;
    const tests = testsOf(expected);
    all.push((item) => {
      const value = read.value(item);
      return tests.every((test) => test(value));
    });
  }
  return ok((item) => all.every((test) => test(item)));
}

function testsOf(expected: string | number | boolean | null | Tests): readonly Test[] {
  if (!isObject(expected)) return [equals(expected)];
  return Object.entries(expected)
    .filter(([, operand]) => operand !== undefined)
    .map(([name, operand]) => TESTS[name as keyof Tests](operand as never));
}
