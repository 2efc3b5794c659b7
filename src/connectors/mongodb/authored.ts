/**
 * What is code and what is data in the documents of a step.
 *
 * Guarantee: what came out of an expression is a value. It brings no operator (`{ "$gt": "" }`), no regular
 * expression, no code, and, where MongoDB evaluates expressions of its own, no name of a field (`"$password"`).
 * Those count only where the author of the chain wrote them.
 * Accepted weakness: the names of fields in an object that an expression gave are those that it has.
 */

import { isObject } from '../../core/json.ts';
import { ACTIVE_TYPE_KEYS, TYPE_KEYS } from '../../drivers/mongodb/bson.ts';

/**
 * `query`: a text is a text, as in filters, updates and documents. `expression`: a text that begins with `$` names a
 * field, as in pipelines and projections. `literal`: what stands in `$literal`. `code`: JavaScript.
 */
export type Reading = 'query' | 'expression' | 'literal' | 'code';

/** How what stands under a key is read, where it is not read as what stands around it. */
const UNDER: Readonly<Record<string, Reading>> = {
  $expr: 'expression',
  $match: 'query',
  $literal: 'literal',
  $where: 'code',
  $code: 'code',
};

/** The parts of `$function` and `$accumulator` that are JavaScript. */
const CODE_PARTS: ReadonlySet<string> = new Set(['body', 'init', 'accumulate', 'merge', 'finalize']);

/**
 * The first mistake, as a sentence that begins with the path; undefined where there is none.
 * @param value once evaluated
 * @param written the same as the author wrote it
 */
export function authoredIssue(value: unknown, written: unknown, reading: Reading, path: string): string | undefined {
  if (Array.isArray(value)) {
    // Values that were missing have left the list: what stands in a place may be of another.
    const isSame = Array.isArray(written) && written.length === value.length;
    return first(value, (item, index) =>
      authoredIssue(item, isSame ? written[index] : undefined, reading, `${path}[${index}]`),
    );
  }
  if (isObject(value) && isObject(written)) {
    return first(Object.entries(value), ([key, field]) => {
      const place = `${path}.${key}`;
      if (!Object.hasOwn(written, key)) return dataIssue({ [key]: field }, reading, path);
      if (key === '$function' || key === '$accumulator') return codeIssue(field, written[key], place);
      return authoredIssue(field, written[key], UNDER[key] ?? reading, place);
    });
  }
  // A literal is what it was; only a text can have had expressions in it.
  return value === written && !(typeof value === 'string' && value.includes('{{'))
    ? undefined
    : dataIssue(value, reading, path);
}

function codeIssue(value: unknown, written: unknown, path: string): string | undefined {
  if (!isObject(value) || !isObject(written)) return dataIssue(value, 'code', path);
  return first(Object.entries(value), ([key, field]) =>
    authoredIssue(field, written[key], CODE_PARTS.has(key) ? 'code' : 'expression', `${path}.${key}`),
  );
}

function dataIssue(value: unknown, reading: Reading, path: string): string | undefined {
  if (reading === 'code') return `${path}: Code must stand in the chain itself, without expressions.`;
  if (typeof value === 'string' && reading === 'expression' && value.startsWith('$')) {
    return `${path}: A text that an expression gave begins with "$", and would name a field; write { "$literal": … } around the expression.`;
  }
  if (Array.isArray(value)) return first(value, (item, index) => dataIssue(item, reading, `${path}[${index}]`));
  if (!isObject(value)) return undefined;
  const entries = Object.entries(value);
  const [key = ''] = Object.keys(value);
  if (entries.length === 1 && TYPE_KEYS.has(key)) return undefined;
  return first(entries, ([name, field]) => {
    if (!name.startsWith('$')) return dataIssue(field, reading, `${path}.${name}`);
    const what = ACTIVE_TYPE_KEYS.has(name) ? 'A value that is no plain one' : 'An operator';
    return `${path}: ${what} ("${name.slice(0, 50)}") came out of an expression; write it in the chain.`;
  });
}

function first<T>(items: readonly T[], issueOf: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of items.entries()) {
    const issue = issueOf(item, index);
    if (issue !== undefined) return issue;
  }
  return undefined;
}
