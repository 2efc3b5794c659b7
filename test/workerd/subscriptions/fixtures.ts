/** Subscriptions run as the object runs them, against the real servers of the test run. */

import { connect } from 'cloudflare:sockets';
import * as v from 'valibot';
import { inject, vi } from 'vitest';
import type {
  Connector,
  SubscribedEvent,
  SubscriptionContext,
  SubscriptionEnd,
} from '../../../src/connectors/kit/types.ts';
import { ok, type Result } from '../../../src/core/errors.ts';
import { connectOnlyTo, type GuardedConnect } from '../../../src/drivers/http/guarded-connect.ts';
import type { Credentials } from '../drivers/fixtures.ts';

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

export interface Listening {
  readonly events: SubscribedEvent[];
  /** Of the sockets that it opened, to cut them. */
  readonly sockets: Socket[];
  readonly ended: Promise<Result<SubscriptionEnd | void>>;
  stop(): void;
  /** Resolves when so many events were delivered. */
  has(count: number): Promise<void>;
}

interface Options {
  readonly cursor?: string;
  readonly deliver?: (events: readonly SubscribedEvent[]) => Promise<void>;
  readonly connect?: GuardedConnect;
}

/** Resolves when the other side has confirmed it, or it has ended. */
export async function listenTo(
  { connection: facts, subscriptions }: Connector,
  name: string,
  given: unknown,
  credentials?: Credentials,
  { cursor, deliver, connect: base }: Options = {},
): Promise<Listening> {
  const subscription = subscriptions?.[name];
  if (subscription === undefined) throw new Error(`There is no subscription ${name}.`);
  const settings = credentials && facts && v.parse(facts.settings, credentials.settings);
  const secrets = credentials && facts && v.parse(facts.secrets, credentials.secrets);
  const allowed = credentials === undefined ? [] : (facts?.sockets?.(settings, secrets) ?? []);
  const stopping = new AbortController();
  const events: SubscribedEvent[] = [];
  const sockets: Socket[] = [];
  const { promise: isReady, resolve: ready } = Promise.withResolvers<void>();
  const context: SubscriptionContext = {
    fetch,
    connect: connectOnlyTo(
      base ??
        ((address, options) => {
          const socket = connect(address, options);
          sockets.push(socket);
          return ok(socket);
        }),
      allowed,
    ),
    connection: { name: 'test', settings, secrets },
    now: Date.now,
    signal: stopping.signal,
    cursor,
    ready,
    deliver: async (batch) => {
      await deliver?.(batch);
      events.push(...batch);
    },
  };
  const ended = subscription.run(v.parse(subscription.params, given), context);
  ended.catch(() => undefined);
  await Promise.race([isReady, ended.catch(() => undefined)]);
  return {
    events,
    sockets,
    ended,
    stop: () => stopping.abort(),
    has: (count) =>
      vi.waitFor(
        () => {
          if (events.length < count) throw new Error(`${events.length} of ${count} events came`);
        },
        { timeout: 10_000, interval: 20 },
      ),
  };
}
