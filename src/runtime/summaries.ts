/** Tells D1 of runs, in batches, after the fact. */

import type { RunSummary } from '../core/engine/record.ts';
import { LIMITS } from '../core/limits.ts';
import { saveRuns } from '../store/runs.ts';

export class Summaries {
  readonly #db: D1Database;
  readonly #saved: (startedAt: number) => void;
  readonly #unsaved = new Map<string, RunSummary>();
  #saving: Promise<void> | undefined;

  /** @param saved called with the time up to which everything is in D1 */
  constructor(db: D1Database, saved: (startedAt: number) => void) {
    this.#db = db;
    this.#saved = saved;
  }

  note(summary: RunSummary): void {
    this.#unsaved.set(summary.id, summary);
    this.#saving ??= scheduler.wait(LIMITS.summaryDelayMilliseconds).then(() => this.#saveNow());
  }

  /** Brings D1 up to date. Where D1 is away, runs go on, and a later save tells it. */
  async save(): Promise<void> {
    await this.#saving;
    if (this.#unsaved.size > 0) await (this.#saving = this.#saveNow());
  }

  async #saveNow(): Promise<void> {
    const batch = [...this.#unsaved.values()];
    const startedAt = Date.now();
    this.#unsaved.clear();
    try {
      await saveRuns(
        this.#db,
        batch.map((summary) => ({ summary })),
      );
      this.#saved(startedAt);
    } catch (thrown) {
      for (const summary of batch) if (!this.#unsaved.has(summary.id)) this.#unsaved.set(summary.id, summary);
      console.error('run summaries could not be saved', thrown);
    } finally {
      this.#saving = undefined;
    }
  }
}
