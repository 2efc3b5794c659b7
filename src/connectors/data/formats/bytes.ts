/**
 * Bytes as text, and packed bytes.
 *
 * Guarantee: what is unpacked stops at the bound, while it is unpacked: a few kilobytes go in at a time, so a bomb
 * takes no memory before it is found out.
 */

import { Buffer } from 'node:buffer';
import { bytesOf, malformed, textOf, tooLarge, type Format } from './content.ts';
import { readChunks } from '../../../core/bytes.ts';
import { LIMITS } from '../../../core/limits.ts';

const ALPHABETS = {
  base64: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
  base64url: /^[A-Za-z0-9_-]*$/,
  hex: /^(?:[0-9A-Fa-f]{2})*$/,
} as const;

export type Encoding = keyof typeof ALPHABETS;

/** Undefined where the text is not of that alphabet; `Buffer` itself skips what it cannot read. */
export function decode(text: string, encoding: Encoding): Uint8Array<ArrayBuffer> | undefined {
  if (!ALPHABETS[encoding].test(text) || (encoding === 'base64url' && text.length % 4 === 1)) return undefined;
  return new Uint8Array(Buffer.from(text, encoding));
}

export const encode = (bytes: Uint8Array, encoding: Encoding): string => Buffer.from(bytes).toString(encoding);

const asText = (encoding: Encoding): Format => ({
  read(content, options) {
    // Mails and PEM break lines.
    const text = textOf(content, encoding, options).replace(/[\r\n]+/g, '');
    return decode(text, encoding) ?? malformed(encoding, 'it has other characters, or an end is missing.');
  },
  write: (content) => encode(bytesOf(content, 'bytes'), encoding),
});

export const base64 = asText('base64');
export const base64url = asText('base64url');
export const hex = asText('hex');

const packed = (algorithm: 'gzip' | 'deflate' | 'deflate-raw'): Format => ({
  read: (content) => through(bytesOf(content, algorithm), new DecompressionStream(algorithm), algorithm),
  write: (content) => through(bytesOf(content, 'bytes'), new CompressionStream(algorithm), algorithm),
});

export const gzip = packed('gzip');
export const deflate = packed('deflate');
export const deflateRaw = packed('deflate-raw');

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
  format: string,
): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  const feed = async (): Promise<void> => {
    for (let start = 0; start < bytes.length; start += LIMITS.dataUnpackBytes) {
      await writer.ready;
      await writer.write(bytes.subarray(start, start + LIMITS.dataUnpackBytes));
    }
    await writer.close();
  };
  // What goes wrong on this side is told by the other one, too.
  const fed = feed().catch(() => undefined);
  const unpacked = await readChunks(stream.readable as ReadableStream<Uint8Array>, LIMITS.dataBytes).catch(() =>
    malformed(format, 'it is damaged or cut off.'),
  );
  if (unpacked === undefined) return tooLarge(`Unpacks to more than ${LIMITS.dataBytes} bytes.`);
  await fed;
  return unpacked;
}
