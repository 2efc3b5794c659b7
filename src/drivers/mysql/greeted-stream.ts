/**
 * The stream that mysql2 wants.
 *
 * Guarantee: with TLS nothing but the server's greeting is read before the handshake, so that nobody on the way
 * slips in a reply of his own.
 */

import { Buffer } from 'node:buffer';
import { SocketStream } from '../kit/socket-stream.ts';

/** Length of a packet of MySQL in three bytes, and its number in one. */
const HEADER_BYTES = 4;

export class GreetedStream extends SocketStream {
  /** Where TLS is to follow: the bytes of the greeting, until it is complete. */
  #greeting: Buffer | undefined;
  #waitsForTls = false;

  /** @param socket opened with `secureTransport: 'starttls'` where `tls` is true */
  constructor(socket: Socket, tls: boolean) {
    super(socket, { server: 'MySQL', remedy: 'select fewer rows' });
    if (tls) this.#greeting = Buffer.alloc(0);
  }

  /** After the request for it was written. Rejects where the certificate is not valid for the host. */
  async startTls(): Promise<void> {
    await this.secure();
    this.#waitsForTls = false;
    void this.pull();
  }

  override _read(): void {
    if (!this.#waitsForTls) void this.pull();
  }

  protected override receive(chunk: Buffer): void {
    if (this.#greeting === undefined) {
      this.push(chunk);
      return;
    }
    const greeting = Buffer.concat([this.#greeting, chunk]);
    const missing = greeting.length < HEADER_BYTES ? 1 : greeting.readUIntLE(0, 3) + HEADER_BYTES - greeting.length;
    this.#greeting = missing > 0 ? greeting : undefined;
    if (missing > 0) void this.pull();
    else if (missing < 0) this.destroy(new Error('MySQL sent more than its greeting before TLS.'));
    else {
      this.#waitsForTls = true;
      this.push(greeting);
    }
  }
}
