/**
 * The journal of a durable run: what cannot be computed again. A row of it holds the events of one
 * turn as JSON, so that a result and the next intent cost one write.
 *
 * Pure steps are not in it. Replaying is running the engine again with the outcomes of the others
 * taken from here.
 */

import type { Fault } from '../errors.ts';
import type { RunResponse } from './state.ts';

export type StepEvent =
  /** The intent: from here on the effect may have happened. */
  | { readonly type: 'started'; readonly step: number; readonly at: number }
  | {
      readonly type: 'succeeded';
      readonly step: number;
      readonly at: number;
      readonly output: unknown;
      readonly chosen?: readonly number[];
      readonly response?: RunResponse;
    }
  | {
      readonly type: 'failed';
      readonly step: number;
      readonly at: number;
      readonly fault: Fault;
      readonly retryAt?: number;
    }
  | { readonly type: 'skipped'; readonly step: number };

/** The events of each step, in their order. */
export function byStep(events: Iterable<StepEvent>): Map<number, StepEvent[]> {
  const steps = new Map<number, StepEvent[]>();
  for (const event of events) {
    const known = steps.get(event.step);
    if (known === undefined) steps.set(event.step, [event]);
    else known.push(event);
  }
  return steps;
}
