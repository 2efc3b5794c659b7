/** NDJSON in pieces: one JSON value a line. */

import { tooLong, type ReadRow, type RowReader } from './reader.ts';
import { parseJson } from '../exact-json.ts';
import { LIMITS } from '../../limits.ts';

export class LineReader implements RowReader {
  #number = 0;
  /** Of the line that has not ended yet: joined once, so that a long line is not copied for every piece. */
  #pieces: string[] = [];
  #length = 0;

  push(text: string): ReadRow[] {
    const rows: ReadRow[] = [];
    let start = 0;
    for (let feed = text.indexOf('\n'); feed >= 0; feed = text.indexOf('\n', start)) {
      this.#keep(text.slice(start, feed));
      this.#take(rows);
      start = feed + 1;
    }
    this.#keep(text.slice(start));
    return rows;
  }

  end(): ReadRow[] {
    const rows: ReadRow[] = [];
    this.#take(rows);
    return rows;
  }

  #keep(piece: string): void {
    this.#length += piece.length;
    if (this.#length > LIMITS.transformRowCharacters) throw tooLong(this.#number + 1);
    if (piece !== '') this.#pieces.push(piece);
  }

  #take(rows: ReadRow[]): void {
    const line = this.#pieces.join('');
    this.#pieces = [];
    this.#length = 0;
    const number = ++this.#number;
    if (line.trim() === '') return;
    const parsed = parseJson(line);
    if (parsed.ok) rows.push({ number, value: parsed.value });
    else rows.push({ number, mistake: `is not JSON: ${parsed.fault.message}` });
  }
}
