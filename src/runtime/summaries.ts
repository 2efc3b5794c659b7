/**
 * Tells D1 of runs, in batches, after the fact. A row costs as much as an effect, so a run that ends soon is
 * written once: when it has ended. How it is before that is written when somebody asks for it, or when it
 * has been under way for long.
 */

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
    if (!hasEnded(summary)) return;
    this.#saving ??= scheduler.wait(LIMITS.summaryDelayMilliseconds).then(() => this.#saveNow(hasEnded));
  }

  /** Brings D1 up to date. Where D1 is away, runs go on, and a later save tells it. */
  save(): Promise<void> {
    return this.#saveAll(() => true);
  }

  /** Leaves out runs that may end soon. */
  saveDue(): Promise<void> {
    const before = Date.now() - LIMITS.summaryOpenMilliseconds;
    return this.#saveAll((summary) => hasEnded(summary) || summary.createdAt < before);
  }

  async #saveAll(isDue: (summary: RunSummary) => boolean): Promise<void> {
    await this.#saving;
    if ([...this.#unsaved.values()].some(isDue)) await (this.#saving = this.#saveNow(isDue));
  }

  async #saveNow(isDue: (summary: RunSummary) => boolean): Promise<void> {
    const batch = [...this.#unsaved.values()].filter(isDue);
    const startedAt = this.#progress.notBefore(Date.now());
    for (const { id } of batch) this.#unsaved.delete(id);
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

const hasEnded = ({ endedAt }: RunSummary): boolean => endedAt !== undefined;
