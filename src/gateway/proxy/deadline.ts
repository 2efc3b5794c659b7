/**
 * Timeouts that hardly ever happen, for hardly any price: a timer of its own costs a request more than most
 * of what else the gateway does with it, so one request watches over all that are under way.
 *
 * Guarantee: a wait ends at its timeout, or up to `LIMITS.deadlineTickMilliseconds` later. The watch ends when
 * nobody waits, and before the platform ends what a request left behind; whoever still waits then gets a timer.
 * Accepted weakness: if the watching request itself is killed, waits of that time may last until the next one begins.
 */

import { LIMITS } from '../../core/limits.ts';
import { inTime } from '../../drivers/kit/in-time.ts';

interface Waiting {
  /** Unix milliseconds. */
  readonly until: number;
  /** Wakes the request that waits: its time is over, or it has to see to itself. */
  readonly wake: (isLate: boolean) => void;
}

const waiting = new Set<Waiting>();
/** When the watch began; 0 while there is none. */
let watchedSince = 0;

/** What `work` comes to; undefined where it takes longer. `work` itself goes on. */
export async function within<T>(
  work: Promise<T>,
  timeoutMilliseconds: number,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
): Promise<T | undefined> {
  if (timeoutMilliseconds < LIMITS.deadlineTickMilliseconds * 4) return inTime(timeoutMilliseconds, work);
  const now = Date.now();
  const until = now + timeoutMilliseconds;
  let own: Waiting | undefined;
  const woken = new Promise<boolean>((wake) => waiting.add((own = { until, wake })));
  if (now - watchedSince >= LIMITS.deadlineWatchMilliseconds / 2) {
    watchedSince = now;
    ctx.waitUntil(watch(now));
  }
  try {
    return await Promise.race([
      work,
      woken.then((isLate) => (isLate ? undefined : inTime(Math.max(0, until - Date.now()), work))),
    ]);
  } finally {
    if (own !== undefined) waiting.delete(own);
  }
}

/** Until it is empty here, or a later request has taken over. */
async function watch(since: number): Promise<void> {
  for (;;) {
    await scheduler.wait(LIMITS.deadlineTickMilliseconds);
    if (watchedSince !== since) return;
    const now = Date.now();
    const isLast = now - since >= LIMITS.deadlineWatchMilliseconds;
    for (const each of waiting) if (isLast || each.until <= now) each.wake(each.until <= now);
    if (!isLast && waiting.size > 0) continue;
    watchedSince = 0;
    return;
  }
}
