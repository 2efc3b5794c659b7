/**
 * The engine: a state machine over a plan. It reads no clock and does no I/O; a driver starts the
 * steps that {@link ready} names, and tells what became of them. Both drivers, inline and durable,
 * go through the same transitions, and replaying a journal is making them again.
 *
 * Transitions are monotonic: a settled step never changes, and what comes for an attempt that is
 * not under way is refused (`false`), whoever sends it.
 */

import type { Plan, StepPlan } from '../chain/plan.ts';
import type { Fault } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import type { RunResponse, RunScope, RunStart, RunState, StepState } from './state.ts';

/** What a finished attempt produced. `chosen` is set by a switch, `response` by `flow.respond`. */
export interface Success {
  readonly output: unknown;
  readonly chosen?: readonly number[];
  readonly response?: RunResponse;
}

export function createRun(plan: Plan, start: RunStart): RunState {
  const startedAt = start.event.receivedAt;
  const scope: RunScope = {
    trigger: namedEvent(start),
    input: start.input,
    // A prototype would let a step be read that does not exist.
    steps: Object.create(null) as Record<string, unknown>,
    run: { id: start.id, startedAt, now: startedAt },
    chain: { name: plan.name, version: start.version },
  };
  const steps = plan.steps.map((step): StepState => ({
    status: 'pending',
    attempts: [],
    retryAt: 0,
    fault: undefined,
    unsettled: step.after.length,
    reached: step.after.length === 0,
    chosen: step.gates.length === 0,
  }));
  const ready = plan.steps.filter((step) => step.after.length === 0).map((step) => step.index);
  return {
    plan,
    start,
    scope,
    steps,
    ready,
    status: 'running',
    active: 0,
    open: steps.length,
    fault: undefined,
    output: undefined,
    response: undefined,
    endedAt: undefined,
  };
}

/** The event may compute its fields on demand, so it is extended rather than copied. */
function namedEvent(start: RunStart): RunScope['trigger'] {
  return Object.defineProperty(start.event, 'name', {
    value: start.trigger,
    enumerable: true,
    configurable: true,
  }) as RunScope['trigger'];
}

const stateOf = (run: RunState, step: StepPlan): StepState => {
  const state = run.steps[step.index];
  if (state === undefined) throw new Error(`step ${step.id} is not of this plan`);
  return state;
};

/** Takes the next step to start, if one may start now. */
export function takeReady(run: RunState): StepPlan | undefined {
  if (run.fault !== undefined || run.status !== 'running' || run.active >= LIMITS.concurrentSteps) return undefined;
  const index = run.ready.shift();
  return index === undefined ? undefined : run.plan.steps[index];
}

/** Whether the step was passed by: no gate chose it, or everything it waits for was skipped. */
export function isPassedBy(run: RunState, step: StepPlan): boolean {
  const state = stateOf(run, step);
  return !state.chosen || !state.reached;
}

/** Begins an attempt and gives its number, from 1. */
export function begin(run: RunState, step: StepPlan, now: number): number {
  const state = stateOf(run, step);
  const attempt = state.attempts.length + 1;
  state.attempts.push({ attempt, startedAt: now, endedAt: undefined, fault: undefined });
  state.status = 'running';
  run.active++;
  return attempt;
}

/** Settles a step that is not to run; also one whose `if` proved false after its attempt had begun. */
export function skip(run: RunState, step: StepPlan): boolean {
  const state = stateOf(run, step);
  if (state.status !== 'pending' && state.status !== 'running') return false;
  if (state.status === 'running') run.active--;
  state.attempts = [];
  state.status = 'skipped';
  settle(run, step, false);
  return true;
}

export function succeed(run: RunState, step: StepPlan, attempt: number, success: Success, now: number): boolean {
  const state = endAttempt(run, step, attempt, undefined, now);
  if (state === undefined) return false;
  state.status = 'succeeded';
  run.scope.steps[step.id] = success.output;
  if (success.response !== undefined) run.response ??= success.response;
  for (const chosen of success.chosen ?? []) choose(run, chosen);
  settle(run, step, true);
  return true;
}

/** Ends an attempt that failed; with `retryAt` the step waits for another, without it has failed. */
export function failAttempt(
  run: RunState,
  step: StepPlan,
  attempt: number,
  fault: Fault,
  now: number,
  retryAt: number | undefined,
): boolean {
  const state = endAttempt(run, step, attempt, fault, now);
  if (state === undefined) return false;
  if (retryAt !== undefined) {
    state.status = 'waiting';
    state.retryAt = retryAt;
    return true;
  }
  state.status = fault.code === 'step.ambiguous' ? 'ambiguous' : 'failed';
  state.fault = fault;
  run.scope.steps[step.id] = { error: { code: fault.code, message: fault.message, data: fault.data } };
  if (step.onError.kind === 'stop') run.fault ??= { ...fault, step: step.id };
  if (step.onError.kind === 'step') choose(run, step.onError.step);
  // Behind a failed step, only its error route goes on, or everything where the author wrote `continue`.
  settle(run, step, step.onError.kind === 'continue');
  return true;
}

function endAttempt(
  run: RunState,
  step: StepPlan,
  attempt: number,
  fault: Fault | undefined,
  now: number,
): StepState | undefined {
  const state = stateOf(run, step);
  const current = state.attempts[attempt - 1];
  if (state.status !== 'running' || current === undefined || current.endedAt !== undefined) return undefined;
  current.endedAt = now;
  current.fault = fault;
  run.active--;
  return state;
}

function choose(run: RunState, index: number): void {
  const state = run.steps[index];
  if (state === undefined) return;
  state.chosen = true;
  state.reached = true;
}

function settle(run: RunState, step: StepPlan, reached: boolean): void {
  run.open--;
  for (const index of step.before) {
    const waiting = run.steps[index];
    if (waiting === undefined) continue;
    waiting.unsettled--;
    waiting.reached ||= reached;
    if (waiting.unsettled === 0) run.ready.push(index);
  }
}

/** Makes the steps whose delay is over ready again, and tells when the next one will be. */
export function wake(run: RunState, now: number): number | undefined {
  let next: number | undefined;
  run.steps.forEach((state, index) => {
    if (state.status !== 'waiting') return;
    if (state.retryAt <= now) {
      state.status = 'pending';
      run.ready.push(index);
    } else if (next === undefined || state.retryAt < next) next = state.retryAt;
  });
  return next;
}

/** `complete`: every step has settled; `failed`: one failed for good and nothing is under way. */
export function outcome(run: RunState): 'complete' | 'failed' | undefined {
  if (run.fault !== undefined) return run.active === 0 ? 'failed' : undefined;
  return run.open === 0 ? 'complete' : undefined;
}

/** Ends the run. A second end is refused: one terminal state, whoever races. */
export function end(
  run: RunState,
  status: 'succeeded' | 'failed' | 'cancelled',
  now: number,
  result: { readonly output?: unknown; readonly fault?: RunState['fault'] },
): boolean {
  if (run.status !== 'running') return false;
  run.status = status;
  run.endedAt = now;
  run.output = result.output;
  run.fault = result.fault;
  return true;
}
