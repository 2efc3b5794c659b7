/**
 * OP_MSG over one socket (MongoDB Wire Protocol, "OP_MSG"): a command, its reply, one after the other.
 *
 * Guarantee: no more than the bound of a response is taken in for one socket, and no message is waited for whose
 * length says that it would not fit.
 */

import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Bson, Document } from './bson.ts';

const HEADER_BYTES = 16;
/** Header, flags and the kind of the one section. */
const PREFIX_BYTES = HEADER_BYTES + 5;
const OP_MSG = 2013;
const CHECKSUM_PRESENT = 1;
const CHECKSUM_BYTES = 4;
const MORE_TO_COME = 2;
/** The largest document of a server, and the room that it leaves for a command around it. */
const COMMAND_BYTES = 16 * 1024 * 1024 + 16 * 1024;

/** The socket ended while a reply was awaited. */
export class ConnectionLost extends Error {}

export class Wire {
  readonly bson: Bson;
  readonly #socket: Socket;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #requestId = 0;
  #receivedBytes = 0;
  #chunks: Uint8Array[] = [];
  #bufferedBytes = 0;

  constructor(socket: Socket, bson: Bson) {
    this.bson = bson;
    this.#socket = socket;
    // Failures show where the socket is read and written.
    socket.opened.catch(() => undefined);
    socket.closed.catch(() => undefined);
    this.#reader = socket.readable.getReader();
    this.#writer = socket.writable.getWriter();
    this.#writer.closed.catch(() => undefined);
  }

  /** @throws ConnectionLost, FaultError */
  async ask(command: Document): Promise<Document> {
    await this.#send(command, 0);
    return this.#receive(this.#requestId);
  }

  /** A command whose reply nobody wants, so that the server sends none. */
  async tell(command: Document): Promise<void> {
    await this.#send(command, MORE_TO_COME);
  }

  close(): void {
    void this.#socket.close().catch(() => undefined);
  }

  async #send(command: Document, flags: number): Promise<void> {
    const body = this.#serialized(command);
    const message = new Uint8Array(PREFIX_BYTES + body.length);
    const view = new DataView(message.buffer);
    view.setInt32(0, message.length, true);
    view.setInt32(4, ++this.#requestId, true);
    view.setInt32(12, OP_MSG, true);
    view.setUint32(HEADER_BYTES, flags, true);
    message.set(body, PREFIX_BYTES);
    try {
      await this.#writer.write(message);
    } catch (thrown) {
      throw lost(thrown);
    }
  }

  #serialized(command: Document): Uint8Array {
    try {
      const body = this.bson.serialize(command, { ignoreUndefined: true });
      if (body.length <= COMMAND_BYTES) return body;
    } catch (thrown) {
      // A name with a NUL, a document beyond 16 MB.
      const message = `MongoDB does not take this: ${thrown instanceof Error ? thrown.message.slice(0, 500) : 'not readable'}.`;
      throw new FaultError(fault('step.params', message));
    }
    throw new FaultError(fault('step.params', `MongoDB takes commands of up to ${COMMAND_BYTES} bytes; send less.`));
  }

  async #receive(requestId: number): Promise<Document> {
    const header = view(await this.#take(HEADER_BYTES));
    const length = header.getInt32(0, true);
    if (header.getInt32(12, true) !== OP_MSG || length < PREFIX_BYTES || header.getInt32(8, true) !== requestId) {
      throw new FaultError(fault('upstream.invalid', 'The other side does not speak the protocol of MongoDB.'));
    }
    const rest = await this.#take(length - HEADER_BYTES);
    const flags = view(rest).getUint32(0, true);
    const end = rest.length - ((flags & CHECKSUM_PRESENT) === 0 ? 0 : CHECKSUM_BYTES);
    try {
      if (rest[4] !== 0) throw new Error(`section of kind ${rest[4]}`);
      return this.bson.deserialize(rest.subarray(5, end), { bsonRegExp: true, validation: { utf8: false } });
    } catch (thrown) {
      const message = 'MongoDB sent a reply that cannot be read.';
      throw new FaultError(fault('upstream.invalid', message, { detail: thrown }));
    }
  }

  async #take(bytes: number): Promise<Uint8Array> {
    if (this.#receivedBytes - this.#bufferedBytes + bytes > LIMITS.responseBodyBytes) throw tooLarge();
    while (this.#bufferedBytes < bytes) {
      const { done, value } = await this.#reader.read().catch((thrown: unknown) => {
        throw lost(thrown);
      });
      if (done) throw new ConnectionLost('the socket ended');
      this.#chunks.push(value);
      this.#bufferedBytes += value.length;
      this.#receivedBytes += value.length;
    }
    const all = joined(this.#chunks, this.#bufferedBytes);
    this.#chunks = [all.subarray(bytes)];
    this.#bufferedBytes -= bytes;
    return all.subarray(0, bytes);
  }
}

const tooLarge = (): FaultError => {
  const message = `MongoDB sent more than ${LIMITS.responseBodyBytes} bytes; ask for fewer documents or fields.`;
  return new FaultError(fault('upstream.too-large', message));
};

const lost = (thrown: unknown): ConnectionLost => new ConnectionLost('the socket failed', { cause: thrown });

const view = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView => new DataView(buffer, byteOffset, byteLength);

function joined(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const all = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    all.set(chunk, offset);
    offset += chunk.length;
  }
  return all;
}
