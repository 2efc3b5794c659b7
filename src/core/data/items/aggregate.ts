/**
 * Figures over items, for all of them or for each group.
 *
 * Guarantee: sums are exact, whatever the order and the size; they are rounded once, at the end, and only where
 * the result is a fraction that no double is. One pass, and work in proportion to the items.
 */

import { at } from '../../chain/issues.ts';
import { fail, ok, type Issue, type Result } from '../../errors.ts';
import { Bare } from '../../json.ts';
import { decimalOf, DecimalSum, divide, textOfDecimal, type Decimal } from '../decimal.ts';
import { byCodeUnit, keyOf } from '../order.ts';
import { compilePath, type ReadPath } from '../path.ts';

interface Accumulator {
  /** Why it cannot take a value. Left out where it takes any. */
  refusal?(value: unknown): string | undefined;
  /** Never null or undefined, nor what it refuses. */
  add(value: unknown): void;
  result(): unknown;
}

/** Is told of what is kept for long, in characters; throws where that is too much. */
export type Remember = (characters: number) => void;

/** What each operation makes of the values that are there; null and missing ones are passed over, as in SQL. */
const OPERATIONS = {
  count: () => {
    let count = 0;
    return { add: () => void count++, result: () => count };
  },
  sum: (remember) => sumOf(remember, (sum, _count, sawText) => numberOf(sum, sawText)),
  avg: (remember) => sumOf(remember, (sum, count) => (count === 0 ? null : Number(textOfDecimal(divide(sum, count))))),
  min: () => extreme((candidate, best) => candidate < best),
  max: () => extreme((candidate, best) => candidate > best),
  distinct: (remember) => {
    const seen = new Set<string>();
    return { add: (value) => rememberIn(seen, value, remember), result: () => [...seen].map(valueOf) };
  },
  'count-distinct': (remember) => {
    const seen = new Set<string>();
    return { add: (value) => rememberIn(seen, value, remember), result: () => seen.size };
  },
} as const satisfies Readonly<Record<string, (remember: Remember) => Accumulator>>;

export type Operation = keyof typeof OPERATIONS;
export const OPERATION_NAMES = Object.keys(OPERATIONS) as [Operation, ...Operation[]];

export interface Figure {
  readonly op: Operation;
  readonly of?: string | undefined;
}

function rememberIn(seen: Set<string>, value: unknown, remember: Remember): void {
  const key = keyOf([value]);
  if (seen.has(key)) return;
  remember(key.length);
  seen.add(key);
}

/** The values of a key. Not those that made it: a text cut out of a longer one would keep that in memory. */
const valuesOf = (key: string): readonly unknown[] => JSON.parse(key) as unknown[];
const valueOf = (key: string): unknown => valuesOf(key)[0];

function sumOf(remember: Remember, result: (sum: Decimal, count: number, sawText: boolean) => unknown): Accumulator {
  const sum = new DecimalSum();
  let count = 0;
  let sawText = false;
  return {
    refusal: (value) =>
      Number.isSafeInteger(value) || decimalOf(value) !== undefined ? undefined : 'Must be a number, or a text of one.',
    add(value) {
      const decimal = Number.isSafeInteger(value) ? (value as number) : decimalOf(value);
      if (decimal !== undefined && sum.add(decimal)) remember(String(value).length);
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
    refusal(value) {
      if (typeof value !== 'number' && typeof value !== 'string') return 'Must be a number or a text.';
      if (best === undefined || typeof best === typeof value) return undefined;
      return `Must be a ${typeof best === 'string' ? 'text' : 'number'}, like those before it.`;
    },
    add(value) {
      if (typeof value === 'string') {
        if (best === undefined || isBetter(byCodeUnit(value, String(best)), 0)) best = String(valueOf(keyOf([value])));
      } else if (typeof value === 'number' && (best === undefined || isBetter(value - Number(best), 0))) best = value;
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
  /** Of its values, as {@link keyOf} writes them. */
  readonly key: string;
  readonly figures: readonly Accumulator[];
}

/** Figures that grow item by item: of items, only what tells groups apart is kept. */
export class Aggregation {
  readonly #keys: readonly (readonly [string, ReadPath])[];
  readonly #columns: readonly Column[];
  readonly #remember: Remember;
  readonly #groups = new Map<string, Group>();

  /** By {@link openAggregation}. @param isWhole all items are one group, also where there are none */
  constructor(
    keys: readonly (readonly [string, ReadPath])[],
    columns: readonly Column[],
    remember: Remember,
    isWhole: boolean,
  ) {
    this.#keys = keys;
    this.#columns = columns;
    this.#remember = remember;
    if (isWhole) this.#open(keyOf([]));
  }

  /** What is wrong with the item; then nothing of it is counted. Throws what {@link Remember} throws. */
  add(item: unknown): Issue | undefined {
    const key = keyOf(this.#keys.map(([, read]) => read(item)));
    const values = this.#columns.map(({ read }) => read(item));
    const { figures } = this.#groups.get(key) ?? this.#open(key);
    for (const [column, { of }] of this.#columns.entries()) {
      const value = values[column] ?? null;
      const message = value === null ? undefined : figures[column]?.refusal?.(value);
      if (message !== undefined) return { path: of === undefined || of === '$' ? '' : of, message };
    }
    for (const [column, { op, of }] of this.#columns.entries()) {
      const value = values[column] ?? null;
      // Without `of` the items themselves are counted, whatever they are.
      if (value !== null || (op === 'count' && of === undefined)) figures[column]?.add(value);
    }
    return undefined;
  }

  /** One object for each group, in the order in which the groups first came. */
  *results(): Generator<Record<string, unknown>> {
    for (const { key, figures } of this.#groups.values()) {
      const values = valuesOf(key);
      const row = new Bare();
      this.#keys.forEach(([name], index) => (row[name] = values[index] ?? null));
      this.#columns.forEach(({ name }, index) => (row[name] = figures[index]?.result()));
      yield row;
    }
  }

  #open(key: string): Group {
    this.#remember(key.length);
    const figures = this.#columns.map(({ op }) => {
      this.#remember(0);
      return OPERATIONS[op](this.#remember);
    });
    const group = { key, figures };
    this.#groups.set(key, group);
    return group;
  }
}

/**
 * @param by paths, by the names that their values get in the result; without, all items are one group
 * Fault `step.params` for a wrong path.
 */
export function openAggregation(
  figures: Readonly<Record<string, Figure>>,
  by: Readonly<Record<string, string>> | undefined,
  remember: Remember = () => undefined,
): Result<Aggregation> {
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
  return ok(new Aggregation(keys, columns, remember, by === undefined));
}

/**
 * With `by`, a list of groups; without, a single object.
 *
 * Fault `step.params`: a wrong path, or a value that an operation cannot take, by `in.<index>.<path>`.
 */
export function aggregate(
  items: readonly unknown[],
  figures: Readonly<Record<string, Figure>>,
  by: Readonly<Record<string, string>> | undefined,
): Result<unknown> {
  const aggregation = openAggregation(figures, by);
  if (!aggregation.ok) return aggregation;
  for (const [index, item] of items.entries()) {
    const issue = aggregation.value.add(item);
    if (issue !== undefined) return fail('step.params', `${at('in', index, issue.path)}: ${issue.message}`);
  }
  const results = [...aggregation.value.results()];
  return ok(by === undefined ? results[0] : results);
}
