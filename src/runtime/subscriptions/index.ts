/** The subscriptions of all chains, as the rest of the gateway sees them. */

import type { SubscriptionFacts } from './store.ts';
import {
  placeOf,
  subscriptionOf,
  targetOf,
  targetsOf,
  type SubscriptionPlace,
  type SubscriptionTarget,
} from './target.ts';
import { checkConfiguration, type Configuration } from '../configuration.ts';
import { connectionPath } from '../../core/chain/connection.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Env } from '../../env.ts';

export interface SubscriptionStatus extends SubscriptionPlace {
  readonly to: string;
  readonly connection: string | undefined;
  readonly delivery: 'at-least-once' | 'at-most-once';
  /** Undefined where its object did not answer, or has not begun. */
  readonly facts: SubscriptionFacts | undefined;
}

export interface SubscriptionPorts {
  /** Ordered by chain and trigger. */
  list(): Promise<readonly SubscriptionStatus[]>;
  /** Fault `subscription.not-found`. */
  read(place: SubscriptionPlace): Promise<Result<SubscriptionStatus>>;
  /** Fault `subscription.not-found`. @param forget the cursor */
  restart(place: SubscriptionPlace, forget: boolean): Promise<Result<SubscriptionStatus>>;
}

const objectOf = (env: Env, { chain, trigger }: SubscriptionPlace) =>
  env.SUBSCRIPTIONS.getByName(JSON.stringify([chain, trigger]));

/** Those that this isolate has seen, so that one that is removed need not find out by itself. */
let known: readonly SubscriptionPlace[] = [];

/** Sees to it that every subscription is open, and that those that were removed are not. Never rejects. */
export async function watchSubscriptions(env: Env, configuration: Configuration): Promise<void> {
  const places = targetsOf(configuration).map(placeOf);
  const removed = known.filter((place) => targetOf(configuration, place) === undefined);
  known = places;
  const watched = [...places, ...removed].map((place) => objectOf(env, place).watch(place));
  for (const result of await Promise.allSettled(watched)) {
    if (result.status === 'rejected') console.error('a subscription could not be watched', result.reason);
  }
}

export const subscriptionsOf = (env: Env): SubscriptionPorts => ({
  async list() {
    const all = await Promise.all(targetsOf(await checkConfiguration(env, 0)).map((target) => statusOf(env, target)));
    const nameOf = ({ chain, trigger }: SubscriptionPlace): string => `${chain} ${trigger}`;
    return all.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  },
  async read(place) {
    const target = targetOf(await checkConfiguration(env, 0), place);
    return target === undefined ? notFound(place) : ok(await statusOf(env, target));
  },
  async restart(place, forget) {
    const target = targetOf(await checkConfiguration(env, 0), place);
    if (target === undefined) return notFound(place);
    await objectOf(env, place).restart(place, forget);
    return ok(await statusOf(env, target));
  },
});

async function statusOf(env: Env, target: SubscriptionTarget): Promise<SubscriptionStatus> {
  const place = placeOf(target);
  const { to, connection } = target.trigger;
  const facts = await objectOf(env, place)
    .status()
    .catch((thrown: unknown) => {
      console.warn(`the subscription ${place.trigger} of the chain ${place.chain} did not answer`, thrown);
      return null;
    });
  return {
    ...place,
    to,
    connection: connection && connectionPath(connection),
    delivery: subscriptionOf(target)?.delivery ?? 'at-most-once',
    facts: facts ?? undefined,
  };
}

const notFound = ({ chain, trigger }: SubscriptionPlace): Result<never> =>
  fail('subscription.not-found', `The chain ${chain} has no subscription named ${trigger}.`);
