/** D1 as run objects use it: plans are read from it, summaries are saved to it, and it may be down. */

import type { Faults } from './faults.ts';
import type { SavedRun } from './substitutes/isolates.ts';
import type { Owner, World } from './world.ts';

type Gate = (release: () => void) => void;

const TERMINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);

export class SimulatedD1 {
  readonly #world: World;
  readonly #faults: Faults;
  readonly #statuses = new Map<string, string>();

  constructor(world: World, faults: Faults) {
    this.#world = world;
    this.#faults = faults;
  }

  statusOf(id: string): string | undefined {
    return this.#statuses.get(id);
  }

  /** What an isolate gets as `env.DB`. */
  binding(owner: Owner, gate: Gate): object {
    return { saveRuns: (rows: readonly SavedRun[]) => this.ask(owner, gate, 'saving runs', () => this.#save(rows)) };
  }

  /** The store's own rule: what has ended stays so. */
  #save(rows: readonly SavedRun[]): void {
    for (const { summary } of rows) {
      const known = this.#statuses.get(summary.id);
      if (known === undefined || !TERMINAL.has(known)) this.#statuses.set(summary.id, summary.status);
    }
  }

  ask<T>(owner: Owner, gate: Gate, label: string, answer: () => T): Promise<T> {
    const world = this.#world;
    return new Promise((resolve, reject) => {
      gate(() => {
        const isDown = this.#faults.d1Down;
        if (isDown) world.count('D1 down');
        const value = isDown ? undefined : { answer: answer() };
        world.after(this.#faults.networkDelay(), owner, `D1: ${label}${isDown ? ' fails' : ''}`, () => {
          if (value === undefined) reject(new Error('D1_ERROR: D1 is down'));
          else resolve(value.answer);
        });
      });
    });
  }
}
