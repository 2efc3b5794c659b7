/** What this isolate has learned of a pool, and its choice of a target. */

import type { Exchange, Identity } from '../exchange.ts';
import { chooseByKey, chooseOfTwo, chooseWeighted } from '../../core/proxy/choice.ts';
import { createTargetRecord, isEjected, recordCall, type TargetRecord } from '../../core/proxy/ejection.ts';
import { addLatency, createLatency, latencyAt, type Latency } from '../../core/proxy/latency.ts';
import { createBudget, type BudgetPolicy, type RetryBudget } from '../../core/proxy/retries.ts';
import { createBreaker, type Breaker } from '../../core/policy/breaker.ts';
import type { PoolPlan } from '../../core/route/upstream.ts';
import { clientAddress } from '../../runtime/address.ts';
import { LIMITS } from '../../core/limits.ts';

export interface Pool {
  readonly plan: PoolPlan;
  readonly all: readonly number[];
  readonly records: readonly TargetRecord[];
  readonly latencies: readonly Latency[];
  readonly breaker: Breaker | undefined;
  readonly budget: RetryBudget;
}

export const BUDGET: BudgetPolicy = {
  share: LIMITS.retryBudgetShare,
  perSecond: LIMITS.retryBudgetPerSecond,
  largest: LIMITS.retryBudgetLargest,
};

const pools = new WeakMap<PoolPlan, Pool>();

/** A pool whose document was changed has another plan, and begins anew. */
export function poolOf(plan: PoolPlan, now: number): Pool {
  let pool = pools.get(plan);
  if (pool === undefined) {
    pool = {
      plan,
      all: plan.urls.map((_, index) => index),
      records: plan.urls.map(createTargetRecord),
      latencies: plan.urls.map(createLatency),
      breaker: plan.breaker && createBreaker(plan.breaker),
      budget: createBudget(BUDGET, now),
    };
    pools.set(plan, pool);
  }
  return pool;
}

export interface Choice {
  /** Of `sticky`; undefined where the request has none. */
  readonly key: string | undefined;
  /** Addresses that active checks have taken out. */
  readonly unhealthy: ReadonlySet<string> | undefined;
  /** Targets that this request was sent to before. */
  readonly tried: readonly number[];
}

/** The position of the target that gets the request. */
export function chooseTarget({ plan, all, records, latencies }: Pool, choice: Choice, now: number): number {
  if (all.length === 1) return 0;
  const { key, unhealthy, tried } = choice;
  const isWell = (index: number): boolean => {
    const record = records[index];
    return (record === undefined || !isEjected(record, now)) && unhealthy?.has(plan.urls[index] ?? '') !== true;
  };
  const isFresh = (index: number): boolean => !tried.includes(index);
  const well = all.filter(isWell);
  const fresh = tried.length === 0 ? well : well.filter(isFresh);
  // Where nobody is well, the trouble is more likely elsewhere, and refusing all requests helps nobody (panic mode).
  const candidates = [fresh, well, all.filter(isFresh), all].find(({ length }) => length > 0) ?? all;
  if (key !== undefined) return chooseByKey(candidates, plan.weights, plan.seeds, key);
  if (plan.balance !== 'least-latency') return chooseWeighted(candidates, plan.weights, Math.random());
  const costOf = (index: number): number => {
    const latency = latencies[index];
    return latency === undefined ? 0 : latencyAt(latency, now);
  };
  return chooseOfTwo(candidates, plan.weights, costOf, Math.random);
}

/** Notes what came of a call, for the choices to come. */
export function noteCall(pool: Pool, index: number, failed: boolean, startedAt: number, now: number): void {
  const { plan, records, latencies } = pool;
  const latency = latencies[index];
  // A quick failure must not make a target look fast.
  if (plan.balance === 'least-latency' && !failed && latency !== undefined) addLatency(latency, now - startedAt, now);
  if (plan.ejection === undefined || !recordCall(plan.ejection, records, index, failed, now)) return;
  console.warn(`upstream ${plan.name}: ${plan.urls[index] ?? ''} fails and gets no requests for a while`);
}

/** What an expression of the route may read, made only where it is asked for. */
type ScopeOf = () => Readonly<Record<string, unknown>>;

/** The key of a sticky pool; undefined where the request has none. May throw a FaultError of an expression. */
export function stickyKey(
  { by }: PoolPlan,
  exchange: Exchange,
  identity: Identity | undefined,
  scopeOf: ScopeOf | undefined,
): string | undefined | Promise<string | undefined> {
  switch (by?.kind) {
    case undefined:
      return undefined;
    case 'ip':
      return clientAddress(exchange);
    case 'identity':
      return identity?.id;
    case 'header':
      return exchange.headers.get(by.name) ?? undefined;
    case 'cookie':
      return cookieOf(exchange.headers.get('cookie'), by.name);
    case 'expression':
      return evaluated(by.template.evaluate(scopeOf?.() ?? {}));
  }
}

async function evaluated(value: unknown): Promise<string | undefined> {
  const key = await value;
  return key === undefined || key === null || key === '' ? undefined : JSON.stringify(key);
}

function cookieOf(header: string | null, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=');
    if (pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}
