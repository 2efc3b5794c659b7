/** Streams of events to listen to. */

import { inject } from 'vitest';

const upstream = inject('servers').upstream.url;

interface Receipt {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A stream of the upstream, see scripts/servers/upstream-events.ts. */
export class Topic {
  readonly path = `/events/${crypto.randomUUID()}`;

  async add(...events: readonly string[]): Promise<void> {
    await fetch(upstream + this.path, { method: 'POST', body: events.join('\n') });
  }

  /** Returns how many streams are open. */
  async order(what: 'close' | 'gone' | 'open'): Promise<number> {
    const reply = await fetch(`${upstream}${this.path}/${what}`, { method: 'PUT' });
    const { streams }: { streams: number } = await reply.json();
    return streams;
  }

  async requests(): Promise<Receipt[]> {
    const reply = await fetch(`${upstream}/receipts?path=${encodeURIComponent(this.path)}`);
    const receipts: Receipt[] = await reply.json();
    return receipts.filter(({ method }) => method === 'GET');
  }
}
