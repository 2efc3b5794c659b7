/** Bodies of parts as lines of 76 characters in ASCII, so that any server passes them on (RFC 2045, section 6). */

import { Buffer } from 'node:buffer';

const LINE_CHARACTERS = 76;

export interface EncodedBody {
  readonly encoding: 'quoted-printable' | 'base64';
  /** Ends with a line break. */
  readonly text: string;
}

export const base64Body = (bytes: Uint8Array): string => {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return text.replace(/.{1,76}/g, '$&\r\n') || '\r\n';
};

/** Whichever is shorter. */
export function textBody(text: string): EncodedBody {
  const lines = text.replace(/\r\n|\r|\n/g, '\r\n');
  const bytes = Buffer.from(lines);
  const quoted = quotedPrintable(bytes);
  return quoted.length <= (bytes.length * 4) / 3 + bytes.length / 38 + 64
    ? { encoding: 'quoted-printable', text: quoted }
    : { encoding: 'base64', text: base64Body(bytes) };
}

const CR = 13;
const LF = 10;
const ESCAPES = Array.from({ length: 256 }, (_, byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`);
const PLAIN = Array.from({ length: 256 }, (_, byte) =>
  (byte >= 33 && byte <= 126 && byte !== 61) || byte === 32 || byte === 9 ? String.fromCharCode(byte) : undefined,
);

/** @param bytes with lines that end by CR LF */
function quotedPrintable(bytes: Uint8Array): string {
  const lines: string[] = [];
  let line = '';
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === CR && bytes[index + 1] === LF) {
      lines.push(line);
      line = '';
      index++;
      continue;
    }
    // A space at the end of a line is lost on the way.
    const ends = index + 1 === bytes.length || bytes[index + 1] === CR;
    const isSpace = byte === 32 || byte === 9;
    const written = (isSpace && ends ? undefined : PLAIN[byte]) ?? ESCAPES[byte] ?? '';
    if (line.length + written.length >= LINE_CHARACTERS) {
      lines.push(`${line}=`);
      line = '';
    }
    line += written;
  }
  if (line !== '' || lines.length === 0) lines.push(line);
  return lines.map((each) => `${each}\r\n`).join('');
}
