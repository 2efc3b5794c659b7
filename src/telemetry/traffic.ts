/**
 * Counts what is answered: in isolate memory on the hot path, then in batches through a queue to D1.
 *
 * Guarantee: no request waits for it, and it never holds what a request said, only who asked what and how
 * it ended. Accepted weakness: figures of the last seconds die with their isolate, and a batch that the
 * queue delivers twice counts twice; quotas are counted elsewhere.
 */

import { count, noFigures, type Tally } from '../core/traffic.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { addTraffic } from '../store/traffic.ts';

const MINUTE = 60_000;

/** Those that are too many to be told apart. */
const OTHERS = '(others)';

let tallies = new Map<string, Tally>();
/** The one that was counted in, which saves the next request of its kind the search. */
let last: Tally | undefined;
let waiting = false;

export function recordTraffic(
  env: Env,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  { target, version, caller }: Pick<Tally, 'target' | 'version' | 'caller'>,
  status: number,
  startedAt: number,
): void {
  const now = Date.now();
  const at = now - (now % MINUTE);
  if (last?.at !== at || last.target !== target || last.version !== version || last.caller !== caller) {
    last = tallies.get(`${at} ${target} ${version} ${caller}`) ?? open(at, target, version, caller);
  }
  count(last, status, now - startedAt);
  if (waiting) return;
  waiting = true;
  ctx.waitUntil(scheduler.wait(LIMITS.trafficDelayMilliseconds).then(() => flushTraffic(env)));
}

function open(at: number, target: string, version: string, caller: string): Tally {
  const named = tallies.size < LIMITS.trafficTallies ? caller : OTHERS;
  const key = `${at} ${target} ${version} ${named}`;
  const known = tallies.get(key);
  if (known !== undefined) return known;
  const tally = { at, target, version, caller: named, ...noFigures() };
  tallies.set(key, tally);
  return tally;
}

/** Sends what has gathered; figures that are asked for here are so complete. */
export async function flushTraffic(env: Env): Promise<void> {
  const gathered = [...tallies.values()];
  tallies = new Map();
  last = undefined;
  waiting = false;
  if (gathered.length === 0) return;
  try {
    if (env.TELEMETRY === undefined) return await addTraffic(env.DB, gathered);
    for (let index = 0; index < gathered.length; index += LIMITS.trafficTalliesPerMessage) {
      await env.TELEMETRY.send({ tallies: gathered.slice(index, index + LIMITS.trafficTalliesPerMessage) });
    }
  } catch (thrown) {
    console.error(`the figures of ${gathered.length} kinds of requests are lost`, thrown);
  }
}

/** One message: what an isolate has counted. */
export interface TrafficMessage {
  readonly tallies: readonly Tally[];
}

/** One write for a whole batch, whichever isolates it comes from. */
export async function consumeTraffic(batch: MessageBatch, env: Env): Promise<void> {
  // Only `flushTraffic` sends to this queue.
  await addTraffic(
    env.DB,
    batch.messages.flatMap(({ body }) => (body as TrafficMessage).tallies),
  );
}
