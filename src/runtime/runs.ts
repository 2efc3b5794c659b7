/** What the management API does with runs, wherever they are kept. */

import { acceptRuns } from './accept.ts';
import { blobsOf, wholeRecord } from './blobs.ts';
import { checkConfiguration, loadPlan, versionFor } from './configuration.ts';
import { endedStream } from './live.ts';
import { flushRecords } from './recorder.ts';
import type { Decision } from './run-object.ts';
import { objectOf, objectsOf } from './shards.ts';
import { carryOver } from '../core/engine/carry.ts';
import type { StepEvent, StepKey } from '../core/engine/journal.ts';
import type { RunRecord } from '../core/engine/record.ts';
import { requestlessEvent, type RunStart } from '../core/engine/state.ts';
import { fail, fault, ok, type Result } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { loadInlineRun } from '../store/runs.ts';

export async function startRun(
  env: Env,
  chain: string,
  input: unknown,
  hops?: number,
): Promise<Result<{ readonly id: string }>> {
  const configuration = await checkConfiguration(env, 0);
  const active = configuration.chains.get(chain);
  if (active === undefined) return fail('chain.not-found', `There is no chain named ${chain}.`);
  const { plan, version } = versionFor(active, undefined);
  const issues = plan.validateInput?.(input) ?? [];
  if (issues.length > 0) {
    return {
      ok: false,
      fault: fault('input.invalid', 'The input does not match the schema of the chain.', { issues }),
    };
  }
  const event = { ...requestlessEvent('manual', input, Date.now()), hops };
  const request = { chain, version, trigger: 'manual', event, input };
  const [accepted] = await acceptRuns(env, undefined, [request]);
  return accepted === undefined ? fail('storage.unavailable', 'The run was not accepted; try again.') : ok(accepted);
}

/** A durable run is read from its object, which may have it in R2, an inline run from D1. */
export async function readRun(env: Env, id: string): Promise<Result<RunRecord>> {
  try {
    const text = await objectOf(env, id)?.read(id);
    if (typeof text === 'string') return ok(await wholeRecord(blobsOf(env), text));
  } catch (thrown) {
    return fail('storage.unavailable', `The run ${id} could not be read; try again.`, { detail: thrown });
  }
  await flushRecords(env);
  const stored = await loadInlineRun(env.DB, id);
  return stored === undefined ? fail('run.not-found', `There is no run ${id}.`) : ok(stored);
}

/** A run as it goes on, as server-sent events or over a WebSocket, whichever the request asks for. */
export async function streamRun(env: Env, id: string, request: Request): Promise<Result<Response>> {
  const known = await readRun(env, id);
  if (!known.ok) return known;
  const object = objectOf(env, id);
  // Whoever only asks for the head would leave a stream that nobody reads.
  if (object === undefined || known.value.endedAt !== undefined || request.method === 'HEAD') {
    return ok(endedStream(request, known.value));
  }
  const headers = new Headers();
  for (const name of ['upgrade', 'last-event-id']) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const response = await object.fetch(new Request(`https://runs/${id}`, { headers }));
  return response.status === 429 ? fail('run.busy', 'Too many clients watch runs; try again later.') : ok(response);
}

export async function cancelRun(env: Env, id: string): Promise<Result<RunRecord>> {
  const outcome = await objectOf(env, id)?.cancel(id);
  if (outcome === 'cancelled') return readRun(env, id);
  const known = await readRun(env, id);
  return known.ok ? fail('run.ended', `The run ${id} has already ended as ${known.value.status}.`) : known;
}

/** After this, D1 knows every run that was accepted before. */
export async function saveSummaries(env: Env): Promise<void> {
  const objects = await objectsOf(env);
  await Promise.all([flushRecords(env), ...objects.map((object) => object.save())]);
}

/** Takes up what a lost alarm left behind, in every object. One that fails is tried again next minute. */
export async function sweepRuns(env: Env): Promise<void> {
  const swept = await Promise.allSettled((await objectsOf(env)).map((object) => object.sweep()));
  for (const result of swept) if (result.status === 'rejected') console.error('a sweep failed', result.reason);
}

