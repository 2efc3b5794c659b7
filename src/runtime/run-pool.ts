/**
 * The runs of one object: which are in memory, which wait for a place there, and which for something else; and
 * what becomes of them when that changes.
 */

import { Alarm } from './alarm.ts';
import { answerOf, hasAnswer, storedAnswer } from './answers.ts';
import { Archive } from './archive.ts';
import { blobsOf, type Blobs, type Loaded } from './blobs.ts';
import { callChain, startFailureChain, tellParent } from './calls.ts';
import { loadPlan } from './configuration.ts';
import { createDrive, stop, type Journal } from './drive.ts';
import type { Outcome } from './execute.ts';
import { FlowControl, storedReason } from './flow.ts';
import { hostOf } from './host.ts';
import { callsAgainAt, computed, type Live, type Parked } from './live-run.ts';
import { LiveHub } from './live.ts';
import { tellOutage } from './outages.ts';
import { endHolds, Providers } from './providers.ts';
import { retentionMilliseconds } from './retention.ts';
import { openRunStore, type Parent, type RunStore } from './run-store.ts';
import { stepsQueue } from './steps-queue.ts';
import { Summaries } from './summaries.ts';
import { Turns } from './turns.ts';
import { Waiters } from './waiters.ts';
import { deliver } from './waits.ts';
import type { Plan } from '../core/chain/plan.ts';
import { createRun } from '../core/engine/engine.ts';
import { byStep, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import type { RunRecord } from '../core/engine/record.ts';
import type { RunStart, Wait } from '../core/engine/state.ts';
import { recordOf, summaryOf } from '../core/engine/view.ts';
import { fault, faultOf } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export class RunPool {
  readonly blobs: Blobs | undefined;
  readonly store: RunStore;
  readonly archive: Archive | undefined;
  readonly summaries: Summaries;
  /** Runs in memory, by id. */
  readonly live = new Map<string, Live>();
  /** Runs on disk that wait for a time, for something from outside, or for their plan. */
  readonly parked = new Map<string, Parked>();
  /** Runs that have arrived and are not on disk yet. */
  readonly arriving = new Set<string>();
  readonly waiters = new Waiters();
  readonly hub: LiveHub;
  readonly turns: Turns;
  readonly flow: FlowControl;
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #alarm: Alarm;
  readonly #providers: Providers;
  /** Runs on disk that wait for a place in memory. */
  readonly #queue: string[] = [];
  #starting = false;

  constructor(ctx: DurableObjectState, env: Env) {
    this.#ctx = ctx;
    this.#env = env;
    this.blobs = blobsOf(env);
    this.store = openRunStore(ctx.storage, {
      blobs: this.blobs,
      ended: (run) => this.archive?.note(run),
      spareRow: () => this.archive?.spareRow(),
    });
    this.archive =
      env.BLOBS &&
      new Archive({
        sql: ctx.storage.sql,
        bucket: env.BLOBS,
        name: ctx.id.name ?? ctx.id.toString(),
        savedUntil: () => this.store.savedUntil(),
        retentionMilliseconds: retentionMilliseconds(env),
      });
    this.hub = new LiveHub(ctx);
    this.#providers = new Providers(
      (runs) => queueMicrotask(() => this.#release(runs)),
      (news) => ctx.waitUntil(tellOutage(env.DB, news)),
    );
    this.turns = new Turns(() => ctx.storage.sync());
    this.#alarm = new Alarm(ctx.storage);
    this.summaries = new Summaries(env.DB, this.store);
    this.flow = new FlowControl(ctx.storage.sql, {
      start: (id, flow) => {
        this.store.setFlow(id, flow);
        this.enqueue(id);
        this.startQueued();
      },
      end: (id) => this.#endBy(id),
      wakeAt: (at) => this.#wakeFlowAt(at),
    });
    this.#recover();
  }

  /** Takes up every run on disk that has not ended, and tells others of what ended around the last stop. */
  #recover(): void {
    const open = this.store.openRuns();
    for (const { id, wakeAt, paused } of open) this.parked.set(id, { wakeAt, paused });
    this.flow.restore(open.flatMap(({ id, flow }) => (flow === undefined ? [] : [{ id, flow }])));
    for (const { id, paused } of open) if (this.flow.isWaiting(id)) this.parked.set(id, { wakeAt: Infinity, paused });
    for (const summary of this.store.endedSince(this.store.savedUntil())) {
      this.summaries.note(summary);
      const row = this.store.read(summary.id);
      if (row?.record === undefined) continue;
      if (row.parent !== undefined)
        this.#ctx.waitUntil(tellParent(this.#env, row.parent, storedAnswer(this.blobs, row.record)));
      if (summary.status === 'failed')
        this.#ctx.waitUntil(startFailureChain(this.#env, JSON.parse(row.record) as RunRecord));
    }
    this.wakeDue();
  }

  knows(id: string): boolean {
    return this.arriving.has(id) || this.live.has(id) || this.parked.has(id) || this.store.has(id);
  }

  /** The other runs of a turn are not to suffer from one that cannot be written; the next sweep takes it up. */
  attempt(id: string, work: () => void): unknown {
    try {
      work();
      return undefined;
    } catch (thrown) {
      console.error(`run ${id} could not go on`, thrown);
      this.live.delete(id);
      if (this.store.has(id)) this.parked.set(id, { wakeAt: 0, paused: false });
      return thrown;
    }
  }

  wakeDue(): void {
    this.flow.due();
    const now = Date.now();
    let next = Infinity;
    for (const [id, { wakeAt, paused }] of this.parked) {
      if (paused || this.live.has(id)) continue;
      if (wakeAt <= now) this.enqueue(id);
      else next = Math.min(next, wakeAt);
    }
    if (Number.isFinite(next)) this.armAlarm(next);
    this.startQueued();
  }

  /** Takes no new run until some of those that wait have had their turn. */
  isBusy(): boolean {
    return this.#queue.length >= LIMITS.waitingRunsPerObject || this.arriving.size >= LIMITS.arrivingRunsPerObject;
  }

  isFull(): boolean {
    return this.live.size >= LIMITS.runsPerObject;
  }

  enqueue(id: string): void {
    this.parked.set(id, { wakeAt: Infinity, paused: false });
    this.#queue.push(id);
  }

  startQueued(): void {
    // A run may end at once and let the next one start: that is the turn of the loop, not of the stack.
    if (this.#starting) return;
    this.#starting = true;
    while (this.#queue.length > 0 && !this.isFull()) {
      const id = this.#queue.shift();
      if (id !== undefined) void this.open(id);
    }
    this.#starting = false;
  }

  /** Ends a run whose flow control gives a reason. */
  #endBy(id: string): void {
    const [live, reason] = [this.live.get(id), this.flow.reasonOf(id)];
    if (live === undefined) void this.open(id);
    else if (reason !== undefined) stop(live, reason);
  }

  #wakeFlowAt(at: number): void {
    const now = Date.now();
    const soon = at - now <= LIMITS.parkAfterMilliseconds;
    if (soon) setTimeout(() => this.flow.due(), Math.max(0, at - now));
    // The timer is lost with the isolate, the alarm is not; but an alarm for each start would be a row for each.
    this.armAlarm(soon ? now + LIMITS.runLeaseMilliseconds : at);
  }

  /**
   * Brings a run into memory and drives it. A run whose plan cannot be loaded stays for the next sweep.
   * @param first done instead of driving it on
   */
  async open(
    id: string,
    first: (drive: Live) => void = (drive) => drive.advance(),
    outputs?: Loaded,
  ): Promise<Live | undefined> {
    if (this.arriving.has(id)) await this.turns.do(() => {});
    const live = this.live.get(id);
    if (live !== undefined) {
      // It may have been opened a moment ago.
      await computed(live);
      return this.live.get(id) ?? live;
    }
    if (this.flow.isWaiting(id)) return undefined;
    const row = this.store.read(id);
    if (row === undefined || row.endedAt !== undefined) return undefined;
    try {
      const loaded = loadPlan(this.#env, row.chain, row.version);
      if (loaded instanceof Promise) {
        const reason = this.flow.reasonOf(id);
        // That it is to end was decided by what may be gone when this object comes to it again.
        if (reason !== undefined && row.startedAt === undefined) this.store.setFlow(id, storedReason(reason));
        await loaded;
        // Much may have happened to it meanwhile; the plan is in memory now.
        return await this.open(id, first);
      }
      const resumed = this.store.resume(id, outputs);
      if (this.blobs !== undefined && resumed.missing.length > 0) {
        const more = await this.blobs.load(resumed.missing);
        return await this.open(id, first, new Map([...(outputs ?? []), ...more]));
      }
      const drive = this.driveOf(loaded, row.start, row.startedAt ?? row.createdAt, row.parent, resumed);
      drive.paused = row.paused;
      drive.held = true;
      this.begin(drive, first);
      // One that ends is paused no more: after another restart it must be opened again.
      if (row.paused && !drive.paused) this.store.setPaused(id, false);
      if (drive.underWay.size > 0) this.armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      await computed(drive);
      setTimeout(() => {
        drive.held = false;
        this.#park(drive);
      }, 0);
      return drive;
    } catch (thrown) {
      console.error(`run ${id} could not be opened`, faultOf(thrown).detail ?? thrown);
      this.parked.set(id, { wakeAt: 0, paused: row.paused });
      if (!row.paused) this.armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      return undefined;
    }
  }

  /**
   * A run that somebody has something for; undefined where it has ended, or has not had its turn.
   * @throws Error where it cannot be opened now: that is not to be taken for an end
   */
  async reach(id: string, first?: (drive: Live) => void): Promise<Live | undefined> {
    const drive = await this.open(id, first);
    const row = drive === undefined && !this.flow.isWaiting(id) ? this.store.read(id) : undefined;
    if (row !== undefined && row.endedAt === undefined)
      throw new Error(`the run ${id} cannot be opened now; try again`);
    return drive;
  }

  begin(drive: Live, first: (drive: Live) => void = (opened) => opened.advance()): void {
    const { run } = drive;
    this.live.set(run.start.id, drive);
    this.parked.delete(run.start.id);
    this.#changed(drive);
    const issues = run.plan.validateInput?.(run.start.input) ?? [];
    const reason = this.flow.reasonOf(run.start.id);
    if (issues.length > 0) stop(drive, fault('input.invalid', issues[0]?.message ?? 'not valid', { issues }));
    else if (reason !== undefined) stop(drive, reason);
    else first(drive);
  }

  driveOf(
    plan: Plan,
    start: RunStart,
    startedAt: number,
    parent: Parent | undefined,
    { events, journal }: { readonly events: readonly StepEvent[]; readonly journal: Journal },
  ): Live {
    const drive = createDrive({
      run: createRun(plan, start, Math.random),
      host: hostOf(this.#env),
      random: Math.random,
      journal,
      recorded: events.length === 0 ? undefined : byStep(events),
      deadline: startedAt + plan.timeoutMilliseconds,
      gather: (work) => void this.turns.do(() => void this.attempt(start.id, work)),
      providers: this.#providers,
      steps: this.#env.STEPS && stepsQueue(this.#env.STEPS),
      changed: () => this.#changed(live),
      sleep: (_drive, until) => this.#sleep(live, until),
      waiting: (_drive, step, wait) => this.#waiting(live, step, wait),
    });
    const { advance } = drive;
    drive.advance = () => {
      advance();
      if (drive.underWay.size > 0) this.armAlarm(Date.now() + LIMITS.runLeaseMilliseconds);
      this.hub.note(drive);
    };
    const live: Live = Object.assign(drive, { parent, sleepsUntil: 0, held: false });
    return live;
  }

  #sleep(drive: Live, until: number): void {
    drive.sleepsUntil = until;
    // The timer is lost with the isolate, the alarm is not.
    if (Number.isFinite(until)) this.armAlarm(Math.min(until, callsAgainAt(drive)));
    const delay = until - Date.now();
    // Another may drive the run by then, where this one was parked meanwhile.
    const goOn = (): void => {
      if (this.live.get(drive.run.start.id) === drive) drive.advance();
    };
    if (delay <= LIMITS.parkAfterMilliseconds) setTimeout(goOn, Math.max(0, delay));
    else if (!drive.held) this.#park(drive);
  }

  /** Lets runs go on that wait for a provider. */
  #release(runs: readonly string[]): void {
    for (const id of runs) {
      const drive = this.live.get(id);
      const goOn = (live: Live): void => {
        endHolds(live);
        live.advance();
      };
      if (drive !== undefined) void this.turns.do(() => void this.attempt(id, () => goOn(drive)));
      else if (this.parked.get(id)?.paused === false) this.enqueue(id);
    }
    this.startQueued();
  }

  /** Takes a run that waits out of memory. */
  #park(drive: Live): void {
    const { run, sleepsUntil, underWay } = drive;
    const { id } = run.start;
    const waits = sleepsUntil - Date.now() > LIMITS.parkAfterMilliseconds && underWay.size === 0;
    if (!waits || drive.held || run.status !== 'running' || this.live.get(id) !== drive) return;
    const wakeAt = Math.min(sleepsUntil, callsAgainAt(drive), Number.MAX_SAFE_INTEGER);
    this.store.setWake(id, wakeAt);
    this.live.delete(id);
    this.parked.set(id, { wakeAt, paused: drive.paused });
    this.summaries.note(summaryOf(drive.run));
    this.startQueued();
  }

  #waiting({ run, parent }: Live, step: StepKey, wait: Wait): void {
    const { id, event } = run.start;
    if (wait.kind === 'event') this.store.addWait(wait.event, wait.key, id, step);
    if (wait.kind !== 'call') return;
    const depth = (parent?.depth ?? 0) + 1;
    void callChain(this.#env, { run: id, step, depth }, wait, event).then((outcome) =>
      outcome === undefined ? undefined : this.settle(id, step, outcome),
    );
  }

  /** Gives a waiting step what it waited for. False where it does not wait any more. */
  async settle(id: string, step: StepKey, outcome: Outcome): Promise<boolean> {
    const drive = await this.open(id);
    return drive !== undefined && deliver(drive, step, outcome);
  }

  #changed(drive: Live): void {
    const { run } = drive;
    const { id } = run.start;
    this.summaries.note(summaryOf(run));
    this.hub.note(drive);
    if (!hasAnswer(run)) return;
    this.waiters.answer(run);
    if (run.status === 'running') return;
    this.live.delete(id);
    this.flow.ended(id);
    if (drive.parent !== undefined) this.#ctx.waitUntil(tellParent(this.#env, drive.parent, answerOf(run)));
    if (run.plan.onFailure !== undefined) this.#ctx.waitUntil(startFailureChain(this.#env, recordOf(run)));
    this.startQueued();
  }

  /** One alarm for all runs, the earliest instant that any of them needs. */
  armAlarm(at: number): void {
    this.#alarm.by(at, Date.now());
  }

  /** It comes back also where what it is for ends in the middle: one that a run has set for later may be far away. */
  alarmFired(): void {
    this.#alarm.fired();
    this.armLease();
  }

  /** Comes back soon while there is something to do. */
  armLease(): void {
    // Set inside its own handler, an alarm in the past would be lost.
    const now = Date.now();
    // One whose plan is being loaded, or could not be, is neither live nor queued.
    const isDue = ([id, { wakeAt, paused }]: [string, Parked]): boolean =>
      !paused && (wakeAt <= now || wakeAt === Infinity) && !this.flow.isWaiting(id);
    if (this.live.size > 0 || this.#queue.length > 0 || [...this.parked].some(isDue)) {
      this.armAlarm(now + LIMITS.runLeaseMilliseconds);
    }
  }
}
