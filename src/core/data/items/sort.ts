/** Items in order: stable, by several keys, texts by code units or as a language sorts them. */

import { at } from '../../chain/issues.ts';
import { fail, ok, type Result } from '../../errors.ts';
import { byCodeUnit, compareBy, type Compare } from '../order.ts';
import { compilePath, type ReadPath } from '../path.ts';

export interface SortKey {
  readonly path: string;
  readonly order?: 'asc' | 'desc' | undefined;
  /** Where items without a value go, whatever the order. */
  readonly missing?: 'first' | 'last' | undefined;
  readonly locale?: string | undefined;
  /** Digits in a text count as a number: `a9` before `a10`. */
  readonly numeric?: boolean | undefined;
  readonly ignoreCase?: boolean | undefined;
}

interface Key {
  readonly read: ReadPath;
  readonly compare: Compare;
}

export function sortItems(items: readonly unknown[], by: readonly SortKey[]): Result<unknown[]> {
  const keys: Key[] = [];
  for (const [index, sortKey] of by.entries()) {
    const read = compilePath(sortKey.path, at('by', index, 'path'));
    if (!read.ok) return read;
    const compareTexts = textOrder(sortKey, at('by', index, 'locale'));
    if (!compareTexts.ok) return compareTexts;
    keys.push({ read: read.value, compare: withMissing(compareBy(compareTexts.value), sortKey) });
  }
  // Each key is read once for each item, not for each comparison.
  const rows = items.map((item) => ({ item, values: keys.map(({ read }) => read(item)) }));
  rows.sort((left, right) => {
    for (const [index, { compare }] of keys.entries()) {
      const difference = compare(left.values[index], right.values[index]);
      if (difference !== 0) return difference;
    }
    return 0;
  });
  return ok(rows.map(({ item }) => item));
}

function textOrder({ locale, numeric, ignoreCase }: SortKey, field: string): Result<(a: string, b: string) => number> {
  if (locale === undefined && numeric !== true && ignoreCase !== true) return ok(byCodeUnit);
  try {
    const collator = new Intl.Collator(locale ?? 'und', {
      numeric: numeric === true,
      sensitivity: ignoreCase === true ? 'accent' : 'variant',
    });
    return ok((left, right) => collator.compare(left, right));
  } catch {
    return fail('step.params', `${field}: Must be a language tag, e.g. \`de\` or \`sv-SE\`.`);
  }
}

function withMissing(compare: Compare, { order, missing }: SortKey): Compare {
  const sign = order === 'desc' ? -1 : 1;
  const ofMissing = missing === 'first' ? -1 : 1;
  return (left, right) => {
    const isLeft = (left ?? null) === null;
    const isRight = (right ?? null) === null;
    if (isLeft || isRight) return isLeft === isRight ? 0 : isLeft ? ofMissing : -ofMissing;
    return sign * compare(left, right);
  };
}
