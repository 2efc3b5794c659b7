/** Tells D1 of runs, in batches, after the fact. */

import type { RunStore } from './run-store.ts';
import type { RunSummary } from '../core/engine/record.ts';
import { LIMITS } from '../core/limits.ts';
import { saveRuns } from '../store/runs.ts';

export class Summaries {
  readonly #db: D1Database;
  readonly #progress: Pick<RunStore, 'notBefore' | 'setSavedUntil'>;
  readonly #unsaved = new Map<string, RunSummary>();
  #saving: Promise<void> | undefined;

  /** @param progress is told up to when everything is in D1 */
  constructor(db: D1Database, progress: Pick<RunStore, 'notBefore' | 'setSavedUntil'>) {
    this.#db = db;
    this.#progress = progress;
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
    const startedAt = this.#progress.notBefore(Date.now());
    this.#unsaved.clear();
    try {
      await saveRuns(
        this.#db,
        batch.map((summary) => ({ summary })),
      );
      this.#progress.setSavedUntil(startedAt);
    } catch (thrown) {
      for (const summary of batch) if (!this.#unsaved.has(summary.id)) this.#unsaved.set(summary.id, summary);
      console.error('run summaries could not be saved', thrown);
    } finally {
      this.#saving = undefined;
    }
  }
}
