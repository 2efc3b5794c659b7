/**
 * The pool of run objects: how they are named, which of them takes a new run, and which there are.
 *
 * The id of a run names its object, so that any isolate finds it without a look-up. A run that may have a
 * duplicate goes to the object that its key names, wherever it comes from. Any other goes to one near its
 * caller, and from one that has too much to do to another.
 */

import type { RunObject } from './run-object.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { addShard, loadShards } from '../store/shards.ts';
import { randomBytes, sha256 } from '../vault/bytes.ts';

/** What an object says that has too much to do; of an error only its message crosses a call. */
export const BUSY = 'run.busy';

const DEFAULT_SHARDS = 16;

const shardsOf = (env: Env): number => Number(env.TIDEGATE_RUN_SHARDS ?? DEFAULT_SHARDS) || DEFAULT_SHARDS;

export const stubOf = (env: Env, shard: string): DurableObjectStub<RunObject> => env.RUNS.getByName(`runs-${shard}`);

/** The object that holds a run, or undefined for an id that is not of a durable run. */
export function objectOf(env: Env, id: string): DurableObjectStub<RunObject> | undefined {
  const shard = /^run_([0-9a-z]{1,4})_[0-9a-f]{32}$/.exec(id)?.[1];
  return shard === undefined ? undefined : stubOf(env, shard);
}

/** The object that every duplicate with this key comes to. */
export async function shardByKey(env: Env, key: string): Promise<string> {
  return numbered(env, new DataView((await sha256(key)).buffer).getUint32(0));
}

const numbered = (env: Env, number: number): string => (number % shardsOf(env)).toString(36);

const random = (): number => new DataView(randomBytes(4).buffer).getUint32(0);

/** A data centre as the platform names it. */
const COLO = /^[A-Za-z]{3}$/;

/**
 * Objects that may take a run without a key: two near the caller, if that is known, and two of the others.
 * Each further one is for when those before it have too much to do.
 *
 * @param colo the data centre of the caller, such as `FRA`
 */
export function shardsFor(env: Env, colo: string | undefined): readonly string[] {
  const start = random();
  const others = [numbered(env, start), numbered(env, start + 1)];
  if (colo === undefined || !COLO.test(colo)) return others;
  const near = (number: number): string => `${colo.toLowerCase()}${number % LIMITS.shardsPerLocation}`;
  return [near(start), near(start + 1), ...others];
}

/** Those that are known to be in D1. */
const noted = new Set<string>();

/** Before the first run is in it: what is not noted is not swept. */
export async function noteShard(env: Env, shard: string): Promise<void> {
  if (shard.length < 4 || noted.has(shard)) return;
  await addShard(env.DB, shard);
  noted.add(shard);
}

/** Every object that may have runs. Where D1 is away, those that this isolate knows of. */
export async function objectsOf(env: Env): Promise<readonly DurableObjectStub<RunObject>[]> {
  try {
    for (const shard of await loadShards(env.DB)) noted.add(shard);
  } catch (thrown) {
    console.error('the shards could not be read', thrown);
  }
  const numbers = Array.from({ length: shardsOf(env) }, (_, index) => numbered(env, index));
  return [...numbers, ...noted].map((shard) => stubOf(env, shard));
}
