/**
 * What a pack unpacks to, before anything unpacks it: the library inflates whatever it is given, to any size.
 *
 * Guarantee: a pack that passes has at most `gitObjects` objects, none larger than `gitObjectBytes`, and
 * `gitUnpackedBytes` together; what deltas make counts by the size that they state, and the library holds them to.
 * Source: gitformat-pack.
 */

import type { Buffer } from 'node:buffer';
import { inflateSync, type Inflate } from 'node:zlib';
import { fault, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

const HEADER_BYTES = 12;
const TRAILER_BYTES = 20;
const OFFSET_DELTA = 6;
const REFERENCE_DELTA = 7;

/** A number in groups of seven bits, the lowest first, from `at` on; `first` are bits that stand before them. */
function varint(bytes: Buffer, at: number, first = 0, firstBits = 0): { readonly value: number; readonly end: number } {
  let value = first;
  let end = at;
  for (let bits = firstBits; ; bits += 7) {
    const byte = bytes[end++] ?? 0;
    value += (byte & 0x7f) * 2 ** bits;
    if ((byte & 0x80) === 0) return { value, end };
  }
}

function headerOf(
  pack: Buffer,
  at: number,
): { readonly type: number; readonly sizeBytes: number; readonly end: number } {
  const byte = pack[at] ?? 0;
  const type = (byte >> 4) & 7;
  const low = byte & 0x0f;
  const { value: sizeBytes, end: after } = byte < 0x80 ? { value: low, end: at + 1 } : varint(pack, at + 1, low, 4);
  if (type === REFERENCE_DELTA) return { type, sizeBytes, end: after + 20 };
  return { type, sizeBytes, end: type === OFFSET_DELTA ? varint(pack, after).end : after };
}

/** What `inflateSync` gives with `info`; its types leave that out. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: Pick<Inflate, 'bytesWritten'>;
}

function inflate(pack: Buffer, at: number, sizeBytes: number): Inflated {
  // Deflate makes what it cannot compress a little longer; a hostile one may not make it any longer.
  const packed = pack.subarray(at, at + sizeBytes + (sizeBytes >> 6) + 1_024);
  return inflateSync(packed, { maxOutputLength: Math.max(sizeBytes, 1), info: true }) as unknown as Inflated;
}

/** Undefined where the pack may be unpacked. Faults `upstream.too-large`, `upstream.invalid`. */
export function packFault(pack: Buffer): Fault | undefined {
  const isPack = pack.byteLength > HEADER_BYTES + TRAILER_BYTES && pack.subarray(0, 4).toString('latin1') === 'PACK';
  const objects = isPack ? pack.readUInt32BE(8) : 0;
  if (objects > LIMITS.gitObjects) return tooLarge(`more than ${LIMITS.gitObjects} objects`);
  let at = HEADER_BYTES;
  let unpackedBytes = 0;
  try {
    for (let left = objects; left > 0; left--) {
      if (at >= pack.byteLength - TRAILER_BYTES) return INVALID;
      const { type, sizeBytes, end } = headerOf(pack, at);
      if (sizeBytes > LIMITS.gitObjectBytes) return tooLarge(`an object of over ${LIMITS.gitObjectBytes} bytes`);
      const { buffer, engine } = inflate(pack, end, sizeBytes);
      if (buffer.byteLength !== sizeBytes) return INVALID;
      const isDelta = type === OFFSET_DELTA || type === REFERENCE_DELTA;
      const resultBytes = isDelta ? varint(buffer, varint(buffer, 0).end).value : sizeBytes;
      if (resultBytes > LIMITS.gitObjectBytes) return tooLarge(`an object of over ${LIMITS.gitObjectBytes} bytes`);
      unpackedBytes += resultBytes;
      if (unpackedBytes > LIMITS.gitUnpackedBytes) return tooLarge(`over ${LIMITS.gitUnpackedBytes} bytes unpacked`);
      at = end + engine.bytesWritten;
    }
  } catch {
    return INVALID;
  }
  return undefined;
}

const INVALID = fault('upstream.invalid', 'The Git server sent a pack that cannot be read.');

const tooLarge = (what: string): Fault =>
  fault('upstream.too-large', `The repository has ${what}; a step takes no larger one.`);
