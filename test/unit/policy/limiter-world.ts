/** Isolates and one limiter object in simulated time: delays, lost messages, crashes, clocks that differ. */

import { DENIED, Lease, UNKNOWN, type Grant } from '../../../src/core/policy/lease.ts';
import type { Answer, Ask, Counter, Rule } from '../../../src/core/policy/limiter.ts';
import { Heap, type Placed } from '../../../src/core/policy/heap.ts';
import { LIMITS } from '../../../src/core/limits.ts';

interface Event extends Placed {
  readonly at: number;
  readonly run: () => void;
}

export interface World {
  readonly rule: Rule;
  /** Of one message, milliseconds. */
  readonly delay: () => number;
  /** Whether a message is lost. */
  readonly lost: () => boolean;
  /** Makes the object's account, at the start and after a crash. */
  readonly counter: (before: Counter | undefined) => Counter;
}

/** What happened to requests, in true time. */
export interface Outcome {
  readonly at: number;
  readonly kind: 'admitted' | 'denied' | 'unavailable';
}

const START = Date.UTC(2026, 10, 21, 12);

export class Simulation {
  readonly outcomes: Outcome[] = [];
  calls = 0;
  #now = START;
  readonly #world: World;
  readonly #events = new Heap<Event>((a, b) => a.at < b.at);
  #counter: Counter;
  #id = 0;

  constructor(world: World) {
    this.#world = world;
    this.#counter = world.counter(undefined);
  }

  at(milliseconds: number, run: () => void): void {
    this.#events.push({ at: START + milliseconds, run, place: -1 });
  }

  after(milliseconds: number, run: () => void): void {
    this.#events.push({ at: this.#now + milliseconds, run, place: -1 });
  }

  run(): void {
    for (let event = this.#events.pop(); event !== undefined; event = this.#events.pop()) {
      this.#now = event.at;
      event.run();
    }
  }

  crashObject(): void {
    this.#counter = this.#world.counter(this.#counter);
  }

  /** Each message is lost by itself; the answer comes to nothing where either is. */
  call(ask: Ask, answered: (answer: Answer) => void): void {
    this.calls++;
    if (this.#world.lost()) return;
    this.after(this.#world.delay(), () => {
      for (const settlement of ask.settle) this.#counter.settle(this.#now, settlement);
      const answer = this.#counter.ask(this.#now, ask.need, ask.want, () => ++this.#id);
      if (!this.#world.lost()) this.after(this.#world.delay(), () => answered(answer));
    });
  }

  isolate(skewMilliseconds: number): Isolate {
    return new Isolate(this, this.#world.rule, () => this.#now + skewMilliseconds);
  }

  tell(kind: Outcome['kind']): void {
    this.outcomes.push({ at: this.#now, kind });
  }
}

export class Isolate {
  #lease: Lease;
  #flushing = false;
  #life = 0;
  readonly #simulation: Simulation;
  readonly #rule: Rule;
  readonly #clock: () => number;

  constructor(simulation: Simulation, rule: Rule, clock: () => number) {
    this.#simulation = simulation;
    this.#rule = rule;
    this.#clock = clock;
    this.#lease = new Lease('key', rule);
  }

  crash(): void {
    this.#lease = new Lease('key', this.#rule);
    this.#flushing = false;
    this.#life++;
  }

  request(): void {
    const taken = this.#lease.take(this.#clock(), 1);
    if (taken === DENIED) this.#simulation.tell('denied');
    else if (taken === UNKNOWN) this.#ask(1);
    else this.#admit(taken);
  }

  #admit(grant: Grant): void {
    this.#simulation.tell('admitted');
    this.#lease.spend(grant, this.#clock(), 1);
    if (this.#lease.isUrgent(this.#clock())) this.#ask(0);
    this.#flushLater();
  }

  #ask(need: number): void {
    const sentAt = this.#clock();
    const life = this.#life;
    let done = false;
    const settle = (): boolean => {
      const first = !done && life === this.#life;
      done = true;
      return first;
    };
    const ask = need === 0 ? this.#lease.renewal(sentAt) : this.#lease.ask(sentAt, need);
    this.#simulation.call(ask, (answer) => {
      if (!settle()) return;
      const grant = this.#lease.learn(answer, sentAt, this.#clock(), need);
      if (need === 0) return;
      if (grant !== undefined) this.#admit(grant);
      else this.#simulation.tell(answer.ok ? 'unavailable' : 'denied');
    });
    this.#simulation.after(LIMITS.limiterAnswerMilliseconds, () => {
      if (settle() && need > 0) this.#simulation.tell('unavailable');
    });
  }

  #flushLater(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const life = this.#life;
    this.#simulation.after(LIMITS.limiterReportMilliseconds, () => {
      if (life !== this.#life) return;
      this.#flushing = false;
      if (this.#lease.isLow(this.#clock())) this.#ask(0);
      const settle = this.#lease.isDue(this.#clock()) ? this.#lease.report(this.#clock()) : [];
      if (settle.length > 0) {
        this.#simulation.call({ key: 'key', rule: this.#rule, need: 0, want: 0, settle }, () => undefined);
      }
      if (this.#lease.isOpen) this.#flushLater();
    });
  }
}

/** Tokens admitted in the fullest window of a length. */
export function fullest(outcomes: readonly Outcome[], milliseconds: number): number {
  const times = outcomes.filter(({ kind }) => kind === 'admitted').map(({ at }) => at);
  let from = 0;
  let most = 0;
  for (const [index, time] of times.entries()) {
    while ((times[from] ?? 0) <= time - milliseconds) from++;
    most = Math.max(most, index - from + 1);
  }
  return most;
}

/**
 * Tokens admitted in the window before the denial that had the fewest; Infinity without denials. Instants are
 * as exact as messages are fast, so the window is longer by `tolerance` at both ends.
 */
export function leastAtDenial(outcomes: readonly Outcome[], milliseconds: number, tolerance: number): number {
  const admitted = outcomes.filter(({ kind }) => kind === 'admitted').map(({ at }) => at);
  let from = 0;
  let to = 0;
  let least = Infinity;
  for (const { at, kind } of outcomes) {
    if (kind !== 'denied') continue;
    while ((admitted[from] ?? Infinity) <= at - milliseconds - tolerance) from++;
    while ((admitted[to] ?? Infinity) <= at + tolerance) to++;
    least = Math.min(least, to - from);
  }
  return least;
}
