/**
 * One session with a Redis over a guarded socket.
 *
 * Guarantees: it serves one attempt or one subscription, and is closed with it; an error of the login never repeats
 * what was sent. With `tls` the certificate must be one that the runtime trusts for the host.
 * Accepted weakness: closing ends nothing on the server. A script or a command that runs on, runs to its end.
 */

import { Buffer } from 'node:buffer';
import { FaultError, fault, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { inTime } from '../kit/in-time.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import { greetingFault } from './driver.ts';
import { encodeCommand, RedisError, ReplyParser, tooLarge, type Command, type Reply } from './resp.ts';

export interface RedisAddress {
  readonly hostname: string;
  readonly port: number;
  readonly tls: boolean;
  readonly database: number;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

export interface SessionWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

export interface SessionOptions {
  /** Of all that the session receives; default: the bound of a response body. */
  readonly maximumBytes?: number;
  /** 3 tells messages of subscriptions from replies, and needs Redis 6. */
  readonly protocol?: 2 | 3;
}

export class RedisSession {
  readonly #socket: Socket;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #parser = new ReplyParser();
  readonly #maximumBytes: number;
  readonly #ended = Promise.withResolvers<never>();
  readonly #replies: Reply[] = [];
  #reading: Promise<ReadableStreamReadResult<Uint8Array>> | undefined;
  #receivedBytes = 0;
  /** Why it was ended from this side. */
  #reason: Fault | undefined;
  #forget: () => void = () => undefined;

  /** @throws FaultError, also `egress.refused`, `upstream.unreachable`, `upstream.timeout`, `upstream.unauthorized` */
  static async open(address: RedisAddress, wire: SessionWire, options: SessionOptions = {}): Promise<RedisSession> {
    const { signal } = wire;
    if (signal?.aborted) throw new FaultError(abortFault(signal));
    const { hostname, port, tls } = address;
    const opened = wire.connect({ hostname, port }, { secureTransport: tls ? 'on' : 'off', allowHalfOpen: false });
    if (!opened.ok) throw new FaultError(opened.fault);
    const session = new RedisSession(opened.value, options);
    const abort = (): void => signal && session.end(abortFault(signal));
    signal?.addEventListener('abort', abort, { once: true });
    session.#forget = () => signal?.removeEventListener('abort', abort);
    const hint = tls ? '; does it speak TLS on that port?' : '.';
    const late = fault('upstream.timeout', `Redis did not open a session in time${hint}`);
    const timer = setTimeout(() => session.end(late), LIMITS.databaseConnectMilliseconds);
    try {
      await Promise.race([session.#greet(address, options), session.#ended.promise]);
      return session;
    } catch (thrown) {
      session.close();
      throw thrown;
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(socket: Socket, { maximumBytes = LIMITS.responseBodyBytes }: SessionOptions) {
    this.#socket = socket;
    this.#maximumBytes = maximumBytes;
    // Failures show where the socket is read and written; these would only be unhandled.
    socket.closed.catch(() => undefined);
    this.#ended.promise.catch(() => undefined);
    this.#reader = socket.readable.getReader();
    this.#reader.closed.catch(() => undefined);
    this.#writer = socket.writable.getWriter();
    this.#writer.closed.catch(() => undefined);
  }

  async #greet({ tls, user, password, database }: RedisAddress, { protocol = 2 }: SessionOptions): Promise<void> {
    try {
      await this.#socket.opened;
    } catch (thrown) {
      const message = tls
        ? 'Redis could not be reached by TLS; its certificate must be valid for the host and trusted by the runtime.'
        : 'Redis could not be reached.';
      throw new FaultError(this.#reason ?? fault('upstream.unreachable', message, { detail: thrown }));
    }
    const login: Command[] = password === undefined ? [] : [['AUTH', ...(user === undefined ? [] : [user]), password]];
    const greeting = [...login, ...(protocol === 3 ? [['HELLO', 3]] : []), ...selection(database)];
    // Its answers are awaited: after a login that is refused, a command would run with the rights of anybody.
    for (const reply of await this.send(greeting)) {
      if (reply instanceof RedisError) throw new FaultError(greetingFault(reply.message));
    }
  }

  /**
   * The replies in order; commands follow each other without another's between.
   * @throws FaultError `upstream.unreachable`, `upstream.invalid`, `upstream.too-large`, and that of the signal
   */
  async send(commands: readonly Command[]): Promise<readonly Reply[]> {
    this.write(commands);
    const replies: Reply[] = [];
    while (replies.length < commands.length) {
      const reply = await this.next();
      if (reply !== undefined) replies.push(reply);
    }
    return replies;
  }

  /** Without waiting for the replies, which {@link next} gives. A failure to write shows there. */
  write(commands: readonly Command[]): void {
    if (commands.length === 0) return;
    this.#writer.write(Buffer.concat(commands.map(encodeCommand))).catch(() => undefined);
  }

  /** The next reply or message; undefined once the time is over. */
  async next(timeoutMilliseconds?: number): Promise<Reply | undefined> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      if (!(await this.#receive(timeoutMilliseconds))) return undefined;
    }
  }

  /** All that has been received and not been taken. */
  received(): readonly Reply[] {
    return this.#replies.splice(0);
  }

  /** False once the time is over. */
  async #receive(timeoutMilliseconds: number | undefined): Promise<boolean> {
    const chunk = await this.#chunk(timeoutMilliseconds);
    if (chunk === 'late') return false;
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#maximumBytes) throw tooLarge(`${this.#maximumBytes} bytes`);
    this.#replies.push(...this.#parser.push(chunk));
    return true;
  }

  async #chunk(timeoutMilliseconds: number | undefined): Promise<Uint8Array | 'late'> {
    this.#reading ??= this.#reader.read();
    let read: ReadableStreamReadResult<Uint8Array> | undefined;
    try {
      read = timeoutMilliseconds === undefined ? await this.#reading : await inTime(timeoutMilliseconds, this.#reading);
    } catch (thrown) {
      throw new FaultError(this.#reason ?? { ...LOST, detail: thrown });
    }
    if (this.#reason !== undefined) throw new FaultError(this.#reason);
    if (read === undefined) return 'late';
    this.#reading = undefined;
    if (read.done) throw new FaultError(LOST);
    return read.value;
  }

  /** Whatever waits for the session gets the fault. */
  end(reason: Fault): void {
    this.#reason ??= reason;
    this.#ended.reject(new FaultError(reason));
    // What is being read is given up by it; closing the socket alone might wait for what is being written.
    void this.#reader.cancel().catch(() => undefined);
    this.close();
  }

  close(): void {
    this.#forget();
    void this.#socket.close().catch(() => undefined);
  }
}

const LOST: Fault = fault('upstream.unreachable', 'Redis broke off the connection.');

/** Whether it is what a session throws that was there and is not any more. */
export const isLost = (thrown: unknown): boolean =>
  thrown instanceof FaultError && thrown.fault.message === LOST.message;

const selection = (database: number): Command[] => (database === 0 ? [] : [['SELECT', database]]);

const abortFault = ({ reason }: AbortSignal): Fault =>
  reason instanceof FaultError ? reason.fault : fault('step.timeout', 'Redis did not answer in time.');
