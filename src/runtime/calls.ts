/** Chains that call chains: `flow.call`. */

import { acceptRuns } from './accept.ts';
import type { RunAnswer } from './answers.ts';
import { currentConfiguration, loadPlan, versionFor } from './configuration.ts';
import type { Outcome } from './execute.ts';
import type { Parent } from './run-store.ts';
import { objectOf } from './shards.ts';
import type { RunRecord } from '../core/engine/record.ts';
import { requestlessEvent, type TriggerEvent, type Wait } from '../core/engine/state.ts';
import { fault, faultOf, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export type CallWait = Extract<Wait, { kind: 'call' }>;

const failed = (value: Fault): Outcome => ({ kind: 'failed', fault: value });

export const tooDeep = (chain: string): Outcome =>
  failed(fault('call.depth', `Chains call each other more than ${LIMITS.callDepth} deep; the last one is ${chain}.`));

export const unknownChain = (chain: string): Outcome =>
  failed(fault('call.failed', `There is no chain named ${chain}.`));

/**
 * Starts the called run; calling again with the same key finds it again. Gives the outcome where there is
 * one already; else the called run tells it when it ends.
 */
export async function callChain(
  env: Env,
  parent: Parent,
  wait: CallWait,
  caller: Pick<TriggerEvent, 'hops' | 'identity' | 'tenant'>,
): Promise<Outcome | undefined> {
  try {
    if (parent.depth > LIMITS.callDepth) return tooDeep(wait.chain);
    const active = (await currentConfiguration(env)).chains.get(wait.chain);
    if (active === undefined) return unknownChain(wait.chain);
    const { input, key } = wait;
    const { hops, identity, tenant } = caller;
    const event = { ...requestlessEvent('chain', input, Date.now()), hops, identity, tenant };
    const request = {
      chain: wait.chain,
      version: versionFor(active, key).version,
      trigger: 'chain',
      event,
      input,
      dedupeKey: key,
      parent,
    };
    const [accepted] = await acceptRuns(env, key, [request]);
    if (accepted?.duplicate !== true) return undefined;
    const answer = await objectOf(env, accepted.id)?.wait(accepted.id, 0);
    return answer === undefined ? undefined : outcomeOf(answer);
  } catch (thrown) {
    const reason = faultOf(thrown);
    // The next sweep calls again: accepting is safe to repeat.
    if (reason.retryable) return undefined;
    return failed(fault('call.failed', `The chain ${wait.chain} could not be called: ${reason.message}`));
  }
}

export function outcomeOf({ status, output, fault: reason, failure }: RunAnswer): Outcome | undefined {
  if (status === 'running') return undefined;
  if (status === 'succeeded') {
    return { kind: 'succeeded', success: { output: output === undefined ? null : (JSON.parse(output) as unknown) } };
  }
  const message = reason?.message ?? 'It failed.';
  const data = {
    code: reason?.code ?? 'run.failed',
    message,
    ...(failure && { data: JSON.parse(failure) as unknown }),
  };
  return failed(fault('call.failed', `The called chain failed: ${message}`, { data }));
}

/** The trigger of runs that were started because another failed. */
const FAILURE = 'failure';

/** Starts the failure chain of a run that failed; doing so again starts nothing. Never rejects. */
export const startFailureChain = (env: Env, run: RunRecord): Promise<void> =>
  startFor(env, run).catch((thrown: unknown) => {
    console.error(`the failure chain of run ${run.id} was not started`, thrown);
  });

async function startFor(env: Env, run: RunRecord): Promise<void> {
  const { id, chain, version, error, status, trigger } = run;
  if (status !== 'failed' || trigger === FAILURE) return;
  const { onFailure } = await loadPlan(env, chain, version);
  if (onFailure === undefined) return;
  const active = (await currentConfiguration(env)).chains.get(onFailure);
  if (active === undefined) return console.error(`the failure chain ${onFailure} of ${chain} does not exist`);
  const input = { run: id, chain, version, error: error ?? null, input: run.input ?? null };
  const event = requestlessEvent('chain', input, Date.now());
  const key = `${id}:${FAILURE}`;
  await acceptRuns(env, key, [
    { chain: onFailure, version: versionFor(active, key).version, trigger: FAILURE, event, input, dedupeKey: key },
  ]);
}

const TRIES = 3;

/** Tells the run that waits. One that cannot be told now is told when it calls again. Never rejects. */
export async function tellParent(env: Env, parent: Parent, answer: RunAnswer | Promise<RunAnswer>): Promise<void> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    try {
      const outcome = outcomeOf(await answer);
      if (outcome !== undefined) await objectOf(env, parent.run)?.childEnded(parent.run, parent.step, outcome);
      return;
    } catch (thrown) {
      console.error(`run ${parent.run} could not be told of the run that it called`, thrown);
      await scheduler.wait(100 * attempt);
    }
  }
}
