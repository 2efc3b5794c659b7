/** What the management API does with runs, wherever they are kept. */

import { acceptRuns, objectOf, objectsOf } from './accept.ts';
import { checkConfiguration } from './configuration.ts';
import { flushRecords } from './recorder.ts';
import type { RunRecord } from '../core/engine/record.ts';
import { fail, fault, ok, type Result } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { loadRun } from '../store/runs.ts';

export async function startRun(env: Env, chain: string, input: unknown): Promise<Result<{ readonly id: string }>> {
  const configuration = await checkConfiguration(env, 0);
  const active = configuration.chains.get(chain);
  if (active === undefined) return fail('chain.not-found', `There is no chain named ${chain}.`);
  const issues = active.plan.validateInput?.(input) ?? [];
  if (issues.length > 0) {
    return {
      ok: false,
      fault: fault('input.invalid', 'The input does not match the schema of the chain.', { issues }),
    };
  }
  const event = { type: 'manual', params: {}, query: {}, headers: {}, body: input, receivedAt: Date.now() } as const;
  const request = { chain, version: active.version, trigger: 'manual', event, input };
  const [accepted] = await acceptRuns(env, undefined, [request]);
  return accepted === undefined ? fail('storage.unavailable', 'The run was not accepted; try again.') : ok(accepted);
}

/** A durable run is read from its object, an inline run from D1. */
export async function readRun(env: Env, id: string): Promise<Result<RunRecord>> {
  const text = await objectOf(env, id)?.read(id);
  if (typeof text === 'string') return ok(JSON.parse(text) as RunRecord);
  await flushRecords(env);
  const stored = await loadRun(env.DB, id);
  if (stored === undefined) return fail('run.not-found', `There is no run ${id}.`);
  return ok('steps' in stored ? stored : { ...stored, input: undefined, output: undefined, steps: [] });
}

export async function cancelRun(env: Env, id: string): Promise<Result<RunRecord>> {
  const outcome = await objectOf(env, id)?.cancel(id);
  if (outcome === 'cancelled') return readRun(env, id);
  const known = await readRun(env, id);
  return known.ok ? fail('run.ended', `The run ${id} has already ended as ${known.value.status}.`) : known;
}

/** After this, D1 knows every run that was accepted before. */
export async function saveSummaries(env: Env): Promise<void> {
  await Promise.all([flushRecords(env), ...objectsOf(env).map((object) => object.save())]);
}

/** Takes up what a lost alarm left behind, in every object. One that fails is tried again next minute. */
export async function sweepRuns(env: Env): Promise<void> {
  const swept = await Promise.allSettled(objectsOf(env).map((object) => object.sweep()));
  for (const result of swept) if (result.status === 'rejected') console.error('a sweep failed', result.reason);
}
