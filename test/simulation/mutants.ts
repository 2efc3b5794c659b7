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
const STORE = 'src/runtime/run-store.ts';
const ENGINE = 'src/core/engine/engine.ts';

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
    text: "if (!step.pure) journal?.record({ type: 'succeeded', step: keyOf(frame, step), at, ...result.success });",
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
    text: '  restore(drive);\n  if (run.plan.undoes',
    replacement: '  if (run.plan.undoes',
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
    text: 'idempotencyKeyOf(attempt.run, attempt.frame, attempt.step),',
    replacement:
      '`${idempotencyKeyOf(attempt.run, attempt.frame, attempt.step)}${attempt.frame.steps[attempt.step.index]?.attempts.length}`,',
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
    file: OBJECT,
    text: 'void this.ctx.storage.setAlarm(at);',
    replacement: '',
  },
  {
    name: 'the sweep takes up nothing',
    file: OBJECT,
    text: 'if (wakeAt <= now) this.#enqueue(id);',
    replacement: 'if (wakeAt < 0) this.#enqueue(id);',
  },
  {
    name: 'an alarm that finds no plan is the last',
    file: OBJECT,
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
    file: OBJECT,
    text: 'if (this.#store.read(id)?.endedAt === undefined) throw',
    replacement: "if (id === '') throw",
  },
  {
    name: 'a cancel leaves out a run that another has opened',
    file: OBJECT,
    text: 'if (drive.stopping === undefined) stop(drive, reason);',
    replacement: '',
  },
];
