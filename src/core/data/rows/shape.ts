/**
 * What becomes of rows on their way: types, a condition, a new shape, no repetition, figures.
 *
 * Guarantee: of the rows that have passed, only keys, groups and figures are held, up to a bound whose fault names
 * it. A row that cannot be used fails the step, or is counted and told; it is never changed in silence.
 */

import { compileKey } from '../items/join.ts';
import { openAggregation, type Aggregation, type Figure } from '../items/aggregate.ts';
import { compileItemTypes, type Type } from '../types.ts';
import type { ReadRow } from './reader.ts';
import type { RowWriter } from './writer.ts';
import { fail, fault, faultOf, FaultError, ok, type Fault, type Result } from '../../errors.ts';
import { Bare } from '../../json.ts';
import { LIMITS } from '../../limits.ts';

/** Evaluates what the author wrote, for one row. @throws FaultError, also by rejection */
export type Evaluate = (roots: { readonly row: unknown; readonly number: number }) => unknown;

export interface Shape {
  /** The first row names the columns of the others. */
  readonly isNamed: boolean;
  readonly types: Readonly<Record<string, Type>> | undefined;
  readonly where: Evaluate | undefined;
  readonly map: Evaluate | undefined;
  /** Paths; rows that are equal there come once. */
  readonly distinct: readonly string[] | undefined;
  readonly aggregate:
    | { readonly by?: Readonly<Record<string, string>> | undefined; readonly figures: Readonly<Record<string, Figure>> }
    | undefined;
  readonly onRowError: 'fail' | 'skip';
}

export interface Counts {
  rowsRead: number;
  rowsWritten: number;
  /** The condition did not hold. */
  rowsFiltered: number;
  /** Equal to an earlier one. */
  rowsRepeated: number;
  /** Could not be used. */
  rowsSkipped: number;
}

/** A row that could not be used. */
export interface Rejected {
  readonly row: number;
  readonly reason: string;
}

const LEFT_OUT = Symbol('left out');

/** Fault `step.params` for a wrong path. */
export function openShaper(shape: Shape, writer: RowWriter): Result<Shaper> {
  const remember = memory();
  const types = shape.types === undefined ? undefined : compileItemTypes(shape.types);
  if (types?.ok === false) return types;
  const key = shape.distinct === undefined ? undefined : compileKey(shape.distinct, 'distinct', true);
  if (key?.ok === false) return key;
  const figures = shape.aggregate && openAggregation(shape.aggregate.figures, shape.aggregate.by, remember);
  if (figures?.ok === false) return figures;
  return ok(new Shaper(shape, writer, { remember, types: types?.value, key: key?.value, aggregation: figures?.value }));
}

/** What is held for long, counted. */
function memory(): (characters: number) => void {
  let things = 0;
  let characters = 0;
  return (more) => {
    const { transformRemembered: most, transformRememberedCharacters: mostCharacters } = LIMITS;
    characters += more;
    if (++things <= most && characters <= mostCharacters) return;
    const what = `more than ${most} keys, figures and distinct values, or ${mostCharacters} characters of them`;
    throw new FaultError(fault('data.too-large', `\`distinct\` and \`aggregate\` would have to remember ${what}.`));
  };
}

interface Parts {
  remember(characters: number): void;
  readonly types: ((item: unknown) => Result<unknown>) | undefined;
  readonly key: ((item: unknown) => string | undefined) | undefined;
  readonly aggregation: Aggregation | undefined;
}

export class Shaper {
  readonly counts: Counts = { rowsRead: 0, rowsWritten: 0, rowsFiltered: 0, rowsRepeated: 0, rowsSkipped: 0 };
  readonly rejected: Rejected[] = [];
  readonly #shape: Shape;
  readonly #writer: RowWriter;
  readonly #parts: Parts;
  readonly #seen = new Set<string | undefined>();
  #names: readonly string[] | undefined;
  #hasHead = false;

  /** By {@link openShaper}. */
  constructor(shape: Shape, writer: RowWriter, parts: Parts) {
    this.#shape = shape;
    this.#writer = writer;
    this.#parts = parts;
  }

