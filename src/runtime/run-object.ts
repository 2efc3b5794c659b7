/**
 * A run object: the durable driver. A small pool of them holds all durable runs, each run in the object
 * that its id names.
 *
 * Guarantee: what `accept` has returned is on disk and reaches a terminal state, whatever crashes; a
 * recorded result is never computed again. The platform holds replies and outgoing requests back until
 * the writes before them are on disk, so an intent always precedes its effect.
 * Accepted weakness: an effect whose result was not yet recorded at a crash happens again, with the same
 * idempotency key, unless its class forbids that.
 */

import { DurableObject } from 'cloudflare:workers';
import { loadPlan } from './configuration.ts';
import { advance, stop, type Drive } from './drive.ts';
import { hostOf } from './host.ts';
import { openRunStore, type RunRow, type RunStore } from './run-store.ts';
import { createRun } from '../core/engine/engine.ts';
import { byStep } from '../core/engine/journal.ts';
import type { RunRecord, RunSummary } from '../core/engine/record.ts';
import type { RunResponse, RunState } from '../core/engine/state.ts';
import { recordOf, summaryOf } from '../core/engine/view.ts';
import { fault, faultOf, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { saveRuns } from '../store/runs.ts';

/** A run on its way to its object. */
export interface AcceptedRun {
  readonly id: string;
  readonly chain: string;
  readonly version: number;
  /** Unix time in milliseconds. */
  readonly receivedAt: number;
  /** {@link StoredStart} as JSON text: it crosses the call and goes to disk as it is. */
  readonly start: string;
}

/** What a caller who waits is told. The output is JSON text, so that it crosses the call unchanged. */
export interface RunAnswer {
  readonly status: 'running' | 'succeeded' | 'failed' | 'cancelled';
  readonly output: string | undefined;
  readonly fault: (Omit<Fault, 'detail' | 'data'> & { readonly step?: string }) | undefined;
  /** What `flow.fail` has for the caller, as JSON text. */
  readonly failure: string | undefined;
  readonly response: (Omit<RunResponse, 'body'> & { readonly body: string | undefined }) | undefined;
}

export class RunObject extends DurableObject<Env> {
  readonly #store: RunStore;
  /** Runs in memory, by id. A run on disk that is not here waits in `#queue`. */
  readonly #live = new Map<string, Drive>();
  readonly #queue: string[] = [];
  readonly #starting = new Set<string>();
  readonly #waiters = new Map<string, Set<(run: RunState) => void>>();
  readonly #unsaved = new Map<string, RunSummary>();
  #saving: Promise<void> | undefined;
  #alarmAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = openRunStore(ctx.storage);
    this.#recover();
  }

  /** Takes up every run on disk that has not ended, and tells D1 of what ended around the last stop. */
  #recover(): void {
    for (const id of this.#store.openRuns()) this.#enqueue(id);
    for (const summary of this.#store.endedSince(this.#store.savedUntil())) this.#unsaved.set(summary.id, summary);
    if (this.#unsaved.size > 0) this.#saveSoon();
    this.#startQueued();
  }

  accept(runs: readonly AcceptedRun[]): readonly { id: string; duplicate: boolean }[] {
    const accepted = runs.map((run) => ({ id: run.id, duplicate: !this.#store.insert(run) }));
    for (const { id, duplicate } of accepted) if (!duplicate) this.#enqueue(id);
    this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
    this.#startQueued();
    return accepted;
  }

  async acceptAndWait(run: AcceptedRun, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    // Before it is accepted: a run of steps that need not wait ends within `accept`.
    const answer = this.#answer(run.id, waitMilliseconds);
    const [accepted] = this.accept([run]);
    return accepted?.duplicate === true ? this.wait(run.id, waitMilliseconds) : answer;
  }

  /** The answer of a run, or undefined when it has none within the time. */
  async wait(id: string, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    const live = this.#live.get(id)?.run;
    if (live !== undefined && hasAnswer(live)) return answerOf(live);
    if (live === undefined && !this.#queue.includes(id) && !this.#starting.has(id)) {
      const row = this.#store.read(id);
      return row?.record === undefined ? undefined : recordedAnswer(row.record);
    }
    return this.#answer(id, waitMilliseconds);
  }

  #answer(id: string, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    const waiters = this.#waiters.get(id) ?? new Set();
    this.#waiters.set(id, waiters);
    return new Promise((resolve) => {
      const answered = (run: RunState): void => {
        clearTimeout(timer);
        resolve(answerOf(run));
      };
      const timer = setTimeout(() => {
        waiters.delete(answered);
        resolve(undefined);
      }, waitMilliseconds);
      waiters.add(answered);
    });
  }

  /** The record as JSON text; null for an unknown id. */
  read(id: string): string | null {
    const live = this.#live.get(id);
    if (live !== undefined) return JSON.stringify(recordOf(live.run));
    const row = this.#store.read(id);
    return row === undefined ? null : (row.record ?? JSON.stringify(queuedRecord(row)));
  }

  /** `ended`: it had ended before. */
  async cancel(id: string): Promise<'cancelled' | 'ended' | 'unknown'> {
    const row = this.#store.read(id);
    if (row === undefined) return 'unknown';
    if (row.endedAt !== undefined) return 'ended';
    const reason = fault('run.cancelled', 'The run was cancelled.');
    const live = this.#live.get(id);
    if (live !== undefined) stop(live, reason);
    const drive = live ?? (await this.#open(id, reason));
    return drive?.run.status === 'cancelled' ? 'cancelled' : 'ended';
  }

  /** Called each minute and at start: takes up what a lost alarm or a lost isolate left behind. */
  async sweep(): Promise<void> {
    for (const id of this.#store.openRuns()) {
      if (!this.#live.has(id) && !this.#starting.has(id) && !this.#queue.includes(id)) this.#enqueue(id);
    }
    for (const drive of this.#live.values()) advance(drive);
    this.#startQueued();
    await this.save();
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    await this.sweep();
    // Set inside its own handler, an alarm in the past would be lost.
    if (this.#live.size > 0 || this.#queue.length > 0) this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
  }

  /** Brings D1's summaries up to date; lists call it first, so that they show what has just happened. */
  async save(): Promise<void> {
    await this.#saving;
    if (this.#unsaved.size > 0) await (this.#saving = this.#saveNow());
  }

  async #saveNow(): Promise<void> {
    const batch = [...this.#unsaved.values()];
    const startedAt = Date.now();
    this.#unsaved.clear();
    try {
      await saveRuns(
        this.env.DB,
        batch.map((summary) => ({ summary })),
      );
      this.#store.setSavedUntil(startedAt);
    } catch (thrown) {
      // Runs go on while D1 is away; the next save or sweep tells it later.
      for (const summary of batch) if (!this.#unsaved.has(summary.id)) this.#unsaved.set(summary.id, summary);
      console.error('run summaries could not be saved', thrown);
    } finally {
      this.#saving = undefined;
    }
  }

  #saveSoon(): void {
    this.#saving ??= scheduler.wait(LIMITS.summaryDelayMilliseconds).then(() => this.#saveNow());
  }

  #enqueue(id: string): void {
    this.#queue.push(id);
  }

  #startQueued(): void {
    while (this.#queue.length > 0 && this.#live.size + this.#starting.size < LIMITS.runsPerObject) {
      const id = this.#queue.shift();
      if (id !== undefined) void this.#open(id);
    }
  }

  /** Brings a run into memory and drives it. A run whose plan cannot be loaded stays for the next sweep. */
  async #open(id: string, cancelled?: Fault): Promise<Drive | undefined> {
    const row = this.#store.read(id);
    if (row === undefined || row.endedAt !== undefined) return undefined;
    this.#starting.add(id);
    try {
      const loaded = loadPlan(this.env, row.chain, row.version);
      const plan = loaded instanceof Promise ? await loaded : loaded;
      // It may have been cancelled while its plan was loading.
      if (loaded instanceof Promise && this.#store.read(id)?.endedAt !== undefined) return undefined;
      const existing = this.#live.get(id);
      if (existing !== undefined) {
        if (cancelled !== undefined) stop(existing, cancelled);
        return existing;
      }
      const drive = this.#driveOf(row, createRun(plan, row.start));
      this.#live.set(id, drive);
      this.#changed(drive);
      const issues = plan.validateInput?.(row.start.input) ?? [];
      // A run that is cancelled while it waits for a place starts nothing.
      if (cancelled !== undefined) stop(drive, cancelled);
      else if (issues.length > 0) stop(drive, fault('input.invalid', issues[0]?.message ?? 'not valid', { issues }));
      else advance(drive);
      return drive;
    } catch (thrown) {
      console.error(`run ${id} could not be opened`, faultOf(thrown).detail ?? thrown);
      return undefined;
    } finally {
      this.#starting.delete(id);
    }
  }

  #driveOf(row: RunRow, run: RunState): Drive {
    const recorded = this.#store.journalOf(row.id);
    return {
      run,
      host: hostOf(this.env),
      random: Math.random,
      journal: this.#store.journal(row.id, recorded.nextSequence),
      recorded: byStep(recorded.events),
      deadline: row.createdAt + run.plan.timeoutMilliseconds,
      underWay: new Set(),
      changed: (drive) => this.#changed(drive),
      sleep: (drive, until) => this.#sleep(drive, until),
    };
  }

  #sleep(drive: Drive, until: number): void {
    const delay = Math.max(0, until - Date.now());
    // The timer is lost with the isolate, the alarm is not.
    this.#armAlarm(until);
    setTimeout(advance, delay, drive);
  }

  #changed(drive: Drive): void {
    const { run } = drive;
    const { id } = run.start;
    this.#unsaved.set(id, summaryOf(run));
    this.#saveSoon();
    if (!hasAnswer(run)) return;
    for (const answered of this.#waiters.get(id) ?? []) answered(run);
    this.#waiters.delete(id);
    if (run.status === 'running') return;
    this.#live.delete(id);
    this.#startQueued();
  }

  /** One alarm for all runs, the earliest instant that any of them needs. */
  #armAlarm(at: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at && this.#alarmAt > Date.now()) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }
}

const hasAnswer = (run: RunState): boolean => run.status !== 'running' || run.response !== undefined;

function answerOf(run: RunState): RunAnswer {
  const { response, output } = run;
  return {
    status: run.status,
    output: textOf(output),
    fault: run.status === 'failed' || run.status === 'cancelled' ? withoutPrivate(run.fault) : undefined,
    failure: failureOf(run.fault),
    response: response && {
      ...response,
      body: response.body === undefined ? undefined : JSON.stringify(response.body),
    },
  };
}

/** An upstream's reply is for the author, the data of `flow.fail` for the caller. */
const failureOf = (value: Pick<Fault, 'code' | 'data'> | undefined): string | undefined =>
  value?.code === 'run.failed' ? textOf(value.data) : undefined;

function withoutPrivate(value: Fault | undefined): RunAnswer['fault'] {
  if (value === undefined) return undefined;
  const { detail: _detail, data: _data, ...rest } = value;
  return rest;
}

/** For a caller that comes back after the end. */
function recordedAnswer(text: string): RunAnswer {
  const { steps, output, status, error } = JSON.parse(text) as RunRecord;
  const responded = steps.find((step) => step.use === 'flow.respond' && step.status === 'succeeded');
  const response = responded && (responded.output as RunResponse);
  return {
    status: status === 'succeeded' || status === 'cancelled' ? status : 'failed',
    output: textOf(output),
    fault: error && {
      ...fault(error.code, error.message),
      ...(error.issues && { issues: error.issues }),
      ...(error.step && { step: error.step }),
      ...(error.status && { status: error.status }),
    },
    failure: failureOf(error),
    response: response && { ...response, body: textOf(response.body) },
  };
}

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));

const queuedRecord = (row: RunRow): RunRecord => ({
  id: row.id,
  chain: row.chain,
  version: row.version,
  trigger: row.start.trigger,
  triggerType: row.start.event.type,
  mode: 'durable',
  status: 'queued',
  createdAt: row.createdAt,
  endedAt: row.endedAt,
  error: undefined,
  input: row.start.input,
  output: undefined,
  steps: [],
});
