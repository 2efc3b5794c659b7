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
import { Archive } from './archive.ts';
import { answerOf, hasAnswer, recordedAnswer, type RunAnswer } from './answers.ts';
import { blobsOf, wholeRecord, type Blobs, type Loaded } from './blobs.ts';
import { callChain, startFailureChain, tellParent } from './calls.ts';
import { loadPlan } from './configuration.ts';
import { createDrive, stop, type Drive, type Journal } from './drive.ts';
import type { Outcome } from './execute.ts';
import { FlowControl } from './flow.ts';
import { hostOf } from './host.ts';
import { LiveHub } from './live.ts';
import { tellOutage } from './outages.ts';
import { endHolds, Providers } from './providers.ts';
import {
  openRunStore,
  startOf,
  type AcceptedRun,
  type Parent,
  type RunRow,
  type RunStore,
  type StoredStart,
} from './run-store.ts';
import { retentionMilliseconds } from './retention.ts';
import { BUSY } from './shards.ts';
import { Summaries } from './summaries.ts';
import { Turns } from './turns.ts';
import { Waiters } from './waiters.ts';
import { deliver } from './waits.ts';
import { stepsQueue, type StepsMessage } from './steps-queue.ts';
import { claimItems, deliverItems, giveUpItems, type ClaimRequest, type Delivered, type ItemsClaim } from './wide.ts';
import type { Plan } from '../core/chain/plan.ts';
import { createRun } from '../core/engine/engine.ts';
import { byStep, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import type { RunRecord, RunSummary } from '../core/engine/record.ts';
import type { Frame, RunStart, Wait } from '../core/engine/state.ts';
import { recordOf, summaryOf } from '../core/engine/view.ts';
import { fault, faultOf } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

/** What is known of a run that is not in memory. */
interface Parked {
  wakeAt: number;
  paused: boolean;
}

interface Live extends Drive {
  readonly parent: Parent | undefined;
  /** When it is to go on, where it waits; `Infinity` while it is paused. */
  sleepsUntil: number;
  /** Somebody has opened it and may have something for it. */
  held: boolean;
}

export class RunObject extends DurableObject<Env> {
  readonly #blobs: Blobs | undefined;
  readonly #store: RunStore;
  readonly #archive: Archive | undefined;
  readonly #summaries: Summaries;
  /** Runs in memory, by id. */
  readonly #live = new Map<string, Live>();
  /** Runs on disk that wait for a place in memory. */
  readonly #queue: string[] = [];
  /** Runs on disk that wait for a time, for something from outside, or for their plan. */
  readonly #parked = new Map<string, Parked>();
  /** Runs that have arrived and are not on disk yet. */
  readonly #arriving = new Set<string>();
  readonly #waiters = new Waiters();
  readonly #hub: LiveHub;
  readonly #providers: Providers;
  readonly #turns: Turns;
  readonly #flow: FlowControl;
  #starting = false;
  #alarmAt: number | undefined;
  #prunedAt = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#blobs = blobsOf(env);
    this.#store = openRunStore(ctx.storage, {
      blobs: this.#blobs,
      ended: (run) => this.#archive?.note(run),
      spareRow: () => this.#archive?.spareRow(),
    });
    this.#archive =
      env.BLOBS &&
      new Archive({
        sql: ctx.storage.sql,
        bucket: env.BLOBS,
        name: ctx.id.name ?? ctx.id.toString(),
        savedUntil: () => this.#store.savedUntil(),
        retentionMilliseconds: retentionMilliseconds(env),
      });
    this.#hub = new LiveHub(ctx);
    this.#providers = new Providers(
      (runs) => queueMicrotask(() => this.#release(runs)),
      (news) => ctx.waitUntil(tellOutage(env.DB, news)),
    );
    this.#turns = new Turns(() => ctx.storage.sync());
    this.#summaries = new Summaries(env.DB, this.#store);
    this.#flow = new FlowControl(ctx.storage.sql, {
      start: (id, flow) => {
        this.#store.setFlow(id, flow);
        this.#enqueue(id);
        this.#startQueued();
      },
      end: (id) => this.#endBy(id),
      wakeAt: (at) => this.#wakeFlowAt(at),
    });
    this.#recover();
  }

  /** Takes up every run on disk that has not ended, and tells others of what ended around the last stop. */
  #recover(): void {
    const open = this.#store.openRuns();
    for (const { id, wakeAt, paused } of open) this.#parked.set(id, { wakeAt, paused });
    this.#flow.restore(open.flatMap(({ id, flow }) => (flow === undefined ? [] : [{ id, flow }])));
    for (const { id, paused } of open) if (this.#flow.isWaiting(id)) this.#parked.set(id, { wakeAt: Infinity, paused });
    for (const summary of this.#store.endedSince(this.#store.savedUntil())) {
      this.#summaries.note(summary);
      const row = this.#store.read(summary.id);
      if (row?.record === undefined) continue;
      if (row.parent !== undefined) this.#tellParent(row.parent, this.#recordedAnswer(row.record));
      if (summary.status === 'failed') this.#failed(JSON.parse(row.record) as RunRecord);
    }
    this.#wakeDue();
  }

  /** Resolves when the runs are written. Those that arrive while the disk is busy share the next write. */
  async accept(runs: readonly AcceptedRun[]): Promise<readonly { id: string; duplicate: boolean }[]> {
    if (this.#isBusy() && runs.some((run) => !this.#knows(this.#flow.firstOf(run) ?? run.id))) throw new Error(BUSY);
    let written: Promise<void> | undefined;
    let failure: unknown;
    const accepted = runs.map((run) => {
      const id = this.#flow.firstOf(run) ?? run.id;
      const duplicate = id !== run.id || this.#knows(id);
      // Nobody is told of a run that is not written, neither by its first delivery nor by its second.
      if (!duplicate) {
        this.#arriving.add(id);
        this.#flow.arrives(run);
        written = this.#turns.do(() => (failure ??= this.#arrive(run)));
      } else if (this.#arriving.has(id)) written = this.#turns.do(() => {});
      return { id, duplicate };
    });
    await written;
    // One that was accepted long ago may have left the object since.
    failure ??=
      accepted.find(({ id }, index) => id === runs[index]?.id && !this.#knows(id)) &&
      new Error('the run could not be written');
    if (failure !== undefined) throw failure;
    return accepted;
  }

  /** What went wrong where the run is not on disk. */
  #arrive(run: AcceptedRun): unknown {
    this.#arriving.delete(run.id);
    const failure = this.#attempt(run.id, () => this.#take(run));
    this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
    if (this.#store.has(run.id)) return undefined;
    this.#flow.lost(run);
    return failure;
  }

  #knows(id: string): boolean {
    return this.#arriving.has(id) || this.#live.has(id) || this.#parked.has(id) || this.#store.has(id);
  }

  /** The other runs of a turn are not to suffer from one that cannot be written; the next sweep takes it up. */
  #attempt(id: string, work: () => void): unknown {
    try {
      work();
      return undefined;
    } catch (thrown) {
      console.error(`run ${id} could not go on`, thrown);
      this.#live.delete(id);
      if (this.#store.has(id)) this.#parked.set(id, { wakeAt: 0, paused: false });
      return thrown;
    }
  }

  /** Drives a run that just arrived; its first turn and its row are one write. */
  #take(run: AcceptedRun): void {
    const offered = this.#flow.offer(run);
    const journal = this.#store.create(offered === undefined ? run : { ...run, flow: offered.flow });
    if (offered?.waits === true) {
      journal.flush();
      this.#parked.set(run.id, { wakeAt: Infinity, paused: false });
      const row = this.#store.read(run.id);
      if (row !== undefined) this.#summaries.note(queuedSummary(row));
      return offered.settle();
    }
    offered?.settle();
    const plan = loadPlan(this.env, run.chain, run.version);
    const isLoading = plan instanceof Promise || run.carried?.some((event) => 'blob' in event);
    if (plan instanceof Promise || isLoading === true || this.#live.size >= LIMITS.runsPerObject) {
      journal.flush();
      // It is loaded again when the run is opened; here a rejection has nobody who waits for it.
      if (plan instanceof Promise) plan.catch(() => {});
      this.#enqueue(run.id);
      this.#startQueued();
      return;
    }
    const stored = JSON.parse(run.start) as StoredStart;
    const start = startOf(run.id, run.version, stored);
    this.#begin(this.#driveOf(plan, start, run.receivedAt, stored.parent, { events: run.carried ?? [], journal }));
  }

  async acceptAndWait(run: AcceptedRun, waitMilliseconds: number): Promise<AnsweredRun> {
    const id = this.#flow.firstOf(run) ?? run.id;
    if (id !== run.id || this.#knows(id)) return { id, answer: await this.wait(id, waitMilliseconds) };
    // Before it is accepted: a run of steps that need not wait ends within `accept`.
    const answer = this.#waiters.add(id, waitMilliseconds);
    await this.accept([run]);
    return { id, answer: await answer };
  }

  /** The answer of a run, or undefined when it has none within the time. */
  async wait(id: string, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    const live = this.#live.get(id)?.run;
    if (live !== undefined && hasAnswer(live)) return answerOf(live);
    if (live === undefined && !this.#arriving.has(id) && !this.#parked.has(id)) {
      const row = this.#store.read(id);
      const record = row === undefined ? await this.#archivedRecord(id) : row.record;
      return record === undefined ? undefined : this.#recordedAnswer(record);
    }
    return this.#waiters.add(id, waitMilliseconds);
  }

  async #recordedAnswer(record: string): Promise<RunAnswer> {
    return recordedAnswer(await wholeRecord(this.#blobs, record));
  }

  /** The record as JSON text, which may refer to outputs in R2; null for an unknown id. */
  async read(id: string): Promise<string | null> {
    const row = this.#live.has(id) ? undefined : this.#store.read(id);
    if (row?.record !== undefined) return row.record;
    // A run that waits is computed from its journal, and goes on waiting.
    const drive = this.#live.get(id) ?? (this.#isFull() ? undefined : await this.#open(id));
    if (drive !== undefined) return JSON.stringify(recordOf(drive.run));
    const now = this.#store.read(id);
    return now === undefined
      ? ((await this.#archivedRecord(id)) ?? null)
      : (now.record ?? JSON.stringify(queuedRecord(now)));
  }

  async #archivedRecord(id: string): Promise<string | undefined> {
    const archived = await this.#archive?.find(id);
    return archived && JSON.stringify(archived.record);
  }

  /** Streams a run, whose id is the path, as it goes on; 404 for an unknown one. */
  override async fetch(request: Request): Promise<Response> {
    const id = new URL(request.url).pathname.slice(1);
    const text = await this.read(id);
    if (text === null) return new Response(null, { status: 404 });
    const live = this.#live.get(id);
    return this.#hub.open(request, live === undefined ? await wholeRecord(this.#blobs, text) : recordOf(live.run));
  }

  /** `ended`: it had ended before. Where it has something to undo, it ends once that is done. */
  async cancel(id: string): Promise<'cancelled' | 'ended' | 'unknown'> {
    const reason = fault('run.cancelled', 'The run was cancelled.');
    if (!this.#knows(id)) return 'unknown';
    const live = this.#live.get(id);
    if (live !== undefined) stop(live, reason);
    this.#flow.cancel(id, reason);
    const drive = live ?? (await this.#reach(id, (opened) => stop(opened, reason)));
    if (drive === undefined) return 'ended';
    // Another may have opened it meanwhile, and driven it on.
    if (drive.stopping === undefined) stop(drive, reason);
    if (drive.stopsOnceRestored !== undefined) await computed(drive);
    if (!drive.paused) this.#store.setPaused(id, false);
    // One that is out of time ends as failed, once it is undone.
    const stops = (drive.stopping ?? drive.stopsOnceRestored)?.code === reason.code;
    return stops || drive.run.status === 'cancelled' ? 'cancelled' : 'ended';
  }

  /** How a run began and what its journal holds; for a run that is to be repeated. */
  async journalOf(id: string): Promise<{ readonly start: string; readonly events: string } | undefined> {
    const row = this.#store.read(id);
    const archived = row === undefined ? await this.#archive?.find(id) : undefined;
    const start = row?.start ?? (archived && startOf(id, archived.record.version, archived.start));
    if (start === undefined) return undefined;
    const { trigger, event, input } = start;
    return {
      start: JSON.stringify({ trigger, event, input }),
      events: JSON.stringify(archived?.journal.flat() ?? this.#store.resume(id).events),
    };
  }

  /** Starts no further step until {@link resume}. False for a run that has ended. */
  async pause(id: string): Promise<boolean> {
    if (this.#flow.isWaiting(id)) {
      this.#store.setPaused(id, true);
      return true;
    }
    const drive = await this.#reach(id, (opened) => (opened.paused = true));
    if (drive === undefined) return false;
    drive.paused = true;
    this.#store.setPaused(id, true);
    drive.advance();
    return true;
  }

  async resume(id: string): Promise<boolean> {
    if (this.#flow.isWaiting(id)) {
      this.#store.setPaused(id, false);
      return true;
    }
    const drive = await this.#reach(id);
    if (drive === undefined) return false;
    drive.paused = false;
    this.#store.setPaused(id, false);
    drive.advance();
    return true;
  }

  /** Gives an event to the runs that wait for it; returns how many did. */
  async deliverEvent(event: string, key: string | undefined, data: unknown): Promise<number> {
    let delivered = 0;
    let failure: unknown;
    for (const { run, step } of this.#store.waitsFor(event, key)) {
      const drive = await this.#reach(run).catch((thrown: unknown) => void (failure ??= thrown));
      // It goes on waiting, and the sender comes again; those that have the event do not take it twice.
      if (drive === undefined && failure !== undefined) continue;
      const output = { event, key: key ?? null, data: data ?? null, receivedAt: Date.now() };
      const isTaken = drive !== undefined && deliver(drive, step, { kind: 'succeeded', success: { output } });
      // In one write with its result: a crash loses neither or both.
      if (isTaken || drive === undefined) this.#store.removeWait(event, run, step);
      if (isTaken) delivered++;
    }
    if (failure !== undefined) throw failure;
    return delivered;
  }

  /** Decides a waiting approval, once. */
  async decide(id: string, step: StepKey, decision: Decision): Promise<boolean> {
    const drive = await this.#reach(id);
    return drive !== undefined && deliver(drive, step, { kind: 'succeeded', success: { output: decision } });
  }

  /** A chain that a run called has ended. */
  async childEnded(id: string, step: StepKey, outcome: Outcome): Promise<void> {
    const drive = await this.#open(id);
    if (drive !== undefined) deliver(drive, step, outcome);
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
    const drive = await this.#open(id);
    if (drive === undefined) {
      const row = this.#store.read(id);
      if (row !== undefined && row.endedAt === undefined) throw new Error(`${id} cannot be opened now; try again`);
      return ended;
    }
    let result = ended;
    let failure: unknown;
    await this.#turns.do(() => (failure = this.#attempt(id, () => (result = work(drive)))));
    if (failure !== undefined) throw failure;
    return result;
  }

  /** Called each minute and at start: takes up what a lost alarm or a lost isolate left behind. */
  async sweep(): Promise<void> {
    this.#wakeDue();
    for (const drive of this.#live.values()) drive.advance();
    this.#startQueued();
    await this.#summaries.saveDue();
    await this.#archive?.sweep();
    this.#prune();
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = undefined;
    // First of all: where this ends in the middle, an alarm that a run has set for later must not be the only one.
    this.#armLease();
    await this.sweep();
    this.#armLease();
  }

  /** Comes back soon while there is something to do. */
  #armLease(): void {
    // Set inside its own handler, an alarm in the past would be lost.
    const now = Date.now();
    // One whose plan is being loaded, or could not be, is neither live nor queued.
    const isDue = ({ wakeAt, paused }: Parked): boolean => !paused && (wakeAt <= now || wakeAt === Infinity);
    if (this.#live.size > 0 || this.#queue.length > 0 || [...this.#parked.values()].some(isDue)) {
      this.#armAlarm(now + LIMITS.runLeaseMilliseconds);
    }
  }

  /** Brings D1's summaries up to date; lists call it first, so that they show what has just happened. */
  save(): Promise<void> {
    return this.#summaries.save();
  }

  #prune(): void {
    const now = Date.now();
    if (now - this.#prunedAt < LIMITS.pruneMilliseconds) return;
    this.#prunedAt = now;
    this.#store.prune(now - retentionMilliseconds(this.env));
    this.#flow.prune();
  }

  #wakeDue(): void {
    this.#flow.due();
    const now = Date.now();
    let next = Infinity;
    for (const [id, { wakeAt, paused }] of this.#parked) {
      if (paused || this.#live.has(id)) continue;
      if (wakeAt <= now) this.#enqueue(id);
      else next = Math.min(next, wakeAt);
    }
    if (Number.isFinite(next)) this.#armAlarm(next);
    this.#startQueued();
  }

  /** Takes no new run until some of those that wait have had their turn. */
  #isBusy(): boolean {
    return this.#queue.length >= LIMITS.waitingRunsPerObject || this.#arriving.size >= LIMITS.arrivingRunsPerObject;
  }

  #isFull(): boolean {
    return this.#live.size >= LIMITS.runsPerObject;
  }

  #enqueue(id: string): void {
    this.#parked.set(id, { wakeAt: Infinity, paused: false });
    this.#queue.push(id);
  }

  #startQueued(): void {
    // A run may end at once and let the next one start: that is the turn of the loop, not of the stack.
    if (this.#starting) return;
    this.#starting = true;
    while (this.#queue.length > 0 && !this.#isFull()) {
      const id = this.#queue.shift();
      if (id !== undefined) void this.#open(id);
    }
    this.#starting = false;
  }

  /** Ends a run whose flow control gives a reason. */
  #endBy(id: string): void {
    const [live, reason] = [this.#live.get(id), this.#flow.reasonOf(id)];
    if (live === undefined) void this.#open(id);
    else if (reason !== undefined) stop(live, reason);
  }

  #wakeFlowAt(at: number): void {
    const now = Date.now();
    const soon = at - now <= LIMITS.parkAfterMilliseconds;
    if (soon) setTimeout(() => this.#flow.due(), Math.max(0, at - now));
    // The timer is lost with the isolate, the alarm is not; but an alarm for each start would be a row for each.
    this.#armAlarm(soon ? now + LIMITS.runLeaseMilliseconds : at);
  }

  /**
   * Brings a run into memory and drives it. A run whose plan cannot be loaded stays for the next sweep.
   * @param first done instead of driving it on
   */
  async #open(
    id: string,
    first: (drive: Live) => void = (drive) => drive.advance(),
    outputs?: Loaded,
  ): Promise<Live | undefined> {
    if (this.#arriving.has(id)) await this.#turns.do(() => {});
    const live = this.#live.get(id);
    if (live !== undefined) {
      // It may have been opened a moment ago.
      await computed(live);
      return this.#live.get(id) ?? live;
    }
    if (this.#flow.isWaiting(id)) return undefined;
    const row = this.#store.read(id);
    if (row === undefined || row.endedAt !== undefined) return undefined;
    try {
      const loaded = loadPlan(this.env, row.chain, row.version);
      if (loaded instanceof Promise) {
        await loaded;
        // Much may have happened to it meanwhile; the plan is in memory now.
        return await this.#open(id, first);
      }
      const resumed = this.#store.resume(id, outputs);
      if (this.#blobs !== undefined && resumed.missing.length > 0) {
        const more = await this.#blobs.load(resumed.missing);
        return await this.#open(id, first, new Map([...(outputs ?? []), ...more]));
      }
      const drive = this.#driveOf(loaded, row.start, row.startedAt ?? row.createdAt, row.parent, resumed);
      drive.paused = row.paused;
      drive.held = true;
      this.#begin(drive, first);
      // One that ends is paused no more: after another restart it must be opened again.
      if (row.paused && !drive.paused) this.#store.setPaused(id, false);
      if (drive.underWay.size > 0) this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      await computed(drive);
      setTimeout(() => {
        drive.held = false;
        this.#park(drive);
      }, 0);
      return drive;
    } catch (thrown) {
      console.error(`run ${id} could not be opened`, faultOf(thrown).detail ?? thrown);
      this.#parked.set(id, { wakeAt: 0, paused: row.paused });
      if (!row.paused) this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      return undefined;
    }
  }

  /**
   * A run that somebody has something for; undefined where it has ended, or has not had its turn.
   * @throws Error where it cannot be opened now: that is not to be taken for an end
   */
  async #reach(id: string, first?: (drive: Live) => void): Promise<Live | undefined> {
    const drive = await this.#open(id, first);
    const row = drive === undefined && !this.#flow.isWaiting(id) ? this.#store.read(id) : undefined;
    if (row !== undefined && row.endedAt === undefined)
      throw new Error(`the run ${id} cannot be opened now; try again`);
    return drive;
  }

  #begin(drive: Live, first: (drive: Live) => void = (opened) => opened.advance()): void {
    const { run } = drive;
    this.#live.set(run.start.id, drive);
    this.#parked.delete(run.start.id);
    this.#changed(drive);
    const issues = run.plan.validateInput?.(run.start.input) ?? [];
    const reason = this.#flow.reasonOf(run.start.id);
    if (issues.length > 0) stop(drive, fault('input.invalid', issues[0]?.message ?? 'not valid', { issues }));
    else if (reason !== undefined) stop(drive, reason);
    else first(drive);
  }

  #driveOf(
    plan: Plan,
    start: RunStart,
    startedAt: number,
    parent: Parent | undefined,
    { events, journal }: { readonly events: readonly StepEvent[]; readonly journal: Journal },
  ): Live {
    const drive = createDrive({
      run: createRun(plan, start, Math.random),
      host: hostOf(this.env),
      random: Math.random,
      journal,
      recorded: events.length === 0 ? undefined : byStep(events),
      deadline: startedAt + plan.timeoutMilliseconds,
      gather: (work) => void this.#turns.do(() => void this.#attempt(start.id, work)),
      providers: this.#providers,
      steps: this.env.STEPS && stepsQueue(this.env.STEPS),
      changed: () => this.#changed(live),
      sleep: (_drive, until) => this.#sleep(live, until),
      waiting: (_drive, step, wait) => this.#waiting(live, step, wait),
    });
    const { advance } = drive;
    drive.advance = () => {
      advance();
      if (drive.underWay.size > 0) this.#armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      this.#hub.note(drive);
    };
    const live: Live = Object.assign(drive, { parent, sleepsUntil: 0, held: false });
    return live;
  }

  #sleep(drive: Live, until: number): void {
    drive.sleepsUntil = until;
    // The timer is lost with the isolate, the alarm is not.
    if (Number.isFinite(until)) this.#armAlarm(Math.min(until, callsAgainAt(drive)));
    const delay = until - Date.now();
    // Another may drive the run by then, where this one was parked meanwhile.
    const goOn = (): void => {
      if (this.#live.get(drive.run.start.id) === drive) drive.advance();
    };
    if (delay <= LIMITS.parkAfterMilliseconds) setTimeout(goOn, Math.max(0, delay));
    else if (!drive.held) this.#park(drive);
  }

  /** Lets runs go on that wait for a provider. */
  #release(runs: readonly string[]): void {
    for (const id of runs) {
      const drive = this.#live.get(id);
      const goOn = (live: Live): void => {
        endHolds(live);
        live.advance();
      };
      if (drive !== undefined) void this.#turns.do(() => void this.#attempt(id, () => goOn(drive)));
      else if (this.#parked.get(id)?.paused === false) this.#enqueue(id);
    }
    this.#startQueued();
  }

  /** Takes a run that waits out of memory. */
  #park(drive: Live): void {
    const { run, sleepsUntil, underWay } = drive;
    const { id } = run.start;
    const waits = sleepsUntil - Date.now() > LIMITS.parkAfterMilliseconds && underWay.size === 0;
    if (!waits || drive.held || run.status !== 'running' || this.#live.get(id) !== drive) return;
    const wakeAt = Math.min(sleepsUntil, callsAgainAt(drive), Number.MAX_SAFE_INTEGER);
    this.#store.setWake(id, wakeAt);
    this.#live.delete(id);
    this.#parked.set(id, { wakeAt, paused: drive.paused });
    this.#summaries.note(summaryOf(drive.run));
    this.#startQueued();
  }

  #waiting({ run, parent }: Live, step: StepKey, wait: Wait): void {
    const { id } = run.start;
    if (wait.kind === 'event') this.#store.addWait(wait.event, wait.key, id, step);
    if (wait.kind !== 'call') return;
    const depth = (parent?.depth ?? 0) + 1;
    void callChain(this.env, { run: id, step, depth }, wait).then((outcome) =>
      outcome === undefined ? undefined : this.childEnded(id, step, outcome),
    );
  }

  #changed(drive: Live): void {
    const { run } = drive;
    const { id } = run.start;
    this.#summaries.note(summaryOf(run));
    this.#hub.note(drive);
    if (!hasAnswer(run)) return;
    this.#waiters.answer(run);
    if (run.status === 'running') return;
    this.#live.delete(id);
    this.#flow.ended(id);
    if (drive.parent !== undefined) this.#tellParent(drive.parent, answerOf(run));
    if (run.plan.onFailure !== undefined) this.#failed(recordOf(run));
    this.#startQueued();
  }

  #failed(record: RunRecord): void {
    this.ctx.waitUntil(
      startFailureChain(this.env, record).catch((thrown: unknown) => {
        console.error(`the failure chain of run ${record.id} was not started`, thrown);
      }),
    );
  }

  #tellParent(parent: Parent, answer: RunAnswer | Promise<RunAnswer>): void {
    const told = Promise.resolve(answer).then((known) => tellParent(this.env, parent, known));
    this.ctx.waitUntil(told.catch((thrown: unknown) => console.error(`run ${parent.run} was not told`, thrown)));
  }

  /** One alarm for all runs, the earliest instant that any of them needs. */
  #armAlarm(at: number): void {
    if (this.#alarmAt !== undefined && this.#alarmAt <= at && this.#alarmAt > Date.now()) return;
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }
}

