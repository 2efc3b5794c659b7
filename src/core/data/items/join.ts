/** Two lists put together by keys, and one list without what repeats. Both hash: no item is compared with all others. */

import { at } from '../../chain/issues.ts';
import { fail, ok, type Result } from '../../errors.ts';
import { isObject } from '../../json.ts';
import { LIMITS } from '../../limits.ts';
import { keyOf } from '../order.ts';
import { compilePath } from '../path.ts';

export interface Join {
  readonly left: readonly unknown[];
  readonly right: readonly unknown[];
  /** Paths on both sides, in the same order. */
  readonly on: { readonly left: readonly string[]; readonly right: readonly string[] };
  readonly type: 'inner' | 'left' | 'full';
  /** `pairs`: `{ left, right }`, null where there is none. `merged`: one object, in which members of the left win. */
  readonly rows: 'pairs' | 'merged';
}

type Key = (item: unknown) => string | undefined;

/**
 * Fault `step.params` for a wrong path.
 *
 * @param matchNull otherwise an item in whose key anything is null or missing has no key, as in SQL
 */
export function compileKey(paths: readonly string[], field: string, matchNull: boolean): Result<Key> {
  const reads: ((item: unknown) => unknown)[] = [];
  for (const [index, path] of paths.entries()) {
    const read = compilePath(path, at(field, index));
    if (!read.ok) return read;
    reads.push(read.value);
  }
  return ok((item) => {
    const values = reads.map((read) => read(item) ?? null);
    return !matchNull && values.includes(null) ? undefined : keyOf(values);
  });
}

/**
 * In the order of the left; what only the right has comes at the end.
 *
 * Faults: `step.params` for a wrong path, and for an item that is no object where rows are merged;
 * `data.too-large` where equal keys on both sides multiply without measure.
 */
export function joinItems({ left, right, on, type, rows }: Join): Result<unknown[]> {
  if (on.left.length !== on.right.length) return fail('step.params', 'on.right: Must have as many paths as `on.left`.');
  const leftKey = compileKey(on.left, 'on.left', false);
  if (!leftKey.ok) return leftKey;
  const rightKey = compileKey(on.right, 'on.right', false);
  if (!rightKey.ok) return rightKey;
  if (rows === 'merged') {
    for (const [side, list] of [['left', left] as const, ['right', right] as const]) {
      const index = list.findIndex((item) => !isObject(item));
      if (index >= 0) return fail('step.params', `${side}.${index}: Must be an object; or take \`rows: "pairs"\`.`);
    }
  }
  const byKey = new Map<string, unknown[]>();
  for (const item of right) {
    const key = rightKey.value(item);
    if (key === undefined) continue;
    const same = byKey.get(key);
    if (same === undefined) byKey.set(key, [item]);
    else same.push(item);
  }
  const row = rows === 'pairs' ? pair : merge;
  const joined: unknown[] = [];
  const matched = new Set<unknown[]>();
  for (const item of left) {
    const key = leftKey.value(item);
    const same = key === undefined ? undefined : byKey.get(key);
    if (same !== undefined) {
      matched.add(same);
      if (joined.length + same.length > LIMITS.dataItems) {
        return fail('data.too-large', `on: More than ${LIMITS.dataItems} rows match; make the keys more exact.`);
      }
      for (const other of same) joined.push(row(item, other));
    } else if (type !== 'inner') joined.push(row(item, null));
  }
  if (type !== 'full') return ok(joined);
  for (const item of right) {
    const key = rightKey.value(item);
    const same = key === undefined ? undefined : byKey.get(key);
    if (same === undefined || !matched.has(same)) joined.push(row(null, item));
  }
  return ok(joined);
}

const pair = (left: unknown, right: unknown): unknown => ({ left, right });

// Not by spreading alone: a member named `__proto__` must stay a member.
const merge = (left: unknown, right: unknown): unknown =>
  Object.fromEntries([...Object.entries(right ?? {}), ...Object.entries(left ?? {})]);

/** The items whose key comes for the first time, or for the last; in their order. Null and missing are one key. */
export function dedupeItems(
  items: readonly unknown[],
  by: readonly string[],
  keep: 'first' | 'last',
): Result<unknown[]> {
  const key = compileKey(by, 'by', true);
  if (!key.ok) return key;
  const seen = new Set<string | undefined>();
  const isNew = (item: unknown): boolean => seen.size < seen.add(key.value(item)).size;
  return ok(keep === 'first' ? items.filter(isNew) : items.toReversed().filter(isNew).reverse());
}
