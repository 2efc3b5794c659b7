/** Whether the items of a `flow.each` can be run by other isolates, and what these must be told. */

import type { StepPlan } from './plan.ts';
import { LIMITS } from '../limits.ts';

/** What of a run the items of a `flow.each` may read. */
export interface Reads {
  readonly input: boolean;
  readonly trigger: boolean;
  /** Ids of the steps outside; undefined: any of them. */
  readonly steps: readonly string[] | undefined;
}

export interface Portability {
  /** Its steps have effects, and none of them must stay with the run. */
  readonly portable: boolean;
  /** One of its effects must not be repeated, since the author has not allowed it. */
  readonly once: boolean;
  readonly reads: Reads;
}

const MOVABLE: ReadonlySet<string | undefined> = new Set([undefined, 'switch', 'fail']);

/**
 * @param written the steps and the output of an item as they stand in the document
 * @param refersTo ids of the steps outside that their expressions name; `*` among them: all
 */
export function portabilityOf(steps: readonly StepPlan[], written: unknown, refersTo: readonly string[]): Portability {
  // What is random is journaled before anything depends on it, which only the object can do.
  const isMovable = ({ action, pure, undo, timeoutMilliseconds }: StepPlan): boolean =>
    MOVABLE.has(action.control) &&
    undo === undefined &&
    (pure || action.effect !== 'pure') &&
    timeoutMilliseconds <= LIMITS.wideStepLongestMilliseconds;
  const text = JSON.stringify(written);
  // A context variable, a wildcard, a JSONPath, `$eval` or an escape may reach what it does not name in clear text.
  const readsAnything = /\$(?![A-Za-z_])|\$eval|\*|%|\\u/.test(text);
  return {
    portable: steps.every(isMovable) && steps.some(({ action }) => action.effect !== 'pure'),
    once: steps.some(({ action, retries }) => action.effect === 'external' && !retries.declared),
    reads: {
      input: readsAnything || text.includes('input'),
      trigger: readsAnything || text.includes('trigger'),
      steps: readsAnything || refersTo.includes('*') ? undefined : refersTo,
    },
  };
}
