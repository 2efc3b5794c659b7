/**
 * Judges canaries by their runs: each minute by the sweep, and whenever somebody looks. One that is worse
 * gets no more runs from then on.
 */

import { reloadConfiguration, type Configuration } from './configuration.ts';
import { saveSummaries } from './runs.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { judgeCanary, type Judgement } from '../core/policy/canary.ts';
import type { Env } from '../env.ts';
import { countOutcomes, loadCanary, rollBackCanary, withThreshold, type CanaryRow } from '../store/canaries.ts';

export interface CanaryStatus {
  readonly canary: CanaryRow;
  readonly judgement: Judgement;
}

/** The canary of a chain, judged by every run that has ended. Fault `canary.not-found`. */
export async function canaryStatus(env: Env, chain: string): Promise<Result<CanaryStatus>> {
  await saveSummaries(env);
  const status = await judge(env, chain);
  if (status === undefined) return fail('canary.not-found', `The chain ${chain} has no canary.`);
  return ok(status);
}

/** Judges every canary that this configuration knows of. One that cannot be judged now is judged next minute. */
export async function judgeCanaries(env: Env, configuration: Configuration): Promise<void> {
  const chains = [...configuration.chains.values()].filter((chain) => chain.canary !== undefined);
  // Also runs that are still under way: how slow they are counts.
  if (chains.length > 0) await saveSummaries(env);
  const judged = await Promise.allSettled(chains.map((chain) => judge(env, chain.name)));
  for (const result of judged)
    if (result.status === 'rejected') console.error('a canary was not judged', result.reason);
}

async function judge(env: Env, chain: string): Promise<CanaryStatus | undefined> {
  const now = Date.now();
  const stored = await loadCanary(env.DB, chain);
  if (stored === undefined) return undefined;
  if (stored.judgement !== null) return { canary: stored, judgement: stored.judgement };
  const canary = await withThreshold(env.DB, stored, now);
  const judgement = judgeCanary(canary, await countOutcomes(env.DB, canary, now));
  const { reason } = judgement;
  if (reason === undefined) return { canary, judgement };
  await rollBackCanary(env.DB, canary, judgement, now);
  await reloadConfiguration(env);
  return { canary: { ...canary, weight: 0, rolledBackAt: now, reason, judgement }, judgement };
}
