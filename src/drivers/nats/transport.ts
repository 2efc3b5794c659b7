/**
 * A {@link Line} as the library wants it.
 *
 * Guarantee: a line that sends more than its bound, or what is not NATS, ends the session with a fault.
 */

import type { ConnectionOptions, Server } from '@nats-io/nats-core';
import type { Transport } from '@nats-io/nats-core/internal';
import type { Line } from './line.ts';
import { FaultError, fault } from '../../core/errors.ts';

/** The factory of transports is one for all sessions; what differs between them comes with the options. */
export interface LineOptions extends ConnectionOptions {
  open(): Promise<Line>;
  readonly maximumBytes: number;
}

export class LineTransport implements Transport {
  readonly lang = 'tidegate';
  readonly version = '1';
  closeError?: Error;
  #line: Line | undefined;
  #maximumBytes = 0;
  #isClosed = false;
  readonly #closed = Promise.withResolvers<Error | undefined>();

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async connect(_server: Server, { open, maximumBytes }: LineOptions): Promise<void> {
    this.#maximumBytes = maximumBytes;
    this.#line = await open();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    // Where the library cannot read a chunk it leaves the loop, and nobody else would notice.
    let reason: Error | undefined = new FaultError(fault('upstream.invalid', 'NATS sent what is not its protocol.'));
    let receivedBytes = 0;
    try {
      for await (const chunk of this.#line?.chunks ?? []) {
        receivedBytes += chunk.byteLength;
        if (receivedBytes > this.#maximumBytes) throw new FaultError(tooMuch(this.#maximumBytes));
        if (this.#isClosed) break;
        yield chunk;
      }
      reason = undefined;
    } catch (thrown) {
      reason = thrown instanceof Error ? thrown : new Error(String(thrown));
    } finally {
      this.#end(reason);
    }
  }

  isEncrypted(): boolean {
    return this.#line?.isEncrypted ?? false;
  }

  send(frame: Uint8Array): void {
    if (!this.#isClosed) this.#line?.send(frame);
  }

  close(error?: Error): Promise<void> {
    this.#end(error);
    return Promise.resolve();
  }

  disconnect(): void {
    this.#end(undefined);
  }

  closed(): Promise<void | Error> {
    return this.#closed.promise;
  }

  discard(): void {
    this.#end(undefined);
  }

  #end(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error !== undefined) this.closeError = error;
    this.#line?.close();
    this.#closed.resolve(error);
  }
}

const tooMuch = (bytes: number) =>
  fault('upstream.too-large', `NATS sent more than ${bytes} bytes; ask for fewer or smaller messages.`);
