/** Which chains want an event of a source. */

import { versionFor, type ActiveChain, type Configuration } from './configuration.ts';
import { isTrue } from './execute.ts';
import type { RunRequest } from './accept.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import type { TriggerEvent } from '../core/engine/state.ts';
import { fault, faultOf, type Fault } from '../core/errors.ts';

export interface HookTarget {
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { type: 'webhook' }>;
}

/** A trigger that starts runs for events, and may have a filter. */
interface EventTarget {
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { readonly filter: unknown }>;
}

const built = new WeakMap<Configuration, ReadonlyMap<string, readonly HookTarget[]>>();

/** Every webhook trigger of a source, whatever types of events it wants. */
export function hookTargets(configuration: Configuration, source: string): readonly HookTarget[] {
  let targets = built.get(configuration);
  if (targets === undefined) {
    const all = [...configuration.chains.values()].flatMap((chain) =>
      chain.plan.triggers.flatMap((trigger) => (trigger.type === 'webhook' ? [{ chain, trigger }] : [])),
    );
    built.set(configuration, (targets = Map.groupBy(all, ({ trigger }) => trigger.source)));
  }
  return targets.get(source) ?? [];
}

export const wantsType = ({ trigger }: HookTarget, type: string | null): boolean =>
  trigger.events === undefined || (type !== null && trigger.events.includes(type));

/** Whether the filter lets the event through; a fault where it cannot be told. */
export async function passes({ chain, trigger }: EventTarget, event: TriggerEvent): Promise<boolean | Fault> {
  if (trigger.filter === undefined) return true;
  try {
    return isTrue(await trigger.filter.evaluate({ trigger: event, chain: { name: chain.name } }));
  } catch (thrown) {
    const { code, message } = faultOf(thrown);
    return fault(code, `triggers.${trigger.name}.filter: ${message}`);
  }
}

/** @param dedupeKey the same for the same run, whoever asks for it and how often */
export const requestFor = ({ chain, trigger }: EventTarget, event: TriggerEvent, dedupeKey: string): RunRequest => ({
  chain: chain.name,
  version: versionFor(chain, dedupeKey).version,
  trigger: trigger.name,
  event,
  dedupeKey,
});
