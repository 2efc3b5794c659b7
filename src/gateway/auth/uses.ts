/**
 * When keys were last used, to the minute.
 * Accepted weakness: what an isolate has not written yet when it ends is lost; the next use tells the same.
 */

import { LIMITS } from '../../core/limits.ts';
import { saveKeyUses } from '../../store/keys.ts';
import type { Exchange } from '../exchange.ts';

/** By id of the key, the minute that was noted last. */
const noted = new Map<string, number>();
let pending = new Map<string, number>();
let writesAt = 0;

/** A look at a map, but for the first use in a minute. */
export function noteUse(key: string, { receivedAt, env, ctx }: Exchange): void {
  const minute = receivedAt - (receivedAt % 60_000);
  if (noted.get(key) === minute) return;
  if (noted.size >= LIMITS.keysInMemory) noted.clear();
  noted.set(key, minute);
  pending.set(key, minute);
  // Who was to write them may have been cut off.
  if (receivedAt < writesAt + LIMITS.keyUseDelayMilliseconds) return;
  writesAt = receivedAt + LIMITS.keyUseDelayMilliseconds;
  ctx.waitUntil(write(env.DB));
}

async function write(db: D1Database): Promise<void> {
  await scheduler.wait(LIMITS.keyUseDelayMilliseconds);
  const uses = pending;
  pending = new Map();
  writesAt = 0;
  await saveKeyUses(db, uses).catch((thrown: unknown) => console.error('last uses of keys', thrown));
}
