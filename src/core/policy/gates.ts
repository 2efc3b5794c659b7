/** Where runs wait for their turn: lanes of runs with the same keys, and the gates that hold them. */

import type { HeldFlow } from './flow.ts';
import { Heap, type Placed } from './heap.ts';

export interface Entry extends Placed {
  readonly id: string;
  flow: HeldFlow;
  gates: readonly Gate[];
  /** Where it waits for its turn. */
  lane: Lane | undefined;
}

export interface Lane extends Placed {
  readonly key: string;
  readonly runs: Heap<Entry>;
  /** The gate that its head waits at. */
  gate: Gate | undefined;
  /** Turn of its last start, or of its first run. */
  served: number;
}

/** As many runs at a time as `limit` says. */
export interface Slots {
  readonly kind: 'slots';
  readonly key: string;
  readonly lanes: Heap<Lane>;
  limit: number;
  /** The newest run, which sets the limit. */
  newest: number;
  /** Started and not ended. */
  active: number;
  /** Waiting or started, and not cancelled; the oldest first. */
  readonly alive: Set<Entry>;
}

/** As many starts in a time as its interval allows. */
export interface Rate extends Placed {
  readonly kind: 'rate';
  readonly key: string;
  readonly lanes: Heap<Lane>;
  /** Milliseconds from one start to the next. */
  interval: number;
  /** The newest run, which sets the interval. */
  newest: number;
  /** By how much starts may be ahead of their intervals. */
  tolerance: number;
  /** Theoretical arrival time of the next start, unix milliseconds. */
  arrival: number;
  /** Runs that will have to pass. */
  waiting: number;
}

export type Gate = Slots | Rate;

export const keyOf = (kind: string, chain: string, ...keys: readonly (string | undefined)[]): string =>
  JSON.stringify([kind, chain, ...keys]);

export const opensAt = (rate: Rate): number => Math.ceil(rate.arrival - rate.tolerance);
export const isOpen = (gate: Gate, now: number): boolean =>
  gate.kind === 'slots' ? gate.active < gate.limit : opensAt(gate) <= now;

export function isAhead(a: Lane, b: Lane): boolean {
  const [first, second] = [a.runs.peek()?.flow, b.runs.peek()?.flow];
  if (first === undefined || second === undefined) return second === undefined && first !== undefined;
  if (first.priority !== second.priority) return first.priority > second.priority;
  return a.served === b.served ? first.sequence < second.sequence : a.served < b.served;
}

export const isBefore = ({ flow: a }: Entry, { flow: b }: Entry): boolean =>
  a.priority === b.priority ? a.sequence < b.sequence : a.priority > b.priority;

export const untilOf = ({ flow }: Entry): number => flow.burst?.until ?? 0;

/** The gates that runs wait at or have passed; those that nobody can need are forgotten. */
export class Gates {
  readonly #slots = new Map<string, Slots>();
  readonly #rates = new Map<string, Rate>();
  readonly #timers = new Heap<Rate>((a, b) => opensAt(a) < opensAt(b));
  #old = this.#rates.values();

  /** The gates of a run, concurrency first. The newest run sets the limits. */
  of(entry: Entry): Gate[] {
    const { chain, concurrency, throttle, order, sequence } = entry.flow;
    const slots: Slots[] = [];
    if (concurrency !== undefined)
      slots.push(this.#slotsOf(keyOf('concurrency', chain, concurrency.key), concurrency.limit, sequence));
    if (order !== undefined) slots.push(this.#slotsOf(keyOf('order', chain, order.key), 1, sequence));
    for (const gate of slots) gate.alive.add(entry);
    if (throttle === undefined) return slots;
    const rate = this.#rateOf(keyOf('throttle', chain, throttle.key));
    rate.waiting++;
    if (sequence > rate.newest) {
      rate.newest = sequence;
      rate.interval = throttle.periodMilliseconds / throttle.limit;
      rate.tolerance = (throttle.burst - 1) * rate.interval;
      this.time(rate);
    }
    return [...slots, rate];
  }

  #slotsOf(key: string, limit: number, newest: number): Slots {
    const known = this.#slots.get(key);
    if (known !== undefined) {
      if (newest > known.newest) Object.assign(known, { limit, newest });
      return known;
    }
    const slots: Slots = { kind: 'slots', key, lanes: new Heap(isAhead), limit, newest, active: 0, alive: new Set() };
    this.#slots.set(key, slots);
    return slots;
  }

  #rateOf(key: string): Rate {
    const known = this.#rates.get(key);
    if (known !== undefined) return known;
    const lanes = new Heap<Lane>(isAhead);
    const rate: Rate = {
      kind: 'rate',
      key,
      lanes,
      newest: 0,
      interval: 0,
      tolerance: 0,
      arrival: 0,
      waiting: 0,
      place: -1,
    };
    this.#rates.set(key, rate);
    return rate;
  }

  get size(): number {
    return this.#slots.size + this.#rates.size;
  }

  restoreRate(key: string, arrival: number): void {
    this.#rateOf(key).arrival = arrival;
  }

  /** Sets the timer of a throttle, where a lane waits at it. */
  time(gate: Gate): void {
    if (gate.kind !== 'rate') return;
    this.#timers.remove(gate);
    if (gate.lanes.size > 0) this.#timers.push(gate);
  }

  /** The throttle that opens first, of those where a lane waits. */
  next(): Rate | undefined {
    return this.#timers.peek();
  }

  forget(slots: Slots): void {
    this.#slots.delete(slots.key);
  }

  /** Forgets throttles without runs and without debt. Two a call, as a call makes one at most. */
  forgetRates(now: number): void {
    for (let looked = 0; looked < 2; looked++) {
      const { value: rate, done } = this.#old.next();
      if (done === true) this.#old = this.#rates.values();
      else if (rate.arrival <= now && rate.waiting === 0) this.#rates.delete(rate.key);
    }
  }
}
