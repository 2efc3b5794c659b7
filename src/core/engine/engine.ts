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
import { RANDOM } from '../expression/index.ts';
import { Bare } from '../json.ts';
import { LIMITS } from '../limits.ts';
import type { Frame, RunResponse, RunScope, RunStart, RunState, StepState, Wait } from './state.ts';

/** What a finished attempt produced. `chosen` is set by a switch, `response` by `flow.respond`. */
export interface Success {
  readonly output: unknown;
  readonly chosen?: readonly number[];
  readonly response?: RunResponse;
}

/** @param random gives numbers from 0 to 1 to the expressions of the run */
export function createRun(plan: Plan, start: RunStart, random?: () => number): RunState {
  const startedAt = start.event.receivedAt;
  const scope: RunScope = {
    trigger: namedEvent(start),
    input: start.input,
    // A prototype would let a step be read that does not exist.
    steps: new Bare(),
    run: { id: start.id, startedAt, now: startedAt },
    chain: { name: plan.name, version: start.version },
    [RANDOM]: random,
  };
  return {
    ...createFrame(plan.steps, scope, { taken: 0 }, '', '0'),
    plan,
    start,
    status: 'running',
    undoable: [],
    output: undefined,
    response: undefined,
    endedAt: undefined,
  };
}

/** The steps of a graph before any has started. */
export function createFrame(
  graph: readonly StepPlan[],
  scope: RunScope,
  places: Frame['places'],
  prefix: string,
  item: string,
): Frame {
  const steps = graph.map((step): StepState => ({
    status: 'pending',
    attempts: [],
    retryAt: 0,
    fault: undefined,
    unsettled: step.after.length,
    reached: step.after.length === 0,
    chosen: step.gates.length === 0,
    held: false,
    wait: undefined,
    fan: undefined,
  }));
  const ready = graph.filter((step) => step.after.length === 0).map((step) => step.index);
  return {
    graph,
    scope,
    steps,
    ready,
    places,
    prefix,
    item,
    active: 0,
    open: steps.length,
    fault: undefined,
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

const stateOf = (frame: Frame, step: StepPlan): StepState => {
  const state = frame.steps[step.index];
  if (state === undefined) throw new Error(`step ${step.path} is not of this frame`);
  return state;
};

/** A step that only waits for others holds none of the places that the platform has for requests. */
const holdsPlace = (step: StepPlan): boolean => !WAITING.has(step.action.control);
const WAITING: ReadonlySet<string | undefined> = new Set(['each', 'wait', 'call']);

/** Takes the next step to start, if one may start now; in a failed frame only where `replaying`. */
export function takeReady(frame: Frame, replaying = false): StepPlan | undefined {
  if (frame.ready.length === 0 || frame.places.taken >= LIMITS.concurrentSteps) return undefined;
  if (frame.fault !== undefined && !replaying) return undefined;
  const index = frame.ready.shift();
  return index === undefined ? undefined : frame.graph[index];
}

/** Whether the step was passed by: no gate chose it, or everything it waits for was skipped. */
export function isPassedBy(frame: Frame, step: StepPlan): boolean {
  const state = stateOf(frame, step);
  return !state.chosen || !state.reached;
}

/** The first answer counts. */
export function respond(run: RunState, response: RunResponse): void {
  run.response ??= response;
}

/** Lets a step under way wait for something outside of the run; its attempt stays open. */
export function park(frame: Frame, step: StepPlan, wait: Wait): boolean {
  const state = stateOf(frame, step);
  if (state.status !== 'running') return false;
  release(frame, step);
  state.status = 'waiting';
  state.wait = wait;
  state.retryAt = wait.until;
  return true;
}

/** Tells that a step parked for something outside has waited for as long as it may. */
export const isTimeUp = (frame: Frame, step: StepPlan): boolean => frame.steps[step.index]?.wait !== undefined;

/** Takes a step out of its waiting, right before it is settled. */
export function unpark(frame: Frame, step: StepPlan): boolean {
  const state = stateOf(frame, step);
  if (state.status !== 'waiting' || state.wait === undefined) return false;
  state.status = 'running';
  state.wait = undefined;
  frame.active++;
  if (holdsPlace(step)) frame.places.taken++;
  return true;
}

/** Lets a step that could start wait until then; no attempt has begun. */
export function hold(frame: Frame, step: StepPlan, until: number): boolean {
  const state = stateOf(frame, step);
  if (state.status !== 'pending') return false;
  state.status = 'waiting';
  state.held = true;
  state.retryAt = until;
  return true;
}

/** Begins an attempt and gives its number, from 1. */
export function begin(frame: Frame, step: StepPlan, now: number): number {
  const state = stateOf(frame, step);
  const attempt = state.attempts.length + 1;
  const record = { attempt, startedAt: now, endedAt: undefined, fault: undefined };
  // The first `push` to an empty array takes room for seventeen.
  if (attempt === 1) state.attempts = [record];
  else state.attempts.push(record);
  state.status = 'running';
  state.held = false;
  frame.active++;
  if (holdsPlace(step)) frame.places.taken++;
  return attempt;
}

/** Settles a step that is not to run; also one whose `if` proved false after its attempt had begun. */
export function skip(frame: Frame, step: StepPlan): boolean {
  const state = stateOf(frame, step);
  if (state.status !== 'pending' && state.status !== 'running') return false;
  if (state.status === 'running') release(frame, step);
  state.attempts = [];
  state.status = 'skipped';
  settle(frame, step, false);
  return true;
}

export function succeed(frame: Frame, step: StepPlan, attempt: number, success: Success, now: number): boolean {
  const state = endAttempt(frame, step, attempt, undefined, now);
  if (state === undefined) return false;
  state.status = 'succeeded';
  frame.scope.steps[step.id] = success.output;
  if (success.chosen !== undefined) for (const chosen of success.chosen) choose(frame, chosen);
  settle(frame, step, true);
  return true;
}

/** Ends an attempt that failed; with `retryAt` the step waits for another, without it has failed. */
export function failAttempt(
  frame: Frame,
  step: StepPlan,
  attempt: number,
  fault: Fault,
  now: number,
  retryAt: number | undefined,
): boolean {
  const state = endAttempt(frame, step, attempt, fault, now);
  if (state === undefined) return false;
  if (retryAt !== undefined) {
    state.status = 'waiting';
    state.retryAt = retryAt;
    return true;
  }
  state.status = fault.code === 'step.ambiguous' ? 'ambiguous' : 'failed';
  state.fault = fault;
  frame.scope.steps[step.id] = { error: { code: fault.code, message: fault.message, data: fault.data } };
  if (step.onError.kind === 'stop') frame.fault ??= { ...fault, step: step.path };
  if (step.onError.kind === 'step') choose(frame, step.onError.step);
  // Behind a failed step, only its error route goes on, or everything where the author wrote `continue`.
  settle(frame, step, step.onError.kind === 'continue');
  return true;
}

function endAttempt(
  frame: Frame,
  step: StepPlan,
  attempt: number,
  fault: Fault | undefined,
  now: number,
): StepState | undefined {
  const state = stateOf(frame, step);
  const current = state.attempts[attempt - 1];
  if (state.status !== 'running' || current === undefined || current.endedAt !== undefined) return undefined;
  current.endedAt = now;
  current.fault = fault;
  release(frame, step);
  return state;
}

function release(frame: Frame, step: StepPlan): void {
  frame.active--;
  if (holdsPlace(step)) frame.places.taken--;
}

function choose(frame: Frame, index: number): void {
  const state = frame.steps[index];
  if (state === undefined) return;
  state.chosen = true;
  state.reached = true;
}

function settle(frame: Frame, step: StepPlan, reached: boolean): void {
  frame.open--;
  for (const index of step.before) {
    const waiting = frame.steps[index];
    if (waiting === undefined) continue;
    waiting.unsettled--;
    waiting.reached ||= reached;
    if (waiting.unsettled === 0) frame.ready.push(index);
  }
}

/** Makes the steps whose delay is over ready again, and tells when the next one will be. */
export function wake(frame: Frame, now: number): number | undefined {
  let next: number | undefined;
  for (let index = 0; index < frame.steps.length; index++) {
    const state = frame.steps[index];
    if (state?.status !== 'waiting') continue;
    if (state.retryAt <= now) {
      // One that waits for something outside keeps its attempt, which is now over.
      if (state.wait === undefined) state.status = 'pending';
      else state.retryAt = Infinity;
      frame.ready.push(index);
    } else if (next === undefined || state.retryAt < next) next = state.retryAt;
  }
  return next;
}

/** `complete`: every step has settled; `failed`: one failed for good and nothing is under way. */
export function outcome(frame: Frame): 'complete' | 'failed' | undefined {
  if (frame.fault !== undefined) return frame.active === 0 ? 'failed' : undefined;
  return frame.open === 0 ? 'complete' : undefined;
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
  run.ready.length = 0;
  for (const state of run.steps) {
    if (state.status !== 'running' && state.status !== 'waiting') continue;
    state.status = 'failed';
    state.wait = undefined;
    state.fault = result.fault;
    const attempt = state.attempts.at(-1);
    if (attempt !== undefined && attempt.endedAt === undefined) {
      attempt.endedAt = now;
      attempt.fault = result.fault;
    }
  }
  run.endedAt = now;
  run.output = result.output;
  run.fault = result.fault;
  return true;
}
