/**
 * HTTP upstreams that behave as a test tells them, each path by itself. The first segment of a path is the name
 * under which a test sets a behaviour (`PUT /_behaviour/<name>`) and reads what came in (`GET /_seen/<name>`);
 * without one, requests are echoed as JSON. On a WebSocket texts come back; `close:<code>` closes it.
 */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { listen, type Running } from '../../scripts/servers/process.ts';

export type Behaviour =
  | { readonly kind: 'echo' | 'reset' | 'hang' }
  /** The body is base64. */
  | {
      readonly kind: 'answer';
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string | string[]>>;
      readonly body?: string;
      readonly delayMilliseconds?: number;
    }
  /** Sends a chunk, then one after each pause; without a count it goes on for ever. */
  | { readonly kind: 'drip'; readonly type?: string; readonly everyMilliseconds: number; readonly count?: number }
  /** Bytes as the socket takes them, instead of an answer in HTTP. */
  | { readonly kind: 'raw'; readonly text: string };

export interface Seen {
  readonly method: string;
  readonly path: string;
  /** Name and value by turns, as they were sent. */
  readonly rawHeaders: readonly string[];
  /** Unix milliseconds of the head, of the first byte of the body and of its end. */
  readonly at: number;
  bodyBeganAt?: number;
  bodyEndedAt?: number;
  bodyBytes: number;
  /** Whether the other side went away before the answer was complete. */
  abandoned: boolean;
  /** Close code of a WebSocket, as the other side sent it. */
  closeCode?: number;
}

export interface UnrulyServer extends Running {
  readonly url: string;
}

interface Named {
  behaviour: Behaviour;
  readonly seen: Seen[];
}

export async function start(): Promise<UnrulyServer> {
  const names = new Map<string, Named>();
  const named = (path: string, segment: number): Named => {
    const name = path.split(/[/?]/)[segment] ?? '';
    let found = names.get(name);
    if (found === undefined) names.set(name, (found = { behaviour: { kind: 'echo' }, seen: [] }));
    return found;
  };
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  server.on('upgrade', (request, socket) => acceptSocket(request, socket, named(request.url ?? '/', 1).seen));

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    if (path.startsWith('/_behaviour/')) {
      named(path, 2).behaviour = JSON.parse(await textOf(request)) as Behaviour;
      response.end();
    } else if (path.startsWith('/_seen/')) response.end(JSON.stringify(named(path, 2).seen));
    else {
      const { behaviour, seen } = named(path, 1);
      await BEHAVIOURS[behaviour.kind](request, response, note(request, response, seen), behaviour);
    }
  }

  const { port, stop } = await listen(server);
  return { url: `http://127.0.0.1:${port}`, stop };
}

function note(request: IncomingMessage, response: ServerResponse | undefined, seen: Seen[]): Seen {
  const { method = '', url = '', rawHeaders } = request;
  const entry: Seen = { method, path: url, rawHeaders, at: Date.now(), bodyBytes: 0, abandoned: false };
  seen.push(entry);
  response?.on('close', () => (entry.abandoned = !response.writableFinished));
  return entry;
}

type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  entry: Seen,
  behaviour: Behaviour,
) => void | Promise<void>;

const BEHAVIOURS: Readonly<Record<Behaviour['kind'], Handler>> = {
  async echo(request, response, entry) {
    const hash = createHash('sha256');
    for await (const chunk of request as AsyncIterable<Buffer>) {
      entry.bodyBeganAt ??= Date.now();
      entry.bodyBytes += chunk.length;
      hash.update(chunk);
    }
    entry.bodyEndedAt = Date.now();
    const { method, url, rawHeaders, headers } = request;
    const told = { method, path: url, rawHeaders, headers, bytes: entry.bodyBytes, sha256: hash.digest('hex') };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(told));
  },
  reset: (request) => void request.socket.destroy(),
  hang: () => undefined,
  async answer(request, response, entry, behaviour) {
    if (behaviour.kind !== 'answer') return;
    for await (const chunk of request as AsyncIterable<Buffer>) entry.bodyBytes += chunk.length;
    if (behaviour.delayMilliseconds !== undefined) await delay(behaviour.delayMilliseconds);
    response.writeHead(behaviour.status ?? 200, behaviour.headers).end(Buffer.from(behaviour.body ?? '', 'base64'));
  },
  async drip(_request, response, _entry, behaviour) {
    if (behaviour.kind !== 'drip') return;
    response.writeHead(200, { 'content-type': behaviour.type ?? 'text/plain' });
    for (let sent = 0; sent < (behaviour.count ?? Infinity) && !response.destroyed; sent++) {
      if (sent > 0) await delay(behaviour.everyMilliseconds);
      response.write(`data: ${sent}\n\n`);
    }
    response.end();
  },
  raw(request, _response, _entry, behaviour) {
    if (behaviour.kind === 'raw') request.socket.end(behaviour.text);
  },
};

/** RFC 6455, as far as a test needs it: short texts, close frames. */
function acceptSocket(request: IncomingMessage, socket: Duplex | Socket, seen: Seen[]): void {
  const entry = note(request, undefined, seen);
  const key = `${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  const protocol = request.headers['sec-websocket-protocol'];
  const chosen = protocol === undefined ? '' : `sec-websocket-protocol: ${protocol.split(',')[0] ?? ''}\r\n`;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n${chosen}sec-websocket-accept: ${accept}\r\n\r\n`,
  );
  let received = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    for (;;) {
      const length = (received[1] ?? 0) & 0x7f;
      if (received.length < 6 + length) return;
      const opcode = (received[0] ?? 0) & 0x0f;
      const mask = received.subarray(2, 6);
      const payload = Buffer.from([...received.subarray(6, 6 + length)].map((byte, at) => byte ^ (mask[at % 4] ?? 0)));
      received = received.subarray(6 + length);
      if (opcode === 8) {
        entry.closeCode = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
        socket.end(frame(8, payload));
        return;
      }
      const text = payload.toString();
      const code = /^close:(\d+)$/.exec(text)?.[1];
      if (code === undefined) socket.write(frame(1, Buffer.from(`echo ${text}`)));
      else {
        const reason = Buffer.alloc(2);
        reason.writeUInt16BE(Number(code));
        socket.write(frame(8, reason));
      }
    }
  });
}

const frame = (opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]);
