/** Rows out of text in pieces, wherever it is cut. */

import fc from 'fast-check';
import papa from 'papaparse';
import { describe, expect, it } from 'vitest';
import { textOf } from '../../../src/connectors/objects/rows.ts';
import { CsvReader } from '../../../src/core/data/rows/csv.ts';
import { LineReader } from '../../../src/core/data/rows/lines.ts';
import type { ReadRow, RowReader } from '../../../src/core/data/rows/reader.ts';
import { csvWriter, ndjsonWriter, type RowWriter } from '../../../src/core/data/rows/writer.ts';
import { FaultError } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

function read(reader: RowReader, pieces: readonly string[]): ReadRow[] {
  return [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
}
const csv = (...pieces: string[]) => read(new CsvReader(','), pieces);
const values = (rows: readonly ReadRow[]) => rows.map(({ value, mistake }) => value ?? mistake);

/** Cuts a text at some of its places. */
function cut<T extends string | Uint8Array>(whole: T, places: readonly number[]): T[] {
  const at = [...new Set(places.map((place) => place % (whole.length + 1)))].sort((a, b) => a - b);
  return [...at, whole.length].map((end, index) => whole.slice(at[index - 1] ?? 0, end) as T);
}
const places = fc.array(fc.nat(1_000), { maxLength: 30 });
const cell = fc.string({
  unit: fc.constantFrom('a', 'é', '😀', ',', '"', '\n', '\r\n', ' ', '=', '\u{feff}'),
  maxLength: 6,
});
/** Anything, malformed quotes included. */
const junk = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', '""', '","', '"\r\n"'), maxLength: 60 });

function faultOf(work: () => unknown) {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof FaultError) return thrown.fault;
  }
  throw new Error('Expected a fault.');
}

describe('CSV in pieces', () => {
  it('gives the rows that papaparse gives for the whole, however it is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { maxLength: 8 }), places, (table, at) => {
        const text = papa.unparse(table, { newline: '\r\n' });
        expect(values(csv(...cut(text, at)))).toEqual(
          papa.parse<string[]>(text, { skipEmptyLines: true, delimiter: ',', newline: '\r\n' }).data,
        );
      }),
      { numRuns: 2_000 },
    );
  });

  it('does not depend on where it is cut, also where it is malformed', () => {
    fc.assert(
      fc.property(junk, places, (text, at) => {
        expect(csv(...cut(text, at))).toEqual(csv(text));
        expect(csv(...text.split(''))).toEqual(csv(text));
      }),
      { numRuns: 2_000 },
    );
  });

  it('ends rows with LF and CRLF alike, and passes over blank lines, but counts them', () => {
    expect(csv('a,b\r\n\n1,2\n"3\n4",5')).toEqual([
      { number: 1, value: ['a', 'b'] },
      { number: 3, value: ['1', '2'] },
      { number: 4, value: ['3\n4', '5'] },
    ]);
  });

  it('takes a quote in the middle of a cell as it is, and an empty cell in quotes as a row', () => {
    expect(values(csv('5" disk,x\n""\n'))).toEqual([['5" disk', 'x'], ['']]);
  });

  it('tells the row with characters after a closing quote, and reads the next one', () => {
    expect(csv('1,"a"b,c\n2,d\n')).toEqual([
      { number: 1, mistake: 'has characters after the closing quote of cell 2.' },
      { number: 2, value: ['2', 'd'] },
    ]);
  });

  it('tells a quote that is never closed, where the text ends before the bound', () => {
    expect(csv('1,2\n3,"4\n5,6\n')).toEqual([
      { number: 1, value: ['1', '2'] },
      { number: 2, mistake: 'has a quote that is never closed.' },
    ]);
  });

  it.each([
    ['a quote that is never closed', '"'],
    ['a line without an end', ''],
  ])('refuses %s by the number of its row', (_, start) => {
    const reader = new CsvReader(',');
    reader.push(`a,b\n1,2\n${start}`);
    const fault = faultOf(() => {
      for (let piece = 0; piece < 100_000; piece++) reader.push('x'.repeat(1_000));
    });
    expect(fault).toMatchObject({ code: 'data.too-large', retryable: false });
    expect(fault.message).toContain(`Row 3 has more than ${LIMITS.transformRowCharacters} characters.`);
    expect(fault.message.includes('quote')).toBe(start !== '');
  });

  it('refuses a row of too many cells, and goes on', () => {
    const [wide, next] = csv(`${','.repeat(LIMITS.dataColumns)}\n1\n`);
    expect(wide?.mistake).toContain(`more than ${LIMITS.dataColumns} cells`);
    expect(next?.value).toEqual(['1']);
  });

  it.each([
    ['cells in quotes', '"",'.repeat(340_000)],
    ['short rows with quotes in them', 'x"\n'.repeat(340_000)],
    ['pieces of one character', `"${'x'.repeat(300_000)}"\n`],
  ])('takes time in proportion to the text, for %s', (kind, text) => {
    const reader = new CsvReader(';');
    const startedAt = performance.now();
    if (kind.startsWith('pieces')) for (const piece of text) reader.push(piece);
    else reader.push(text);
    // Quadratic work would take minutes.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});

describe('NDJSON in pieces', () => {
  it('gives the values of the whole, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer(), fc.string(), fc.dictionary(fc.string(), fc.string())), { maxLength: 8 }),
        places,
        (items, at) => {
          const clean: unknown = JSON.parse(JSON.stringify(items));
          const text = items.map((item) => `${JSON.stringify(item)}\r\n`).join('\n');
          expect(read(new LineReader(), cut(text, at)).map(({ value }) => value)).toEqual(clean);
        },
      ),
    );
  });

  it('tells the line that is no JSON, and reads the next one', () => {
    const [first, second] = read(new LineReader(), ['{"a":1\n{"a":2}']);
    expect(first).toMatchObject({ number: 1, mistake: expect.stringContaining('is not JSON') });
    expect(second).toEqual({ number: 2, value: { a: 2 } });
  });

  it('refuses a line without an end by its number', () => {
    const reader = new LineReader();
    reader.push('1\n');
    expect(faultOf(() => reader.push('x'.repeat(LIMITS.transformRowCharacters + 1))).message).toContain('Row 2 has');
  });
});

