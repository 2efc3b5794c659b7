/**
 * CSV (RFC 4180) in pieces: what papaparse makes of the whole, without the whole. papaparse itself takes pieces only
 * from streams of its own, and guesses what ends a line from the first of them.
 *
 * Guarantee: the rows do not depend on where the text was cut, and the work is in proportion to the text.
 */

import { tooLong, type ReadRow, type RowReader } from './reader.ts';
import { LIMITS } from '../../limits.ts';

const LINE_FEED = '\n';
const QUOTE = '"';

/** A row that was found in the text, and where the next one begins; undefined where the text ends before it does. */
interface Found {
  readonly cells: string[];
  readonly next: number;
  readonly mistake?: string;
  readonly isBlank?: boolean;
}

/** Cells are texts. Rows end with LF or CRLF, and a blank line is none. A quote is special only where a cell begins. */
export class CsvReader implements RowReader {
  readonly #delimiter: string;
  #text = '';
  #number = 0;
  /** A row that is not all there is looked at again when there is twice as much of it, not for every piece. */
  #wanted = 0;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  push(text: string): ReadRow[] {
    this.#text += text;
    return this.#text.length < this.#wanted ? [] : this.#read(false);
  }

  end(): ReadRow[] {
    return this.#read(true);
  }

  #read(isEnd: boolean): ReadRow[] {
    const rows: ReadRow[] = [];
    const text = this.#text;
    const marks = {
      quote: finder(text, QUOTE),
      feed: finder(text, LINE_FEED),
      delimiter: finder(text, this.#delimiter),
    };
    let start = 0;
    while (start < text.length) {
      const found = this.#plainRow(text, start, marks, isEnd) ?? this.#row(text, start, marks, isEnd);
      if (found === undefined) break;
      this.#number++;
      if (found.next - start > LIMITS.transformRowCharacters) throw tooLong(this.#number);
      start = found.next;
      const row = this.#rowOf(found);
      if (row !== undefined) rows.push(row);
    }
    this.#text = text.slice(start);
    if (this.#text.length > LIMITS.transformRowCharacters) {
      throw tooLong(this.#number + 1, this.#text.includes(QUOTE) ? ' A quote in it may never be closed.' : '');
    }
    this.#wanted = Math.min(2 * this.#text.length, LIMITS.transformRowCharacters);
    return rows;
  }

  #rowOf({ cells, mistake, isBlank }: Found): ReadRow | undefined {
    const number = this.#number;
    if (mistake !== undefined) return { number, mistake };
    if (isBlank === true) return undefined;
    if (cells.length > LIMITS.dataColumns) return { number, mistake: `has more than ${LIMITS.dataColumns} cells.` };
    return { number, value: cells };
  }

  /** Most rows have no quotes, and need no look at each cell. */
  #plainRow(text: string, start: number, marks: Marks, isEnd: boolean): Found | undefined {
    const end = marks.feed(start);
    if ((end === text.length && !isEnd) || marks.quote(start) < end) return undefined;
    const line = withoutReturn(text.slice(start, end));
    return { cells: line.split(this.#delimiter), next: end + 1, isBlank: line === '' };
  }

  #row(text: string, start: number, marks: Marks, isEnd: boolean): Found | undefined {
    const cells: string[] = [];
    const { length } = this.#delimiter;
    for (let at = start; ;) {
      if (text[at] !== QUOTE) {
        const end = marks.feed(at);
        const delimiter = marks.delimiter(at);
        if (delimiter < end) {
          cells.push(text.slice(at, delimiter));
          at = delimiter + length;
          continue;
        }
        if (end === text.length && !isEnd) return undefined;
        cells.push(withoutReturn(text.slice(at, end)));
        return { cells, next: end + 1 };
      }
      const close = closingQuote(text, at + 1);
      if (close === undefined) {
        return isEnd ? { cells, next: text.length, mistake: 'has a quote that is never closed.' } : undefined;
      }
      // What follows the quote decides whether it closes.
      if (!isEnd && close + 2 >= text.length) return undefined;
      cells.push(text.slice(at + 1, close).replaceAll('""', QUOTE));
      at = close + 1;
      if (text.startsWith(this.#delimiter, at)) {
        at += length;
        continue;
      }
      const rest = text[at] === '\r' ? at + 1 : at;
      if (rest >= text.length || text[rest] === LINE_FEED) return { cells, next: rest + 1 };
      const end = marks.feed(at);
      if (end === text.length && !isEnd) return undefined;
      return { cells, next: end + 1, mistake: `has characters after the closing quote of cell ${cells.length}.` };
    }
  }
}

type Find = (from: number) => number;
type Marks = Readonly<Record<'quote' | 'feed' | 'delimiter', Find>>;

/** Where a mark comes next, else the length of the text. It is asked ever further on, so each is looked for once. */
function finder(text: string, mark: string): Find {
  let found = -1;
  return (from) => {
    if (found < from) found = text.indexOf(mark, from);
    if (found < 0) found = text.length;
    return found;
  };
}

const withoutReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line);

/** Two quotes in a row stand for one; undefined where none closes. */
function closingQuote(text: string, from: number): number | undefined {
  for (let at = text.indexOf(QUOTE, from); at >= 0; at = text.indexOf(QUOTE, at + 2)) {
    if (text[at + 1] !== QUOTE) return at;
  }
  return undefined;
}
