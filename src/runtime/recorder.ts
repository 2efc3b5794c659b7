/**
 * Makes inline runs visible afterwards, without a round trip before the response.
 *
 * Records gather in isolate memory and go to D1 in batches after responses. Under load an isolate records
 * `inlineRecordsPerSecond` runs and as many failures each second; the others are answered, not recorded.
 * A record is lost with its isolate: an inline run promises an answer, not a journal.
 */

import type { RunRecord } from '../core/engine/record.ts';
import type { RunState } from '../core/engine/state.ts';
import { recordOf } from '../core/engine/view.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { saveRuns } from '../store/runs.ts';

let buffer: RunRecord[] = [];
let second = 0;
let succeeded = 0;
let failed = 0;

export function recordInline(run: RunState, env: Env, ctx: Pick<ExecutionContext, 'waitUntil'>): void {
  if (!hasPlace(run)) return;
  buffer.push(recordOf(run));
  if (buffer.length === 1)
    ctx.waitUntil(scheduler.wait(LIMITS.inlineRecordDelayMilliseconds).then(() => flushRecords(env)));
}

function hasPlace(run: RunState): boolean {
  const now = Math.floor((run.endedAt ?? 0) / 1000);
  if (now !== second) {
    second = now;
    succeeded = 0;
    failed = 0;
  }
  const count = run.status === 'succeeded' ? ++succeeded : ++failed;
  return count <= LIMITS.inlineRecordsPerSecond;
}

/** Writes what has gathered; lists call it first, so that they show what has just happened here. */
export async function flushRecords(env: Env): Promise<void> {
  const records = buffer;
  buffer = [];
  if (records.length === 0) return;
  try {
    await saveRuns(
      env.DB,
      records.map((record) => ({ summary: record, record })),
    );
  } catch (thrown) {
    console.error(`${records.length} run records could not be saved`, thrown);
  }
}
