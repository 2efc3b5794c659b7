/**
 * The way to a server of NATS: bytes in both directions, over a WebSocket (`wss`, `ws`) or a socket (`tls`, `nats`).
 *
 * Guarantee: with `wss` and `tls` nothing but the server's greeting passes in the clear, and nothing of a greeting
 * that goes on behind its line is taken for an answer.
 * Accepted weakness: `nats` and `ws` send the credentials in the clear, for servers inside a network of one's own.
 */

import type { GuardedConnect } from '../http/guarded-connect.ts';
import type { SocketHost } from '../../core/policy/egress.ts';
import { FaultError, fault, type ErrorCode } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export interface Line {
  readonly isEncrypted: boolean;
  /** What comes in. Ends, or throws, where the other side hangs up or the line breaks. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** A failure shows in `chunks`. */
  send(frame: Uint8Array): void;
  close(): void;
}

/** What a driver needs of the attempt that calls it. */
export interface NatsWire {
  readonly fetch: typeof fetch;
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_PORT = 4222;

/** Where a socket is opened to; undefined for an address of a WebSocket. */
export function socketOf(url: string): SocketHost | undefined {
  // Only the parser of `http` tells a host from what is none.
  const parsed = /^(?:nats|tls):/.test(url) ? URL.parse(url.replace(/^[a-z]+/, 'http')) : null;
  if (parsed === null) return undefined;
  // It drops port 80, the usual one of its scheme.
  const usual = /:0*80\/?$/.test(url) ? 80 : DEFAULT_PORT;
  return { hostname: parsed.hostname, port: parsed.port === '' ? usual : Number(parsed.port) };
}

/** The origin that is asked for a WebSocket; undefined for an address of a socket. */
export const webSocketUrlOf = (url: string): string | undefined =>
  url.startsWith('ws') ? url.replace(/^ws/, 'http') : undefined;

/** @throws FaultError `egress.refused` `upstream.unreachable` `upstream.unauthorized` `upstream.invalid` … */
export async function openLine(url: string, wire: NatsWire): Promise<Line> {
  const host = socketOf(url);
  return host === undefined ? openWebSocket(url, wire) : openSocket(host, wire, url.startsWith('tls:'));
}

async function openWebSocket(url: string, { fetch, signal }: NatsWire): Promise<Line> {
  const response = await fetch(webSocketUrlOf(url) ?? url, {
    headers: { upgrade: 'websocket' },
    ...(signal !== undefined && { signal }),
  });
  const socket = response.webSocket;
  if (socket === null || socket === undefined) {
    await response.body?.cancel();
    throw new FaultError(fault(codeOf(response.status), `NATS opened no WebSocket (status ${response.status}).`));
  }
  return {
    isEncrypted: url.startsWith('wss:'),
    chunks: messagesOf(socket),
    send: (frame) => socket.send(frame),
    close: () => socket.close(1000),
  };
}

function codeOf(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'upstream.unauthorized';
  return status >= 500 ? 'upstream.unavailable' : 'upstream.invalid';
}

function messagesOf(socket: WebSocket): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      let isOpen = true;
      // Never with an error, which would take with it what has come: the reason is often the last word.
      const end = (): void => {
        if (isOpen) controller.close();
        isOpen = false;
      };
      socket.binaryType = 'arraybuffer';
      socket.addEventListener('message', ({ data }) => {
        if (isOpen) controller.enqueue(data instanceof ArrayBuffer ? new Uint8Array(data) : encode(String(data)));
      });
      socket.addEventListener('close', end);
      socket.addEventListener('error', end);
      socket.accept();
    },
  });
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

const BROKEN = fault('upstream.unreachable', 'NATS broke off the connection.');

async function openSocket(host: SocketHost, { connect }: NatsWire, withTls: boolean): Promise<Line> {
  const opened = connect(host, { secureTransport: withTls ? 'starttls' : 'off', allowHalfOpen: false });
  if (!opened.ok) throw new FaultError(opened.fault);
  const plain = opened.value;
  // Failures show where it is read.
  plain.closed.catch(() => undefined);
  await plain.opened;
  const greeting = withTls ? await readGreeting(plain) : undefined;
  const socket = withTls ? plain.startTls() : plain;
  socket.closed.catch(() => undefined);
  socket.opened.catch(() => undefined);
  const writer = socket.writable.getWriter();
  return {
    isEncrypted: withTls,
    chunks: greeting === undefined ? socket.readable : following(greeting, socket.readable),
    send: (frame) => void writer.write(frame).catch(() => undefined),
    close: () => void socket.close().catch(() => undefined),
  };
}

async function* following(first: Uint8Array, rest: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

/** `INFO {…}\r\n`, which the server sends before it listens for TLS. */
async function readGreeting(socket: Socket): Promise<Uint8Array> {
  const reader: ReadableStreamDefaultReader<Uint8Array> = socket.readable.getReader();
  let greeting: Uint8Array = new Uint8Array();
  try {
    while (!greeting.includes(LF)) {
      const { done, value } = await reader.read();
      if (done) throw new FaultError(BROKEN);
      greeting = Uint8Array.of(...greeting, ...value);
      if (greeting.length > LIMITS.natsLineBytes) throw new FaultError(NO_GREETING);
    }
  } finally {
    reader.releaseLock();
  }
  if (greeting.indexOf(LF) !== greeting.length - 1) throw new FaultError(NO_GREETING);
  return greeting;
}

const LF = 10;

const NO_GREETING = fault('upstream.invalid', 'What answered is no server of NATS; check the `url` of the connection.');