  /** What is to be written for a row, often nothing. @throws FaultError where the step must end */
  async take(given: ReadRow): Promise<string> {
    if (this.#shape.isNamed && this.#names === undefined) {
      this.#names = headerOf(given);
      return '';
    }
    this.counts.rowsRead++;
    const { number } = given;
    const shaped = await this.#shaped(given);
    if (!shaped.ok) return this.#reject(number, shaped.fault);
    if (shaped.value === LEFT_OUT) {
      this.counts.rowsFiltered++;
      return '';
    }
    const { aggregation } = this.#parts;
    const text = aggregation === undefined ? this.#writer.text(shaped.value) : ok('');
    if (!text.ok) return this.#reject(number, text.fault);
    if (this.#isRepeated(shaped.value)) {
      this.counts.rowsRepeated++;
      return '';
    }
    if (aggregation === undefined) return this.#written(text.value);
    const issue = aggregation.add(shaped.value);
    if (issue === undefined) return '';
    const where = issue.path === '' ? '' : `${issue.path}: `;
    return this.#reject(number, fault('data.malformed', `${where}${issue.message}`));
  }

  /** What is to be written once there are no more rows. @throws FaultError */
  *end(): Generator<string> {
    for (const row of this.#parts.aggregation?.results() ?? []) {
      const text = this.#writer.text(row);
      if (!text.ok) throw new FaultError(text.fault);
      yield this.#written(text.value);
    }
    if (!this.#hasHead) yield this.#writer.head();
  }

  #written(text: string): string {
    this.counts.rowsWritten++;
    if (this.#hasHead) return text;
    this.#hasHead = true;
    return this.#writer.head() + text;
  }

  async #shaped(given: ReadRow): Promise<Result<unknown>> {
    const { where, map } = this.#shape;
    const read = this.#read(given);
    if (!read.ok || (where === undefined && map === undefined)) return read;
    const roots = { row: read.value, number: given.number };
    try {
      if (where !== undefined) {
        const holds = await where(roots);
        if (typeof holds !== 'boolean' && holds !== undefined) {
          return fail('expression.failed', '`where` must give true or false.');
        }
        if (holds !== true) return ok(LEFT_OUT);
      }
      return ok(map === undefined ? read.value : await map(roots));
    } catch (thrown) {
      if (thrown instanceof FaultError) return { ok: false, fault: faultOf(thrown) };
      throw thrown;
    }
  }

  #read({ value, mistake }: ReadRow): Result<unknown> {
    if (mistake !== undefined) return fail('data.malformed', mistake);
    const row = this.#names === undefined ? ok(value) : named(this.#names, value);
    return row.ok && this.#parts.types !== undefined ? this.#parts.types(row.value) : row;
  }

  #isRepeated(row: unknown): boolean {
    const { key: keyOf, remember } = this.#parts;
    if (keyOf === undefined) return false;
    const key = keyOf(row);
    if (this.#seen.has(key)) return true;
    remember(key?.length ?? 0);
    this.#seen.add(key);
    return false;
  }

  #reject(number: number, { code, message }: Fault): '' {
    if (this.#shape.onRowError === 'fail') throw new FaultError(fault(code, `Row ${number}: ${message}`));
    this.counts.rowsSkipped++;
    if (this.rejected.length < LIMITS.transformReasons) {
      this.rejected.push({ row: number, reason: message.slice(0, LIMITS.transformReasonCharacters) });
    }
    return '';
  }
}

function headerOf({ number, value, mistake }: ReadRow): readonly string[] {
  const names = Array.isArray(value) ? value.map(String) : [];
  const twice =
    names.length === new Set(names).size ? undefined : names.find((name, index) => names.indexOf(name) !== index);
  const wrong = mistake ?? (twice === undefined ? undefined : `the column ${JSON.stringify(twice)} stands twice.`);
  if (wrong === undefined) return names;
  throw new FaultError(fault('data.malformed', `Row ${number}, which names the columns: ${wrong}`));
}

function named(names: readonly string[], cells: unknown): Result<unknown> {
  const values: readonly unknown[] = Array.isArray(cells) ? cells : [];
  if (values.length !== names.length) return fail('data.malformed', `has ${values.length} cells, not ${names.length}.`);
  const row = new Bare();
  for (let column = 0; column < names.length; column++) row[names[column] ?? ''] = values[column];
  return ok(row);
}
