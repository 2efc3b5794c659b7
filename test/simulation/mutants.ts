/**
 * Defects that the simulator must find, each one replacement in production source. Where the text is no
 * longer there, loading fails: then the mutant is moved to where the promise is now kept.
 */

export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly text: string;
  readonly replacement: string;
}

const DRIVE = 'src/runtime/drive.ts';
const ATTEMPT = 'src/runtime/attempt.ts';
const OBJECT = 'src/runtime/run-object.ts';
const POOL = 'src/runtime/run-pool.ts';
const STORE = 'src/runtime/run-store.ts';
const ENGINE = 'src/core/engine/engine.ts';
const FAN = 'src/runtime/fan-out.ts';
const WAITS = 'src/runtime/waits.ts';
const UNDO = 'src/runtime/undo.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'an effect begins before its intent is written',
    file: DRIVE,
    text: '  drive.journal?.flush();\n  for (const effect',
    replacement: '  for (const effect',
  },
  {
    name: 'the result of an effect is not recorded',
    file: ATTEMPT,
    text: "if (isNews(frame, step)) journal?.record({ type: 'succeeded', step: keyOf(frame, step), at, ...result.success });",
    replacement: '',
  },
  {
    name: 'the end of a run is not written',
    file: DRIVE,
    text: 'drive.journal?.end(drive.run);',
    replacement: '',
  },
  {
    name: 'a failure forgets when it is to be tried again',
    file: ATTEMPT,
    text: '...(retryAt && { retryAt })',
    replacement: '',
  },
  {
    name: 'a restart does not wait for the next attempt',
    file: ATTEMPT,
    text: 'failAttempt(frame, step, attempt, event.fault, event.at, event.retryAt)',
    replacement: 'failAttempt(frame, step, attempt, event.fault, event.at, event.retryAt && event.at)',
  },
  {
    name: 'an external effect is repeated after a crash',
    file: ATTEMPT,
    text: "step.action.effect !== 'external' || step.retries.declared",
    replacement: 'true',
  },
  {
    name: 'a run that is stopped forgets what it has done',
    file: DRIVE,
    text: '  restore(drive);\n  // Steps of before a restart may be behind it.\n  if (isReplaying(drive) && isComputing(drive)) {\n    drive.stopsOnceRestored ??= reason;\n    return;\n  }',
    replacement: '',
  },
  {
    name: 'a late result is let through',
    file: ENGINE,
    text: "if (state.status !== 'running' || current === undefined || current.endedAt !== undefined) return undefined;",
    replacement: 'if (current === undefined) return undefined;',
  },
  {
    name: 'a join does not wait for its last step',
    file: ENGINE,
    text: 'if (waiting.unsettled === 0) frame.ready.push(index);',
    replacement: 'if (waiting.unsettled <= 1) frame.ready.push(index);',
  },
  {
    name: 'Retry-After is not obeyed',
    file: 'src/core/engine/retry.ts',
    text: 'Math.max(Math.round(spread), asked)',
    replacement: 'Math.round(spread)',
  },
  {
    name: 'the attempt is part of the idempotency key',
    file: 'src/runtime/action-context.ts',
    text: 'return idempotencyKeyOf(run, frame, step);',
    replacement: 'return `${idempotencyKeyOf(run, frame, step)}${frame.steps[step.index]?.attempts.length}`;',
  },
  {
    name: 'an idempotent effect is taken for a pure step',
    file: 'src/core/chain/step.ts',
    text: "action.effect === 'pure' && action.control",
    replacement: "(action.effect === 'pure' || action.effect === 'idempotent') && action.control",
  },
  {
    name: 'a duplicate is accepted as new',
    file: OBJECT,
    text: 'return { id, duplicate };',
    replacement: 'return { id, duplicate: false };',
  },
  {
    name: 'a restarted object finds no open runs',
    file: STORE,
    text: 'from runs where ended_at is null order',
    replacement: 'from runs where ended_at < 0 order',
  },
  {
    name: 'the end of a run may be earlier than what is saved',
    file: STORE,
    text: '(latest = Math.max(latest, milliseconds))',
    replacement: '(latest = milliseconds)',
  },
  {
    name: 'no alarm is set',
    file: 'src/runtime/alarm.ts',
    text: 'void this.#storage.setAlarm(this.#at);',
    replacement: '',
  },
  {
    name: 'the sweep takes up nothing',
    file: POOL,
    text: 'if (wakeAt <= now) this.enqueue(id);',
    replacement: 'if (wakeAt < 0) this.enqueue(id);',
  },
  {
    name: 'an alarm that finds no plan is the last',
    file: POOL,
    text: '!paused && (wakeAt <= now || wakeAt === Infinity)',
    replacement: '!paused && wakeAt < 0',
  },
  {
    name: 'summaries that could not be saved are dropped',
    file: 'src/runtime/summaries.ts',
    text: 'for (const summary of batch) if (!this.#unsaved.has(summary.id)) this.#unsaved.set(summary.id, summary);',
    replacement: '',
  },
  {
    name: 'a run that cannot be opened is said to have ended',
    file: POOL,
    text: 'if (row !== undefined && row.endedAt === undefined)',
    replacement: "if (id === '')",
  },
  {
    name: 'a cancel leaves out a run that another has opened',
    file: OBJECT,
    text: 'if (drive.stopping === undefined) stop(drive, reason);',
    replacement: '',
  },
  {
    name: 'the list of a flow.each is made anew after a restart',
    file: FAN,
    text: 'const kept = step.pure ? {} : { params: given };',
    replacement: 'const kept = {};',
  },
  {
    name: 'a flow.each has one item more under way than it may',
    file: FAN,
    text: 'fan.active < fan.concurrency',
    replacement: 'fan.active <= fan.concurrency',
  },
  {
    name: 'a flow.each that stops goes on with the next item',
    file: FAN,
    text: "if (fan.onItemError === 'stop') fan.stopped = true;",
    replacement: '',
  },
  {
    name: 'a wait is not recorded',
    file: WAITS,
    text: "drive.journal?.record({ type: 'waiting', step: key, at: drive.host.now(), wait });",
    replacement: '',
  },
  {
    name: 'a second decision counts',
    file: OBJECT,
    text: "return drive !== undefined && deliver(drive, step, { kind: 'succeeded', success: { output: decision } });",
    replacement:
      "return drive !== undefined && (deliver(drive, step, { kind: 'succeeded', success: { output: decision } }) || true);",
  },
  {
    name: 'what is opened for an event has not computed yet where it waits',
    file: 'src/runtime/live-run.ts',
    text: 'turn < COMPUTING_TURNS && isComputing(drive)',
    replacement: 'turn < 0',
  },
  {
    name: 'a run is undone in the order of its plan',
    file: UNDO,
    text: 'drive.run.undoable.toSorted(order)',
    replacement: 'drive.run.undoable.toSorted(order).reverse()',
  },
  {
    name: 'what was undone is not noted',
    file: ATTEMPT,
    text: 'if (step.undo !== undefined) drive.run.undoable.push({ frame, step, at, undo: undefined });',
    replacement:
      'if (step.undo !== undefined && drive.recorded === undefined) drive.run.undoable.push({ frame, step, at, undo: undefined });',
  },
  {
    name: 'a run that is out of time has no time to be undone',
    file: ATTEMPT,
    text: 'const deadline = isEnding ? Infinity : drive.deadline;',
    replacement: 'const { deadline } = drive;',
  },
  {
    name: 'a pause does not hold',
    file: DRIVE,
    text: 'else if (drive.paused && !(replaying && isToldAgain(drive, frame, step))) (held ??= []).push(step.index);',
    replacement: '',
  },
  {
    name: 'a run that was parked goes on beside the one that took its place',
    file: POOL,
    text: 'if (this.live.get(drive.run.start.id) === drive) drive.advance();',
    replacement: 'drive.advance();',
  },
  {
    name: 'a run that goes on is still waiting after a restart',
    file: STORE,
    text: 'events = events || char(10) || ?, wake_at = 0 where',
    replacement: 'events = events || char(10) || ? where',
  },
  {
    name: 'concurrency lets one run more through',
    file: 'src/core/policy/gates.ts',
    text: 'gate.active < gate.limit',
    replacement: 'gate.active <= gate.limit',
  },
  {
    name: 'a restarted object forgets which runs had their turn',
    file: 'src/core/policy/admission.ts',
    text: "if (gate.kind === 'slots') gate.active++;\n        else gate.waiting--;",
    replacement: "if (gate.kind !== 'slots') gate.waiting--;",
  },
  {
    name: 'the order of runs is by priority alone',
    file: 'src/core/policy/gates.ts',
    text: 'a.priority === b.priority ? a.sequence < b.sequence',
    replacement: 'a.priority === b.priority ? a.sequence > b.sequence',
  },
  {
    name: 'an idempotency key is forgotten once its run is on disk',
    file: 'src/runtime/flow.ts',
    text: 'this.#marks.write(key, id, now + flow.idempotency.periodMilliseconds);',
    replacement: '',
  },
  {
    name: 'a paused provider is called all the same',
    file: 'src/core/policy/breaker.ts',
    text: 'if (now < breaker.until) return { pass: undefined, until: breaker.until };',
    replacement: '',
  },
  {
    name: 'a result is taken twice',
    file: ENGINE,
    text: "if (state.status !== 'waiting' || state.wait === undefined) return false;",
    replacement: "if (state.status !== 'waiting' && state.status !== 'succeeded') return false;",
  },
  {
    name: 'a call is another one each time',
    file: 'src/runtime/calls.ts',
    text: "      trigger: 'chain',\n      event,\n      input,\n      dedupeKey: key,",
    replacement: "      trigger: 'chain',\n      event,\n      input,",
  },
];
