/** What a subscription is to listen to, by the configuration. */

import { subscriptionsByName } from '../catalogue.ts';
import type { ActiveChain, Configuration } from '../configuration.ts';
import { connectionPath } from '../../core/chain/connection.ts';
import type { TriggerPlan } from '../../core/chain/plan.ts';

/** A trigger of a chain. */
export interface SubscriptionPlace {
  readonly chain: string;
  readonly trigger: string;
}

export interface SubscriptionTarget {
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { type: 'subscription' }>;
}

export const placeOf = ({ chain, trigger }: SubscriptionTarget): SubscriptionPlace => ({
  chain: chain.name,
  trigger: trigger.name,
});

export const targetsOf = ({ chains }: Configuration): SubscriptionTarget[] =>
  [...chains.values()].flatMap((chain) =>
    chain.plan.triggers.flatMap((trigger) => (trigger.type === 'subscription' ? [{ chain, trigger }] : [])),
  );

/** Undefined where the chain or the trigger is not active any more. */
export function targetOf({ chains }: Configuration, place: SubscriptionPlace): SubscriptionTarget | undefined {
  const chain = chains.get(place.chain);
  const trigger = chain?.plan.triggers.find(({ name }) => name === place.trigger);
  return chain !== undefined && trigger?.type === 'subscription' ? { chain, trigger } : undefined;
}

/** What cursors and ids of events belong to. */
export const sourceOf = ({ trigger: { to, connection, with: params } }: SubscriptionTarget): string =>
  JSON.stringify([to, connection === undefined ? null : connectionPath(connection), params]);

/** Changes with all that an open subscription depends on. It holds no secret. */
export function fingerprintOf({ connections, switches }: Configuration, target: SubscriptionTarget): string {
  const { connection } = target.trigger;
  const row = connection && connections.get(connectionPath(connection));
  return JSON.stringify([
    sourceOf(target),
    row === undefined ? null : [row.connector, row.createdAt, row.updatedAt, row.disabled?.at ?? null],
    switches.get(connectorOf(target))?.at ?? null,
  ]);
}

export const connectorOf = ({ trigger: { to } }: SubscriptionTarget): string => to.slice(0, to.indexOf('.'));

export const subscriptionOf = ({ trigger }: SubscriptionTarget) => subscriptionsByName.get(trigger.to);
