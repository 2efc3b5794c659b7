/**
 * Decides when runs with flow control start: concurrency, throttle, debounce, order and priority, for all
 * runs of one object. It reads no clock and does no I/O; the same calls give the same decisions.
 *
 * Guarantee: each run that it took is started or cancelled, once. Never more than `limit` runs of a key
 * have started and not ended; starts of a key keep to the generic cell rate algorithm (ITU-T I.371: one
 * every period / limit, `burst` of them at once after a rest); runs of one order key start one by one, as
 * they came. Memory grows with the runs that wait or are under way, not with the keys that ever were.
 *
 * Runs with the same keys stand in a *lane*. The head of a lane waits at the first *gate* that is closed
 * for it. When a gate opens, the lane with the largest priority goes first, among equals the one that has
 * waited longest since its last start: a key with many runs does not hold up the others.
 */

import type { Flow, HeldFlow, Verdict } from './flow.ts';
import {
  Gates,
  isAhead,
  isBefore,
  isOpen,
  keyOf,
  opensAt,
  untilOf,
  type Entry,
  type Gate,
  type Lane,
} from './gates.ts';
import { Heap } from './heap.ts';

export interface Decisions {
  /** Runs that start now, in this order, with what their rows must say. */
  readonly start: HeldRun[];
  /** Runs that end now. Those under way go on to hold their place until `ended` is told of them. */
  readonly cancel: { readonly id: string; readonly verdict: Verdict }[];
  /** Throttles that have moved: their theoretical arrival times, to be given back to `restore`. */
  readonly rates: Map<string, number>;
  /** When to call `due`, unix milliseconds; undefined: not before something else happens. */
  wakeAt: number | undefined;
}

export interface HeldRun {
  readonly id: string;
  readonly flow: HeldFlow;
}

interface Work extends Decisions {
  readonly now: number;
  /** Gates at which something may start. */
  readonly open: Set<Gate>;
}