describe('bytes in pieces', () => {
  const decoded = async (chunks: readonly Uint8Array[], charset = 'utf-8'): Promise<string> => {
    const source = async function* () {
      yield* chunks;
    };
    let text = '';
    for await (const piece of textOf(source(), charset)) text += piece;
    return text;
  };

  it('are the same text wherever they are cut, in the middle of a character too, without a byte order mark', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), places, async (text, at) => {
        const plain = text.replace(/^\u{feff}+/u, '');
        const bytes = new TextEncoder().encode(`\u{feff}${plain}`);
        expect(await decoded(cut(bytes, at))).toBe(plain);
      }),
    );
  });

  it.each([[[0xff]], [[0xe2, 0x82]]])('that are no UTF-8 (%j) are refused', async (bytes) => {
    await expect(decoded([new Uint8Array(bytes)])).rejects.toThrow('no text in utf-8');
  });
});

describe('rows as text', () => {
  const written = (writer: RowWriter, rows: readonly unknown[]): string => {
    const texts = rows.map((row) => {
      const text = writer.text(row);
      return text.ok ? text.value : `[${text.fault.message}]`;
    });
    return writer.head() + texts.join('');
  };
  const form = { delimiter: ',', header: true, escapeFormulas: false };

  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 8 }), (table) => {
        expect(values(csv(written(csvWriter(undefined, form), table)))).toEqual(table);
      }),
    );
  });

  it('have the columns of the first row, where none are named', () => {
    expect(written(csvWriter(undefined, form), [{ b: 1, a: { c: 2 } }, { a: null }])).toBe(
      'b,a\r\n1,"{""c"":2}"\r\n,\r\n',
    );
  });

  it('with a column that the first has not are refused', () => {
    expect(written(csvWriter(undefined, form), [{ a: 1 }, { a: 2, b: 3 }])).toContain('name all in `columns`');
  });

  it('have the columns that are named and no others, in both formats', () => {
    const rows = [{ c: 3, b: 2, a: 1 }, { a: 4 }];
    expect(written(csvWriter(['a', 'b'], form), rows)).toBe('a,b\r\n1,2\r\n4,\r\n');
    expect(written(ndjsonWriter(['a', 'b']), rows)).toBe('{"a":1,"b":2}\n{"a":4,"b":null}\n');
  });

  it.each(['=1+1', '+1', '-1', '@a', '\t=1'])(
    'do not let a spreadsheet compute %j, where that is asked for',
    (formula) => {
      expect(written(csvWriter(['a'], { ...form, escapeFormulas: true }), [{ a: formula }])).toBe(
        `a\r\n"'${formula}"\r\n`,
      );
    },
  );

  it.each([[1], ['text'], [null]])('that are %j are no rows of CSV', (row) => {
    expect(written(csvWriter(undefined, form), [row])).toContain('Must be an object');
  });
});
