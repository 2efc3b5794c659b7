/** What goes from one format to the next: bytes, a text, or a value. */

import { FaultError, fault } from '../../../core/errors.ts';
import { fits } from '../../../core/json.ts';
import { LIMITS } from '../../../core/limits.ts';

export type Content = unknown;

export interface Options {
  readonly charset: string;
  readonly csv: { readonly delimiter: string; readonly header: boolean; readonly escapeFormulas: boolean };
  readonly xml: { readonly lists: readonly string[] };
  readonly multipart: { readonly boundary?: string | undefined };
}

/**
 * Both give content or a promise of it, and throw FaultError `data.malformed` or `data.too-large`: they call
 * libraries that only throw.
 */
export interface Format {
  read(content: Content, options: Options): Content;
  write(content: Content, options: Options): Content;
}

export function malformed(format: string, message: string): never {
  throw new FaultError(fault('data.malformed', `value: Is not ${format}: ${message}`));
}

export function tooLarge(what: string): never {
  throw new FaultError(fault('data.too-large', `value: ${what}`));
}

export function checkSize(content: Content): void {
  const isSmall =
    typeof content === 'string'
      ? fits(content, LIMITS.dataBytes)
      : !(content instanceof Uint8Array) || content.byteLength <= LIMITS.dataBytes;
  if (!isSmall) tooLarge(`More than ${LIMITS.dataBytes} bytes; split it up.`);
}

export function textOf(content: Content, format: string, { charset }: Options): string {
  if (typeof content === 'string') return content;
  if (!(content instanceof Uint8Array)) malformed(format, 'a text is needed.');
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: false }).decode(content);
  } catch {
    return malformed(format, `the bytes are no text in ${charset}.`);
  }
}

export function bytesOf(content: Content, format: string): Uint8Array<ArrayBuffer> {
  if (content instanceof Uint8Array) return new Uint8Array(content);
  if (typeof content === 'string') return new Uint8Array(new TextEncoder().encode(content));
  return malformed(format, 'bytes or a text are needed.');
}
