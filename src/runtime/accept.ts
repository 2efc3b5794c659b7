/**
 * Accepting runs: the durable write that every webhook, schedule and 202 waits for.
 *
 * Where the request has a dedupe key, the id is made of that key: a duplicate meets the primary key and
 * starts nothing, and needs no index of its own. Where the chain declares flow control, its key chooses the
 * object: it is made of the event, so a duplicate comes to the same one.
 */

import { loadPlan } from './configuration.ts';
import { callAgain, hasFlag } from './object-call.ts';
import type { RunObject } from './run-object.ts';
import type { AcceptedRun, Parent, StoredStart } from './run-store.ts';
import { BUSY, noteShard, shardByKey, shardsFor, stubOf } from './shards.ts';
import { flowOf } from '../core/chain/flow-control.ts';
import type { Plan } from '../core/chain/plan.ts';
import { inputOf, triggerOf } from '../core/chain/input.ts';
import type { StepEvent } from '../core/engine/journal.ts';
import type { TriggerEvent } from '../core/engine/state.ts';
import { fail, fault, FaultError, faultOf, ok, type Result } from '../core/errors.ts';
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
  /** The data centre of the caller, which the run is to be near to. */
  readonly colo?: string | undefined;
  /** Results that it takes over from another run. */
  readonly carried?: readonly StepEvent[];
}

export interface Acceptance {
  readonly id: string;
  readonly duplicate: boolean;
}

/** A run and the objects that may take it, the first before the others. */
interface PlacedRun {
  readonly shards: readonly string[];
  readonly run: AcceptedRun;
}

/** @param shardKey chooses the object, unless the flow control of the chain does */
async function placed(env: Env, shardKey: string | undefined, request: RunRequest): Promise<PlacedRun> {
  const loaded = loadPlan(env, request.chain, request.version);
  const plan = loaded instanceof Promise ? await loaded : loaded;
  const input = 'input' in request ? request.input : await inputOfRequest(plan, request);
  if (plan.flow === undefined) {
    const key = shardKey ?? request.dedupeKey;
    const shards = key === undefined ? shardsFor(env, request.colo) : [await shardByKey(env, key)];
    return { shards, run: await accepted(shards, request, input) };
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
  const shards = [await shardByKey(env, own)];
  return { shards, run: { ...(await accepted(shards, request, input)), flow: JSON.stringify(flow) } };
}

async function accepted([shard = '']: readonly string[], request: RunRequest, input: unknown): Promise<AcceptedRun> {
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
  return {
    ...run,
    ...(carried === undefined ? {} : { carried }),
    ...(dedupeKey === undefined ? {} : { mayRepeat: true }),
  };
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
  const runs = await Promise.all(requests.map((request) => placed(env, shardKey, request)));
  const answers = new Map<PlacedRun, Acceptance>();
  await Promise.all(
    [...Map.groupBy(runs, (run) => run.shards[0])].map(async ([, group]) => {
      const accepts = await withObject(env, group, (object, own) => object.accept(own));
      for (const [index, run] of group.entries()) {
        const answer = accepts[index];
        if (answer !== undefined) answers.set(run, answer);
      }
    }),
  );
  return runs.flatMap((run) => answers.get(run) ?? []);
}

/**
 * Like {@link acceptRuns}, but each request by itself: one that cannot be accepted holds up no other. Those that
 * come to the same object are accepted in the order of the requests, or none of them is.
 */
export async function acceptEach(env: Env, requests: readonly RunRequest[]): Promise<readonly Result<Acceptance>[]> {
  const results = new Map<RunRequest, Result<Acceptance>>();
  const refuse = (refused: readonly RunRequest[], thrown: unknown): void => {
    for (const request of refused) results.set(request, { ok: false, fault: faultOf(thrown) });
  };
  const runs = await Promise.all(
    requests.map(async (request) => {
      try {
        return [{ request, placedRun: await placed(env, undefined, request) }];
      } catch (thrown) {
        refuse([request], thrown);
        return [];
      }
    }),
  );
  const groups = Map.groupBy(runs.flat(), ({ placedRun }) => placedRun.shards[0]);
  await Promise.all(
    [...groups.values()].map(async (group) => {
      try {
        const own = group.map(({ placedRun }) => placedRun);
        const accepts = await withObject(env, own, (object, accepted) => object.accept(accepted));
        for (const [index, { request }] of group.entries()) {
          const answer = accepts[index];
          if (answer !== undefined) results.set(request, ok(answer));
        }
      } catch (thrown) {
        refuse(
          group.map(({ request }) => request),
          thrown,
        );
      }
    }),
  );
  return requests.map((request) => results.get(request) ?? fail('storage.unavailable', 'The run was not accepted.'));
}

/** Accepts one run and waits for its answer. `undefined`: it went on longer than the caller waits. */
export async function acceptAndWait(
  env: Env,
  request: RunRequest,
  waitMilliseconds: number,
): ReturnType<RunObject['acceptAndWait']> {
  const run = await placed(env, undefined, request);
  return withObject(env, [run], (object, [own = run.run]) => object.acceptAndWait(own, waitMilliseconds));
}

/**
 * Gives runs that begin at the same object to that, and where it has too much to do to the next that may
 * take them all. One more try with a new stub where the platform says that this may help; accepting twice
 * is safe, because the ids are made before the first try.
 *
 * @throws FaultError `storage.unavailable` | `run.busy`
 */
async function withObject<T>(
  env: Env,
  runs: readonly PlacedRun[],
  call: (object: DurableObjectStub<RunObject>, runs: readonly AcceptedRun[]) => Promise<T>,
): Promise<T> {
  const [first] = runs;
  const shards = runs.some((run) => run.shards.length === 1) ? first?.shards.slice(0, 1) : first?.shards;
  let busy: unknown;
  for (const shard of new Set(shards)) {
    const own = runs.map(({ run }) => at(shard, run));
    try {
      await noteShard(env, shard);
      return await call(stubOf(env, shard), own);
    } catch (thrown) {
      busy = thrown;
      if (isBusy(thrown)) continue;
      return callAgain(thrown, () => call(stubOf(env, shard), own)).catch((again: unknown) => {
        throw isBusy(again) ? tooBusy(again) : unavailable(again);
      });
    }
  }
  throw tooBusy(busy);
}

/** The same run in another object. */
const at = (shard: string, run: AcceptedRun): AcceptedRun => ({
  ...run,
  id: run.id.replace(/^run_[0-9a-z]+_/, `run_${shard}_`),
});

/** Nothing was accepted: the platform or the object itself refused. */
const isBusy = (thrown: unknown): boolean =>
  hasFlag(thrown, 'overloaded') || (thrown instanceof Error && thrown.message.includes(BUSY));

const unavailable = (thrown: unknown): FaultError =>
  thrown instanceof FaultError
    ? thrown
    : new FaultError(fault('storage.unavailable', 'The run could not be stored; try again.', { detail: thrown }));

const tooBusy = (thrown: unknown): FaultError =>
  new FaultError(fault('run.busy', 'Too many runs are waiting.', { retryAfterMilliseconds: 1_000, detail: thrown }));
