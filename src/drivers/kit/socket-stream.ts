/**
 * A socket of the platform as the stream of Node's that a library wants.
 *
 * Guarantee: more than the bound of bytes ends the stream with `upstream.too-large`.
 */

import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export interface StreamOptions {
  /** Who is on the other side, e.g. `MySQL`. */
  readonly server: string;
  /** How to get less than the bound, e.g. `select fewer rows`. */
  readonly remedy: string;
  /** Default: the bound of a response body. `Infinity` for what goes on forever. */
  readonly maximumBytes?: number;
}

export class SocketStream extends Duplex {
  protected readonly options: StreamOptions;
  #socket: Socket;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #written: Promise<void> = Promise.resolve();
  #receivedBytes = 0;

  constructor(socket: Socket, options: StreamOptions) {
    super({ allowHalfOpen: false });
    this.options = options;
    this.#socket = socket;
    [this.#reader, this.#writer] = open(socket);
  }

  /**
   * For a socket opened with `secureTransport: 'starttls'`, once what is written has asked for it and nothing is
   * being read. Rejects where the certificate is not valid for the host.
   */
  protected async secure(): Promise<void> {
    await this.#written;
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    this.#socket = this.#socket.startTls();
    [this.#reader, this.#writer] = open(this.#socket);
    await this.#socket.opened;
  }

  /** What comes in. Asks for more by pushing, or by another pull. */
  protected receive(chunk: Buffer): void {
    this.push(chunk);
  }

  protected async pull(): Promise<void> {
    try {
      const { done, value } = await this.#reader.read();
      if (this.destroyed) return;
      if (done) {
        this.push(null);
        return;
      }
      this.#receivedBytes += value.length;
      const { server, remedy, maximumBytes = LIMITS.responseBodyBytes } = this.options;
      if (this.#receivedBytes > maximumBytes) {
        const message = `${server} sent more than ${maximumBytes} bytes; ${remedy}.`;
        this.destroy(new FaultError(fault('upstream.too-large', message)));
      } else this.receive(Buffer.from(value));
    } catch (thrown) {
      this.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  }

  override _read(): void {
    void this.pull();
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
}

function open(
  socket: Socket,
): [reader: ReadableStreamDefaultReader<Uint8Array>, writer: WritableStreamDefaultWriter<Uint8Array>] {
  // Failures show where the socket is read and written.
  socket.opened.catch(() => undefined);
  socket.closed.catch(() => undefined);
  return [socket.readable.getReader(), socket.writable.getWriter()];
}
