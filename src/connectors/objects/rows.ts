/** From the bytes of one object to those of another, row by row. */

import { checkSignal, type Bytes } from './bytes.ts';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { ReadRow, RowReader } from '../../core/data/rows/reader.ts';
import type { Shaper } from '../../core/data/rows/shape.ts';

/** Characters that are put together before they are handed on. */
const WRITE_CHARACTERS = LIMITS.transformChunkBytes;

/** @throws FaultError `data.malformed` for bytes that are none of the encoding */
export async function* textOf(bytes: Bytes, charset: string): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder(charset, { fatal: true, ignoreBOM: false });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      throw new FaultError(fault('data.malformed', `The object is no text in ${charset}; see \`from.charset\`.`));
    }
  };
  for await (const chunk of bytes) yield decode(chunk);
  yield decode();
}

/**
 * What is written for what is read.
 *
 * @throws FaultError for a row that ends the step, and where the attempt is over
 */
export async function* shaped(
  texts: AsyncGenerator<string, void, void>,
  reader: RowReader,
  shaper: Shaper,
  signal: AbortSignal | undefined,
): Bytes {
  const encode = encoder();
  let out = '';
  const work = async function* (rows: readonly ReadRow[]): Bytes {
    for (const row of rows) {
      out += await shaper.take(row);
      if (out.length < WRITE_CHARACTERS) continue;
      yield encode(out);
      out = '';
    }
  };
  let turn = 0;
  for await (const text of texts) {
    yield* work(reader.push(text));
    turn += text.length;
    if (turn < LIMITS.transformTurnCharacters) continue;
    turn = 0;
    await nextTurn();
    checkSignal(signal);
  }
  yield* work(reader.end());
  for (const text of shaper.end()) {
    out += text;
    if (out.length < WRITE_CHARACTERS) continue;
    yield encode(out);
    out = '';
  }
  if (out !== '') yield encode(out);
}

/** Into one buffer, where the text fits: others are only freed when somebody collects the garbage. */
function encoder(): (text: string) => Uint8Array {
  const utf8 = new TextEncoder();
  const buffer = new Uint8Array(4 * WRITE_CHARACTERS);
  return (text) =>
    text.length * 3 > buffer.byteLength ? utf8.encode(text) : buffer.subarray(0, utf8.encodeInto(text, buffer).written);
}

/** Promises alone keep the isolate from everything else, timeouts included. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
