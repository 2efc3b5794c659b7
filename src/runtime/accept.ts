/**
 * Accepting runs: the durable write that every webhook, schedule and 202 waits for.
 *
 * The id of a run names its object, so that any isolate finds it without a look-up. Where the request
 * has a dedupe key, the id is made of that key: a duplicate meets the primary key and starts nothing,
 * and needs no index of its own. Where the chain declares flow control, its key chooses the object: it is
 * made of the event, so a duplicate comes to the same one.
 */

import { loadPlan } from './configuration.ts';
import type { RunObject } from './run-object.ts';
import type { AcceptedRun, Parent, StoredStart } from './run-store.ts';
import { flowOf } from '../core/chain/flow-control.ts';
import type { Plan } from '../core/chain/plan.ts';
import { inputOf, triggerOf } from '../core/chain/input.ts';
import type { StepEvent } from '../core/engine/journal.ts';
import type { TriggerEvent } from '../core/engine/state.ts';
import { fault, FaultError } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { randomBytes, sha256, toHex } from '../vault/bytes.ts';

export interface RunRequest {
  readonly chain: string;
  readonly version: number;
  /** Name of the trigger in the document, or `manual`. */
  readonly trigger: string;
  readonly event: TriggerEvent;
  /** The input, where the caller has made it already; else it is made of the event. */
  readonly input?: unknown;
  /** Two requests with the same key, chain and trigger are one run. */
  readonly dedupeKey?: string;
  /** The step that waits for the run. */
  readonly parent?: Parent;
  /** Somebody asked for a run once more: it is neither the same as an earlier one nor held back for a newer one. */
  readonly again?: boolean;
  /** Results that it takes over from another run. */
  readonly carried?: readonly StepEvent[];
}

export interface Acceptance {
  readonly id: string;
  readonly duplicate: boolean;
}

const DEFAULT_SHARDS = 16;

const shardsOf = (env: Env): number => Number(env.TIDEGATE_RUN_SHARDS ?? DEFAULT_SHARDS) || DEFAULT_SHARDS;

export const allShards = (env: Env): readonly string[] =>
  Array.from({ length: shardsOf(env) }, (_, index) => index.toString(36));

const stubOf = (env: Env, shard: string): DurableObjectStub<RunObject> => env.RUNS.getByName(`runs-${shard}`);

/** The object that holds a run, or undefined for an id that is not of a durable run. */
export function objectOf(env: Env, id: string): DurableObjectStub<RunObject> | undefined {
  const shard = /^run_([0-9a-z]{1,4})_[0-9a-f]{32}$/.exec(id)?.[1];
  return shard === undefined ? undefined : stubOf(env, shard);
}

export const objectsOf = (env: Env): readonly DurableObjectStub<RunObject>[] =>
  allShards(env).map((shard) => stubOf(env, shard));

/** A shard: by key where duplicates must meet, at random otherwise. */
async function shardOf(env: Env, key: string | undefined): Promise<string> {
  const bytes = key === undefined ? randomBytes(4) : await sha256(key);
  const number = new DataView(bytes.buffer).getUint32(0);
  return (number % shardsOf(env)).toString(36);
}

interface PlacedRun {
  readonly shard: string;
  readonly run: AcceptedRun;
}

/** @param shardKey chooses the object, unless the flow control of the chain does */
async function placed(env: Env, shardKey: Promise<string>, request: RunRequest): Promise<PlacedRun> {
  const loaded = loadPlan(env, request.chain, request.version);
  const plan = loaded instanceof Promise ? await loaded : loaded;
  const input = 'input' in request ? request.input : await inputOfRequest(plan, request);
  if (plan.flow === undefined) {
    const shard = await shardKey;
    return { shard, run: await accepted(shard, request, input) };
  }
  const { event, again = false, parent } = request;
  // A chain that is called must be a run of its own, whose end is told to its caller.
  const { shardKey: own, flow } = await flowOf(plan.flow, {
    chain: plan.name,
    event,
    input,
    idempotent: !again && parent === undefined,
    debounced: !again,
  });
  const shard = await shardOf(env, own);
  return { shard, run: { ...(await accepted(shard, request, input)), flow: JSON.stringify(flow) } };
}

