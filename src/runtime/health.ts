/**
 * Active checks of upstream pools, as an isolate sees them: from memory, at most `healthAgeMilliseconds` old
 * plus what the answer takes. A request never waits for a verdict; without one, a target counts as healthy.
 */

import { createVerdict, judge, type Verdict } from '../core/proxy/health.ts';
import type { ActivePlan, PoolPlan } from '../core/route/upstream.ts';
import { LIMITS } from '../core/limits.ts';
import type { Configuration } from './configuration.ts';
import type { Env } from '../env.ts';

interface Known {
  /** Addresses of targets. */
  unhealthy: ReadonlySet<string>;
  askedAt: number;
}

/** By pool. */
const known = new Map<string, Known>();

/** The targets of a pool that its checks have taken out. Asks for news after the response, when it is time to. */
export function unhealthyTargets(
  env: Env,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  pool: string,
  now: number,
): ReadonlySet<string> {
  let entry = known.get(pool);
  if (entry === undefined) known.set(pool, (entry = { unhealthy: new Set(), askedAt: -Infinity }));
  if (now - entry.askedAt >= LIMITS.healthAgeMilliseconds) {
    entry.askedAt = now;
    ctx.waitUntil(refresh(env, pool, entry));
  }
  return entry.unhealthy;
}

async function refresh(env: Env, pool: string, entry: Known): Promise<void> {
  try {
    entry.unhealthy = new Set(await env.HEALTH.getByName(pool).unhealthy());
  } catch (thrown) {
    // What was known last is still better than nothing.
    console.warn(`the checks of the upstream ${pool} did not answer`, thrown);
  }
}

/** Sees to it that every pool with active checks is checked. Pools that have none any more stop by themselves. */
export async function watchPools(env: Env, { upstreams }: Configuration): Promise<void> {
  const watched = [...upstreams.values()].flatMap(({ name, active }) =>
    active === undefined ? [] : [env.HEALTH.getByName(name).watch(name, active.intervalMilliseconds)],
  );
  for (const result of await Promise.allSettled(watched)) {
    if (result.status === 'rejected') console.error('the checks of an upstream could not be started', result.reason);
  }
}

/** Checks every target once; returns those whose verdict changed. Never rejects. */
export async function checkTargets(
  fetch: typeof globalThis.fetch,
  { urls, ...pool }: Pick<PoolPlan, 'name' | 'urls'>,
  active: ActivePlan,
  verdicts: Map<string, Verdict>,
): Promise<readonly string[]> {
  const changed: string[] = [];
  const waiting = [...urls];
  const work = async (): Promise<void> => {
    for (let url = waiting.shift(); url !== undefined; url = waiting.shift()) {
      const answer = await answerOf(fetch, url + active.path, active);
      let verdict = verdicts.get(url);
      if (verdict === undefined) verdicts.set(url, (verdict = createVerdict()));
      if (!judge(verdict, active.statuses.has(Number(answer)), active.thresholds)) continue;
      changed.push(url);
      console.warn(`upstream ${pool.name}: ${url} is ${verdict.healthy ? 'healthy' : 'unhealthy'} (${answer})`);
    }
  };
  await Promise.all(Array.from({ length: LIMITS.healthConcurrentChecks }, work));
  return changed;
}

/** The status, or why there is none. */
async function answerOf(
  fetch: typeof globalThis.fetch,
  url: string,
  { timeoutMilliseconds }: ActivePlan,
): Promise<number | string> {
  try {
    const reply = await fetch(url, {
      headers: { 'user-agent': 'tidegate-health' },
      signal: AbortSignal.timeout(timeoutMilliseconds),
    });
    await reply.body?.cancel();
    return reply.status;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}
