/** What a container prints: two streams in one, in frames, of any length. */

import { joinChunks } from '../../core/bytes.ts';
import { LIMITS } from '../../core/limits.ts';

export interface Part {
  readonly bytes: Uint8Array;
  /** Whether there was more. */
  readonly truncated: boolean;
}

/** Up to `dockerOutputBytes`; then the stream is cancelled. Rejects where it breaks off. */
export async function readUpTo(stream: AsyncIterable<Uint8Array> | null): Promise<Part> {
  const chunks: Uint8Array[] = [];
  let left: number = LIMITS.dockerOutputBytes;
  for await (const chunk of stream ?? []) {
    chunks.push(chunk.subarray(0, left));
    if (chunk.byteLength > left) return { bytes: joinChunks(chunks), truncated: true };
    left -= chunk.byteLength;
  }
  return { bytes: joinChunks(chunks), truncated: false };
}

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
}

const HEADER_BYTES = 8;
const STDERR = 2;

/**
 * Each frame: which stream, three zeros, the length in four bytes, and what was printed. What does not look like one
 * is what a terminal printed, which has no frames. A frame that was cut is taken as far as it goes.
 */
export function outputOf({ bytes, truncated }: Part): Output {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  let at = 0;
  while (bytes.byteLength - at >= HEADER_BYTES) {
    const type = bytes[at] ?? 0;
    if (type > STDERR || (view.getUint32(at) & 0xffffff) !== 0) break;
    const end = at + HEADER_BYTES + view.getUint32(at + 4);
    (type === STDERR ? err : out).push(bytes.subarray(at + HEADER_BYTES, end));
    at = end;
  }
  if (at === 0) out.push(bytes);
  // A character that the bound cut in two becomes a replacement character, as does what is no UTF-8.
  const text = (chunks: readonly Uint8Array[]): string => new TextDecoder().decode(joinChunks(chunks));
  return { stdout: text(out), stderr: text(err), truncated };
}
