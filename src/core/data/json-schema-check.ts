/** Finds what is wrong with a schema itself, which the library would meet only while it validates. */

import { at, type IssueList } from '../chain/issues.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

type Shape = (value: unknown, path: string, issues: IssueList, depth: number) => void;

const TYPES = ['null', 'boolean', 'number', 'integer', 'string', 'array', 'object'];

const must =
  (isRight: (value: unknown) => boolean, message: string): Shape =>
  (value, path, issues) => {
    if (!isRight(value)) issues.add(path, message);
  };

const isType = (value: unknown): boolean => typeof value === 'string' && TYPES.includes(value);
const isTextList = (value: unknown): boolean => Array.isArray(value) && value.every((item) => typeof item === 'string');

const pattern: Shape = (value, path, issues) => {
  if (!isRegularExpression(value)) issues.add(path, 'Must be a regular expression that is valid with the flag "u".');
};

function isRegularExpression(value: unknown): boolean {
  try {
    return typeof value === 'string' && new RegExp(value, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}

const text = must((value) => typeof value === 'string', 'Must be text.');
const number = must((value) => typeof value === 'number' && Number.isFinite(value), 'Must be a number.');
const count = must((value) => Number.isInteger(value) && Number(value) >= 0, 'Must be a whole number, 0 or more.');
const texts = must(isTextList, 'Must be a list of names.');
const unsupported = must(() => false, 'Is of draft 2019-09; use $dynamicRef.');

const schemas: Shape = (value, path, issues, depth) => {
  if (!Array.isArray(value) || value.length === 0) issues.add(path, 'Must be a list of schemas, not empty.');
  else value.forEach((item: unknown, index) => checkSchema(item, at(path, index), issues, depth));
};

const mapOf =
  (member: Shape): Shape =>
  (value, path, issues, depth) => {
    if (!isObject(value)) issues.add(path, 'Must be an object.');
    else for (const [key, item] of Object.entries(value)) member(item, at(path, key), issues, depth);
  };

const SHAPES: Readonly<Record<string, Shape>> = (() => {
  const schema: Shape = (value, path, issues, depth) => checkSchema(value, path, issues, depth);
  const map = mapOf(schema);
  const all = (names: string, shape: Shape) => names.split(' ').map((name): [string, Shape] => [name, shape]);
  return Object.fromEntries([
    ...all('not if then else contains propertyNames additionalProperties unevaluatedProperties', schema),
    ...all('additionalItems unevaluatedItems', schema),
    ...all('allOf anyOf oneOf prefixItems', schemas),
    ...all('properties $defs definitions dependentSchemas', map),
    ...all('minimum maximum exclusiveMinimum exclusiveMaximum', number),
    ...all('minLength maxLength minItems maxItems minProperties maxProperties minContains maxContains', count),
    ...all('$ref $id $anchor $dynamicRef $dynamicAnchor format', text),
    ['$recursiveRef', unsupported],
    ['required', texts],
    ['dependentRequired', mapOf(texts)],
    ['uniqueItems', must((value) => typeof value === 'boolean', 'Must be true or false.')],
    ['multipleOf', must((value) => typeof value === 'number' && value > 0, 'Must be a number above 0.')],
    ['enum', must(Array.isArray, 'Must be a list of values.')],
    ['pattern', pattern],
    ['items', (value, ...rest) => (Array.isArray(value) ? schemas : schema)(value, ...rest)],
    ['dependencies', mapOf((value, ...rest) => (Array.isArray(value) ? texts : schema)(value, ...rest))],
    [
      'type',
      must(
        (value) => (Array.isArray(value) ? value.length > 0 && value.every(isType) : isType(value)),
        `Must be one of ${TYPES.join(', ')}, or a list of them.`,
      ),
    ],
    [
      'patternProperties',
      (value, path, issues, depth) => {
        map(value, path, issues, depth);
        for (const key of isObject(value) ? Object.keys(value) : []) pattern(key, at(path, key), issues, depth);
      },
    ],
  ] satisfies [string, Shape][]);
})();

/** Adds what is wrong with the keywords of a schema; keywords that are not known are annotations. */
export function checkSchema(schema: unknown, path: string, issues: IssueList, depth = 0): void {
  if (typeof schema === 'boolean') return;
  if (!isObject(schema)) return issues.add(path, 'Must be a schema: an object, or true or false.');
  if (depth > LIMITS.jsonDepth) return issues.add(path, `Is nested deeper than ${LIMITS.jsonDepth} levels.`);
  for (const [keyword, value] of Object.entries(schema)) {
    if (Object.hasOwn(SHAPES, keyword)) SHAPES[keyword]?.(value, at(path, keyword), issues, depth + 1);
  }
}
