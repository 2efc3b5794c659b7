/**
 * One incarnation of an object: its memory, its storage, and the output gate, which holds back whatever
 * would leave the object until the writes made before it are durable.
 */

import type { Faults } from './faults.ts';
import { Storage, type Change, type Disk } from './storage.ts';
import type { Owner, Task, World } from './world.ts';

interface Batch {
  readonly changes: Change[];
  readonly released: (() => void)[];
  closed: boolean;
}

export interface InstanceEvents {
  /** A batch reached the disk, unless this instance is not the object's own any more: then false. */
  commit(instance: Instance, changes: readonly Change[]): boolean;
  kill(instance: Instance, reason: string): void;
}

export class Instance implements Owner {
  readonly name: string;
  readonly number: number;
  state: Owner['state'] = 'alive';
  readonly backlog: Task[] = [];
  readonly storage: Storage;
  /** Rejects the calls that wait for this instance. */
  readonly calls = new Set<(reason: string) => void>();
  /** Requests and calls of its own that are under way. */
  outgoing = 0;
  usedAt = 0;
  inAlarm = false;
  readonly #world: World;
  readonly #faults: Faults;
  readonly #events: InstanceEvents;
  readonly #batches: Batch[] = [];
  #lastCommitAt = 0;

  constructor(name: string, number: number, disk: Disk, world: World, faults: Faults, events: InstanceEvents) {
    this.name = `${name}#${number}`;
    this.number = number;
    this.#world = world;
    this.#faults = faults;
    this.#events = events;
    this.storage = new Storage(disk, {
      changed: (change) => this.#changed(change),
      withdraw: (count) => this.#withdraw(count),
      assertAlive: () => {
        if (this.state === 'dead') throw new Error('The object was reset.');
      },
      losesAlarm: (at) => this.inAlarm && at <= world.wall(),
      durable: () => new Promise((resolve) => this.gate(resolve)),
    });
  }

  get isClean(): boolean {
    return this.#batches.length === 0;
  }

  /** Runs once everything written so far is durable; never, if that never happens. */
  gate(release: () => void): void {
    if (this.state === 'dead') return;
    const last = this.#batches.at(-1);
    if (last === undefined) release();
    else last.released.push(release);
  }

  #changed(change: Change): void {
    let batch = this.#batches.at(-1);
    if (batch === undefined || batch.closed) {
      batch = { changes: [], released: [], closed: false };
      this.#batches.push(batch);
      this.#closeSoon(batch);
    }
    batch.changes.push(change);
  }

  #closeSoon(batch: Batch): void {
    const close = (): void => {
      if (batch.closed) return;
      batch.closed = true;
      if (this.state !== 'dead') this.#commitLater();
    };
    // At the next await at the earliest, at the end of the turn at the latest.
    if (this.#world.random.chance(0.5)) queueMicrotask(close);
    this.#world.afterTurn(close);
  }

  #commitLater(): void {
    const world = this.#world;
    const at = Math.max(this.#lastCommitAt, world.now + this.#faults.commitDelay());
    this.#lastCommitAt = at;
    if (this.#faults.kills('before-durable')) {
      const early = world.random.next() * (at - world.now);
      world.after(early, undefined, 'kill', () => this.#events.kill(this, 'before its writes were durable'));
    }
    world.after(at - world.now, undefined, `${this.name} commits`, () => this.#commit());
  }

  /** Several may be due at the same instant; the oldest is first, whichever event comes first. */
  #commit(): void {
    const [batch] = this.#batches;
    if (this.state === 'dead' || batch === undefined) return;
    if (!this.#events.commit(this, batch.changes)) return;
    this.#batches.shift();
    if (this.#faults.kills('before-release')) {
      this.#events.kill(this, 'after its writes were durable, before anything was told');
      return;
    }
    // What waited for the disk goes on as a turn of this instance.
    this.#world.current = this;
    for (const release of batch.released) release();
  }

  #withdraw(count: number): void {
    const batch = this.#batches.at(-1);
    if (count > 0 && batch !== undefined) batch.changes.length -= count;
  }
}
