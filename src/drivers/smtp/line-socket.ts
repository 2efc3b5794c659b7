/**
 * A guarded socket that is read by replies.
 *
 * Guarantees: what came before TLS is never taken for what came through it (the attack of CVE-2021-38371 and its
 * kin); a reply is bounded in size and in time; a cancelled attempt ends at once.
 */

import { isLastLine, replyOf, type Reply } from './reply.ts';
import { fault, FaultError, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';

export interface SmtpAddress {
  readonly hostname: string;
  readonly port: number;
  /** `implicit`: from the first byte (RFC 8314); `starttls`: RFC 3207, never without. */
  readonly tls: 'implicit' | 'starttls' | 'disable';
}

export interface SocketWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

const TRANSPORT = { implicit: 'on', starttls: 'starttls', disable: 'off' } as const;
const LF = 10;

export class LineSocket {
  readonly #host: string;
  #socket: Socket;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #writer: WritableStreamDefaultWriter<Uint8Array>;
  #unread: Uint8Array = new Uint8Array();
  /** Rejects with what ended the session early. */
  readonly #end = Promise.withResolvers<never>();
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.#fail(fault('step.timeout', `${this.#host} did not answer in time.`));

  /** @throws FaultError `egress.refused`, `step.timeout` */
  static open({ hostname, port, tls }: SmtpAddress, { connect, signal }: SocketWire): LineSocket {
    const timeout = fault('step.timeout', `${hostname} did not answer in time.`);
    if (signal?.aborted === true) throw new FaultError(timeout);
    const socket = connect({ hostname, port }, { secureTransport: TRANSPORT[tls], allowHalfOpen: false });
    if (!socket.ok) throw new FaultError(socket.fault);
    return new LineSocket(socket.value, hostname, signal);
  }

  private constructor(socket: Socket, host: string, signal: AbortSignal | undefined) {
    this.#host = host;
    this.#socket = socket;
    [this.#reader, this.#writer] = opened(socket);
    this.#signal = signal;
    this.#end.promise.catch(() => undefined);
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** @throws FaultError `upstream.*`, `step.timeout` */
  async reply(withinMilliseconds: number): Promise<Reply> {
    const timer = setTimeout(() => {
      this.#fail(fault('upstream.timeout', `${this.#host} did not answer within ${withinMilliseconds} ms.`));
    }, withinMilliseconds);
    try {
      const lines: string[] = [];
      let bytes = 0;
      for (;;) {
        const line = await this.#line();
        bytes += line.length;
        if (bytes > LIMITS.mailReplyBytes) throw this.#tooLarge();
        const isLast = isLastLine(line);
        const isSame = lines.length === 0 || lines[0]?.slice(0, 3) === line.slice(0, 3);
        if (isLast === undefined || !isSame) {
          const message = `${this.#host} answered with something that is not SMTP; check host, port and \`tls\`.`;
          throw new FaultError(fault('upstream.invalid', message));
        }
        lines.push(line);
        if (isLast) return replyOf(lines);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#unlessEnded(this.#writer.write(bytes));
  }

  /** After the server has agreed. @throws FaultError `upstream.invalid`, `upstream.unreachable` */
  async startTls(): Promise<void> {
    if (this.#unread.length > 0) {
      const message = `${this.#host} sent more than its answer before TLS: somebody on the way may have put it there.`;
      throw new FaultError(fault('upstream.invalid', message));
    }
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    this.#socket = this.#socket.startTls();
    [this.#reader, this.#writer] = opened(this.#socket);
    await this.secured();
  }

  /** @throws FaultError `upstream.unreachable` where the certificate is not one that the runtime trusts */
  async secured(): Promise<void> {
    try {
      await this.#unlessEnded(this.#socket.opened);
    } catch (thrown) {
      if (thrown instanceof FaultError && thrown.fault.code !== 'upstream.unreachable') throw thrown;
      const detail = thrown instanceof FaultError ? thrown.fault.detail : thrown;
      const message = `No TLS with ${this.#host}: it must listen there, with a certificate that is valid for this name.`;
      throw new FaultError(fault('upstream.unreachable', message, { detail }));
    }
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    void this.#socket.close().catch(() => undefined);
  }

  async #line(): Promise<string> {
    let looked = 0;
    for (;;) {
      const end = this.#unread.indexOf(LF, looked);
      if (end >= 0) {
        const line = new TextDecoder().decode(this.#unread.subarray(0, end));
        this.#unread = this.#unread.subarray(end + 1);
        return line.replace(/\r$/, '');
      }
      looked = this.#unread.length;
      if (looked > LIMITS.mailReplyBytes) throw this.#tooLarge();
      const { done, value } = await this.#unlessEnded(this.#reader.read());
      if (done) throw this.#unreachable('closed by the server');
      const more = new Uint8Array(looked + value.length);
      more.set(this.#unread);
      more.set(value, looked);
      this.#unread = more;
    }
  }

  async #unlessEnded<T>(doing: Promise<T>): Promise<T> {
    try {
      return await Promise.race([doing, this.#end.promise]);
    } catch (thrown) {
      throw thrown instanceof FaultError ? thrown : this.#unreachable(thrown);
    }
  }

  #fail(reason: Fault): void {
    this.#end.reject(new FaultError(reason));
    this.close();
  }

  #tooLarge(): FaultError {
    return new FaultError(
      fault('upstream.too-large', `${this.#host} sent more than ${LIMITS.mailReplyBytes} bytes in one reply.`),
    );
  }

  #unreachable(detail: unknown): FaultError {
    const message = `${this.#host} could not be reached, or broke off the connection.`;
    return new FaultError(fault('upstream.unreachable', message, { detail }));
  }
}

function opened(
  socket: Socket,
): [reader: ReadableStreamDefaultReader<Uint8Array>, writer: WritableStreamDefaultWriter<Uint8Array>] {
  // Failures show where the socket is read and written.
  socket.opened.catch(() => undefined);
  socket.closed.catch(() => undefined);
  return [socket.readable.getReader(), socket.writable.getWriter()];
}
