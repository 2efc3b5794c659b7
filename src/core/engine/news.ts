/**
 * What has changed in a run since somebody last looked. An event tells the whole state of the run or of one
 * of its steps, so that it can be told twice and the later one counts.
 */

import type { RunRecord, StepRecord } from './record.ts';
import { showStep, showSummary } from './show.ts';

/** What somebody has seen, by the id of the step; of the run itself under the empty text. */
export type Seen = Map<string, { readonly mark: string; readonly settled: boolean }>;

interface State {
  readonly key: string;
  readonly settled: boolean;
  /** Unix milliseconds; `Infinity` for a change that bears no date, 0 where nothing has happened yet. */
  readonly changedAt: number;
  /** Whatever changes it changes this too; the output, which can be long, comes only with a status. */
  readonly mark: string;
  text(): string;
}

/**
 * Events as JSON text, in order; the end of a run comes last.
 *
 * @param seen is brought up to date
 * @param since unix milliseconds; what had changed before is known already
 */
export function newsOf(seen: Seen, record: RunRecord, since = 0): readonly string[] {
  const run = runState(record);
  const steps = record.steps.map((step) => stepState(record.id, step));
  return (run.settled ? [...steps, run] : [run, ...steps]).flatMap((state) => {
    const { key, mark, settled, changedAt } = state;
    const known = seen.get(key);
    // What is computed again after a restart is on its way to what was seen.
    if (known?.mark === mark || (known?.settled === true && !settled)) return [];
    seen.set(key, { mark, settled });
    return known === undefined && changedAt < since ? [] : [state.text()];
  });
}

function runState(record: RunRecord): State {
  const shown = showSummary(record);
  return {
    key: '',
    settled: record.endedAt !== undefined,
    changedAt: record.endedAt ?? Infinity,
    mark: JSON.stringify(shown),
    text: () => JSON.stringify({ type: 'run', run: { ...shown, output: record.output ?? null } }),
  };
}

const UNSETTLED: ReadonlySet<string> = new Set(['pending', 'running', 'waiting']);

function stepState(run: string, step: StepRecord): State {
  const shown = showStep(step);
  return {
    key: step.id,
    // A step that succeeded may be undone yet.
    settled: !UNSETTLED.has(step.status),
    changedAt: changeOf(step),
    mark: JSON.stringify({ ...shown, output: null }),
    text: () => JSON.stringify({ type: 'step', run, step: shown }),
  };
}

function changeOf({ status, attempts, waitingFor, items, undo }: StepRecord): number {
  if (status === 'skipped' || waitingFor !== undefined || items !== undefined) return Infinity;
  return Math.max(0, ...[...attempts, ...(undo?.attempts ?? [])].map((each) => each.endedAt ?? each.startedAt));
}
