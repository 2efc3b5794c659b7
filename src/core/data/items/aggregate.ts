/**
 * Figures over items, for all of them or for each group.
 *
 * Guarantee: sums are exact, whatever the order and the size; they are rounded once, at the end, and only where
 * the result is a fraction that no double is. One pass, and work in proportion to the items.
 */

import { at } from '../../chain/issues.ts';
import { FaultError, fault, ok, type Result } from '../../errors.ts';
import { Bare } from '../../json.ts';
import { decimalOf, DecimalSum, divide, textOfDecimal, type Decimal } from '../decimal.ts';
import { byCodeUnit, keyOf } from '../order.ts';
import { compilePath, type ReadPath } from '../path.ts';

interface Accumulator {
  /** Never null or undefined; throws what it cannot take. */
  add(value: unknown): void;
  result(): unknown;
}

/** What each operation makes of the values that are there; null and missing ones are passed over, as in SQL. */
const OPERATIONS = {
  count: () => {
    let count = 0;
    return { add: () => void count++, result: () => count };
  },
  sum: () => sumOf((sum, _count, sawText) => numberOf(sum, sawText)),
  avg: () => sumOf((sum, count) => (count === 0 ? null : Number(textOfDecimal(divide(sum, count))))),
  min: () => extreme((candidate, best) => candidate < best),
  max: () => extreme((candidate, best) => candidate > best),
  distinct: () => {
    const seen = new Map<string, unknown>();
    return { add: (value) => rememberIn(seen, value), result: () => [...seen.values()] };
  },
  'count-distinct': () => {
    const seen = new Map<string, unknown>();
    return { add: (value) => rememberIn(seen, value), result: () => seen.size };
  },
} as const satisfies Readonly<Record<string, () => Accumulator>>;

export type Operation = keyof typeof OPERATIONS;
export const OPERATION_NAMES = Object.keys(OPERATIONS) as [Operation, ...Operation[]];

export interface Figure {
  readonly op: Operation;
  readonly of?: string | undefined;
}

function rememberIn(seen: Map<string, unknown>, value: unknown): void {
  const key = keyOf([value]);
  if (!seen.has(key)) seen.set(key, value);
}

function sumOf(result: (sum: Decimal, count: number, sawText: boolean) => unknown): Accumulator {
  const sum = new DecimalSum();
  let count = 0;
  let sawText = false;
  return {
    add(value) {
      const isPlain = Number.isSafeInteger(value);
      const decimal = isPlain ? undefined : decimalOf(value);
      if (isPlain) sum.add(value as number);
      else if (decimal === undefined) throw new TypeError('Must be a number, or a text of one.');
      else sum.add(decimal);
      sawText ||= typeof value === 'string';
      count++;
    },
    result: () => result(sum.total(), count, sawText),
  };
}

/** A number where that loses nothing; else a text, but for sums of fractions that came as numbers. */
function numberOf(sum: Decimal, sawText: boolean): number | string {
  const text = textOfDecimal(sum);
  const number = Number(text);
  if (!text.includes('.')) return Number.isSafeInteger(number) ? number : text;
  return !sawText || String(number) === text ? number : text;
}

function extreme(isBetter: (candidate: number, best: number) => boolean): Accumulator {
  let best: number | string | undefined;
  return {
    add(value) {
      if (typeof value !== 'number' && typeof value !== 'string') throw new TypeError('Must be a number or a text.');
      if (best !== undefined && typeof best !== typeof value) {
        throw new TypeError(`Must be a ${typeof best === 'string' ? 'text' : 'number'}, like those before it.`);
      }
      const difference =
        typeof value === 'string' ? byCodeUnit(value, String(best)) : value - (typeof best === 'number' ? best : 0);
      if (best === undefined || isBetter(difference, 0)) best = value;
    },
    result: () => best ?? null,
  };
}

interface Column {
  readonly name: string;
  readonly op: Operation;
  readonly of: string | undefined;
  readonly read: ReadPath;
}

interface Group {
  readonly values: readonly unknown[];
  readonly figures: readonly Accumulator[];
}

/**
 * With `by`, one object for each group, in the order in which the groups first come; without, a single object.
 *
 * @param by paths, by the names that their values get in the result
 * Fault `step.params`: a wrong path, or a value that an operation cannot take, by `in.<index>.<path>`.
 */
export function aggregate(
  items: readonly unknown[],
  figures: Readonly<Record<string, Figure>>,
  by: Readonly<Record<string, string>> | undefined,
): Result<unknown> {
  const keys: [string, ReadPath][] = [];
  for (const [name, path] of Object.entries(by ?? {})) {
    const read = compilePath(path, at('by', name));
    if (!read.ok) return read;
    keys.push([name, read.value]);
  }
  const columns: Column[] = [];
  for (const [name, { op, of }] of Object.entries(figures)) {
    const read = compilePath(of ?? '$', at('figures', name, 'of'));
    if (!read.ok) return read;
    columns.push({ name, op, of, read: read.value });
  }
  const groups = new Map<string, Group>();
  const open = (key: string, values: readonly unknown[]): Group => {
    const group: Group = { values, figures: columns.map(({ op }) => OPERATIONS[op]()) };
    groups.set(key, group);
    return group;
  };
  if (by === undefined) open('', []);
  items.forEach((item, index) => {
    const values = keys.map(([, read]) => read(item));
    const key = by === undefined ? '' : keyOf(values);
    addTo(groups.get(key) ?? open(key, values), columns, item, index);
  });
  const results = [...groups.values()].map(({ values, figures: made }) => {
    const row = new Bare();
    keys.forEach(([name], index) => (row[name] = values[index] ?? null));
    columns.forEach(({ name }, index) => (row[name] = made[index]?.result()));
    return row;
  });
  return ok(by === undefined ? results[0] : results);
}

function addTo(group: Group, columns: readonly Column[], item: unknown, index: number): void {
  columns.forEach(({ op, of, read }, column) => {
    const value = read(item);
    // Without `of` the items themselves are counted, whatever they are.
    if ((value ?? null) === null && !(op === 'count' && of === undefined)) return;
    try {
      group.figures[column]?.add(value);
    } catch (thrown) {
      if (!(thrown instanceof TypeError)) throw thrown;
      const path = at('in', index, of === undefined || of === '$' ? '' : of);
      throw new FaultError(fault('step.params', `${path}: ${thrown.message}`));
    }
  });
}
