/** What a new run takes over from one that failed, so that it begins at the failed step. */

import type { Plan, StepPlan } from '../chain/plan.ts';
import { byStep, stepAt, type StepEvent, type StepKey } from './journal.ts';

/**
 * The events of steps that succeeded, as the journal of a new run of `to`: steps of the same place and
 * action. A step that was undone is done again.
 */
export function carryOver(events: readonly StepEvent[], from: Plan, to: Plan): StepEvent[] {
  const steps = byStep(events);
  return [...steps].flatMap(([key, own]): StepEvent[] => {
    const [opened] = own;
    if (opened?.type === 'opened' && opened.range !== undefined) return carryItems(key, own, from, to);
    const last = own.at(-1);
    const isDone = last !== undefined && ['succeeded', 'skipped'].includes(last.type);
    // The results of its items are by their place in the list, so the list must stay the same.
    const kept = isDone ? last : opened?.type === 'opened' ? opened : undefined;
    if (kept === undefined || steps.get(`${key}~0`)?.at(-1)?.type === 'succeeded') return [];
    const moved = moveKey(String(key), from.steps, to.steps);
    return moved === undefined ? [] : [{ ...kept, step: moved } as StepEvent];
  });
}

/** The outputs of items that others have run hold what was made of their steps, so these must be the same. */
function carryItems(key: StepKey, own: readonly StepEvent[], from: Plan, to: Plan): StepEvent[] {
  const moved = moveKey(String(key), from.steps, to.steps);
  const written = (plan: Plan, at: StepKey | undefined): string => JSON.stringify(stepAt(plan, at)?.written);
  if (moved === undefined || written(from, key) !== written(to, moved)) return [];
  return own.flatMap((event): StepEvent[] => {
    if (event.type === 'opened') return [{ ...event, step: moved }];
    if (event.type !== 'items') return [];
    const results = event.results.filter((result) => 'output' in result);
    return results.length === 0 ? [] : [{ type: 'items', step: moved, at: event.at, first: event.first, results }];
  });
}

/** The key of the same step in another version; undefined where that has none. */
function moveKey(key: string, from: readonly StepPlan[], to: readonly StepPlan[]): StepKey | undefined {
  const [index = '', item, ...rest] = key.split('/');
  const old = /^\d+$/.test(index) ? from[Number(index)] : undefined;
  const moved = to.find((step) => step.id === old?.id && step.action.name === old.action.name);
  if (moved === undefined || old === undefined) return undefined;
  if (item === undefined) return moved.index;
  const inside = moveKey(rest.join('/'), old.each?.steps ?? [], moved.each?.steps ?? []);
  return inside === undefined ? undefined : `${moved.index}/${item}/${inside}`;
}
