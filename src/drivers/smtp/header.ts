/** Header fields of a message (RFC 5322, section 2.2; RFC 2047; RFC 2231). */

import { Buffer } from 'node:buffer';
import type { Mailbox } from './address.ts';

/** RFC 5322, section 2.1.1, without the line break. */
export const LINE_BYTES = 998;
const FOLD_CHARACTERS = 76;
/** An encoded word takes 75 characters, and its line 76 (RFC 2047, section 2): what is left beside `Subject: `. */
const WORD_BYTES = 39;
const PARAMETER_CHARACTERS = 55;

const PRINTABLE = /^[\x20-\x7e]*$/;
const ATOMS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*$/;
const LONG_WORD = /[^ ]{200}/;

/** A text as it may stand in a field without structure. Long words are encoded too, so that they can be folded. */
export const headerText = (text: string): string =>
  PRINTABLE.test(text) && !text.includes('=?') && !LONG_WORD.test(text) ? text : encodedWords(text);

function encodedWords(text: string): string {
  const words: string[] = [];
  let pending: string[] = [];
  let bytes = 0;
  const end = (): void => {
    if (pending.length > 0) words.push(`=?UTF-8?B?${Buffer.from(pending.join('')).toString('base64')}?=`);
    pending = [];
    bytes = 0;
  };
  for (const character of text) {
    const more = Buffer.byteLength(character);
    if (bytes + more > WORD_BYTES) end();
    pending.push(character);
    bytes += more;
  }
  end();
  return words.join(' ');
}

export function mailboxText({ name, address }: Mailbox): string {
  if (name === '') return address;
  if (!PRINTABLE.test(name) || name.includes('=?') || LONG_WORD.test(name)) return `${encodedWords(name)} <${address}>`;
  return ATOMS.test(name) ? `${name} <${address}>` : `"${name.replace(/["\\]/g, '\\$&')}" <${address}>`;
}

/** A field on as many lines as it takes, with its line break. */
export function field(name: string, value: string): string {
  let line = `${name}:`;
  const lines: string[] = [];
  for (const [index, word] of value.split(' ').entries()) {
    // A line of nothing but spaces would end the header for some.
    const folds = index > 0 && word !== '' && line.length + 1 + word.length > FOLD_CHARACTERS;
    if (folds) {
      lines.push(line);
      line = '';
    }
    line += ` ${word}`;
  }
  return `${[...lines, line].join('\r\n')}\r\n`;
}

/** `; name="value"`, or RFC 2231's form of it, in pieces that can be folded. */
export function parameter(name: string, value: string): string {
  if (PRINTABLE.test(value) && !/["\\]/.test(value) && value.length <= PARAMETER_CHARACTERS) {
    return `; ${name}="${value}"`;
  }
  const encoded = encodeURIComponent(value).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16)}`);
  return inLines(encoded.match(/%..|[^%]/g) ?? [])
    .map(
      (piece, index, all) => `; ${name}*${all.length > 1 ? `${index}*` : ''}=${index === 0 ? "utf-8''" : ''}${piece}`,
    )
    .join('');
}

/** @param pieces of one escape or character each */
function inLines(pieces: readonly string[]): string[] {
  const lines = [''];
  for (const piece of pieces) {
    const last = lines.length - 1;
    if ((lines[last]?.length ?? 0) + piece.length > PARAMETER_CHARACTERS) lines.push(piece);
    else lines[last] += piece;
  }
  return lines;
}