export class Admission {
  readonly #limit: number;
  readonly #entries = new Map<string, Entry>();
  readonly #lanes = new Map<string, Lane>();
  readonly #gates = new Gates();
  /** The newest run of each burst. */
  readonly #bursts = new Map<string, Entry>();
  readonly #quiet = new Heap<Entry>((a, b) =>
    untilOf(a) === untilOf(b) ? a.flow.sequence < b.flow.sequence : untilOf(a) < untilOf(b),
  );
  #sequence = 0;
  #turn = 0;

  /** @param limit runs that it holds, waiting or under way */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** All that it remembers: runs, lanes, gates and bursts. */
  get footprint(): number {
    return this.#entries.size + this.#lanes.size + this.#gates.size + this.#bursts.size;
  }

  /** What the row of a run must say, while it is held. */
  flowOf(id: string): HeldFlow | undefined {
    return this.#entries.get(id)?.flow;
  }

  isWaiting(id: string): boolean {
    const entry = this.#entries.get(id);
    return entry !== undefined && entry.flow.startedAt === undefined;
  }

  /** A new run. Undefined where there is no room for it: then it is not taken. */
  offer(id: string, flow: Flow, now: number): Decisions | undefined {
    if (this.#entries.size >= this.#limit) return undefined;
    const work = this.#begin(now);
    const burst = this.#burstOf(flow, now);
    const held = { ...flow, sequence: ++this.#sequence, ...(burst === undefined ? {} : { burst }) };
    const entry = this.#hold(id, held);
    if (burst === undefined) this.#enter(entry, work, true);
    else this.#debounce(entry, work);
    return this.#conclude(work);
  }

  /** A run has ended, or shall not start any more. */
  ended(id: string, now: number): Decisions {
    const work = this.#begin(now);
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#remove(entry, work);
    return this.#conclude(work);
  }

  due(now: number): Decisions {
    return this.#conclude(this.#begin(now));
  }

  /** The runs that had not ended, and the throttles, of an object that starts again. */
  restore(runs: readonly HeldRun[], rates: Iterable<readonly [string, number]>, now: number): Decisions {
    const work = this.#begin(now);
    for (const [key, arrival] of rates) this.#gates.restoreRate(key, arrival);
    const entries = runs
      .toSorted((a, b) => a.flow.sequence - b.flow.sequence)
      .map(({ id, flow }) => this.#hold(id, flow));
    this.#sequence = entries.at(-1)?.flow.sequence ?? 0;
    // What is under way counts before anything else starts.
    for (const entry of entries) {
      if (entry.flow.startedAt === undefined) continue;
      entry.gates = this.#gates.of(entry);
      for (const gate of entry.gates) {
        if (gate.kind === 'slots') gate.active++;
        else gate.waiting--;
      }
    }
    for (const entry of entries) {
      if (entry.flow.startedAt !== undefined) continue;
      if (entry.flow.burst === undefined) this.#enter(entry, work, false);
      else this.#debounce(entry, work);
    }
    for (const gate of [...work.open]) this.#release(work, new Set([gate]));
    this.#catchUp(work);
    return this.#conclude(work);
  }

  #begin(now: number): Work {
    const work: Work = { start: [], cancel: [], rates: new Map(), wakeAt: undefined, now, open: new Set() };
    this.#catchUp(work);
    return work;
  }

  /** Each call first does what has become due, so that a late alarm changes nothing. */
  #catchUp(work: Work): void {
    for (
      let entry = this.#quiet.peek();
      entry !== undefined && untilOf(entry) <= work.now;
      entry = this.#quiet.peek()
    ) {
      this.#leaveBurst(entry);
      this.#enter(entry, work, true);
      this.#release(work);
    }
    for (let rate = this.#gates.next(); rate !== undefined && isOpen(rate, work.now); rate = this.#gates.next()) {
      work.open.add(rate);
      this.#release(work);
    }
  }

  #conclude(work: Work): Decisions {
    this.#release(work);
    this.#gates.forgetRates(work.now);
    const [entry, rate] = [this.#quiet.peek(), this.#gates.next()];
    const next = Math.min(
      entry === undefined ? Infinity : untilOf(entry),
      rate === undefined ? Infinity : opensAt(rate),
    );
    const { start, cancel, rates } = work;
    return { start, cancel, rates, wakeAt: Number.isFinite(next) ? next : undefined };
  }

  #hold(id: string, flow: HeldFlow): Entry {
    const entry: Entry = { id, flow, gates: [], lane: undefined, place: -1 };
    this.#entries.set(id, entry);
    return entry;
  }

  #burstOf({ chain, debounce }: Flow, now: number): HeldFlow['burst'] {
    if (debounce === undefined) return undefined;
    const since = this.#bursts.get(keyOf('debounce', chain, debounce.key))?.flow.burst?.since ?? now;
    const last = since + (debounce.maximumMilliseconds ?? Infinity);
    return { since, until: Math.min(now + debounce.periodMilliseconds, last) };
  }

  #debounce(entry: Entry, work: Work): void {
    const { chain, debounce, burst } = entry.flow;
    const key = keyOf('debounce', chain, debounce?.key);
    const former = this.#bursts.get(key);
    if (former !== undefined) {
      this.#leaveBurst(former);
      // After a restart, one of an earlier burst may be there still: it has left it, and waits for its turn.
      if (former.flow.burst?.since === burst?.since) this.#cancel(former, 'superseded', work);
      else this.#enter(former, work, false);
    }
    this.#bursts.set(key, entry);
    this.#quiet.push(entry);
  }

  #leaveBurst(entry: Entry): void {
    const key = keyOf('debounce', entry.flow.chain, entry.flow.debounce?.key);
    if (this.#bursts.get(key) === entry) this.#bursts.delete(key);
    this.#quiet.remove(entry);
  }

  /** Lets a run wait for its turn, or drops what its strategy says. */
  #enter(entry: Entry, work: Work, mayDrop: boolean): void {
    const { concurrency } = entry.flow;
    entry.gates = this.#gates.of(entry);
    const slots = concurrency && entry.gates.find((gate) => gate.kind === 'slots');
    if (concurrency?.strategy === 'drop' && mayDrop && slots !== undefined && slots.alive.size > slots.limit) {
      this.#cancel(entry, 'dropped', work);
      return;
    }
    if (concurrency?.strategy === 'cancel-oldest' && slots !== undefined) {
      for (const oldest of slots.alive) {
        if (slots.alive.size <= slots.limit) break;
        this.#cancel(oldest, 'superseded', work);
      }
    }
    if (entry.gates.length === 0) this.#start(entry, work);
    else this.#queue(entry, work);
  }

  #queue(entry: Entry, work: Work): void {
    const { chain, order, concurrency, throttle } = entry.flow;
    // One lane for an order key, whatever the other keys: nobody overtakes its head.
    const key =
      order === undefined ? keyOf('lane', chain, concurrency?.key, throttle?.key) : keyOf('order', chain, order.key);
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { key, runs: new Heap(isBefore), gate: undefined, served: this.#turn, place: -1 };
      this.#lanes.set(key, lane);
    }
    entry.lane = lane;
    this.#leaveGate(lane);
    lane.runs.push(entry);
    this.#place(lane, work);
    // A newer version of the chain may have opened them.
    for (const gate of entry.gates) work.open.add(gate);
  }

  /** Puts a lane to the gate that its head waits at. */
  #place(lane: Lane, work: Work): void {
    const head = lane.runs.peek();
    if (head === undefined) {
      this.#lanes.delete(lane.key);
      return;
    }
    const closed = head.gates.find((gate) => !isOpen(gate, work.now));
    const gate = closed ?? head.gates[0];
    if (gate === undefined) return;
    if (closed === undefined) work.open.add(gate);
    lane.gate = gate;
    gate.lanes.push(lane);
    this.#gates.time(gate);
  }

  #leaveGate(lane: Lane): void {
    const { gate } = lane;
    if (gate === undefined) return;
    gate.lanes.remove(lane);
    lane.gate = undefined;
    this.#gates.time(gate);
  }

  /** Starts what may start at some open gates, until they are closed or nobody waits there. */
  #release(work: Work, open: Set<Gate> = work.open): void {
    const among = open === work.open ? work : { ...work, open };
    for (;;) {
      let next: Lane | undefined;
      for (const gate of open) {
        const lane = isOpen(gate, work.now) ? gate.lanes.peek() : undefined;
        if (lane !== undefined && (next === undefined || isAhead(lane, next))) next = lane;
      }
      const head = next?.runs.peek();
      if (next === undefined || head === undefined) break;
      this.#leaveGate(next);
      if (head.gates.every((gate) => isOpen(gate, work.now))) {
        next.runs.remove(head);
        head.lane = undefined;
        this.#start(head, work);
        next.served = ++this.#turn;
      }
      this.#place(next, among);
    }
    open.clear();
  }

  #start(entry: Entry, work: Work): void {
    entry.flow = { ...entry.flow, startedAt: work.now };
    work.start.push({ id: entry.id, flow: entry.flow });
    for (const gate of entry.gates) {
      if (gate.kind === 'slots') gate.active++;
      else {
        gate.waiting--;
        gate.arrival = Math.max(gate.arrival, work.now) + gate.interval;
        work.rates.set(gate.key, gate.arrival);
        this.#gates.time(gate);
      }
    }
    // Nothing waits for its end.
    if (!entry.gates.some((gate) => gate.kind === 'slots')) this.#entries.delete(entry.id);
  }

  #cancel(entry: Entry, verdict: Verdict, work: Work): void {
    work.cancel.push({ id: entry.id, verdict });
    if (entry.flow.startedAt === undefined) this.#remove(entry, work);
    else for (const gate of entry.gates) if (gate.kind === 'slots') gate.alive.delete(entry);
  }

  #remove(entry: Entry, work: Work): void {
    this.#entries.delete(entry.id);
    if (entry.lane === undefined) this.#leaveBurst(entry);
    else {
      this.#leaveGate(entry.lane);
      entry.lane.runs.remove(entry);
      this.#place(entry.lane, work);
    }
    for (const gate of entry.gates) {
      if (gate.kind === 'rate') {
        if (entry.flow.startedAt === undefined) gate.waiting--;
        continue;
      }
      gate.alive.delete(entry);
      if (entry.flow.startedAt !== undefined) gate.active--;
      if (gate.active === 0 && gate.alive.size === 0) this.#gates.forget(gate);
      else work.open.add(gate);
    }
  }
}
