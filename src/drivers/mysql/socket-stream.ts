/**
 * A socket of the platform as the stream that mysql2 wants.
 *
 * Guarantee: with TLS nothing but the server's greeting is read before the handshake, so that nobody on the way
 * slips in a reply of his own; more than the bound of bytes ends the stream with `upstream.too-large`.
 */

import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** Length of a packet of MySQL in three bytes, and its number in one. */
const HEADER_BYTES = 4;

export class SocketStream extends Duplex {
  #socket: Socket;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  /** Where TLS is to follow: the bytes of the greeting, until it is complete. */
  #greeting: Buffer | undefined;
  #waitsForTls = false;
  #written: Promise<void> = Promise.resolve();
  #receivedBytes = 0;

  /** @param socket opened with `secureTransport: 'starttls'` where `tls` is true */
  constructor(socket: Socket, tls: boolean) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    [this.#reader, this.#writer] = open(socket);
    if (tls) this.#greeting = Buffer.alloc(0);
  }

  /** After the request for it was written. Rejects where the certificate is not valid for the host. */
  async startTls(): Promise<void> {
    await this.#written;
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    this.#socket = this.#socket.startTls();
    [this.#reader, this.#writer] = open(this.#socket);
    await this.#socket.opened;
    this.#waitsForTls = false;
    void this.#pull();
  }

  override _read(): void {
    if (!this.#waitsForTls) void this.#pull();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.#written = this.#writer.write(chunk);
    this.#written.then(() => done(), done);
  }

  override _final(done: () => void): void {
    void this.#socket
      .close()
      .catch(() => undefined)
      .then(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // A failure to say goodbye concerns nobody.
    void this.#socket.close().catch(() => undefined);
    done(error);
  }

  async #pull(): Promise<void> {
    try {
      const { done, value } = await this.#reader.read();
      if (this.destroyed) return;
      if (done) this.push(null);
      else this.#receive(Buffer.from(value));
    } catch (thrown) {
      this.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  }

  #receive(chunk: Buffer): void {
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > LIMITS.responseBodyBytes) {
      const message = `MySQL sent more than ${LIMITS.responseBodyBytes} bytes; select fewer rows.`;
      this.destroy(new FaultError(fault('upstream.too-large', message)));
    } else if (this.#greeting === undefined) this.push(chunk);
    else this.#greet(Buffer.concat([this.#greeting, chunk]));
  }

  #greet(greeting: Buffer): void {
    const missing = greeting.length < HEADER_BYTES ? 1 : greeting.readUIntLE(0, 3) + HEADER_BYTES - greeting.length;
    this.#greeting = missing > 0 ? greeting : undefined;
    if (missing > 0) void this.#pull();
    else if (missing < 0) this.destroy(new Error('MySQL sent more than its greeting before TLS.'));
    else {
      this.#waitsForTls = true;
      this.push(greeting);
    }
  }
}

function open(
  socket: Socket,
): [reader: ReadableStreamDefaultReader<Uint8Array>, writer: WritableStreamDefaultWriter<Uint8Array>] {
  // Failures show where the socket is read and written.
  socket.opened.catch(() => undefined);
  socket.closed.catch(() => undefined);
  return [socket.readable.getReader(), socket.writable.getWriter()];
}
