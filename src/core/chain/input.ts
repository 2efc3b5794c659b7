/** The input of a run, from what triggered it. */

import { isObject } from '../json.ts';
import type { TriggerEvent } from '../engine/state.ts';
import type { Plan, TriggerPlan } from './plan.ts';

const MANUAL: TriggerPlan = { name: 'manual', type: 'manual', input: undefined };

/** The trigger of that name; every chain can be started by hand, whether it declares that or not. */
export function triggerOf(plan: Plan, name: string): TriggerPlan | undefined {
  return plan.triggers.find((trigger) => trigger.name === name) ?? (name === 'manual' ? MANUAL : undefined);
}

/**
 * What the trigger's own `input` template gives, or by default: the body; for `http` an object body with
 * the path's parameters in it, and without a body the query with the path's parameters.
 *
 * @throws FaultError of the template, also by rejection
 */
export function inputOf(plan: Plan, trigger: TriggerPlan, event: TriggerEvent): unknown {
  if (trigger.input !== undefined) {
    return trigger.input.evaluate({ trigger: event, chain: { name: plan.name }, run: { now: event.receivedAt } });
  }
  if (event.type !== 'http') return event.body;
  if (event.body === undefined) return { ...event.query, ...event.params };
  if (!isObject(event.body) || Object.keys(event.params).length === 0) return event.body;
  return { ...event.body, ...event.params };
}
