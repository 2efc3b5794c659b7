/** Callers who wait for the answer of a run. */

import { answerOf, type RunAnswer } from './answers.ts';
import type { RunState } from '../core/engine/state.ts';

export class Waiters {
  readonly #waiting = new Map<string, Set<(run: RunState) => void>>();

  /** Resolves with the answer of a run, or with undefined when it has none within the time. */
  add(id: string, waitMilliseconds: number): Promise<RunAnswer | undefined> {
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting);
    return new Promise((resolve) => {
      const answered = (run: RunState): void => {
        clearTimeout(timer);
        resolve(answerOf(run));
      };
      const timer = setTimeout(() => {
        waiting.delete(answered);
        if (waiting.size === 0) this.#waiting.delete(id);
        resolve(undefined);
      }, waitMilliseconds);
      waiting.add(answered);
    });
  }

  /** Tells everybody who waits for a run that has an answer. */
  answer(run: RunState): void {
    const { id } = run.start;
    for (const answered of this.#waiting.get(id) ?? []) answered(run);
    this.#waiting.delete(id);
  }
}
