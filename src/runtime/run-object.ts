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
import { answerOf, hasAnswer, storedAnswer, type RunAnswer } from './answers.ts';
import { wholeRecord } from './blobs.ts';
import { loadPlan } from './configuration.ts';
import { stop } from './drive.ts';
import type { Outcome } from './execute.ts';
import { computed, queuedSummary, queuedRecord, type Live } from './live-run.ts';
import { retentionMilliseconds } from './retention.ts';
import { RunPool } from './run-pool.ts';
import { startOf, type AcceptedRun, type StoredStart } from './run-store.ts';
import { BUSY } from './shards.ts';
import type { StepsMessage } from './steps-queue.ts';
import { deliver } from './waits.ts';
import { claimItems, deliverItems, giveUpItems, type ClaimRequest, type Delivered, type ItemsClaim } from './wide.ts';
import type { StepKey } from '../core/engine/journal.ts';
import { recordOf } from '../core/engine/view.ts';
import { fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export class RunObject extends DurableObject<Env> {
  readonly #pool: RunPool;
  #prunedAt = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#pool = new RunPool(ctx, env);
  }

  /** Resolves when the runs are written. Those that arrive while the disk is busy share the next write. */
  async accept(runs: readonly AcceptedRun[]): Promise<readonly { id: string; duplicate: boolean }[]> {
    if (this.#pool.isBusy() && runs.some((run) => !this.#pool.knows(this.#pool.flow.firstOf(run) ?? run.id)))
      throw new Error(BUSY);
    let written: Promise<void> | undefined;
    let failure: unknown;
    const accepted = runs.map((run) => {
      const id = this.#pool.flow.firstOf(run) ?? run.id;
      const duplicate = id !== run.id || this.#pool.knows(id);
      // Nobody is told of a run that is not written, neither by its first delivery nor by its second.
      if (!duplicate) {
        this.#pool.arriving.add(id);
        this.#pool.flow.arrives(run);
        written = this.#pool.turns.do(() => (failure ??= this.#arrive(run)));
      } else if (this.#pool.arriving.has(id)) written = this.#pool.turns.do(() => {});
      return { id, duplicate };
    });
    await written;
    // One that was accepted long ago may have left the object since.
    failure ??=
      accepted.find(({ id }, index) => id === runs[index]?.id && !this.#pool.knows(id)) &&
      new Error('the run could not be written');
    if (failure !== undefined) throw failure;
    return accepted;
  }

  /** What went wrong where the run is not on disk. */
  #arrive(run: AcceptedRun): unknown {
    this.#pool.arriving.delete(run.id);
    const failure = this.#pool.attempt(run.id, () => this.#take(run));
    this.#pool.armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
    if (this.#pool.store.has(run.id)) return undefined;
    this.#pool.flow.lost(run);
    return failure;
  }

  /** Drives a run that just arrived; its first turn and its row are one write. */
  #take(run: AcceptedRun): void {
    const offered = this.#pool.flow.offer(run);
    const journal = this.#pool.store.create(offered === undefined ? run : { ...run, flow: offered.flow });
    if (offered?.waits === true) {
      journal.flush();
      this.#pool.parked.set(run.id, { wakeAt: Infinity, paused: false });
      const row = this.#pool.store.read(run.id);
      if (row !== undefined) this.#pool.summaries.note(queuedSummary(row));
      return offered.settle();
    }
    offered?.settle();
    const plan = loadPlan(this.env, run.chain, run.version);
    const isLoading = plan instanceof Promise || run.carried?.some((event) => 'blob' in event);
    if (plan instanceof Promise || isLoading === true || this.#pool.live.size >= LIMITS.runsPerObject) {
      journal.flush();
      // It is loaded again when the run is opened; here a rejection has nobody who waits for it.
      if (plan instanceof Promise) plan.catch(() => {});
      this.#pool.enqueue(run.id);
      this.#pool.startQueued();
      return;
    }
    const stored = JSON.parse(run.start) as StoredStart;
    const start = startOf(run.id, run.version, stored);
    this.#pool.begin(
      this.#pool.driveOf(plan, start, run.receivedAt, stored.parent, { events: run.carried ?? [], journal }),
    );
  }

  async acceptAndWait(run: AcceptedRun, waitMilliseconds: number): Promise<AnsweredRun> {
    const id = this.#pool.flow.firstOf(run) ?? run.id;
    if (id !== run.id || this.#pool.knows(id)) return { id, answer: await this.wait(id, waitMilliseconds) };
    // Before it is accepted: a run of steps that need not wait ends within `accept`.
    const answer = this.#pool.waiters.add(id, waitMilliseconds);
    await this.accept([run]);
    return { id, answer: await answer };
  }

  /** The answer of a run, or undefined when it has none within the time. */
  async wait(id: string, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    const live = this.#pool.live.get(id)?.run;
    if (live !== undefined && hasAnswer(live)) return answerOf(live);
    if (live === undefined && !this.#pool.arriving.has(id) && !this.#pool.parked.has(id)) {
      const row = this.#pool.store.read(id);
      const record = row === undefined ? await this.#archivedRecord(id) : row.record;
      return record === undefined ? undefined : storedAnswer(this.#pool.blobs, record);
    }
    return this.#pool.waiters.add(id, waitMilliseconds);
  }

  /** The record as JSON text, which may refer to outputs in R2; null for an unknown id. */
  async read(id: string): Promise<string | null> {
    const row = this.#pool.live.has(id) ? undefined : this.#pool.store.read(id);
    if (row?.record !== undefined) return row.record;
    // A run that waits is computed from its journal, and goes on waiting.
    const drive = this.#pool.live.get(id) ?? (this.#pool.isFull() ? undefined : await this.#pool.open(id));
    if (drive !== undefined) return JSON.stringify(recordOf(drive.run));
    const now = this.#pool.store.read(id);
    return now === undefined
      ? ((await this.#archivedRecord(id)) ?? null)
      : (now.record ?? JSON.stringify(queuedRecord(now)));
  }

  async #archivedRecord(id: string): Promise<string | undefined> {
    const archived = await this.#pool.archive?.find(id);
    return archived && JSON.stringify(archived.record);
  }

  /** Streams a run, whose id is the path, as it goes on; 404 for an unknown one. */
  override async fetch(request: Request): Promise<Response> {
    const id = new URL(request.url).pathname.slice(1);
    const text = await this.read(id);
    if (text === null) return new Response(null, { status: 404 });
    const live = this.#pool.live.get(id);
    return this.#pool.hub.open(
      request,
      live === undefined ? await wholeRecord(this.#pool.blobs, text) : recordOf(live.run),
    );
  }

  /** `ended`: it had ended before. Where it has something to undo, it ends once that is done. */
  async cancel(id: string): Promise<'cancelled' | 'ended' | 'unknown'> {
    const reason = fault('run.cancelled', 'The run was cancelled.');
    if (!this.#pool.knows(id)) return 'unknown';
    const live = this.#pool.live.get(id);
    if (live !== undefined) stop(live, reason);
    this.#pool.flow.cancel(id, reason);
    const drive = live ?? (await this.#pool.reach(id, (opened) => stop(opened, reason)));
    if (drive === undefined) return 'ended';
    // Another may have opened it meanwhile, and driven it on.
    if (drive.stopping === undefined) stop(drive, reason);
    if (drive.stopsOnceRestored !== undefined) await computed(drive);
    if (!drive.paused) this.#pool.store.setPaused(id, false);
    // One that is out of time ends as failed, once it is undone.
    const stops = (drive.stopping ?? drive.stopsOnceRestored)?.code === reason.code;
    return stops || drive.run.status === 'cancelled' ? 'cancelled' : 'ended';
  }

  /** How a run began and what its journal holds; for a run that is to be repeated. */
  async journalOf(id: string): Promise<{ readonly start: string; readonly events: string } | undefined> {
    const row = this.#pool.store.read(id);
    const archived = row === undefined ? await this.#pool.archive?.find(id) : undefined;
    const start = row?.start ?? (archived && startOf(id, archived.record.version, archived.start));
    if (start === undefined) return undefined;
    const { trigger, event, input } = start;
    return {
      start: JSON.stringify({ trigger, event, input }),
      events: JSON.stringify(archived?.journal.flat() ?? this.#pool.store.resume(id).events),
    };
  }

  /** Starts no further step until {@link resume}. False for a run that has ended. */
  async pause(id: string): Promise<boolean> {
    if (this.#pool.flow.isWaiting(id)) {
      this.#pool.store.setPaused(id, true);
      return true;
    }
    const drive = await this.#pool.reach(id, (opened) => (opened.paused = true));
    if (drive === undefined) return false;
    drive.paused = true;
    this.#pool.store.setPaused(id, true);
    drive.advance();
    return true;
  }

  async resume(id: string): Promise<boolean> {
    if (this.#pool.flow.isWaiting(id)) {
      this.#pool.store.setPaused(id, false);
      return true;
    }
    const drive = await this.#pool.reach(id);
    if (drive === undefined) return false;
    drive.paused = false;
    this.#pool.store.setPaused(id, false);
    drive.advance();
    return true;
  }

  /** Gives an event to the runs that wait for it; returns how many did. */
  async deliverEvent(event: string, key: string | undefined, data: unknown): Promise<number> {
    let delivered = 0;
    let failure: unknown;
    for (const { run, step } of this.#pool.store.waitsFor(event, key)) {
      const drive = await this.#pool.reach(run).catch((thrown: unknown) => void (failure ??= thrown));
      // It goes on waiting, and the sender comes again; those that have the event do not take it twice.
      if (drive === undefined && failure !== undefined) continue;
      const output = { event, key: key ?? null, data: data ?? null, receivedAt: Date.now() };
      const isTaken = drive !== undefined && deliver(drive, step, { kind: 'succeeded', success: { output } });
      // In one write with its result: a crash loses neither or both.
      if (isTaken || drive === undefined) this.#pool.store.removeWait(event, run, step);
      if (isTaken) delivered++;
    }
    if (failure !== undefined) throw failure;
    return delivered;
  }

  /** Decides a waiting approval, once. */
  async decide(id: string, step: StepKey, decision: Decision): Promise<boolean> {
    const drive = await this.#pool.reach(id);
    return drive !== undefined && deliver(drive, step, { kind: 'succeeded', success: { output: decision } });
  }

  /** A chain that a run called has ended. */
  async childEnded(id: string, step: StepKey, outcome: Outcome): Promise<void> {
    await this.#pool.settle(id, step, outcome);
  }

  /** Gives items of a `flow.each` to a consumer; see `wide.ts`. */
  claimItems(request: ClaimRequest): Promise<string | null> {
    return this.#withRun(request.run, null, (drive) => claimItems(drive, request));
  }

  /** Resolves when what came of them is written; false where nobody wants it. */
  deliverItems(claim: ItemsClaim, delivered: string): Promise<boolean> {
    return this.#withRun(claim.run, false, (drive) => deliverItems(drive, claim, JSON.parse(delivered) as Delivered));
  }

  /** Settles items as failed whose message could not be worked on. */
  giveUpItems(message: StepsMessage): Promise<boolean> {
    return this.#withRun(message.run, false, (drive) => giveUpItems(drive, message));
  }

  /** @param ended what is returned for a run that has ended, or that nobody knows */
  async #withRun<T>(id: string, ended: T, work: (drive: Live) => T): Promise<T> {
    const drive = await this.#pool.reach(id);
    if (drive === undefined) return ended;
    let result = ended;
    let failure: unknown;
    await this.#pool.turns.do(() => (failure = this.#pool.attempt(id, () => (result = work(drive)))));
    if (failure !== undefined) throw failure;
    return result;
  }

  /** Called each minute and at start: takes up what a lost alarm or a lost isolate left behind. */
  async sweep(): Promise<void> {
    this.#pool.wakeDue();
    for (const drive of this.#pool.live.values()) drive.advance();
    this.#pool.startQueued();
    await this.#pool.summaries.saveDue();
    await this.#pool.archive?.sweep();
    this.#prune();
  }

  override async alarm(): Promise<void> {
    this.#pool.alarmFired();
    await this.sweep();
    this.#pool.armLease();
  }

  /** Brings D1's summaries up to date; lists call it first, so that they show what has just happened. */
  save(): Promise<void> {
    return this.#pool.summaries.save();
  }

  #prune(): void {
    const now = Date.now();
    if (now - this.#prunedAt < LIMITS.pruneMilliseconds) return;
    this.#prunedAt = now;
    this.#pool.store.prune(now - retentionMilliseconds(this.env));
    this.#pool.flow.prune();
  }
}

/** What an approver said. */
export interface Decision {
  readonly approved: boolean;
  readonly by: string | null;
  readonly comment: string | null;
  /** Unix time in milliseconds. */
  readonly at: number;
}

interface AnsweredRun {
  /** That of an earlier run, where this one is the same by its idempotency key. */
  readonly id: string;
  readonly answer: RunAnswer | undefined;
}
