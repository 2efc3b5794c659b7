/** Runs as they are shown. */

import * as v from 'valibot';
import { instant, iso, isoOrNull } from '../schemas.ts';
import {
  RUN_STATUSES,
  STEP_STATUSES,
  TRIGGER_TYPES,
  type RunRecord,
  type RunSummary,
  type ShownFault,
} from '../../core/engine/record.ts';

const shownError = v.nullable(v.looseObject({ code: v.string(), message: v.string(), step: v.optional(v.string()) }));

const summary = {
  id: v.string(),
  chain: v.string(),
  version: v.pipe(v.number(), v.integer()),
  trigger: v.pipe(
    v.string(),
    v.description('Its name in the chain document; `manual` where a person started the run.'),
  ),
  triggerType: v.picklist(TRIGGER_TYPES),
  mode: v.picklist(['inline', 'durable']),
  status: v.picklist(RUN_STATUSES),
  createdAt: instant,
  endedAt: v.nullable(instant),
  error: shownError,
};

export const runSummary = v.strictObject(summary);

export const runRecord = v.strictObject({
  ...summary,
  input: v.unknown(),
  output: v.unknown(),
  steps: v.array(
    v.strictObject({
      id: v.string(),
      use: v.string(),
      status: v.picklist(STEP_STATUSES),
      output: v.unknown(),
      error: shownError,
      attempts: v.array(
        v.strictObject({
          attempt: v.pipe(v.number(), v.integer()),
          startedAt: instant,
          endedAt: v.nullable(instant),
          error: shownError,
        }),
      ),
    }),
  ),
});

const errorOf = (error: ShownFault | undefined) => error ?? null;

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
  error: errorOf(run.error),
});

export const showRun = (run: RunRecord) => ({
  ...showSummary(run),
  input: run.input ?? null,
  output: run.output ?? null,
  steps: run.steps.map((step) => ({
    id: step.id,
    use: step.use,
    status: step.status,
    output: step.output ?? null,
    error: errorOf(step.error),
    attempts: step.attempts.map((attempt) => ({
      attempt: attempt.attempt,
      startedAt: iso(attempt.startedAt),
      endedAt: isoOrNull(attempt.endedAt),
      error: errorOf(attempt.error),
    })),
  })),
});
