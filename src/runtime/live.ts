/**
 * Runs as they go on: server-sent events, and WebSockets that let their object hibernate.
 *
 * Guarantee: whoever watches a run is told its end, and every state before it that lasts, in order; nothing
 * is told before it is on disk. The id of an event is an instant: who comes back with the last one is told
 * what has changed since.
 * Accepted weakness: an event may come twice, and a state that passes between two writes is left out.
 */

import type { Drive } from './drive.ts';
import { eventStream, FIRST_FRAME, HEARTBEAT } from './event-stream.ts';
import { newsOf, type Seen } from '../core/engine/news.ts';
import type { RunRecord } from '../core/engine/record.ts';
import { recordOf } from '../core/engine/view.ts';
import { LIMITS } from '../core/limits.ts';

/** What a socket keeps while its object hibernates. */
interface Attachment {
  readonly run: string;
  readonly sentAt: number;
}

export class LiveHub {
  readonly #ctx: DurableObjectState;
  readonly #streams = new Map<string, Set<EventStream>>();
  /** Runs that have a socket. */
  readonly #withSocket: Set<string>;
  readonly #seen = new WeakMap<WebSocket, Seen>();
  /** How runs were when they last changed, until that is on disk. */
  #changed = new Map<string, RunRecord>();
  #isWriting = false;
  #heartbeat: ReturnType<typeof setInterval> | undefined;

  constructor(ctx: DurableObjectState) {
    this.#ctx = ctx;
    this.#withSocket = new Set(ctx.getWebSockets().map((socket) => attachmentOf(socket).run));
  }

