/**
 * The journal of a durable run: what cannot be computed again. A row of it holds the events of one
 * turn as JSON, so that a result and the next intent cost one write.
 *
 * Pure steps are not in it. Replaying is running the engine again with the outcomes of the others
 * taken from here.
 */

import type { Plan, StepPlan } from '../chain/plan.ts';
import type { Fault } from '../errors.ts';
import type { Frame, ItemResult, RunResponse, RunState, Wait } from './state.ts';

/** A step in the journal: its index, behind the prefix of its frame where that is not the chain's own. */
export type StepKey = number | string;

/** An output that is kept outside of the journal. */
export interface BlobReference {
  readonly key: string;
  /** Its JSON, before it is packed. */
  readonly bytes: number;
  readonly gzip?: boolean;
}

export type StepEvent =
  /** The intent: from here on the effect may have happened. */
  | { readonly type: 'started'; readonly step: StepKey; readonly at: number }
  | {
      readonly type: 'succeeded';
      readonly step: StepKey;
      readonly at: number;
      readonly output: unknown;
      readonly chosen?: readonly number[];
      readonly response?: RunResponse;
      /** Where the output is, and `output` is null, in the journal itself. */
      readonly blob?: BlobReference;
    }
  | {
      readonly type: 'failed';
      readonly step: StepKey;
      readonly at: number;
      readonly fault: Fault;
      readonly retryAt?: number;
    }
  | { readonly type: 'skipped'; readonly step: StepKey }
  | { readonly type: 'waiting'; readonly step: StepKey; readonly at: number; readonly wait: Wait }
  /**
   * A `flow.each`: its parameters, where they would be others the next time, and into ranges of how many
   * items it is divided, where other isolates run them.
   */
  | {
      readonly type: 'opened';
      readonly step: StepKey;
      readonly at: number;
      readonly params?: unknown;
      readonly range?: number;
    }
  /** Somebody is about to run the items of a range, which must not be run again. */
  | {
      readonly type: 'claimed';
      readonly step: StepKey;
      readonly at: number;
      readonly first: number;
      readonly epoch: number;
    }
  /** What came of items of a range. Its claim is over, unless there is more to come. */
  | {
      readonly type: 'items';
      readonly step: StepKey;
      readonly at: number;
      readonly first: number;
      readonly results: readonly ItemResult[];
      readonly more?: boolean;
    }
  /** The run is to end in this way once what it did is undone. */
  | { readonly type: 'stopping'; readonly step: 'run'; readonly at: number; readonly fault: Fault };

/** What a step of a frame is called in the journal. */
export const keyOf = (frame: Frame, step: StepPlan): StepKey =>
  frame.prefix === '' ? step.index : `${frame.prefix}${step.index}`;

/** The step that the journal calls so: `<step>/<item>/<step inside>/…`. */
export function stepAt(plan: Plan, key: StepKey | undefined): StepPlan | undefined {
  let steps: readonly StepPlan[] = plan.steps;
  let found: StepPlan | undefined;
  for (const [position, index] of String(key ?? '')
    .split('/')
    .entries()) {
    if (position % 2 === 1) continue;
    found = steps[Number.parseInt(index, 10)];
    steps = found?.each?.steps ?? [];
  }
  return found;
}

/** `run:step:item`, the same for every attempt. */
export const idempotencyKeyOf = (run: RunState, frame: Frame, step: StepPlan): string =>
  `${run.start.id}:${step.path}:${frame.item}`;

/** The events of each step, in their order. */
export function byStep(events: Iterable<StepEvent>): Map<StepKey, StepEvent[]> {
  const steps = new Map<StepKey, StepEvent[]>();
  for (const event of events) {
    const known = steps.get(event.step);
    if (known === undefined) steps.set(event.step, [event]);
    else known.push(event);
  }
  return steps;
}
