/**
 * Calls of the limiter objects: all asks of one request to the same object go together.
 *
 * An object that does not answer in time is left alone for as long again, so that an outage costs its callers
 * no time; meanwhile the isolate decides by itself.
 */

import { LIMITS } from '../core/limits.ts';
import type { Answer, Ask } from '../core/policy/limiter.ts';
import type { Env } from '../env.ts';

/** When to call an object again, by its shard. */
const silent = new WeakMap<Env['LIMITER'], Map<number, number>>();

function silentOf({ LIMITER }: Env): Map<number, number> {
  let known = silent.get(LIMITER);
  if (known === undefined) silent.set(LIMITER, (known = new Map()));
  return known;
}

/** Which object counts a key (FNV-1a). */
export function shardOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash >>> 0) % LIMITS.limiterShards;
}

/** One answer for each ask, in order; undefined where there was none in time. */
export async function callLimiter(env: Env, asks: readonly Ask[]): Promise<readonly (Answer | undefined)[]> {
  const [first] = asks;
  if (first !== undefined && asks.length === 1) return callShard(env, shardOf(first.key), asks);
  const byShard = Map.groupBy(asks, ({ key }) => shardOf(key));
  const answers = new Map<Ask, Answer | undefined>();
  await Promise.all(
    [...byShard].map(async ([shard, part]) => {
      const given = await callShard(env, shard, part);
      for (const [index, ask] of part.entries()) answers.set(ask, given[index]);
    }),
  );
  return asks.map((ask) => answers.get(ask));
}

async function callShard(env: Env, shard: number, asks: readonly Ask[]): Promise<readonly (Answer | undefined)[]> {
  const unreachableUntil = silentOf(env);
  if (Date.now() < (unreachableUntil.get(shard) ?? 0)) return [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(new Error('the limiter object did not answer in time'));
    timer = setTimeout(refuse, LIMITS.limiterAnswerMilliseconds);
  });
  try {
    const answers = await Promise.race([env.LIMITER.getByName(`limiter-${shard}`).limit(asks), late]);
    unreachableUntil.delete(shard);
    return answers;
  } catch (thrown) {
    console.error(`limiter object ${shard} cannot be reached`, thrown);
    unreachableUntil.set(shard, Date.now() + LIMITS.limiterAnswerMilliseconds);
    return [];
  } finally {
    clearTimeout(timer);
  }
}
