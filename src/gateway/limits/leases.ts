/** The leases of this isolate, and the loop that reports what was spent. */

import { callLimiter } from '../../runtime/limiter-calls.ts';
import type { Exchange } from '../exchange.ts';
import { LIMITS } from '../../core/limits.ts';
import { Lease } from '../../core/policy/lease.ts';
import type { Answer, QuotaRule, WindowRule } from '../../core/policy/limiter.ts';
import type { Env } from '../../env.ts';

type Place = Pick<Exchange, 'env' | 'ctx'>;

const leases = new Map<string, Lease>();
/** Those with something to report, now or when they end. */
const open = new Set<Lease>();

export function leaseOf(key: string, rule: WindowRule | QuotaRule): Lease {
  const known = leases.get(key);
  if (known !== undefined) {
    known.rule = rule;
    return known;
  }
  const [oldest] = leases.keys();
  if (leases.size >= LIMITS.limiterKeysPerIsolate && oldest !== undefined) leases.delete(oldest);
  const lease = new Lease(key, rule);
  leases.set(key, lease);
  return lease;
}

/** Fills the store of a lease behind the response, where that cannot wait for the next reports. */
export function renew(lease: Lease, { env, ctx }: Place): void {
  const sentAt = Date.now();
  ctx.waitUntil(callLimiter(env, [lease.renewal(sentAt)]).then(([answer]) => fill(lease, answer, sentAt)));
}

/**
 * The platform ends what a request left behind half a minute after it. So each loop is taken over by a later
 * request, and lives longer than any lease that began before that.
 */
const LOOP_TAKEN_OVER_MILLISECONDS = 10_000;
const LOOP_MILLISECONDS = LOOP_TAKEN_OVER_MILLISECONDS + LIMITS.limiterLeaseMilliseconds + 2_000;

let loopStartedAt = 0;

/** To be called when a lease was used. */
export function reportLater(lease: Lease, { env, ctx }: Place, now: number): void {
  open.add(lease);
  if (now - loopStartedAt < LOOP_TAKEN_OVER_MILLISECONDS) return;
  loopStartedAt = now;
  ctx.waitUntil(loop(env, now));
}

async function loop(env: Env, startedAt: number): Promise<void> {
  let now = startedAt;
  while (open.size > 0 && now < startedAt + LOOP_MILLISECONDS) {
    await scheduler.wait(LIMITS.limiterReportMilliseconds);
    now = Date.now();
    if (loopStartedAt !== startedAt) return;
    await report(env, now);
  }
  if (loopStartedAt === startedAt) loopStartedAt = 0;
}

/** What was spent; where the store is low, more is asked for on the same way. */
async function report(env: Env, now: number): Promise<void> {
  const low = [...open].filter((lease) => lease.isLow(now));
  const asks = low.map((lease) => lease.renewal(now));
  for (const lease of open) {
    if (lease.isDue(now)) {
      const { key, rule } = lease;
      const settle = lease.report(now);
      if (settle.length > 0) asks.push({ key, rule, need: 0, want: 0, settle });
    }
    if (!lease.isOpen) open.delete(lease);
  }
  if (asks.length === 0) return;
  const answers = await callLimiter(env, asks);
  for (const [index, lease] of low.entries()) fill(lease, answers[index], now);
}

function fill(lease: Lease, answer: Answer | undefined, sentAt: number): void {
  if (answer !== undefined) lease.learn(answer, sentAt, Date.now(), 0);
  // What is not spent of it goes back when it ends.
  if (lease.isOpen) open.add(lease);
}
