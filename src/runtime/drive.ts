/**
 * Drives a run through the engine: starts what is ready, settles what ended, ends the run. Inline and
 * durable runs differ only in the {@link Journal} that they pass.
 */

import { execute, type Attempt, type Outcome } from './execute.ts';
import type { ActionHost } from './action-context.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import { begin, end, failAttempt, isPassedBy, outcome, skip, succeed, takeReady, wake } from '../core/engine/engine.ts';
import { retryDelay } from '../core/engine/retry.ts';
import type { RunState } from '../core/engine/state.ts';
import { fault, FaultError, faultOf, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { StepEvent } from '../core/engine/journal.ts';

/** Where a durable run writes what happens. Everything is called before anything that depends on it. */
export interface Journal {
  record(event: StepEvent): void;
  /** Writes what was recorded; called before an effect starts and when the run pauses. */
  flush(): void;
  /** Writes what was recorded together with the end of the run. */
  end(run: RunState): void;
  /** A fault when the output may not be stored. */
  check(output: unknown): Fault | undefined;
}

export interface Drive {
  readonly run: RunState;
  readonly host: ActionHost;
  readonly journal: Journal | undefined;
  readonly random: () => number;
  /** Unix time in milliseconds after which the run fails with `run.timeout`. */
  readonly deadline: number;
  /** The run has ended, or `flow.respond` has answered; may be called twice. */
  changed(drive: Drive): void;
  /** Nothing can go on before this instant; the driver calls {@link advance} then. */
  sleep(drive: Drive, until: number): void;
  /** Gives up an attempt, for each that is under way. */
  readonly underWay: Set<(reason: Fault) => void>;
  /** What the journal knows of steps that the engine has not come to again after a restart. */
  readonly recorded: Map<number, readonly StepEvent[]> | undefined;
}

/** Starts every step that may start now; returns when all that is left is waiting. */
export function advance(drive: Drive): void {
  const { run, host } = drive;
  if (run.status !== 'running') return;
  if (host.now() >= drive.deadline) {
    stop(drive, fault('run.timeout', `The run did not end within its timeout of ${run.plan.timeoutMilliseconds} ms.`));
    return;
  }
  let next: number | undefined;
  for (;;) {
    let step = takeReady(run);
    if (step === undefined) {
      next = wake(run, host.now());
      step = takeReady(run);
    }
    if (step === undefined) break;
    if (isPassedBy(run, step)) skip(run, step);
    else if (!replay(drive, step)) start(drive, step);
  }
  const concluded = outcome(run);
  if (concluded === 'failed') finish(drive, 'failed', { fault: run.fault });
  else if (concluded === 'complete') complete(drive);
  else if (next !== undefined) drive.sleep(drive, Math.min(next, drive.deadline));
  drive.journal?.flush();
}

/** Takes what the journal knows of a step instead of running it. False where it knows nothing. */
function replay(drive: Drive, step: StepPlan): boolean {
  const { run } = drive;
  const events = drive.recorded?.get(step.index);
  if (events === undefined) return false;
  drive.recorded?.delete(step.index);
  let attempt = 0;
  let underWay = false;
  for (const event of events) {
    if (event.type === 'skipped') skip(run, step);
    else {
      if (!underWay) attempt = begin(run, step, event.at);
      underWay = event.type === 'started';
      if (event.type === 'succeeded') succeed(run, step, attempt, event, event.at);
      if (event.type === 'failed') failAttempt(run, step, attempt, event.fault, event.at, event.retryAt);
    }
  }
  if (underWay) settle(drive, step, attempt, { kind: 'failed', fault: interrupted(step) });
  return true;
}

/** The gateway stopped between intent and result. Only an effect that may be repeated is repeated. */
function interrupted(step: StepPlan): Fault {
  if (step.action.effect !== 'external' || step.retries.declared) {
    return fault('step.interrupted', `The gateway stopped while the step ${step.id} was under way.`);
  }
  return fault(
    'step.ambiguous',
    `The gateway stopped while the step ${step.id} was under way, and ${step.action.name} may have taken effect. ` +
      'Give the step `retries` if it may be repeated.',
  );
}

function start(drive: Drive, step: StepPlan): void {
  const { run, host, journal } = drive;
  const startedAt = host.now();
  const number = begin(run, step, startedAt);
  let controller: AbortController | undefined;
  const attempt: Attempt = {
    run,
    step,
    beforeEffect:
      journal === undefined || step.pure
        ? undefined
        : () => {
            journal.record({ type: 'started', step: step.index, at: startedAt });
            journal.flush();
          },
    // The platform ends the traffic of an inline run with its request; a signal would cost a tenth of the run.
    signal: () => (journal === undefined ? undefined : (controller ??= new AbortController()).signal),
  };
  const result = execute(attempt, host);
  if (!(result instanceof Promise)) {
    settle(drive, step, number, result);
    return;
  }
  const giveUp = (reason: Fault): void => {
    clearTimeout(timer);
    drive.underWay.delete(giveUp);
    controller?.abort(new FaultError(reason));
    if (settle(drive, step, number, { kind: 'failed', fault: reason })) advance(drive);
  };
  drive.underWay.add(giveUp);
  const timeLeft = Math.min(step.timeoutMilliseconds, drive.deadline - startedAt);
  const timer = setTimeout(giveUp, timeLeft, timeoutFault(step));
  void result.then((settled) => {
    clearTimeout(timer);
    drive.underWay.delete(giveUp);
    if (settle(drive, step, number, settled)) advance(drive);
  });
}

const timeoutFault = (step: StepPlan): Fault =>
  fault('step.timeout', `The step ${step.id} did not end within its timeout of ${step.timeoutMilliseconds} ms.`);

/** Returns false for an attempt that is no longer under way: it was given up. */
function settle(drive: Drive, step: StepPlan, attempt: number, result: Outcome): boolean {
  const { run, host, journal } = drive;
  const at = host.now();
  let settled = result;
  if (settled.kind === 'succeeded' && journal !== undefined && !step.pure) {
    const unfit = journal.check(settled.success.output);
    if (unfit !== undefined) settled = { kind: 'failed', fault: unfit };
  }
  if (settled.kind === 'skipped') {
    if (!skip(run, step)) return false;
    if (step.if?.deterministic === false) journal?.record({ type: 'skipped', step: step.index });
    return true;
  }
  if (settled.kind === 'succeeded') {
    if (!succeed(run, step, attempt, settled.success, at)) return false;
    if (!step.pure) journal?.record({ type: 'succeeded', step: step.index, at, ...settled.success });
    if (settled.success.response !== undefined) drive.changed(drive);
    return true;
  }
  const retryAt = nextAttempt(drive, step, settled.fault, at);
  if (!failAttempt(run, step, attempt, settled.fault, at, retryAt)) return false;
  if (!step.pure) {
    const { detail: _private, ...shown } = settled.fault;
    journal?.record({ type: 'failed', step: step.index, at, fault: shown, ...(retryAt && { retryAt }) });
  }
  return true;
}

/** A crash of ours is no failure of the step: it uses up none of the author's retries. */
function nextAttempt(drive: Drive, step: StepPlan, reason: Fault, now: number): number | undefined {
  const attempts = drive.run.steps[step.index]?.attempts ?? [];
  if (attempts.length >= LIMITS.stepAttempts) return undefined;
  if (reason.code === 'step.interrupted') return now;
  const failures = attempts.filter((attempt) => attempt.fault?.code !== 'step.interrupted').length;
  const delay = retryDelay(step.retries, reason, failures, drive.random());
  return delay === undefined ? undefined : now + delay;
}

function complete(drive: Drive): void {
  const { run } = drive;
  try {
    const output = run.plan.output?.evaluate(run.scope);
    if (!(output instanceof Promise)) return succeeded(drive, output);
    output.then(
      (value: unknown) => succeeded(drive, value),
      (thrown: unknown) => finish(drive, 'failed', { fault: faultOf(thrown) }),
    );
  } catch (thrown) {
    finish(drive, 'failed', { fault: faultOf(thrown) });
  }
}

function succeeded(drive: Drive, output: unknown): void {
  const unfit = drive.journal?.check(output);
  if (unfit === undefined) finish(drive, 'succeeded', { output });
  else finish(drive, 'failed', { fault: unfit });
}

function finish(
  drive: Drive,
  status: 'succeeded' | 'failed' | 'cancelled',
  result: { readonly output?: unknown; readonly fault?: RunState['fault'] },
): void {
  if (end(drive.run, status, drive.host.now(), result)) ended(drive);
}

function ended(drive: Drive): void {
  drive.journal?.end(drive.run);
  drive.changed(drive);
}

/** Ends the run at once, whatever is under way: `cancelled`, or `failed` with `run.timeout`. */
export function stop(drive: Drive, reason: Fault): void {
  const { run, host } = drive;
  if (!end(run, reason.code === 'run.cancelled' ? 'cancelled' : 'failed', host.now(), { fault: reason })) return;
  // Before the record is made, which would show them as running forever.
  for (const giveUp of [...drive.underWay]) giveUp(reason);
  ended(drive);
}