async function accepted(shard: string, request: RunRequest, input: unknown): Promise<AcceptedRun> {
  const { chain, version, trigger, event, dedupeKey, parent } = request;
  const unique =
    dedupeKey === undefined
      ? randomBytes(16)
      : (await sha256(JSON.stringify([dedupeKey, chain, trigger]))).slice(0, 16);
  const start: StoredStart = {
    trigger,
    event,
    ...(input === event.body ? {} : { input }),
    ...(parent === undefined ? {} : { parent }),
  };
  const id = `run_${shard}_${toHex(unique)}`;
  const { carried } = request;
  const run = { id, chain, version, receivedAt: event.receivedAt, start: JSON.stringify(start) };
  return carried === undefined ? run : { ...run, carried };
}

async function inputOfRequest(plan: Plan, request: RunRequest): Promise<unknown> {
  const trigger = triggerOf(plan, request.trigger);
  return trigger === undefined ? request.event.body : inputOf(plan, trigger, request.event);
}

/**
 * Resolves when every run is on disk, in the order of the requests.
 *
 * @param shardKey requests that may be duplicates of each other pass the same key
 * @throws FaultError `storage.unavailable` when the object cannot be reached
 */
export async function acceptRuns(
  env: Env,
  shardKey: string | undefined,
  requests: readonly RunRequest[],
): Promise<readonly Acceptance[]> {
  const shard = shardOf(env, shardKey);
  const runs = await Promise.all(requests.map((request) => placed(env, shard, request)));
  const answers = new Map<PlacedRun, Acceptance>();
  await Promise.all(
    [...Map.groupBy(runs, (run) => run.shard)].map(async ([name, group]) => {
      const accepts = await withObject(env, name, (object) => object.accept(group.map(({ run }) => run)));
      for (const [index, run] of group.entries()) {
        const answer = accepts[index];
        if (answer !== undefined) answers.set(run, answer);
      }
    }),
  );
  return runs.flatMap((run) => answers.get(run) ?? []);
}

/** Accepts one run and waits for its answer. `undefined`: it went on longer than the caller waits. */
export async function acceptAndWait(
  env: Env,
  request: RunRequest,
  waitMilliseconds: number,
): ReturnType<RunObject['acceptAndWait']> {
  const { shard, run } = await placed(env, shardOf(env, request.dedupeKey), request);
  return withObject(env, shard, (object) => object.acceptAndWait(run, waitMilliseconds));
}

/**
 * One more try with a new stub where the platform says that this may help; accepting twice is safe, because
 * the ids are made before the first try. An overloaded object is never tried again.
 *
 * @throws FaultError `storage.unavailable` | `run.busy`
 */
async function withObject<T>(
  env: Env,
  shard: string,
  call: (object: DurableObjectStub<RunObject>) => Promise<T>,
): Promise<T> {
  try {
    return await call(stubOf(env, shard));
  } catch (thrown) {
    if (!hasFlag(thrown, 'retryable') || hasFlag(thrown, 'overloaded')) throw unavailable(thrown);
    return call(stubOf(env, shard)).catch((again: unknown) => {
      throw unavailable(again);
    });
  }
}

/** How the platform marks an error of a call to an object. */
const hasFlag = (thrown: unknown, flag: 'retryable' | 'overloaded'): boolean =>
  thrown instanceof Error && flag in thrown && Reflect.get(thrown, flag) === true;

function unavailable(thrown: unknown): FaultError {
  if (thrown instanceof FaultError) return thrown;
  return hasFlag(thrown, 'overloaded')
    ? new FaultError(fault('run.busy', 'Too many runs are waiting.', { retryAfterMilliseconds: 1_000, detail: thrown }))
    : new FaultError(fault('storage.unavailable', 'The run could not be stored; try again.', { detail: thrown }));
}
