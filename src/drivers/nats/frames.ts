/**
 * What a server of NATS sends, as frames: https://docs.nats.io/reference/reference-protocols/nats-protocol
 *
 * Guarantee: a line, a message and a whole session are bounded; more of it is a fault `upstream.too-large`, and what
 * is not the protocol `upstream.invalid`.
 */

import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** By name as it was sent; a name may come several times. */
export type NatsHeaders = readonly (readonly [name: string, value: string])[];

export interface NatsMessage {
  readonly subject: string;
  /** Where an answer is to go. */
  readonly reply: string | undefined;
  readonly headers: NatsHeaders;
  /** Of a message of the server itself, e.g. 503 where nobody listens. */
  readonly status: { readonly code: number; readonly text: string } | undefined;
  readonly payload: Uint8Array;
}

export type Frame =
  | { readonly kind: 'message'; readonly subscription: number; readonly message: NatsMessage }
  | { readonly kind: 'info'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'ping' | 'pong' | 'ok' };

const INVALID = fault('upstream.invalid', 'What answered is no server of NATS; check the `url` of the connection.');
const BROKEN = fault('upstream.unreachable', 'NATS broke off the connection.');

/** @param maximumBytes of all frames together */
export async function* framesOf(chunks: AsyncIterable<Uint8Array>, maximumBytes: number): AsyncGenerator<Frame> {
  const reader = new ByteReader(chunks, maximumBytes);
  for (;;) {
    const line = await reader.line();
    if (line === undefined) return;
    const space = line.search(/[ \t]/);
    const word = (space === -1 ? line : line.slice(0, space)).toUpperCase();
    const rest = space === -1 ? '' : line.slice(space).trim();
    if (word === 'MSG' || word === 'HMSG') yield await readMessage(reader, rest.split(/[ \t]+/), word === 'HMSG');
    else if (word === 'INFO') yield { kind: 'info', text: rest };
    else if (word === '-ERR') yield { kind: 'error', text: rest.replace(/^'(.*)'$/, '$1') };
    else if (word === 'PING') yield { kind: 'ping' };
    else if (word === 'PONG') yield { kind: 'pong' };
    else if (word === '+OK') yield { kind: 'ok' };
    else throw new FaultError(INVALID);
  }
}

/** `subject sid [reply] [header bytes] total bytes` */
async function readMessage(reader: ByteReader, words: string[], hasHeaders: boolean): Promise<Frame> {
  const totalBytes = countOf(words.pop());
  const headerBytes = hasHeaders ? countOf(words.pop()) : 0;
  const [subject = '', subscription, reply, ...more] = words;
  if (more.length > 0 || headerBytes > totalBytes) throw new FaultError(INVALID);
  const bytes = await reader.bytes(totalBytes);
  if ((await reader.line()) !== '') throw new FaultError(INVALID);
  const { headers, status } = parseHeaders(bytes.subarray(0, headerBytes));
  const message = { subject, reply, headers, status, payload: bytes.subarray(headerBytes) };
  return { kind: 'message', subscription: countOf(subscription), message };
}

function countOf(text: string | undefined): number {
  if (text === undefined || !/^\d{1,10}$/.test(text)) throw new FaultError(INVALID);
  return Number(text);
}

/** `NATS/1.0`, a status where there is one, and lines as in HTTP. */
export function parseHeaders(bytes: Uint8Array): Pick<NatsMessage, 'headers' | 'status'> {
  const [first = '', ...lines] = new TextDecoder().decode(bytes).split('\r\n');
  const [, code, description = ''] = /^NATS\/1\.0 +(\d{3})(.*)$/.exec(first) ?? [];
  const headers = lines
    .filter((line) => line.includes(':'))
    .map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
  return { headers, status: code === undefined ? undefined : { code: Number(code), text: description.trim() } };
}

const LF = 10;

class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #maximumBytes: number;
  #chunk: Uint8Array = new Uint8Array();
  #receivedBytes = 0;

  constructor(chunks: AsyncIterable<Uint8Array>, maximumBytes: number) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#maximumBytes = maximumBytes;
  }

  /** Without its end; undefined where the stream has ended before it. */
  async line(): Promise<string | undefined> {
    // One for the line: a character may be cut by the chunks.
    const decoder = new TextDecoder();
    let text = '';
    let lineBytes = 0;
    for (;;) {
      const end = this.#chunk.indexOf(LF);
      const part = this.#take(end === -1 ? this.#chunk.length : end + 1);
      text += decoder.decode(part, { stream: true });
      lineBytes += part.length;
      if (lineBytes > LIMITS.natsLineBytes) throw new FaultError(INVALID);
      if (end !== -1) return text.replace(/\r?\n$/, '');
      if (await this.#more()) continue;
      if (lineBytes === 0) return undefined;
      throw new FaultError(BROKEN);
    }
  }

  async bytes(count: number): Promise<Uint8Array> {
    if (count > LIMITS.responseBodyBytes) throw new FaultError(tooMuch(LIMITS.responseBodyBytes));
    const bytes = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      if (this.#chunk.length === 0 && !(await this.#more())) throw new FaultError(BROKEN);
      const part = this.#take(Math.min(count - filled, this.#chunk.length));
      bytes.set(part, filled);
      filled += part.length;
    }
    return bytes;
  }

  #take(count: number): Uint8Array {
    const part = this.#chunk.subarray(0, count);
    this.#chunk = this.#chunk.subarray(count);
    return part;
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done === true) return false;
    this.#chunk = next.value;
    this.#receivedBytes += next.value.byteLength;
    if (this.#receivedBytes > this.#maximumBytes) throw new FaultError(tooMuch(this.#maximumBytes));
    return true;
  }
}

const tooMuch = (bytes: number) =>
  fault('upstream.too-large', `NATS sent more than ${bytes} bytes; ask for fewer or smaller messages.`);
