/** Finds what is wrong with a JSON text, with the place: also what `JSON.parse` alone would change silently. */

import { at } from '../chain/issues.ts';
import type { Issue } from '../errors.ts';
import { LIMITS } from '../limits.ts';

class Mistake extends Error {
  readonly path: string;
  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Every character but quote, backslash and the controls; unrolled, so that a long text needs no stack.
const STRING = /"[ !#-[\]-\u{10ffff}]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[ !#-[\]-\u{10ffff}]*)*"/uy;
const WORD = /true|false|null/y;

/** @param largeIntegers those beyond 2^53, which no double keeps: a mistake, or left to the caller */
export function jsonMistake(text: string, largeIntegers: 'refuse' | 'keep' = 'refuse'): Issue | undefined {
  try {
    new Scanner(text, largeIntegers === 'refuse').document();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Mistake) return { path: thrown.path, message: thrown.message };
    throw thrown;
  }
}

/** Walks over a text and finds what is wrong with it; the value itself is built by `JSON.parse`. */
class Scanner {
  readonly #text: string;
  readonly #exactly: boolean;
  /** Where in the document the scanner is: the keys and positions from the root. */
  readonly #path: (string | number)[] = [];
  #position = 0;

  constructor(text: string, exactly: boolean) {
    this.#text = text;
    this.#exactly = exactly;
  }

  document(): void {
    this.#value();
    if (this.#position < this.#text.length) this.#unexpected('the end of the document');
  }

  #value(): void {
    if (this.#path.length > LIMITS.jsonDepth) {
      this.#stop(`The document is nested deeper than ${LIMITS.jsonDepth} levels`);
    }
    this.#take(SPACE);
    if (this.#takeMark('{')) this.#object();
    else if (this.#takeMark('[')) this.#array();
    else if (this.#take(STRING) === undefined && this.#take(WORD) === undefined) this.#number();
    this.#take(SPACE);
  }

  #object(): void {
    const keys = new Set<string>();
    this.#take(SPACE);
    if (this.#takeMark('}')) return;
    do {
      this.#take(SPACE);
      const start = this.#position;
      const key = String(JSON.parse(this.#take(STRING) ?? this.#unexpected('a key in double quotes')));
      this.#path.push(key);
      if (keys.has(key)) this.#stop('This key stands twice in one object; remove or rename one', start);
      keys.add(key);
      this.#take(SPACE);
      if (!this.#takeMark(':')) this.#unexpected('":"');
      this.#value();
      this.#path.pop();
    } while (this.#takeMark(','));
    if (!this.#takeMark('}')) this.#unexpected('"," or "}"');
  }

  #array(): void {
    this.#take(SPACE);
    if (this.#takeMark(']')) return;
    let index = 0;
    do {
      this.#path.push(index++);
      this.#value();
      this.#path.pop();
    } while (this.#takeMark(','));
    if (!this.#takeMark(']')) this.#unexpected('"," or "]"');
  }

  #number(): void {
    const start = this.#position;
    if (this.#text[start] === '"') this.#stop('This text is not closed, or holds a raw line break or a wrong escape');
    const text = this.#take(NUMBER) ?? this.#unexpected('a value');
    const value = Number(text);
    if (!Number.isFinite(value)) this.#stop(`The number ${shorten(text)} is too large`, start);
    if (this.#exactly && /^-?[0-9]+$/.test(text) && !Number.isSafeInteger(value)) {
      this.#stop(`The integer ${shorten(text)} cannot be kept exactly; write it as a text`, start);
    }
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#text)?.[0];
    this.#position += found?.length ?? 0;
    return found;
  }

  #takeMark(mark: string): boolean {
    const found = this.#text[this.#position] === mark;
    if (found) this.#position++;
    return found;
  }

  #unexpected(expected: string): never {
    const found = this.#text[this.#position];
    const shown = found === undefined ? 'the end of the text' : JSON.stringify(found);
    this.#stop(`This is not JSON: expected ${expected}, found ${shown}`);
  }

  #stop(message: string, position = this.#position): never {
    const before = this.#text.slice(0, position).split('\n');
    const column = (before.at(-1)?.length ?? 0) + 1;
    throw new Mistake(at('', ...this.#path), `${message} (line ${before.length}, column ${column}).`);
  }
}

const shorten = (text: string): string => (text.length > 24 ? `${text.slice(0, 24)}…` : text);
