/** One time that a subscription is open, from the secrets of its connection to its end. */

import { safeParse } from 'valibot';
import { connectorOf, placeOf, subscriptionOf, type SubscriptionTarget } from './target.ts';
import type { Configuration } from '../configuration.ts';
import { hostOf, openConnection } from '../host.ts';
import type { SubscribedEvent, SubscriptionContext, SubscriptionEnd } from '../../connectors/kit/types.ts';
import { fail, faultOf, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { connectOnlyTo } from '../../drivers/http/guarded-connect.ts';
import type { Env } from '../../env.ts';

export interface SessionPorts {
  readonly env: Env;
  readonly configuration: Configuration;
  readonly target: SubscriptionTarget;
  readonly fingerprint: string;
  readonly cursor: string | undefined;
  ready(): void;
  /** Rejects where the events are to come again. */
  deliver(events: readonly SubscribedEvent[]): Promise<void>;
}

export class Session {
  readonly fingerprint: string;
  readonly openedAt = Date.now();
  /** Whether anything came. */
  hasDelivered = false;
  /** Another is to be opened in its place at once. */
  isReplaced = false;
  readonly #ports: SessionPorts;
  readonly #stopping = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(ports: SessionPorts) {
    this.fingerprint = ports.fingerprint;
    this.#ports = ports;
  }

  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  replace(): void {
    this.isReplaced = true;
    this.stop();
  }

  /** {@link run} resolves soon after, also where the subscription does not heed it. */
  stop(): void {
    this.#stopping.abort(new Error('the subscription was stopped'));
  }

  /** Never rejects. */
  async run(): Promise<Result<SubscriptionEnd | void>> {
    try {
      return await Promise.race([this.#listen(), this.#stopped()]);
    } catch (thrown) {
      return { ok: false, fault: faultOf(thrown) };
    } finally {
      this.stop();
    }
  }

  async #stopped(): Promise<Result<void>> {
    const { signal } = this.#stopping;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await scheduler.wait(LIMITS.subscriptionStopMilliseconds);
    return ok(undefined);
  }

  async #listen(): Promise<Result<SubscriptionEnd | void>> {
    const { env, configuration, target, cursor } = this.#ports;
    const { to, connection: ref, with: given } = target.trigger;
    const subscription = subscriptionOf(target);
    const params = subscription && safeParse(subscription.params, given);
    if (params?.success !== true)
      return fail('chain.invalid', `${to} takes other parameters now; publish the chain again.`);
    const reader = () => ({ kind: 'subscription', ...placeOf(target) }) as const;
    const opened = await openConnection(env, configuration, ref, connectorOf(target), reader);
    if (!opened.ok) return opened;
    if (this.isStopping) return ok(undefined);
    const connection = opened.value;
    const host = hostOf(env);
    const context: SubscriptionContext = {
      fetch: (input, init) => host.fetch(input, init, { hops: undefined, origins: connection.origins }),
      connect: connectOnlyTo(host.connect, connection.sockets ?? []),
      hyperdrive: host.hyperdrive,
      connection,
      subscriber: JSON.stringify(placeOf(target)),
      now: host.now,
      signal: this.#stopping.signal,
      cursor,
      ready: () => {
        if (!this.isStopping) this.#ports.ready();
      },
      deliver: (events) => this.#deliver(events),
    };
    return (await subscription?.run(params.output, context)) ?? ok(undefined);
  }

  /** One after the other, in the order in which they were given; after one that failed, none. */
  #deliver(events: readonly SubscribedEvent[]): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (let from = 0; from < events.length; from += LIMITS.subscriptionBatchEvents) {
        this.#stopping.signal.throwIfAborted();
        await this.#ports.deliver(events.slice(from, from + LIMITS.subscriptionBatchEvents));
        this.hasDelivered = true;
      }
    });
    this.#last.catch(() => undefined);
    return this.#last;
  }
}
