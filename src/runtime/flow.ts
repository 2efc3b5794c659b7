/**
 * Flow control of the runs of one object: the admission with its disk. All runs that share a limit are in
 * this object, so nobody else has to be asked.
 *
 * Guarantee: what a decision needs after a restart is written in the turn in which it is made: with the row
 * of the run (`flow`), or as a mark.
 * Accepted weakness: where a publish changes the keys of a chain, runs of the old version and of the new are
 * counted apart until the old ones have ended.
 */

import { openFlowMarks, type FlowMarks } from './flow-marks.ts';
import type { AcceptedRun } from './run-store.ts';
import { fault, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { Admission, type Decisions } from '../core/policy/admission.ts';
import type { Flow, HeldFlow, Verdict } from '../core/policy/flow.ts';

/** How the flow of a run is kept, as JSON text; a fault where it could not be told. */
type StoredFlow = HeldFlow | { readonly fault: Fault };

/** What the row of a run says that is to end before its turn. */
export const storedReason = (reason: Fault): string => JSON.stringify({ fault: reason } satisfies StoredFlow);

interface FlowHost {
  /** Starts a run on disk, whose row shall say `flow` from now on. */
  start(id: string, flow: string): void;
  /** Ends a run, in memory or on disk, with the reason that {@link FlowControl.reasonOf} gives. */
  end(id: string): void;
  wakeAt(milliseconds: number): void;
}

interface Offered {
  /** What the row of the run must say. */
  readonly flow: string;
  readonly waits: boolean;
  /** Does what follows for other runs; to be called when the row is written. */
  settle(): void;
}

const REASONS: Readonly<Record<Verdict, Fault>> = {
  dropped: fault('run.dropped', 'The chain had as many runs as its `concurrency` allows.'),
  superseded: fault('run.superseded', 'A newer run of the chain took its place.'),
};

type SentFlow = Flow | { readonly fault: Fault };

/** The idempotency key of a run. */
function keyOf(text: string | undefined): string | undefined {
  const flow = text === undefined ? undefined : (JSON.parse(text) as SentFlow);
  if (flow === undefined || 'fault' in flow || flow.idempotency === undefined) return undefined;
  return JSON.stringify(['idempotency', flow.chain, flow.idempotency.key]);
}

/** Marked as the platform marks the error of an object that has too much to do. */
class Overloaded extends Error {
  readonly overloaded = true;
}

const THROTTLES = '["throttle",';

export class FlowControl {
  readonly #admission = new Admission(LIMITS.flowRunsPerObject);
  readonly #marks: FlowMarks;
  readonly #host: FlowHost;
  /** Why runs end as soon as they are in memory. */
  readonly #reasons = new Map<string, Fault>();
  /** Idempotency keys of runs that have arrived and are not on disk yet. */
  readonly #arriving = new Map<string, string>();
  /** The last time that the host was asked for. */
  #wakesAt = 0;

  constructor(sql: SqlStorage, host: FlowHost) {
    this.#marks = openFlowMarks(sql);
    this.#host = host;
  }

  /** Takes up the runs that have not ended, before any of them is opened. */
  restore(runs: readonly { readonly id: string; readonly flow: string }[]): void {
    const held = runs.flatMap(({ id, flow: text }) => {
      const flow = JSON.parse(text) as StoredFlow;
      if (!('fault' in flow)) return [{ id, flow }];
      this.#reasons.set(id, flow.fault);
      return [];
    });
    const now = Date.now();
    const rates = this.#marks.list(THROTTLES, now).map(([key, arrival]) => [key, Number(arrival)] as const);
    this.#settle(this.#admission.restore(held, rates, now));
  }

  /** The run that this one is the same as, by its idempotency key. */
  firstOf({ id, flow }: AcceptedRun): string | undefined {
    const key = keyOf(flow);
    if (key === undefined) return undefined;
    const first = this.#arriving.get(key) ?? this.#marks.read(key, Date.now());
    return first === id ? undefined : first;
  }

  /** The run is on its way to the disk; it comes to {@link offer} or to {@link lost}. */
  arrives({ id, flow }: AcceptedRun): void {
    const key = keyOf(flow);
    if (key !== undefined) this.#arriving.set(key, id);
  }

  /**
   * A run that arrives; undefined for one without flow control.
   * @throws Overloaded
   */
  offer({ id, flow: text }: AcceptedRun): Offered | undefined {
    if (text === undefined) return undefined;
    const flow = JSON.parse(text) as SentFlow;
    if ('fault' in flow) {
      this.#reasons.set(id, flow.fault);
      return { flow: text, waits: false, settle: () => {} };
    }
    const key = keyOf(text);
    if (key !== undefined) this.#arriving.delete(key);
    const now = Date.now();
    const decisions = this.#admission.offer(id, flow, now);
    if (decisions === undefined) throw new Overloaded('too many runs under flow control');
    const dropped = decisions.cancel.find((cancelled) => cancelled.id === id);
    if (dropped !== undefined) this.#reasons.set(id, REASONS[dropped.verdict]);
    else if (key !== undefined && flow.idempotency !== undefined) {
      this.#marks.write(key, id, now + flow.idempotency.periodMilliseconds);
    }
    const started = decisions.start.find((run) => run.id === id);
    return {
      flow: JSON.stringify(started?.flow ?? this.#admission.flowOf(id) ?? { fault: REASONS.dropped }),
      waits: this.#admission.isWaiting(id),
      settle: () => this.#settle(decisions, id),
    };
  }

  /** It is on disk and has not had its turn: it must not be opened. */
  isWaiting(id: string): boolean {
    return this.#admission.isWaiting(id);
  }

  /** Why the run ends when it is opened, instead of going on. */
  reasonOf(id: string): Fault | undefined {
    return this.#reasons.get(id);
  }

  /** Takes a run that waits out of its queue; it ends for that reason when it is opened. */
  cancel(id: string, reason: Fault): void {
    if (!this.#admission.isWaiting(id)) return;
    this.#reasons.set(id, reason);
    this.#settle(this.#admission.ended(id, Date.now()));
  }

  ended(id: string): void {
    this.#reasons.delete(id);
    if (this.#admission.flowOf(id) !== undefined) this.#settle(this.#admission.ended(id, Date.now()));
  }

  /** A run that arrived is not on disk. */
  lost(run: AcceptedRun): void {
    for (const [key, id] of this.#arriving) if (id === run.id) this.#arriving.delete(key);
    this.ended(run.id);
  }

  due(): void {
    this.#wakesAt = 0;
    if (this.#admission.size === 0) return;
    this.#settle(this.#admission.due(Date.now()));
  }

  prune(): void {
    this.#marks.prune(Date.now());
  }

  /** @param except a run that its caller deals with */
  #settle({ start, cancel, rates, wakeAt }: Decisions, except?: string): void {
    for (const [key, arrival] of rates) this.#marks.write(key, String(arrival), arrival);
    for (const { id, flow } of start) if (id !== except) this.#host.start(id, JSON.stringify(flow));
    for (const { id, verdict } of cancel) {
      if (id === except) continue;
      this.#reasons.set(id, REASONS[verdict]);
      this.#host.end(id);
    }
    if (wakeAt === undefined || (this.#wakesAt > Date.now() && this.#wakesAt <= wakeAt)) return;
    this.#wakesAt = wakeAt;
    this.#host.wakeAt(wakeAt);
  }
}
