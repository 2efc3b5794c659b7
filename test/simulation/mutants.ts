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
const OBJECT = 'src/runtime/run-object.ts';
const STORE = 'src/runtime/run-store.ts';
const ENGINE = 'src/core/engine/engine.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'an effect begins before its intent is written',
    file: DRIVE,
    text: "journal.record({ type: 'started', step: step.index, at: startedAt });\n            journal.flush();",
    replacement: "journal.record({ type: 'started', step: step.index, at: startedAt });",
  },
  {
    name: 'the result of an effect is not recorded',
    file: DRIVE,
    text: "if (!step.pure) journal?.record({ type: 'succeeded', step: step.index, at, ...settled.success });",
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
    file: DRIVE,
    text: '...(retryAt && { retryAt })',
    replacement: '',
  },
  {
    name: 'a restart does not wait for the next attempt',
    file: DRIVE,
    text: 'failAttempt(run, step, attempt, event.fault, event.at, event.retryAt)',
    replacement: 'failAttempt(run, step, attempt, event.fault, event.at, event.retryAt && event.at)',
  },
  {
    name: 'an external effect is repeated after a crash',
    file: DRIVE,
    text: "step.action.effect !== 'external' || step.retries.declared",
    replacement: 'true',
  },
  {
    name: 'what happened beside a failure is forgotten',
    file: DRIVE,
    text: '  restore(drive);\n  if (drive.stopping',
    replacement: '  if (drive.stopping',
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
    text: 'if (waiting.unsettled === 0) run.ready.push(index);',
    replacement: 'if (waiting.unsettled <= 1) run.ready.push(index);',
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
    text: ':${attempt.step.id}:0',
    replacement: ':${attempt.step.id}:${attempt.run.steps[attempt.step.index]?.attempts.length}',
  },
  {
    name: 'an idempotent effect is taken for a pure step',
    file: 'src/core/chain/steps.ts',
    text: "action.effect === 'pure' && action.control",
    replacement: "(action.effect === 'pure' || action.effect === 'idempotent') && action.control",
  },
  {
    name: 'a duplicate is accepted as new',
    file: STORE,
    text: 'return inserted.toArray().length > 0;',
    replacement: 'return inserted.toArray().length >= 0;',
  },
  {
    name: 'a restarted object finds no open runs',
    file: STORE,
    text: 'select id from runs where ended_at is null',
    replacement: 'select id from runs where ended_at < 0',
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
    text: 'if (!this.#live.has(id) && !this.#starting.has(id) && !this.#queue.includes(id)) this.#enqueue(id);',
    replacement: '',
  },
  {
    name: 'an alarm that finds no plan is the last',
    file: OBJECT,
    text: 'if (this.#store.openRuns().length > 0) this.#armAlarm',
    replacement: 'if (this.#live.size > 0 || this.#queue.length > 0) this.#armAlarm',
  },
  {
    name: 'summaries that could not be saved are dropped',
    file: OBJECT,
    text: 'for (const summary of batch) if (!this.#unsaved.has(summary.id)) this.#unsaved.set(summary.id, summary);',
    replacement: '',
  },
  {
    name: 'a run that cannot be opened is said to have ended',
    file: OBJECT,
    text: 'if (drive === undefined && this.#store.read(id)?.endedAt === undefined) {',
    replacement: 'if (drive !== undefined && this.#store.read(id) === undefined) {',
  },
];
