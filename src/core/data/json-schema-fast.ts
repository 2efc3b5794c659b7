/** The common keywords of JSON Schema as closures that only say yes or no. */

import { deepCompareStrict, ucs2length } from '@cfworker/json-schema';
import { isObject } from '../json.ts';

type Test = (value: unknown) => boolean;
type Schema = Readonly<Record<string, unknown>>;

/** Keywords that do not change the verdict. */
const ANNOTATIONS = '$schema $comment title description default examples deprecated readOnly writeOnly'.split(' ');

/** What makes a test out of a keyword whose value `checkSchema` has accepted; undefined where it cannot. */
const KEYWORDS: Readonly<Record<string, (value: never, schema: Schema) => Test | undefined>> = {
  type: (types: string | readonly string[]) => typeTest(types),
  const: (expected: unknown) => equals(expected),
  enum: (choices: readonly unknown[]) => {
    const plain = new Set(choices.filter((choice) => typeof choice !== 'object' || choice === null));
    const others = choices.filter((choice) => !plain.has(choice)).map(equals);
    return others.length === 0
      ? (value) => plain.has(value)
      : (value) => plain.has(value) || others.some((is) => is(value));
  },
  minimum: (limit: number) => (value) => typeof value !== 'number' || value >= limit,
  maximum: (limit: number) => (value) => typeof value !== 'number' || value <= limit,
  exclusiveMinimum: (limit: number) => (value) => typeof value !== 'number' || value > limit,
  exclusiveMaximum: (limit: number) => (value) => typeof value !== 'number' || value < limit,
  // Code points are counted only where the code units leave it open.
  minLength: (limit: number) => (value) =>
    typeof value !== 'string' || (value.length >= limit && (value.length >= 2 * limit || ucs2length(value) >= limit)),
  maxLength: (limit: number) => (value) =>
    typeof value !== 'string' || value.length <= limit || (value.length <= 2 * limit && ucs2length(value) <= limit),
  minItems: (limit: number) => (value) => !Array.isArray(value) || value.length >= limit,
  maxItems: (limit: number) => (value) => !Array.isArray(value) || value.length <= limit,
  items: (schema: Schema | boolean) => {
    const test = compileFast(schema);
    return test && ((value) => !Array.isArray(value) || value.every(test));
  },
  required: (names: readonly string[]) => (value) =>
    !isObject(value) || names.every((name) => Object.hasOwn(value, name)),
  properties: (properties: Schema) => {
    const members: [string, Test][] = [];
    for (const [name, schema] of Object.entries(properties)) {
      const test = compileFast(schema);
      if (test === undefined) return undefined;
      members.push([name, test]);
    }
    return (value) =>
      !isObject(value) || members.every(([name, test]) => !Object.hasOwn(value, name) || test(value[name]));
  },
  additionalProperties: (rest: Schema | boolean, { properties }) => {
    const test = compileFast(rest);
    const known = new Set(isObject(properties) ? Object.keys(properties) : []);
    if (test === undefined) return undefined;
    return (value) => {
      if (!isObject(value)) return true;
      for (const name of Object.keys(value)) if (!known.has(name) && !test(value[name])) return false;
      return true;
    };
  },
};

/**
 * A test that agrees with the library; undefined where the schema has a keyword that is not known here.
 * The schema has passed `checkSchema`.
 */
export function compileFast(schema: unknown): Test | undefined {
  if (typeof schema === 'boolean') return () => schema;
  if (!isObject(schema)) return undefined;
  const tests: Test[] = [];
  for (const [keyword, value] of Object.entries(schema)) {
    if (ANNOTATIONS.includes(keyword)) continue;
    const test = Object.hasOwn(KEYWORDS, keyword) ? KEYWORDS[keyword]?.(value as never, schema) : undefined;
    if (test === undefined) return undefined;
    tests.push(test);
  }
  const [first, second] = tests;
  if (first === undefined) return () => true;
  if (second === undefined) return first;
  return (value) => tests.every((test) => test(value));
}

const equals = (expected: unknown): Test =>
  typeof expected === 'object' && expected !== null
    ? (value) => deepCompareStrict(value, expected)
    : (value) => value === expected;

const TYPES: Readonly<Record<string, Test>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  string: (value) => typeof value === 'string',
  array: (value) => Array.isArray(value),
  object: isObject,
};

function typeTest(types: string | readonly string[]): Test | undefined {
  const tests = (typeof types === 'string' ? [types] : types).map((type) => TYPES[type]);
  const known = tests.filter((test) => test !== undefined);
  const [only] = known;
  if (only === undefined || known.length < tests.length) return undefined;
  return known.length === 1 ? only : (value) => known.some((test) => test(value));
}
