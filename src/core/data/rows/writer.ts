/** Rows as text, each by itself. */

import { fail, ok, type Result } from '../../errors.ts';
import { isObject } from '../../json.ts';
import { LIMITS } from '../../limits.ts';

export interface RowWriter {
  /** What stands before the rows; to be asked for once, when the first of them is known or there is none. */
  head(): string;
  /** Fault `data.malformed` for a row that the format cannot hold, `data.too-large`. */
  text(row: unknown): Result<string>;
}

export interface CsvForm {
  readonly delimiter: string;
  readonly header: boolean;
  readonly escapeFormulas: boolean;
}

function bounded(text: string): Result<string> {
  if (text.length <= LIMITS.transformRowCharacters) return ok(text);
  return fail('data.too-large', `Has become longer than ${LIMITS.transformRowCharacters} characters.`);
}

/** @param columns the members that are written, in their order; without them all */
export function ndjsonWriter(columns: readonly string[] | undefined): RowWriter {
  return {
    head: () => '',
    text(row) {
      if (columns === undefined) return bounded(`${JSON.stringify(row) ?? 'null'}\n`);
      if (!isObject(row)) return fail('data.malformed', 'Must be an object, so that it has columns.');
      const entries = columns.map((name) => [name, Object.hasOwn(row, name) ? row[name] : null]);
      return bounded(`${JSON.stringify(Object.fromEntries(entries))}\n`);
    },
  };
}

/** @param columns in their order; without them, those of the first row, and no other row may have more */
export function csvWriter(columns: readonly string[] | undefined, form: CsvForm): RowWriter {
  const line = lineWriter(form);
  let names = columns;
  let known = new Set(names);
  return {
    head: () => (form.header && names !== undefined ? line(names) : ''),
    text(row) {
      if (Array.isArray(row) && columns === undefined) return bounded(line(row));
      if (!isObject(row)) return fail('data.malformed', 'Must be an object, to be a row of CSV.');
      if (names === undefined) known = new Set((names = Object.keys(row)));
      const stranger = columns === undefined ? Object.keys(row).find((name) => !known.has(name)) : undefined;
      if (stranger !== undefined) {
        const shown = JSON.stringify(stranger.slice(0, 100));
        return fail('data.malformed', `Has a column ${shown} that the first row has not; name all in \`columns\`.`);
      }
      return bounded(line(names.map((name) => (Object.hasOwn(row, name) ? row[name] : null))));
    },
  };
}

/** What a spreadsheet would compute. */
const FORMULA = /^[=+\-@\t\r]/;

function lineWriter({ delimiter, escapeFormulas }: CsvForm): (values: readonly unknown[]) => string {
  const cell = (value: unknown): string => {
    let text = textOf(value);
    const isFormula = escapeFormulas && FORMULA.test(text);
    if (isFormula) text = `'${text}`;
    const isPlain = !isFormula && !/["\r\n\ufeff]|^\s|\s$/.test(text) && !text.includes(delimiter);
    return isPlain ? text : `"${text.replaceAll('"', '""')}"`;
  };
  return (values) => {
    const text = values.map(cell).join(delimiter);
    // An empty line would be no row.
    return `${text === '' ? '""' : text}\r\n`;
  };
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
