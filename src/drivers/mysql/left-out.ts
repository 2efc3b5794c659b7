/**
 * In place of two packages that mysql2 asks for and that would double the Worker (wrangler.toml): iconv-lite, as
 * the platform itself decodes texts, and the certificates of AWS, as the platform judges those of TLS itself.
 */

import { Buffer } from 'node:buffer';

/** MySQL's old UTF-8 goes by another name; the results of a session are UTF-8, only early errors are others. */
const decoderOf = (encoding: string): TextDecoder => {
  try {
    return new TextDecoder(encoding === 'cesu8' ? 'utf-8' : encoding);
  } catch {
    return new TextDecoder('latin1');
  }
};

export function getDecoder(encoding: string): { write(bytes: Uint8Array): string; end(): undefined } {
  return { write: (bytes) => decoderOf(encoding).decode(bytes), end: () => undefined };
}

export const getEncoder = (): { write(text: string): Buffer; end(): undefined } => ({
  write: (text) => Buffer.from(text),
  end: () => undefined,
});

export const ca: readonly string[] = [];
