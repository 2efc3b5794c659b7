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

/**
 * What `done` or `failed` make of what `work` comes to; `done` gets undefined where it takes longer, and `work` itself
 * goes on. By callbacks, because each promise more is a part of what a request costs.
 */
export function within<T, U>(
  work: Promise<T>,
  timeoutMilliseconds: number,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  done: (value: T | undefined) => U,
  failed: (reason: unknown) => U,
): Promise<U> {
  const alone = (milliseconds: number): Promise<U> => inTime(milliseconds, work).then(done, failed);
  if (timeoutMilliseconds < LIMITS.deadlineTickMilliseconds * 4) return alone(timeoutMilliseconds);
  const now = Date.now();
  const until = now + timeoutMilliseconds;
  if (now - watchedSince >= LIMITS.deadlineWatchMilliseconds / 2) {
    watchedSince = now;
    ctx.waitUntil(watch(now));
  }
  return new Promise((resolve, reject) => {
    const { promise: woken, resolve: wakeHere } = Promise.withResolvers<boolean>();
    const wake = (isLate: boolean): void => {
      waiting.delete(own);
      wakeHere(isLate);
    };
    const own = { until, wake };
    waiting.add(own);
    // It is another request that wakes, and none may make an answer for another: that happens after the promise.
    void woken.then((isLate) =>
      resolve(isLate ? Promise.resolve(undefined).then(done) : alone(Math.max(0, until - Date.now()))),
    );
    const settle = <V>(make: (value: V) => U, value: V): void => {
      // Whoever was woken has its answer, or another timer.
      if (!waiting.delete(own)) return;
      try {
        resolve(make(value));
      } catch (thrown) {
        reject(thrown);
      }
    };
    work.then(
      (value) => settle(done, value),
      (reason: unknown) => settle(failed, reason),
    );
  });
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
