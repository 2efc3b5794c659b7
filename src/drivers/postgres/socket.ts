/**
 * A guarded socket as postgres.js wants it (an event emitter like Node's), and the parts of Postgres' protocol
 * that concern the socket rather than the session: TLS, cancellation, the size of what comes in.
 *
 * Guarantee: with TLS nothing is sent in the clear but the question for TLS, and the server's certificate must be
 * one that the runtime trusts for its host; a Worker has no way to accept any other.
 */

import { EventEmitter } from 'node:events';
import { FaultError, fault, faultOf, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import { Frames } from './frames.ts';

export interface SocketTarget {
  readonly hostname: string;
  readonly port: number;
  readonly tls: 'verify' | 'disable';
}

export interface SocketUse {
  /** Of all that comes in; `Infinity` for a session without an end, whose single messages are bounded. */
  readonly maximumBytes: number;
  /** Awaited before more is read: holds the server back. */
  pace?(): Promise<void> | undefined;
  /** Told once, when the session is over, whoever ended it. */
  lost?(reason: Fault): void;
}

const ONE_ATTEMPT: SocketUse = { maximumBytes: LIMITS.responseBodyBytes };

/** Postgres, protocol 3.0, section "Message Formats": length, then the number in place of a version. */
const SSL_REQUEST = message(80877103);
const YES = 'S'.charCodeAt(0);
const CANCEL_REQUEST_CODE = 80877102;

function message(...words: number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * words.length);
  const view = new DataView(bytes.buffer);
  [bytes.length, ...words].forEach((word, index) => view.setUint32(4 * index, word));
  return bytes;
}

const unreachable = (detail: unknown): FaultError =>
  new FaultError(
    fault('upstream.unreachable', 'Postgres could not be reached, or broke off the connection.', { detail }),
  );

/** @throws FaultError `egress.refused`, `upstream.unreachable`, `connection.invalid` for a server without TLS */
async function connected(connect: GuardedConnect, { hostname, port, tls }: SocketTarget): Promise<Socket> {
  const opened = connect(
    { hostname, port },
    { secureTransport: tls === 'verify' ? 'starttls' : 'off', allowHalfOpen: false },
  );
  if (!opened.ok) throw new FaultError(opened.fault);
  const socket = opened.value;
  // Told by `opened` and by the streams too; here it would only be unhandled.
  socket.closed.catch(() => undefined);
  try {
    await socket.opened;
    return tls === 'verify' ? await secured(socket) : socket;
  } catch (thrown) {
    void socket.close().catch(() => undefined);
    throw thrown instanceof FaultError ? thrown : unreachable(thrown);
  }
}

async function secured(plain: Socket): Promise<Socket> {
  const writer = plain.writable.getWriter();
  await writer.write(SSL_REQUEST);
  writer.releaseLock();
  const reader = plain.readable.getReader();
  const answer: unknown = (await reader.read()).value;
  reader.releaseLock();
  // More than the one byte was put there by somebody on the way (CVE-2021-23222).
  if (!(answer instanceof Uint8Array) || answer.length !== 1) throw unreachable('no answer to the question for TLS');
  if (answer[0] !== YES) {
    throw new FaultError(
      fault('connection.invalid', 'The server offers no TLS. Set `tls` to "disable" only where the network is safe.'),
    );
  }
  const socket = plain.startTls();
  socket.closed.catch(() => undefined);
  try {
    await socket.opened;
  } catch (thrown) {
    const message =
      'TLS with the server failed: its certificate must be valid for the host and trusted by the runtime.';
    throw new FaultError(fault('upstream.unreachable', message, { detail: thrown }));
  }
  return socket;
}

/** What Postgres needs to end a statement from another connection. */
export interface Backend {
  readonly pid: number;
  readonly secret: number;
}

/** Asks the server to end what the backend runs. It never answers; it may be too late. */
export async function cancelOnServer(
  connect: GuardedConnect,
  target: SocketTarget,
  { pid, secret }: Backend,
): Promise<void> {
  const socket = await connected(connect, target);
  const writer = socket.writable.getWriter();
  await writer.write(message(CANCEL_REQUEST_CODE, pid, secret));
  // The server closes once it has passed the signal on.
  const reader = socket.readable.getReader();
  await reader.read();
  await socket.close();
}

/** By name, as Node's `net.Socket` and postgres.js spell it. */
export class PostgresSocket extends EventEmitter {
  readyState: 'open' | 'closed' = 'open';
  /** `I` idle, `T` in a transaction, `E` in a failed one; as last told by the server. */
  transaction = 'I';
  private readonly socket: Socket;
  private readonly writer: WritableStreamDefaultWriter;
  private readonly use: SocketUse;
  private receivedBytes = 0;
  private readonly frames = new Frames((status) => (this.transaction = status));

  static async open(connect: GuardedConnect, target: SocketTarget, use = ONE_ATTEMPT): Promise<PostgresSocket> {
    return new PostgresSocket(await connected(connect, target), use);
  }

  private constructor(socket: Socket, use: SocketUse) {
    super();
    this.use = use;
    this.socket = socket;
    this.writer = socket.writable.getWriter();
    this.writer.closed.catch(() => undefined);
    void this.receive();
  }

  write(bytes: Uint8Array, done?: () => void): boolean {
    this.writer.write(bytes).then(done, (thrown: unknown) => this.fail(unreachable(thrown).fault));
    return true;
  }

  /** The library's way to say goodbye. */
  end(bytes: Uint8Array): void {
    const close = (): void => this.close();
    this.writer.write(bytes).then(close, close);
  }

  /** The library's way to leave. */
  destroy(): void {
    this.close();
  }

  /** Ends the session with a fault for whatever waits on it. */
  fail(reason: Fault): void {
    if (this.readyState === 'closed') return;
    // Without an error before it the library takes a close for a reason to connect again.
    this.use.lost?.(reason);
    this.emit('error', new FaultError(reason));
    this.close();
  }

  private close(): void {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.use.lost?.(unreachable('closed here').fault);
    void this.socket.close().catch(() => undefined);
    this.emit('close');
  }

  private async receive(): Promise<void> {
    try {
      for await (const chunk of this.socket.readable as ReadableStream<Uint8Array>) {
        if (this.readyState === 'closed') return;
        this.receivedBytes += chunk.length;
        this.frames.take(chunk);
        if (this.receivedBytes > this.use.maximumBytes || this.frames.pendingBytes > LIMITS.responseBodyBytes) {
          const message = `Postgres sent more than ${LIMITS.responseBodyBytes} bytes; select fewer rows or columns.`;
          this.fail(fault('upstream.too-large', message));
          return;
        }
        this.emit('data', Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
        await this.use.pace?.();
      }
      this.fail(unreachable('closed by the server').fault);
    } catch (thrown) {
      this.fail(thrown instanceof FaultError ? faultOf(thrown) : unreachable(thrown).fault);
    }
  }
}