/** Starts nothing further in a run, or goes on with it. */
export async function pauseRun(env: Env, id: string, paused: boolean): Promise<Result<RunRecord>> {
  const object = objectOf(env, id);
  const done = await (paused ? object?.pause(id) : object?.resume(id));
  const known = await readRun(env, id);
  if (done === true || !known.ok) return known;
  return fail('run.ended', `The run ${id} has already ended as ${known.value.status}.`);
}

/**
 * A new run that begins where this one failed: what had succeeded is taken over and not called again.
 * @param version of the chain; default the run's own
 */
export async function retryRun(env: Env, id: string, version?: 'same' | 'newest'): Promise<Result<{ id: string }>> {
  const known = await readRun(env, id);
  if (!known.ok) return known;
  const { chain, status } = known.value;
  if (status !== 'failed' && status !== 'cancelled') {
    const fix = 'Cancel it first, or replay it.';
    return fail(
      'run.not-failed',
      `The run ${id} is ${status}; only a run that failed or was cancelled is retried. ${fix}`,
    );
  }
  const stored = await objectOf(env, id)?.journalOf(id);
  // An inline run keeps no journal; it is retried from its start.
  if (stored === undefined) return replayRun(env, id);
  const target = version === 'newest' ? await activeVersion(env, chain) : known.value.version;
  if (target === undefined) return fail('chain.not-found', `There is no chain named ${chain} any more.`);
  const [from, to] = await Promise.all([loadPlan(env, chain, known.value.version), loadPlan(env, chain, target)]);
  const carried = carryOver(JSON.parse(stored.events) as StepEvent[], from, to);
  return startAgain(env, chain, target, JSON.parse(stored.start) as Again, carried);
}

/** A new run with the same trigger event on the newest version; `input` replaces the input where it is given. */
export async function replayRun(env: Env, id: string, input?: { value: unknown }): Promise<Result<{ id: string }>> {
  const known = await readRun(env, id);
  if (!known.ok) return known;
  const { chain, input: before } = known.value;
  const version = await activeVersion(env, chain);
  if (version === undefined) return fail('chain.not-found', `There is no chain named ${chain} any more.`);
  const stored = await objectOf(env, id)?.journalOf(id);
  if (stored === undefined) return startRun(env, chain, input === undefined ? before : input.value);
  const again = JSON.parse(stored.start) as Again;
  const plan = await loadPlan(env, chain, version);
  const given = input === undefined ? again.input : input.value;
  const issues = plan.validateInput?.(given) ?? [];
  if (issues.length > 0) return fail('input.invalid', 'The input does not match the schema of the chain.', { issues });
  return startAgain(env, chain, version, { ...again, input: given });
}

type Again = Pick<RunStart, 'trigger' | 'event' | 'input'>;

async function startAgain(
  env: Env,
  chain: string,
  version: number,
  { trigger, event, input }: Again,
  carried?: readonly StepEvent[],
): Promise<Result<{ id: string }>> {
  const request = { chain, version, trigger, event: { ...event, receivedAt: Date.now() }, input, again: true };
  const [accepted] = await acceptRuns(env, undefined, [carried === undefined ? request : { ...request, carried }]);
  return accepted === undefined ? fail('storage.unavailable', 'The run was not accepted; try again.') : ok(accepted);
}

const activeVersion = async (env: Env, chain: string): Promise<number | undefined> =>
  (await checkConfiguration(env, 0)).chains.get(chain)?.version;

/** Gives an event to every run that waits for it; returns how many did. */
export async function sendEvent(env: Env, name: string, key: string | undefined, data: unknown): Promise<number> {
  const objects = await objectsOf(env);
  const delivered = await Promise.all(objects.map((object) => object.deliverEvent(name, key, data)));
  return delivered.reduce((sum, count) => sum + count, 0);
}

/** Decides an approval. False where nothing waits for it: it was decided, it timed out, or the run has ended. */
export const decide = async (env: Env, run: string, step: StepKey, decision: Decision): Promise<boolean> =>
  (await objectOf(env, run)?.decide(run, step, decision)) ?? false;
