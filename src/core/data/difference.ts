/** What differs between two JSON values, place by place. */

import { isObject } from '../json.ts';

export interface Difference {
  readonly op: 'add' | 'remove' | 'change';
  /** In dotted form, e.g. `steps.order.with.sql` or `headers["x-id"].0`; empty for the whole. */
  readonly path: string;
  /** Absent where it is added. */
  readonly from?: unknown;
  /** Absent where it is removed. */
  readonly to?: unknown;
}

/**
 * In the order of the document; elements of arrays are compared by position. A member that is undefined is
 * not there, as in JSON.
 *
 * @param limit how many are told; the rest is left out
 */
export function differencesOf(from: unknown, to: unknown, limit = Infinity): Difference[] {
  const found: Difference[] = [];
  const compare = (before: unknown, after: unknown, path: string): void => {
    if (found.length >= limit || Object.is(before, after)) return;
    if (before === undefined) found.push({ op: 'add', path, to: after });
    else if (after === undefined) found.push({ op: 'remove', path, from: before });
    else if (Array.isArray(before) && Array.isArray(after)) {
      for (let index = 0; index < Math.max(before.length, after.length); index++) {
        compare(before[index], after[index], pathTo(path, String(index)));
      }
    } else if (isObject(before) && isObject(after)) {
      for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
        compare(own(before, key), own(after, key), pathTo(path, key));
      }
    } else if (before !== after) found.push({ op: 'change', path, from: before, to: after });
  };
  compare(from, to, '');
  return found;
}

const own = (value: Record<string, unknown>, key: string): unknown =>
  Object.hasOwn(value, key) ? value[key] : undefined;

const pathTo = (base: string, key: string): string => {
  if (!/^[\w-]+$/.test(key)) return `${base}[${JSON.stringify(key)}]`;
  return base === '' ? key : `${base}.${key}`;
};
