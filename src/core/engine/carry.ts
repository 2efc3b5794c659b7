/** What a new run takes over from one that failed, so that it begins at the failed step. */

import type { Plan, StepPlan } from '../chain/plan.ts';
import { byStep, type StepEvent, type StepKey } from './journal.ts';

/**
 * The events of steps that succeeded, as the journal of a new run of `to`: steps of the same place and
 * action. A step that was undone is done again.
 */
export function carryOver(events: readonly StepEvent[], from: Plan, to: Plan): StepEvent[] {
  const steps = byStep(events);
  return [...steps].flatMap(([key, own]): StepEvent[] => {
    const last = own.at(-1);
    if (last === undefined || !['succeeded', 'skipped', 'opened'].includes(last.type)) return [];
    if (steps.get(`${key}~0`)?.at(-1)?.type === 'succeeded') return [];
    const moved = moveKey(String(key), from.steps, to.steps);
    return moved === undefined || last.type === 'stopping' ? [] : [{ ...last, step: moved } as StepEvent];
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