  /** To be called whenever a run may have changed; costs next to nothing for one that nobody watches. */
  note({ run, recorded }: Pick<Drive, 'run' | 'recorded'>): void {
    const { id } = run.start;
    if (!this.#streams.has(id) && !this.#withSocket.has(id)) return;
    // After a restart, what is known comes back step by step, which is no news.
    if (run.status === 'running' && (recorded?.size ?? 0) > 0) return;
    this.#changed.set(id, recordOf(run));
    if (!this.#isWriting) this.#tellWhenWritten();
  }

  #tellWhenWritten(): void {
    const changed = this.#changed;
    this.#changed = new Map();
    this.#isWriting = true;
    const tell = (): void => {
      this.#isWriting = false;
      for (const record of changed.values()) this.#tell(record);
      if (this.#changed.size > 0) this.#tellWhenWritten();
    };
    // A write that fails resets the object, and its watchers come back to the next.
    this.#ctx.storage.sync().then(tell, () => {});
  }

  #tell(record: RunRecord): void {
    const { id } = record;
    const isOver = hasEnded(record);
    for (const stream of this.#streams.get(id) ?? []) {
      const isSent = stream.send(frames(newsOf(stream.seen, record), record));
      if (isSent && !isOver) continue;
      stream.end();
      this.#drop(id, stream);
    }
    if (!this.#withSocket.has(id)) return;
    const sockets = this.#ctx.getWebSockets(id);
    for (const socket of sockets) this.#tellSocket(socket, record);
    if (sockets.length === 0 || isOver) this.#withSocket.delete(id);
  }

  #tellSocket(socket: WebSocket, record: RunRecord): void {
    const seen: Seen = this.#seen.get(socket) ?? new Map();
    this.#seen.set(socket, seen);
    sendAll(socket, newsOf(seen, record, attachmentOf(socket).sentAt), record);
    attach(socket, { run: record.id, sentAt: Date.now() });
  }

  /**
   * Streams a run on from how it is now; 429 where too many watch.
   * @param record of this very moment
   */
  open(request: Request, record: RunRecord): Response {
    if (hasEnded(record)) return endedStream(request, record);
    const streams = [...this.#streams.values()].reduce((sum, { size }) => sum + size, 0);
    const watchers = streams + this.#ctx.getWebSockets().length;
    if (watchers >= LIMITS.liveWatchersPerObject) return new Response(null, { status: 429 });
    const { id } = record;
    const since = sinceOf(request);
    if (isUpgrade(request)) {
      const { 0: client, 1: server } = new WebSocketPair();
      this.#ctx.acceptWebSocket(server, [id]);
      this.#withSocket.add(id);
      attach(server, { run: id, sentAt: since ?? 0 });
      this.#tellSocket(server, record);
      return new Response(null, { status: 101, webSocket: client });
    }
    const stream = new EventStream((gone) => this.#drop(id, gone));
    stream.send(FIRST_FRAME + frames(newsOf(stream.seen, record, since), record));
    const streamsOfRun = this.#streams.get(id) ?? new Set();
    this.#streams.set(id, streamsOfRun.add(stream));
    this.#heartbeat ??= setInterval(() => this.#beat(), LIMITS.liveHeartbeatMilliseconds);
    return eventStream(stream.body);
  }

  /** Proxies cut connections that are silent; and a client that is gone shows by not reading on. */
  #beat(): void {
    for (const [id, streams] of this.#streams) {
      for (const stream of streams) if (!stream.send(HEARTBEAT)) this.#drop(id, stream);
    }
  }

  #drop(id: string, stream: EventStream): void {
    const streams = this.#streams.get(id);
    streams?.delete(stream);
    if (streams?.size === 0) this.#streams.delete(id);
    if (this.#streams.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}

/** One response of server-sent events. */
class EventStream {
  readonly seen: Seen = new Map();
  readonly body: ReadableStream<Uint8Array>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  /** @param gone the client has hung up */
  constructor(gone: (stream: EventStream) => void) {
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#controller = controller),
        cancel: () => {
          this.#controller = undefined;
          gone(this);
        },
      },
      { highWaterMark: LIMITS.liveBacklogChunks },
    );
  }

  /** False where the client is gone, or so slow that it is cut off; it comes back for what it missed. */
  send(text: string): boolean {
    if (text === '') return true;
    const room = this.#controller?.desiredSize ?? 0;
    if (room > 0) this.#controller?.enqueue(ENCODER.encode(text));
    else this.end();
    return room > 0;
  }

  end(): void {
    this.#controller?.close();
    this.#controller = undefined;
  }
}

const ENCODER = new TextEncoder();

const attachmentOf = (socket: WebSocket): Attachment => socket.deserializeAttachment() as Attachment;

const attach = (socket: WebSocket, attachment: Attachment): void => socket.serializeAttachment(attachment);

const hasEnded = ({ endedAt }: RunRecord): boolean => endedAt !== undefined;

const isUpgrade = (request: Request): boolean => request.headers.get('upgrade')?.toLowerCase() === 'websocket';

/** Where the client had come to; from an instant to come, which another clock must have given, it begins anew. */
function sinceOf(request: Request): number | undefined {
  const id = request.headers.get('last-event-id') ?? '';
  const since = /^\d{1,15}$/.test(id) ? Number(id) : undefined;
  return since === undefined || since > Date.now() + 1 ? undefined : since;
}

/** Past the end of a run that has ended, so that who has seen that event has seen the end. */
const idOf = ({ endedAt }: RunRecord): number => Math.max(Date.now(), (endedAt ?? 0) + 1);

/** Only the last one bears the id: a client that got half of them asks for all of them again. */
const frames = (news: readonly string[], record: RunRecord): string =>
  news.map((text, index) => `${index === news.length - 1 ? `id: ${idOf(record)}\n` : ''}data: ${text}\n\n`).join('');

function sendAll(socket: WebSocket, news: readonly string[], record: RunRecord): void {
  for (const [index, text] of news.entries()) {
    socket.send(index === news.length - 1 ? `{"id":"${idOf(record)}",${text.slice(1)}` : text);
  }
  if (hasEnded(record)) socket.close(1000, 'The run has ended.');
}

/** All at once for a run that has ended; 204, which ends a client's coming back, for who has seen that. */
export function endedStream(request: Request, record: RunRecord): Response {
  const since = sinceOf(request);
  const news = newsOf(new Map(), record, since);
  if (isUpgrade(request)) {
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    sendAll(server, news, record);
    return new Response(null, { status: 101, webSocket: client });
  }
  const isKnown = since !== undefined && since > (record.endedAt ?? Infinity);
  return isKnown ? new Response(null, { status: 204 }) : eventStream(frames(news, record));
}
