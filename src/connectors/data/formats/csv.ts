/** CSV (RFC 4180) by papaparse. Cells are texts: what they mean is said by `types`, never guessed. */

import { malformed, textOf, tooLarge, type Format } from './content.ts';
import { isObject } from '../../../core/json.ts';
import { LIMITS } from '../../../core/limits.ts';

const load = async () => (await import('papaparse')).default;

const cellOf = (value: unknown): string => {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
};

export const csv: Format = {
  async read(content, options) {
    const papa = await load();
    const text = textOf(content, 'CSV', options).replace(/^\ufeff/, '');
    const { data, errors } = papa.parse<string[]>(text, { delimiter: options.csv.delimiter, skipEmptyLines: true });
    const [error] = errors;
    if (error !== undefined) return malformed('CSV', `row ${(error.row ?? 0) + 1}: ${error.message}.`);
    if (data.length > LIMITS.dataItems) tooLarge(`More than ${LIMITS.dataItems} rows.`);
    const wide = data.findIndex((row) => row.length > LIMITS.dataColumns);
    if (wide >= 0) tooLarge(`Row ${wide + 1} has more than ${LIMITS.dataColumns} cells.`);
    return options.csv.header ? objectsOf(data) : data;
  },
  async write(content, { csv: { delimiter, header, escapeFormulas } }) {
    const papa = await load();
    if (!Array.isArray(content)) return malformed('a list', 'CSV is made of one.');
    const rows: readonly unknown[] = content;
    const names = [...new Set(rows.flatMap((row) => (isObject(row) ? Object.keys(row) : [])))];
    const data = rows.map((row, index) => {
      if (isObject(row)) return names.map((name) => cellOf(Object.hasOwn(row, name) ? row[name] : null));
      if (Array.isArray(row) && names.length === 0) return row.map(cellOf);
      return malformed('a list of objects, or of lists', `item ${index} is something else.`);
    });
    const table = header && names.length > 0 ? [names, ...data] : data;
    return papa.unparse(table, { delimiter, newline: '\r\n', escapeFormulae: escapeFormulas });
  },
};

function objectsOf([names = [], ...rows]: readonly string[][]): unknown[] {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return malformed('CSV', `the column ${JSON.stringify(twice)} stands twice.`);
  return rows.map((row, index) => {
    if (row.length !== names.length) {
      malformed('CSV', `row ${index + 2} has ${row.length} cells, not ${names.length}.`);
    }
    // A column may be called `__proto__`, which assignment would lose.
    return Object.fromEntries(names.map((name, column) => [name, row[column]]));
  });
}
