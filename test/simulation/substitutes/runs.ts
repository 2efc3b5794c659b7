/** Stands in for `store/runs.ts`: summaries go to the simulated D1. */

import type { SavedRun } from './isolates.ts';

export * from '../../../src/store/runs.ts';

/** `db` is the binding of a simulated isolate. */
export const saveRuns = (db: D1Database, rows: readonly SavedRun[]): Promise<void> => {
  const save: unknown = Reflect.get(db, 'saveRuns');
  if (typeof save !== 'function') throw new Error('This D1 is not simulated.');
  return Reflect.apply(save, db, [rows]) as Promise<void>;
};
