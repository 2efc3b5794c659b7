/** What comes of the items of a `flow.each`, and of them all. */

import type { Outcome } from './execute.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import type { Fan, ItemError } from '../core/engine/state.ts';
import { fault, type Fault } from '../core/errors.ts';

export const STOPPED = fault('run.cancelled', 'The item was not finished, because the fan-out had failed.');

export const itemError = ({ code, message, data }: Fault): ItemError => ({
  code,
  message,
  ...(data === undefined ? {} : { data }),
});

/** How a `flow.each` ends, none of whose items are under way any more. */
export function concluded(step: StepPlan, fan: Fan, stopped: Fault | undefined): Outcome {
  const errors = fan.errors.toSorted((a, b) => a.index - b.index);
  const [first] = fan.errors;
  const unfinished = fan.stopped || fan.cut === true || fan.next < fan.items.length;
  if (stopped !== undefined && unfinished && first === undefined) return { kind: 'failed', fault: stopped };
  if (first !== undefined && fan.onItemError !== 'continue') {
    const message = `${step.path}: ${errors.length} of ${fan.items.length} items failed; item ${first.index}: ${first.error.message}`;
    const data = { count: fan.items.length, results: fan.results, errors };
    return { kind: 'failed', fault: fault('step.items-failed', message, { data }) };
  }
  return { kind: 'succeeded', success: { output: { count: fan.items.length, results: fan.results, errors } } };
}
