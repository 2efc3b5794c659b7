/** Runs as JSON that leaves the gateway: in replies of the management API and in live streams. */

import type { AttemptRecord, RunRecord, RunSummary, StepRecord } from './record.ts';

/** Unix milliseconds as ISO 8601. */
const iso = (milliseconds: number): string => new Date(milliseconds).toISOString();
const isoOrNull = (milliseconds: number | undefined): string | null =>
  milliseconds === undefined ? null : iso(milliseconds);

export const showSummary = (run: RunSummary) => ({
  id: run.id,
  chain: run.chain,
  version: run.version,
  trigger: run.trigger,
  triggerType: run.triggerType,
  mode: run.mode,
  status: run.status,
  createdAt: iso(run.createdAt),
  endedAt: isoOrNull(run.endedAt),
  error: run.error ?? null,
});

export const showRun = (run: RunRecord) => ({
  ...showSummary(run),
  input: run.input ?? null,
  output: run.output ?? null,
  steps: run.steps.map(showStep),
});

export const showStep = (step: StepRecord) => ({
  id: step.id,
  use: step.use,
  status: step.status,
  output: step.output ?? null,
  error: step.error ?? null,
  attempts: step.attempts.map(showAttempt),
  ...(step.waitingFor && { waitingFor: { ...step.waitingFor, until: iso(step.waitingFor.until) } }),
  ...(step.items && { items: step.items }),
  ...(step.undo && {
    undo: {
      status: step.undo.status,
      error: step.undo.error ?? null,
      attempts: step.undo.attempts.map(showAttempt),
    },
  }),
});

const showAttempt = ({ attempt, startedAt, endedAt, error }: AttemptRecord) => ({
  attempt,
  startedAt: iso(startedAt),
  endedAt: isoOrNull(endedAt),
  error: error ?? null,
});
