/** A subscription as the trigger keeps it open, against a real server. */

import { connect } from 'cloudflare:sockets';
import * as v from 'valibot';
import { vi } from 'vitest';
import type { Connector, SubscribedEvent, SubscriptionEnd } from '../../../src/connectors/kit/types.ts';
import { ok, type Result } from '../../../src/core/errors.ts';
import { connectOnlyTo } from '../../../src/drivers/http/guarded-connect.ts';
import type { Credentials } from './fixtures.ts';

export interface Listening {
  /** What was delivered and accepted, in order. */
  readonly events: readonly SubscribedEvent[];
  /** Resolves once the other side confirmed. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Result<SubscriptionEnd | void>>;
  /** Ends it, and waits until it has. */
  stop(): Promise<Result<SubscriptionEnd | void>>;
}

export interface ListenOptions {
  readonly cursor?: string | undefined;
  readonly fetch?: typeof fetch;
  /** Throws for what is to be refused. */
  readonly accept?: (events: readonly SubscribedEvent[]) => void | Promise<void>;
}

export function listenTo(
  connector: Connector,
  { settings, secrets }: Credentials,
  name: string,
  params: unknown,
  { accept, cursor, fetch: base = fetch }: ListenOptions = {},
): Listening {
  const subscription = connector.subscriptions?.[name];
  const facts = connector.connection;
  if (subscription === undefined || facts === undefined) throw new Error(`There is no subscription ${name}.`);
  const parsed = { settings: v.parse(facts.settings, settings), secrets: v.parse(facts.secrets, secrets) };
  const events: SubscribedEvent[] = [];
  const controller = new AbortController();
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const ended = subscription.run(v.parse(subscription.params, params), {
    fetch: base,
    connect: connectOnlyTo(
      (address, how) => ok(connect(address, how)),
      facts.sockets?.(parsed.settings, parsed.secrets) ?? [],
    ),
    hyperdrive: undefined,
    connection: { name: 'test', ...parsed },
    now: Date.now,
    signal: controller.signal,
    cursor,
    ready: () => resolve(),
    async deliver(given) {
      await accept?.(given);
      events.push(...given);
    },
  });
  // Where it ends before it is ready, a test should say why instead of waiting.
  const readyOrEnded = Promise.race([
    ready,
    ended.then((result) => {
      throw new Error(`It ended before it was ready: ${JSON.stringify(result)}`);
    }),
  ]);
  readyOrEnded.catch(() => undefined);
  return {
    events,
    ready: readyOrEnded,
    ended,
    stop: () => {
      controller.abort();
      return ended;
    },
  };
}

export const eventually = (events: () => number, count: number): Promise<void> =>
  vi.waitFor(() => {
    if (events() < count) throw new Error(`${events()} of ${count} events came.`);
  }, 10_000);
