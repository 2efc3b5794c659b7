/**
 * The bytes of an object on their way: read, unpacked, packed, and put together to parts. Each stage pulls from the
 * one before it, so whoever writes slowly holds the reader back, and no stage has more than a chunk.
 */

import { Buffer } from 'node:buffer';
import { pipeline, Readable, type Transform } from 'node:stream';
import { constants, createGunzip, createGzip } from 'node:zlib';
import { FaultError, fault, faultOf, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { OpenedObject, Parts } from '../../drivers/kit/objects.ts';
import { interrupted } from '../../drivers/http/request.ts';

/** A chunk is valid until the next is asked for. */
export type Bytes = AsyncGenerator<Uint8Array, void, void>;

/** @throws FaultError where the attempt is over */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  const over = interrupted(undefined, signal, 'The object store');
  if (!over.ok) throw new FaultError(over.fault);
}

/**
 * The body of an object, read into one buffer: others are only freed when somebody collects the garbage.
 *
 * @throws FaultError where the body breaks off, or the attempt is over
 */
export async function* bytesOf(source: OpenedObject, signal: AbortSignal | undefined): Bytes {
  const { stream, streamBytes, brokeOff } = source;
  const reader = stream.getReader({ mode: 'byob' });
  let buffer = new ArrayBuffer(LIMITS.transformChunkBytes);
  let seen = 0;
  const broken = (thrown: unknown): FaultError => {
    const { fault: found } =
      thrown instanceof FaultError ? { fault: faultOf(thrown) } : brokenOff(thrown, signal, seen, streamBytes);
    // A step that was given up says nothing of the store.
    if (signal?.aborted !== true) brokeOff?.(found);
    return new FaultError(found);
  };
  try {
    while (seen < streamBytes) {
      checkSignal(signal);
      const wanted = Math.min(buffer.byteLength, streamBytes - seen);
      const read = await reader.readAtLeast(wanted, new Uint8Array(buffer, 0, wanted)).catch((thrown: unknown) => {
        throw broken(thrown);
      });
      const chunk = read.value;
      seen += chunk?.byteLength ?? 0;
      if (chunk === undefined || chunk.byteLength < wanted) throw broken(undefined);
      yield chunk;
      buffer = chunk.buffer;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function brokenOff(thrown: unknown, signal: AbortSignal | undefined, seen: number, total: number) {
  if (thrown === undefined) {
    return { fault: fault('upstream.unreachable', `The object store sent ${seen} of ${total} bytes of the object.`) };
  }
  const failed = interrupted(thrown, signal, 'The object store');
  return { fault: failed.ok ? fault('upstream.unreachable', 'The object store broke off.') : failed.fault };
}

/**
 * Holds no more than a chunk of what was unpacked, so that a bomb takes time, which is bounded, but no memory. Several
 * members after one another are one content (RFC 1952, section 2.2).
 *
 * @throws FaultError `data.malformed` where it is no gzip, `data.too-large`
 */
export async function* unpacked(packed: Bytes): Bytes {
  let bytes = 0;
  try {
    for await (const chunk of through(packed, createGunzip({ chunkSize: LIMITS.transformChunkBytes }))) {
      bytes += chunk.byteLength;
      if (bytes > LIMITS.transformUnpackedBytes) {
        throw new FaultError(fault('data.too-large', `Unpacks to more than ${LIMITS.transformUnpackedBytes} bytes.`));
      }
      yield chunk;
    }
  } catch (thrown) {
    if (thrown instanceof FaultError) throw thrown;
    throw new FaultError(
      fault('data.malformed', 'The object is no gzip, or is damaged or cut off.', { detail: thrown }),
    );
  }
}

export const packed = (bytes: Bytes): Bytes =>
  through(bytes, createGzip({ chunkSize: LIMITS.transformChunkBytes, level: constants.Z_DEFAULT_COMPRESSION }));

/** Streams of Node hold back whoever writes to them; those of the platform take all that they are given. */
async function* through(bytes: Bytes, transform: Transform): Bytes {
  // It reads ahead, while a chunk is only valid until the next.
  const copies = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of bytes) yield Buffer.from(chunk);
  };
  // What fails on either side ends both, and is thrown by the loop.
  const stream = pipeline(Readable.from(copies(), { highWaterMark: 1 }), transform, () => undefined);
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } finally {
    stream.destroy();
  }
}

/** As parts of a bounded size. */
export class OutgoingParts implements Parts {
  readonly #bytes: Bytes;
  readonly #buffer = new Uint8Array(LIMITS.objectPartBytes);
  /** What did not fit into the part before. */
  #rest: Uint8Array = new Uint8Array();
  #parts = 0;
  /** So far. */
  writtenBytes = 0;
  #isEnd = false;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  get totalBytes(): number | undefined {
    return this.#isEnd ? this.writtenBytes : undefined;
  }

  /** The next part, full but for the last; the last is known to be it once it is given. */
  async next(): Promise<Result<Uint8Array | undefined>> {
    if (this.#isEnd && this.#parts > 0) return ok(undefined);
    try {
      const length = await this.#fill();
      if (++this.#parts > LIMITS.objectParts) {
        const most = LIMITS.objectPartBytes * LIMITS.objectParts;
        throw new FaultError(fault('data.too-large', `What is written has more than ${most} bytes.`));
      }
      this.writtenBytes += length;
      return ok(this.#buffer.subarray(0, length));
    } catch (thrown) {
      if (thrown instanceof FaultError) return { ok: false, fault: faultOf(thrown) };
      throw thrown;
    }
  }

  /** Lets go of the source; to be called in every case. */
  async close(): Promise<void> {
    await this.#bytes.return().catch(() => undefined);
  }

  async #fill(): Promise<number> {
    let length = this.#keep(0, this.#rest);
    // One chunk more than fits tells that the part is not the last.
    while (this.#rest.byteLength === 0) {
      const next = await this.#bytes.next();
      if (next.done === true) {
        this.#isEnd = true;
        return length;
      }
      length = this.#keep(length, next.value);
    }
    return length;
  }

  #keep(length: number, chunk: Uint8Array): number {
    const fitting = chunk.subarray(0, this.#buffer.byteLength - length);
    this.#buffer.set(fitting, length);
    this.#rest = chunk.slice(fitting.byteLength);
    return length + fitting.byteLength;
  }
}
