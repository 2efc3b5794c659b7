/** One attempt of a step: begun, or taken from the journal, and settled. */

import type { Drive } from './drive.ts';
import { execute, type Attempt, type Outcome } from './execute.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import { begin, failAttempt, park, respond, skip, succeed, unpark } from '../core/engine/engine.ts';
import { keyOf } from '../core/engine/journal.ts';
import { retryDelay } from '../core/engine/retry.ts';
import type { StoreGuard } from './guarded-store.ts';
import type { ProviderCall } from './providers.ts';
import type { Frame, RunState } from '../core/engine/state.ts';
import { fault, FaultError, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { MaybePromise } from '../core/maybe-promise.ts';

/** Whether steps of before a restart are still to be taken from the journal. */
export const isReplaying = (drive: Drive): boolean => (drive.recorded?.size ?? 0) > 0;

/** Whether a frame starts nothing more. */
export const isBlocked = (drive: Drive, frame: Frame): boolean =>
  frame.fault !== undefined || (drive.stopping !== undefined && drive.compensation === undefined);

/** Takes what the journal knows of a step instead of running it. False where it knows nothing. */
export function replay(drive: Drive, frame: Frame, step: StepPlan): boolean {
  const { run } = drive;
  if (drive.recorded === undefined) return false;
  const key = keyOf(frame, step);
  const events = drive.recorded.get(key);
  if (events === undefined || events[0]?.type === 'opened') return false;
  drive.recorded.delete(key);
  let attempt = 0;
  let underWay = false;
  for (const event of events) {
    if (event.type === 'skipped') skip(frame, step);
    else if ('at' in event) {
      if (!underWay) attempt = begin(frame, step, event.at);
      underWay = event.type === 'started' || event.type === 'waiting';
      if (event.type === 'waiting') park(frame, step, event.wait);
      else unpark(frame, step);
      if (event.type === 'succeeded') {
        if (event.response !== undefined) respond(run, event.response);
        if (succeed(frame, step, attempt, event, event.at)) noteUndo(drive, frame, step, event.at);
      }
      if (event.type === 'failed') failAttempt(frame, step, attempt, event.fault, event.at, event.retryAt);
    }
  }
  const wait = frame.steps[step.index]?.wait;
  if (wait !== undefined) drive.waiting(drive, key, wait);
  else if (underWay) settle(drive, frame, step, attempt, { kind: 'failed', fault: interrupted(step) });
  return true;
}

/** The gateway stopped between intent and result. Only an effect that may be repeated is repeated. */
function interrupted(step: StepPlan): Fault {
  if (step.action.effect !== 'external' || step.retries.declared) {
    return fault('step.interrupted', `The gateway stopped while the step ${step.path} was under way.`);
  }
  return fault(
    'step.ambiguous',
    `The gateway stopped while the step ${step.path} was under way, and ${step.action.name} may have taken effect. ` +
      'Give the step `retries` if it may be repeated.',
  );
}

export function start(drive: Drive, frame: Frame, step: StepPlan): void {
  const call = drive.providers?.admit(drive, frame, step);
  if (call === 'waits') return;
  const attempt = new LiveAttempt(drive, frame, step, call);
  attempt.go(execute(attempt, drive.host));
}

/** An attempt under way, from its beginning to whatever ends it. */
class LiveAttempt implements Attempt {
  readonly run: RunState;
  readonly frame: Frame;
  readonly step: StepPlan;
  readonly intends: boolean;
  readonly #drive: Drive;
  readonly #startedAt: number;
  readonly #number: number;
  #call: ProviderCall | undefined;
  #controller: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(drive: Drive, frame: Frame, step: StepPlan, call: ProviderCall | undefined) {
    this.run = drive.run;
    this.frame = frame;
    this.step = step;
    this.intends = drive.journal !== undefined && step.action.effect !== 'pure';
    this.#drive = drive;
    this.#call = call;
    this.#startedAt = drive.host.now();
    this.#number = begin(frame, step, this.#startedAt);
  }

  /** The platform ends the traffic of an inline run with its request; a signal would cost a tenth of the run. */
  signal(): AbortSignal | undefined {
    if (this.#drive.journal === undefined) return undefined;
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  guard(connection: string): StoreGuard | undefined {
    const { providers, host } = this.#drive;
    return providers?.guard(connection, () => host.now(), this.step.timeoutMilliseconds);
  }

  go(outcome: MaybePromise<Outcome>): void {
    if (outcome instanceof Promise) this.#await(outcome);
    else if (outcome.kind === 'ready') {
      // It was given up while it waited for its turn to write.
      if (this.#over) return;
      const { frame, step } = this;
      this.#drive.journal?.record({ type: 'started', step: keyOf(frame, step), at: this.#startedAt });
      this.#drive.perform(() => this.go(outcome.perform()));
    } else this.#end(outcome);
  }

  #await(outcome: Promise<Outcome>): void {
    const drive = this.#drive;
    if (this.#timer === undefined) {
      // What undoes a run, or must be known to undo it, is not bound by the time that the run had.
      const isEnding = drive.stopping !== undefined || drive.run.fault !== undefined;
      const deadline = isEnding ? Infinity : drive.deadline;
      const timeLeft = Math.min(this.step.timeoutMilliseconds, deadline - this.#startedAt);
      this.#timer = setTimeout(() => this.giveUp(timeoutFault(this.step)), timeLeft);
      drive.underWay.add(this);
    }
    void outcome.then((settled) => {
      if (drive.gather === undefined) return this.go(settled);
      // What came in time is not late because the disk is busy.
      if (settled.kind !== 'ready') clearTimeout(this.#timer);
      drive.gather(() => this.go(settled));
    });
  }

  #end(outcome: Outcome): void {
    const drive = this.#drive;
    this.#over = true;
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      drive.underWay.delete(this);
    }
    if (this.#call !== undefined) drive.providers?.settle(this.#call, outcome, drive.host.now());
    this.#call = undefined;
    if (settle(drive, this.frame, this.step, this.#number, outcome) && !drive.advancing) drive.advance();
  }

  giveUp(reason: Fault): void {
    this.#controller?.abort(new FaultError(reason));
    this.#end({ kind: 'failed', fault: reason });
  }
}

const timeoutFault = (step: StepPlan): Fault =>
  fault('step.timeout', `The step ${step.path} did not end within its timeout of ${step.timeoutMilliseconds} ms.`);

/** Returns false for an attempt that is no longer under way: it was given up. */
export function settle(drive: Drive, frame: Frame, step: StepPlan, attempt: number, result: Outcome): boolean {
  const { host, journal } = drive;
  const at = host.now();
  if (result.kind === 'skipped') {
    if (!skip(frame, step)) return false;
    if (step.if?.deterministic === false) journal?.record({ type: 'skipped', step: keyOf(frame, step) });
    return true;
  }
  if (result.kind === 'opened') {
    const opened = drive.open(frame, step, result.params);
    return opened === undefined || settle(drive, frame, step, attempt, opened);
  }
  if (result.kind === 'ready') throw new Error(`${step.path} was settled before it was performed`);
  if (result.kind === 'failed') return failed(drive, frame, step, attempt, result.fault);
  // What a step waited for is recorded in the turn in which it came.
  const name = step.action.control === 'wait' ? undefined : `${keyOf(frame, step)}.${attempt}`;
  const unfit = step.pure ? undefined : journal?.check(result.success.output, name);
  if (unfit instanceof Promise) {
    settleStored(drive, frame, step, attempt, result, unfit);
    return true;
  }
  if (unfit !== undefined) return failed(drive, frame, step, attempt, unfit);
  if (!succeed(frame, step, attempt, result.success, at)) return false;
  noteUndo(drive, frame, step, at);
  if (isNews(frame, step)) journal?.record({ type: 'succeeded', step: keyOf(frame, step), at, ...result.success });
  if (result.success.response !== undefined) {
    respond(drive.run, result.success.response);
    drive.changed(drive);
  }
  return true;
}

/** Settles an attempt once its output is stored; until then it is under way, and may be given up. */
function settleStored(
  drive: Drive,
  frame: Frame,
  step: StepPlan,
  attempt: number,
  result: Outcome,
  storing: Promise<Fault | undefined>,
): void {
  const end = (outcome: Outcome): void => {
    if (!drive.underWay.delete(own)) return;
    if (settle(drive, frame, step, attempt, outcome) && !drive.advancing) drive.advance();
  };
  const own = { giveUp: (reason: Fault) => end({ kind: 'failed', fault: reason }) };
  drive.underWay.add(own);
  void storing.then((unfit) => {
    const stored = (): void => end(unfit === undefined ? result : { kind: 'failed', fault: unfit });
    if (drive.gather === undefined) stored();
    else drive.gather(stored);
  });
}

/** Whether how the step ended is for the journal. */
const isNews = (frame: Frame, step: StepPlan): boolean => !step.pure && frame.steps[step.index]?.fan?.recorded !== true;

function noteUndo(drive: Drive, frame: Frame, step: StepPlan, at: number): void {
  if (step.undo !== undefined) drive.run.undoable.push({ frame, step, at, undo: undefined });
}

function failed(drive: Drive, frame: Frame, step: StepPlan, attempt: number, reason: Fault): boolean {
  const { run, journal, host } = drive;
  const conclude = (again: unknown): boolean => {
    const at = host.now();
    // Also in a run that has failed meanwhile: a replay must not take this for the failure that ended it.
    const retryAt = again === false ? undefined : nextAttempt(drive, frame, step, reason, at);
    if (!failAttempt(frame, step, attempt, reason, at, retryAt)) return false;
    if (isNews(frame, step)) {
      const { detail: _private, ...shown } = reason;
      journal?.record({ type: 'failed', step: keyOf(frame, step), at, fault: shown, ...(retryAt && { retryAt }) });
    }
    return true;
  };
  const { if: condition } = step.retries;
  if (condition === undefined || !reason.retryable || reason.code === 'step.interrupted') return conclude(true);
  const { code, message, data } = reason;
  const scope = { ...frame.scope, error: { code, message, data: data ?? null, attempt } };
  try {
    const again = condition.evaluate(scope);
    if (!(again instanceof Promise)) return conclude(Boolean(again));
    again.then(
      (value) => conclude(Boolean(value)) && drive.advance(),
      () => conclude(false) && drive.advance(),
    );
    return run.status === 'running';
  } catch {
    // A condition that cannot be told is none that allows to repeat.
    return conclude(false);
  }
}

/** A crash of ours is no failure of the step: it uses up none of the author's retries. */
function nextAttempt(drive: Drive, frame: Frame, step: StepPlan, reason: Fault, now: number): number | undefined {
  const attempts = frame.steps[step.index]?.attempts ?? [];
  if (attempts.length >= LIMITS.stepAttempts) return undefined;
  if (reason.code === 'step.interrupted') return now;
  const failures = attempts.filter((each) => each.fault?.code !== 'step.interrupted').length;
  const delay = retryDelay(step.retries, reason, failures, drive.random());
  return delay === undefined ? undefined : now + delay;
}

/** Settles a step that waits for something outside. False when it does not wait any more. */
export function settleWaiting(drive: Drive, frame: Frame, step: StepPlan, result: Outcome): boolean {
  const attempt = frame.steps[step.index]?.attempts.length ?? 0;
  return unpark(frame, step) && settle(drive, frame, step, attempt, result);
}
