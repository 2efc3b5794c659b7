/** A subscription as the object keeps it open, against the servers of the test run. */

import { connect } from 'cloudflare:sockets';
import * as v from 'valibot';
import { vi } from 'vitest';
import type { Connector, SubscribedEvent, SubscriptionEnd } from '../../../src/connectors/kit/types.ts';
import { ok, type Result } from '../../../src/core/errors.ts';
import { connectOnlyTo, type GuardedConnect } from '../../../src/drivers/http/guarded-connect.ts';
import type { Credentials } from './fixtures.ts';

export interface Listening {
  /** What was delivered and accepted, in order. */
  readonly events: readonly SubscribedEvent[];
  /** How many events came at a time. */
  readonly batches: readonly number[];
  /** Of the sockets that it opened, to cut them. */
  readonly sockets: readonly Socket[];
  /** Resolves once the other side confirmed; rejects where it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Result<SubscriptionEnd | void>>;
  /** Ends it, and waits until it has. */
  stop(): Promise<Result<SubscriptionEnd | void>>;
  /** Resolves when so many events were delivered. */
  has(count: number): Promise<void>;
}

export interface ListenOptions {
  /** Rejects for what is to be refused. */
  readonly deliver?: ((events: readonly SubscribedEvent[]) => unknown) | undefined;
  readonly cursor?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
  readonly connect?: GuardedConnect | undefined;
}

export function listenTo(
  { connection: facts, subscriptions }: Connector,
  credentials: Credentials | undefined,
  name: string,
  params: unknown,
  options: ListenOptions = {},
): Listening {
  const subscription = subscriptions?.[name];
  if (subscription === undefined) throw new Error(`There is no subscription ${name}.`);
  const settings = credentials && facts && v.parse(facts.settings, credentials.settings);
  const secrets = credentials && facts && v.parse(facts.secrets, credentials.secrets);
  const allowed = credentials === undefined ? [] : (facts?.sockets?.(settings, secrets) ?? []);
  const events: SubscribedEvent[] = [];
  const batches: number[] = [];
  const sockets: Socket[] = [];
  const open: GuardedConnect = (address, how) => {
    const socket = connect(address, how);
    sockets.push(socket);
    return ok(socket);
  };
  const stopping = new AbortController();
  const { promise: isReady, resolve } = Promise.withResolvers<void>();
  const ended = subscription.run(v.parse(subscription.params, params), {
    fetch: options.fetch ?? fetch,
    connect: connectOnlyTo(options.connect ?? open, allowed),
    hyperdrive: undefined,
    connection: { name: 'test', settings, secrets },
    now: Date.now,
    subscriber: 'chain/trigger',
    signal: stopping.signal,
    cursor: options.cursor,
    ready: () => resolve(),
    async deliver(given) {
      await options.deliver?.(given);
      events.push(...given);
      batches.push(given.length);
    },
  });
  ended.catch(() => undefined);
  // Where it ends before it is ready, a test should say why instead of waiting.
  const ready = Promise.race([
    isReady,
    ended.then((result) => {
      throw new Error(`It ended before it was ready: ${JSON.stringify(result)}`);
    }),
  ]);
  ready.catch(() => undefined);
  return {
    events,
    batches,
    sockets,
    ready,
    ended,
    stop: () => {
      stopping.abort();
      return ended;
    },
    has: (count) => eventually(() => events.length, count),
  };
}

/** Resolves once it is ready, or has ended. */
export async function opened(listening: Listening): Promise<Listening> {
  await listening.ready.catch(() => undefined);
  return listening;
}

export const eventually = (events: () => number, count: number): Promise<void> =>
  vi.waitFor(
    () => {
      if (events() < count) throw new Error(`${events()} of ${count} events came.`);
    },
    { timeout: 10_000, interval: 20 },
  );
