/** Newline-delimited text in pieces: one event a line. */
export class LineParser {
  #rest = '';

  get heldCharacters(): number {
    return this.#rest.length;
  }

  /** Whole lines, without those that are empty. */
  push(text: string): string[] {
    const lines = text.split('\n');
    lines[0] = this.#rest + (lines[0] ?? '');
    this.#rest = lines.pop() ?? '';
    return lines.map((line) => line.replace(/\r$/, '')).filter((line) => line.trim() !== '');
  }

  /** A last line that no line break ends. */
  end(): string[] {
    return this.push('\n');
  }
}
