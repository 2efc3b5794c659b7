/**
 * Virtual time: a queue of events, each owned by an isolate. One event and all microtasks that follow from
 * it are a turn, and belong to that isolate. The events of a dead isolate are dropped, those of a frozen
 * one wait for its thaw.
 */

import { setImmediate } from 'node:timers';
import { createRandom, type Random } from './random.ts';

export interface Owner {
  readonly name: string;
  state: 'alive' | 'frozen' | 'dead';
  readonly backlog: Task[];
}

export interface Task {
  readonly label: string;
  readonly owner: Owner | undefined;
  readonly run: () => void;
  cancelled: boolean;
  at: number;
  /** Chooses by seed among events of the same instant. */
  readonly tie: number;
}

const EPOCH = 1_800_000_000_000;

export class World {
  readonly random: Random;
  /** True time, in milliseconds since the simulation began. */
  now = 0;
  /** What the clock that programs see is off by. */
  skewMilliseconds = 0;
  /** Whose turn it is. */
  current: Owner | undefined;
  /** A fingerprint of everything that happened, in order. */
  digest = 0;
  /** How often each kind of thing happened, so that a fault that never happens is noticed. */
  readonly counts: Record<string, number> = {};
  turns = 0;
  readonly lines: string[] | undefined;
  readonly #heap: Task[] = [];
  #afterTurn: (() => void)[] = [];

  constructor(seed: number, traced: boolean) {
    this.random = createRandom(seed);
    this.lines = traced ? [] : undefined;
  }

  /** What `Date.now()` gives. */
  wall(): number {
    return EPOCH + Math.floor(this.now) + this.skewMilliseconds;
  }

  /** Runs later, as an event of the owner; `undefined` is the platform itself. */
  after(delayMilliseconds: number, owner: Owner | undefined, label: string, run: () => void): Task {
    if (Number.isNaN(delayMilliseconds)) throw new Error(`"${label}" is due at no time.`);
    const at = this.now + Math.max(0, delayMilliseconds);
    const task: Task = { label, owner, run, cancelled: false, at, tie: this.random.next() };
    this.#push(task);
    return task;
  }

  /** Once the microtasks of this turn have run. */
  afterTurn(run: () => void): void {
    this.#afterTurn.push(run);
  }

  thaw(owner: Owner): void {
    owner.state = 'alive';
    for (const task of owner.backlog.splice(0)) {
      task.at = this.now;
      this.#push(task);
    }
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  note(text: () => string): void {
    this.lines?.push(`${(this.now / 1000).toFixed(3).padStart(9)}s  ${text()}`);
  }

  /** Runs events until one of the conditions holds or none is left. */
  async run(untilMilliseconds: number, done: () => boolean): Promise<void> {
    while (!done()) {
      const task = this.#heap[0];
      if (task === undefined || task.at > untilMilliseconds) return;
      this.#pop();
      if (task.cancelled) continue;
      const { owner } = task;
      if (owner?.state === 'dead') continue;
      if (owner?.state === 'frozen') {
        owner.backlog.push(task);
        continue;
      }
      this.now = Math.max(this.now, task.at);
      await this.#turn(task);
    }
  }

  async #turn(task: Task): Promise<void> {
    this.turns++;
    this.#fingerprint(task);
    this.note(() => `${task.owner?.name ?? 'platform'}: ${task.label}`);
    this.current = task.owner;
    task.run();
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#afterTurn.length > 0) {
      const hooks = this.#afterTurn;
      this.#afterTurn = [];
      for (const hook of hooks) hook();
    }
    this.current = undefined;
  }

  #fingerprint({ at, label }: Task): void {
    let hash = Math.imul(this.digest ^ (at * 16), 0x01000193);
    for (let index = 0; index < label.length; index++) hash = Math.imul(hash ^ label.charCodeAt(index), 0x01000193);
    this.digest = hash;
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !isBefore(task, parent)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      let child = heap[below];
      const other = heap[below + 1];
      if (child !== undefined && other !== undefined && isBefore(other, child)) {
        below++;
        child = other;
      }
      if (child === undefined || !isBefore(child, last)) break;
      heap[index] = child;
      index = below;
    }
    heap[index] = last;
  }
}

const isBefore = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.tie < b.tie);
