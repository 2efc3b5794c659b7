/** One total order of JSON values, so that sorting never depends on where an item stood. */

import { canonicalJson } from '../chain/canonical.ts';

export type Compare = (left: unknown, right: unknown) => number;

const RANKS: Readonly<Record<string, number>> = { boolean: 0, number: 1, string: 2, object: 3 };

/** False before true, then numbers, texts and the rest; texts by `compareTexts`, all else by value. */
export const compareBy =
  (compareTexts: (left: string, right: string) => number): Compare =>
  (left, right) => {
    if (typeof left === 'number' && typeof right === 'number') return left - right;
    if (typeof left === 'string' && typeof right === 'string') return compareTexts(left, right);
    const rank = (RANKS[typeof left] ?? 4) - (RANKS[typeof right] ?? 4);
    if (rank !== 0) return rank;
    if (typeof left === 'boolean') return Number(left) - Number(right);
    return byCodeUnit(canonicalJson(left), canonicalJson(right));
  };

export const byCodeUnit = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);

/** The same text for equal values and for no others. What is missing equals null. */
export const keyOf = (values: readonly unknown[]): string => canonicalJson(values.map((value) => value ?? null));