/** Resolves when a run that was opened again has computed what its journal leaves out, also for items. */
async function computed({ run, items }: Drive): Promise<void> {
  const evaluates = ({ graph, steps }: Frame): boolean =>
    graph.some(({ index, pure, action }) => {
      const state = steps[index];
      if (state?.status !== 'running') return false;
      return action.control === 'each' ? state.fan === undefined : pure && action.control === undefined;
    });
  const isComputing = (): boolean =>
    [run, ...items.keys()].some(evaluates) || [...items.values()].some((item) => item.ending);
  for (let turn = 0; turn < COMPUTING_TURNS && isComputing(); turn++) await scheduler.wait(1);
}

const COMPUTING_TURNS = 100;

/**
 * When a run that waits for one that it called is opened to call once more, which finds that one again: either
 * message between the two may have been lost. Rarer the longer it waits, so that waiting costs next to nothing.
 */
function callsAgainAt({ run, items }: Drive): number {
  const now = Date.now();
  let next = Infinity;
  for (const { wait, attempts } of [run, ...items.keys()].flatMap(({ steps }) => steps)) {
    if (wait?.kind !== 'call') continue;
    next = Math.min(next, now + Math.max(LIMITS.runLeaseMilliseconds, now - (attempts.at(-1)?.startedAt ?? now)));
  }
  return next;
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

const queuedSummary = (row: RunRow): RunSummary => ({
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
});

const queuedRecord = (row: RunRow): RunRecord => ({
  ...queuedSummary(row),
  input: row.start.input,
  output: undefined,
  steps: [],
});
