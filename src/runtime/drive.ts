/**
 * Drives a run through the engine: starts what is ready, settles what ended, ends the run. Inline and
 * durable runs differ only in the {@link Journal} that they pass.
 */

import type { ActionHost } from './action-context.ts';
import { isBlocked, isReplaying, replay, start } from './attempt.ts';
import { isTrue, type Outcome } from './execute.ts';
import { advanceItem, openFan, type Item } from './fan-out.ts';
import type { Providers } from './providers.ts';
import { compensate, type Compensation } from './undo.ts';
import { beginCall, beginWait, timeUp } from './waits.ts';
import { advanceWide, concludeWide, type WideFan } from './wide.ts';
import type { StepsQueue } from './steps-queue.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import { end, isPassedBy, isTimeUp, outcome, skip, takeReady, wake } from '../core/engine/engine.ts';
import { keyOf, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import type { Frame, RunState, Wait } from '../core/engine/state.ts';
import { fault, faultOf, type ErrorCode, type Fault } from '../core/errors.ts';

/** Where a durable run writes what happens. Everything is called before anything that depends on it. */
export interface Journal {
  record(event: StepEvent): void;
  /** Writes what was recorded; called before an effect starts and when the run pauses. */
  flush(): void;
  /** Writes what was recorded together with the end of the run. */
  end(run: RunState): void;
  /**
   * A fault when the output may not be stored; a promise while it is stored outside of the journal, under that
   * name, and before it is recorded. Without a name it is not.
   */
  check(output: unknown, name?: string): Fault | Promise<Fault | undefined> | undefined;
}

/** What a run needs of its driver. */
export interface DriveOptions {
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
  /** Does work whose result will be written, together with that of other runs where this saves writes. */
  readonly gather: ((work: () => void) => void) | undefined;
  /** Where steps wait for a provider that is paused. */
  readonly providers?: Providers;
  /** A step waits for something outside; called again for it after a restart. */
  waiting(drive: Drive, key: StepKey, wait: Wait): void;
  /** Through which other isolates get items of a wide `flow.each`; without it all are run here. */
  readonly steps?: StepsQueue | undefined;
  /** What the journal knows of steps that the engine has not come to again after a restart. */
  readonly recorded: Map<StepKey, readonly StepEvent[]> | undefined;
}

export interface Drive extends DriveOptions {
  /** Attempts that can be given up. */
  readonly underWay: Set<{ giveUp(reason: Fault): void }>;
  /** Items of `flow.each` that are under way. */
  readonly items: Map<Frame, Item>;
  /** Those whose items other isolates run. */
  readonly wides: Map<StepKey, WideFan>;
  /** Why the run is to end once what is under way has ended and what it did is undone. */
  stopping: Fault | undefined;
  /** Why the run is to stop once what it did before a restart is known again. */
  stopsOnceRestored: Fault | undefined;
  compensation: Compensation | undefined;
  /** Starts nothing; what is under way ends. */
  paused: boolean;
  advancing: boolean;
  /** Something became ready in a frame that was looked at already. */
  again: boolean;
  /** Effects of this turn, which begin once all their intents are written together. */
  readonly effects: (() => void)[];
  advance(): void;
  /** Does it when what was recorded is written. */
  perform(effect: () => void): void;
  /** Carries out an action that steers the run; an outcome where there is nothing to wait for. */
  open(frame: Frame, step: StepPlan, params: unknown): Outcome | undefined;
}

export function createDrive(options: DriveOptions): Drive {
  const drive: Drive = {
    ...options,
    underWay: new Set(),
    items: new Map(),
    wides: new Map(),
    effects: [],
    stopping: undefined,
    stopsOnceRestored: undefined,
    compensation: undefined,
    paused: false,
    advancing: false,
    again: false,
    advance: () => advance(drive),
    perform: (effect) => {
      if (drive.advancing) drive.effects.push(effect);
      else {
        drive.journal?.flush();
        effect();
      }
    },
    open: (frame, step, params) => {
      if (step.action.control === 'each') return openFan(drive, frame, step, params);
      return (step.action.control === 'wait' ? beginWait : beginCall)(drive, frame, step, params);
    },
  };
  return drive;
}

/** Starts every step that may start now; returns when all that is left is waiting. */
export function advance(drive: Drive): void {
  const { run, host, journal } = drive;
  if (run.status !== 'running') return;
  if (drive.advancing) {
    drive.again = true;
    return;
  }
  restore(drive);
  if (drive.stopsOnceRestored !== undefined) return stop(drive, drive.stopsOnceRestored);
  if (run.fault === undefined && drive.stopping === undefined && host.now() >= drive.deadline) {
    const reason = `The run did not end within its timeout of ${run.plan.timeoutMilliseconds} ms.`;
    stop(drive, fault('run.timeout', reason));
    return;
  }
  drive.advancing = true;
  let next: number | undefined;
  do {
    drive.again = false;
    next = advanceFrame(drive, run);
    if (drive.items.size > 0) {
      for (const item of drive.items.values()) next = earlier(next, advanceItem(drive, item, advanceFrame));
    }
    if (drive.wides.size > 0) {
      for (const wide of drive.wides.values()) next = earlier(next, advanceWide(drive, wide));
    }
    // Whoever stopped it was told so, whatever failed meanwhile.
    if (drive.stopping !== undefined && run.active === 0) run.fault = drive.stopping;
    const concluded = outcome(run);
    if (concluded === 'complete') complete(drive);
    else if (concluded === 'failed' && !holdsUndoing(drive)) next = compensate(drive, advanceFrame, fail) ?? next;
    performAll(drive);
  } while (drive.again && run.status === 'running');
  drive.advancing = false;
  // A run that leaves the memory is on disk before.
  journal?.flush();
  if (run.status !== 'running') return;
  if (drive.paused && drive.underWay.size === 0) drive.sleep(drive, Infinity);
  else if (next !== undefined) {
    // One that is ending anyway has no deadline to wake for.
    const isEnding = run.fault !== undefined || drive.stopping !== undefined;
    drive.sleep(drive, isEnding ? next : Math.min(next, drive.deadline));
  }
}

/** While a run is paused, attempts that a restart interrupted are not known yet, and may have to be undone too. */
const holdsUndoing = ({ paused, compensation, run }: Drive): boolean =>
  paused && compensation === undefined && run.plan.undoes;

function performAll(drive: Drive): void {
  if (drive.effects.length === 0) return;
  drive.journal?.flush();
  for (const effect of drive.effects.splice(0)) effect();
  // Those that gave their result at once may have made others ready.
  drive.again = true;
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** Starts what may start in one frame; returns when the next of its steps is due. */
function advanceFrame(drive: Drive, frame: Frame): number | undefined {
  let next: number | undefined;
  // What was done before a restart must be known before it can be undone, also where a step has failed.
  const replaying = isReplaying(drive);
  const evenIfFailed = replaying || drive.run.plan.undoes;
  let held: number[] | undefined;
  for (;;) {
    let step = takeReady(frame, evenIfFailed);
    if (step === undefined) {
      next = wake(frame, drive.host.now());
      step = takeReady(frame, evenIfFailed);
    }
    if (step === undefined) break;
    if (isTimeUp(frame, step)) timeUp(drive, frame, step);
    else if (isPassedBy(frame, step)) skip(frame, step);
    else if (replay(drive, frame, step)) continue;
    else if (replaying && isLeftOut(frame, step)) skip(frame, step);
    else if (drive.paused && !(replaying && isToldAgain(drive, frame, step))) (held ??= []).push(step.index);
    else if (mayStart(drive, frame, step, replaying)) start(drive, frame, step);
  }
  if (held !== undefined) frame.ready.push(...held);
  return next;
}

/**
 * In a frame that starts nothing more, what leads to recorded steps is computed again; and an attempt that a
 * restart interrupted is repeated where it can be undone, since it may have taken effect.
 */
function mayStart(drive: Drive, frame: Frame, step: StepPlan, replaying: boolean): boolean {
  if (!isBlocked(drive, frame) || (replaying && isToldAgain(drive, frame, step))) return true;
  return step.undo !== undefined && frame.steps[step.index]?.attempts.at(-1)?.fault?.code === 'step.interrupted';
}

/** Whether it begins nothing that was not there before the restart: it is computed, or its items are recorded. */
const isToldAgain = (drive: Drive, frame: Frame, step: StepPlan): boolean =>
  step.pure || drive.recorded?.get(keyOf(frame, step))?.[0]?.type === 'opened';

/** By its `if`, which no journal holds where it can be told again. */
function isLeftOut(frame: Frame, { if: condition, pure }: StepPlan): boolean {
  if (pure || condition?.deterministic !== true) return false;
  try {
    const value = condition.evaluate(frame.scope);
    return !(value instanceof Promise) && !isTrue(value);
  } catch {
    return false;
  }
}

function complete(drive: Drive): void {
  const { run } = drive;
  try {
    const output = run.plan.output?.evaluate(run.scope);
    if (!(output instanceof Promise)) return succeeded(drive, output);
    output.then(
      (value: unknown) => succeeded(drive, value),
      (thrown: unknown) => failed(drive, faultOf(thrown)),
    );
  } catch (thrown) {
    failed(drive, faultOf(thrown));
  }
}

function succeeded(drive: Drive, output: unknown): void {
  const unfit = drive.journal?.check(output, 'output');
  if (unfit instanceof Promise) {
    void unfit.then((late) => (late === undefined ? succeeded(drive, output) : failed(drive, late)));
  } else if (unfit !== undefined) failed(drive, unfit);
  else if (end(drive.run, 'succeeded', drive.host.now(), { output })) ended(drive);
}

/** The output could not be made: the run fails like by a step, and undoes what it did. */
function failed(drive: Drive, reason: Fault): void {
  if (drive.run.status !== 'running') return;
  drive.run.fault ??= reason;
  drive.again = true;
  advance(drive);
}

/** Ends a run that has a fault and undoes nothing any more. */
function fail(drive: Drive): void {
  const { run, host } = drive;
  if (end(run, statusFor(run.fault), host.now(), { fault: run.fault })) ended(drive);
}

const CANCELLED: ReadonlySet<ErrorCode | undefined> = new Set(['run.cancelled', 'run.dropped', 'run.superseded']);
const statusFor = (reason: Fault | undefined): 'cancelled' | 'failed' =>
  CANCELLED.has(reason?.code) ? 'cancelled' : 'failed';

function ended(drive: Drive): void {
  drive.journal?.end(drive.run);
  drive.changed(drive);
}

/**
 * Stops the run: `cancelled`, or `failed` with `run.timeout`. At once, whatever is under way; but where it
 * may have something to undo, it first lets what is under way end, since that may have to be undone too.
 */
export function stop(drive: Drive, reason: Fault): void {
  const { run, host, journal } = drive;
  if (run.status !== 'running') return;
  restore(drive);
  // Steps of before a restart may be behind it.
  if (isReplaying(drive) && isComputing(drive)) {
    drive.stopsOnceRestored ??= reason;
    return;
  }
  drive.stopsOnceRestored = undefined;
  if (run.plan.undoes && journal !== undefined) {
    if (isBlocked(drive, run)) return;
    const { detail: _private, ...shown } = reason;
    journal.record({ type: 'stopping', step: 'run', at: host.now(), fault: shown });
    drive.stopping = reason;
    drive.paused = false;
    advance(drive);
    return;
  }
  run.fault = reason;
  if (!end(run, statusFor(reason), host.now(), { fault: reason })) return;
  // Before the record is made, which would show them as running forever.
  for (const attempt of [...drive.underWay]) attempt.giveUp(reason);
  ended(drive);
}

/** Whether something is computed that takes its time: a pure step, the list of a fan-out, the output of an item. */
export function isComputing({ run, items }: Drive): boolean {
  const computes = ({ graph, steps }: Frame): boolean =>
    graph.some(({ index, pure, action }) => {
      const state = steps[index];
      if (state?.status !== 'running') return false;
      return action.control === 'each' ? state.fan === undefined : pure && action.control === undefined;
    });
  return [run, ...items.keys()].some(computes) || [...items.values()].some((item) => item.ending);
}

/**
 * Brings back what the journal knows before anything else is decided: also a run that is stopped or has no
 * time left shows what it has done, and one that was stopping goes on stopping.
 */
function restore(drive: Drive): void {
  const { run, paused, recorded } = drive;
  if (recorded === undefined || drive.advancing || run.status !== 'running' || !isReplaying(drive)) return;
  const [event] = recorded.get('run') ?? [];
  if (event?.type === 'stopping') {
    recorded.delete('run');
    drive.stopping = event.fault;
  }
  drive.advancing = true;
  drive.paused = true;
  for (let before = Infinity; recorded.size < before;) {
    before = recorded.size;
    advanceFrame(drive, run);
    for (const item of drive.items.values()) advanceItem(drive, item, advanceFrame);
    for (const wide of drive.wides.values()) concludeWide(drive, wide);
  }
  drive.paused = paused;
  drive.advancing = false;
}
