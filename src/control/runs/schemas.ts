/** The schemas of runs as they are shown; `core/engine/show.ts` makes them. */

import * as v from 'valibot';
import { instant } from '../schemas.ts';
import { RUN_STATUSES, STEP_STATUSES, TRIGGER_TYPES } from '../../core/engine/record.ts';

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

const whole = v.pipe(v.number(), v.integer());

const attempt = v.strictObject({
  attempt: whole,
  startedAt: instant,
  endedAt: v.nullable(instant),
  error: shownError,
});

const stepRecord = v.strictObject({
  id: v.string(),
  use: v.string(),
  status: v.picklist(STEP_STATUSES),
  output: v.unknown(),
  error: shownError,
  attempts: v.array(attempt),
  waitingFor: v.optional(
    v.pipe(
      v.strictObject({
        kind: v.picklist(['time', 'event', 'approval', 'call', 'connection']),
        until: instant,
        event: v.optional(v.string()),
        key: v.optional(v.string()),
        chain: v.optional(v.string()),
        connection: v.optional(v.string()),
        message: v.optional(v.string()),
      }),
      v.description('What the step waits for, while it does.'),
    ),
  ),
  items: v.optional(
    v.pipe(
      v.strictObject({ count: whole, done: whole, failed: whole }),
      v.description('How far a `flow.each` has come.'),
    ),
  ),
  undo: v.optional(
    v.pipe(
      v.strictObject({ status: v.picklist(STEP_STATUSES), error: shownError, attempts: v.array(attempt) }),
      v.description('Its compensation, once that has begun.'),
    ),
  ),
});

export const runRecord = v.strictObject({
  ...summary,
  input: v.unknown(),
  output: v.unknown(),
  steps: v.array(stepRecord),
});

/** One event of the live stream of a run. */
export const runEvent = v.variant('type', [
  v.strictObject({ type: v.literal('run'), run: v.strictObject({ ...summary, output: v.unknown() }) }),
  v.strictObject({ type: v.literal('step'), run: v.string(), step: stepRecord }),
]);
