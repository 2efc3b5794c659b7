/**
 * Listening to a source: server-sent events from a cursor on, first what is there, then what comes.
 *
 * Guarantee: whoever comes back with the last id misses no event that is still kept, and gets each once, in order.
 * Nothing is held for a listener but the chunk that it is to take next: a slow one reads from disk later, and
 * one that takes nothing is cut off.
 */

import { eventStream, FIRST_FRAME, HEARTBEAT } from './event-stream.ts';
import type { StoredEvent } from './inbox-store.ts';
import { eventId, textOf } from '../core/inbox/event.ts';
import { LIMITS } from '../core/limits.ts';
import { toBase64 } from '../vault/bytes.ts';

export interface FeedPorts {
  /** Events after a sequence number that are on disk, the oldest first, with their bodies. */
  readAfter(sequence: number): Promise<readonly StoredEvent[]>;
}

interface Listener {
  /** Ends its waiting; undefined while it has something to take. */
  wake: ((heartbeat: boolean) => void) | undefined;
  /** Since when it has taken nothing. */
  stalledSince: number;
  end(): void;
}

const encoder = new TextEncoder();

export class Feed {
  readonly #ports: FeedPorts;
  readonly #listeners = new Set<Listener>();
  #beat: ReturnType<typeof setInterval> | undefined;

  constructor(ports: FeedPorts) {
    this.#ports = ports;
  }

  /** To be called when events have been written; costs nothing where nobody listens. */
  wake(): void {
    for (const listener of this.#listeners) listener.wake?.(false);
  }

  /** @param after sequence number of the last event that the listener has; 429 where too many listen */
  open(after: number): Response {
    if (this.#listeners.size >= LIMITS.listenersPerSource) return new Response(null, { status: 429 });
    let cursor = after;
    let begun = false;
    const listener: Listener = { wake: undefined, stalledSince: Date.now(), end: () => {} };
    this.#listeners.add(listener);
    this.#beat ??= setInterval(() => this.#pulse(), LIMITS.liveHeartbeatMilliseconds);
    const next = async (): Promise<string> => {
      if (!begun) {
        begun = true;
        return FIRST_FRAME;
      }
      // Set before it looks, so that an event which is written meanwhile is not missed.
      const woken = new Promise<boolean>((resolve) => (listener.wake = resolve));
      const events = await this.#ports.readAfter(cursor);
      if (events.length === 0) return (await woken) ? HEARTBEAT : '';
      cursor = events.at(-1)?.sequence ?? cursor;
      return events.map(frameOf).join('');
    };
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          listener.end = () => controller.error(new Error('the listener takes nothing'));
        },
        pull: async (controller) => {
          let text = '';
          while (text === '' && this.#listeners.has(listener)) text = await next();
          listener.wake = undefined;
          listener.stalledSince = Date.now();
          if (text !== '') controller.enqueue(encoder.encode(text));
        },
        cancel: () => this.#drop(listener),
      },
      { highWaterMark: 1 },
    );
    return eventStream(body);
  }

  /** Proxies cut connections that are silent. */
  #pulse(): void {
    const now = Date.now();
    for (const listener of this.#listeners) {
      if (listener.wake !== undefined) listener.wake(true);
      else if (now - listener.stalledSince > LIMITS.listenStallMilliseconds) {
        this.#drop(listener);
        listener.end();
      }
    }
  }

  #drop(listener: Listener): void {
    this.#listeners.delete(listener);
    listener.wake?.(false);
    if (this.#listeners.size > 0) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
  }
}

/** All that it takes to send the request once more. */
function frameOf({ sequence, receivedAt, type, deliveryId, query, headers, body }: StoredEvent): string {
  const named = JSON.parse(headers) as Record<string, string>;
  const text = textOf(body, named['content-type'] ?? null);
  const data = JSON.stringify({
    id: eventId(sequence),
    receivedAt: new Date(receivedAt).toISOString(),
    type,
    deliveryId,
    query,
    headers: named,
    ...(text === undefined ? { bodyBase64: toBase64(body) } : { body: text }),
  });
  return `id: ${sequence}\ndata: ${data}\n\n`;
}
