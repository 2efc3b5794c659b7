/** Where a value stands in an item: `customer.id`, `lines.0.sku`, `headers["x-id"]`; `$` is the item itself. */

import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

export type ReadPath = (item: unknown) => unknown;

const STEP = /(?:^|\.)([^.[\]"]+)|\[("(?:[^"\\]|\\.)*")\]/y;

/** Its keys; undefined where the text is no path. */
function keysOf(path: string): readonly string[] | undefined {
  if (path === '$') return [];
  if (path.length > LIMITS.dataPathCharacters) return undefined;
  const keys: string[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < path.length) {
    const found = STEP.exec(path);
    if (found === null) return undefined;
    const key = found[1] ?? textOf(found[2] ?? '');
    if (key === undefined) return undefined;
    keys.push(key);
  }
  return keys.length === 0 ? undefined : keys;
}

function textOf(json: string): string | undefined {
  try {
    return String(JSON.parse(json));
  } catch {
    return undefined;
  }
}

const notAPath = (field: string): Result<never> =>
  fail('step.params', `${field}: Write a path such as \`customer.id\`, \`headers["x-id"]\` or \`$\`.`);

/**
 * Reads own members only, so that names of a prototype find nothing. What is missing is undefined.
 *
 * @param field where the path stands, for the fault `step.params`
 */
export function compilePath(path: string, field: string): Result<ReadPath> {
  const keys = keysOf(path);
  if (keys === undefined) return notAPath(field);
  return ok((item) => {
    let value = item;
    for (const key of keys) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
      value = (value as Readonly<Record<string, unknown>>)[key];
    }
    return value;
  });
}

export type ReplaceAtPath = (item: unknown, change: (value: unknown) => unknown) => unknown;

/** Gives a copy in which the value at the path is another; the very same item where the path leads nowhere. */
export function compileReplacement(path: string, field: string): Result<ReplaceAtPath> {
  const keys = keysOf(path);
  return keys === undefined ? notAPath(field) : ok((item, change) => replace(item, keys, change));
}

function replace(value: unknown, [key, ...rest]: readonly string[], change: (value: unknown) => unknown): unknown {
  if (key === undefined) return change(value);
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return value;
  if (Array.isArray(value)) {
    return value.map((member, index) => (String(index) === key ? replace(member, rest, change) : member));
  }
  // Not by assignment: a member named `__proto__` must stay a member.
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, name === key ? replace(member, rest, change) : member]),
  );
}
