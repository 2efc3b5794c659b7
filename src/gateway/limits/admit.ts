/**
 * The stage between authentication and the target: does this request fit into every limit that stands
 * before it? Where the isolate has tokens or remembers a denial, it answers at once.
 */

import { accountOf, costOf, plainAccountOf } from './account.ts';
import { callLimiter } from '../../runtime/limiter-calls.ts';
import { leaseOf, renew, reportLater } from './leases.ts';
import { permitsOf } from './permits.ts';
import { refusalOf, stateHeaders, unavailable, type Headers, type Refusal } from './refusals.ts';
import type { Exchange, Identity } from '../exchange.ts';
import { faultOf } from '../../core/errors.ts';
import { DENIED, UNKNOWN, type Grant, type Lease } from '../../core/policy/lease.ts';
import type { PermitRule } from '../../core/policy/limiter.ts';
import { compileKeyLimits, type KeyLimits, type LimitPlan, type LimitsPlan } from '../../core/route/limits.ts';

export type Admission = { readonly ok: true; readonly headers?: Headers; readonly release?: () => void } | Refusal;

/** What a request would take of one limit. */
interface Draft {
  readonly plan: LimitPlan;
  readonly account: string;
  readonly cost: number;
}

interface Claim extends Draft {
  readonly lease: Lease;
  /** Undefined while the object has to be asked, and where the isolate decides without it. */
  grant: Grant | undefined;
}

interface Caller {
  readonly exchange: Exchange;
  readonly identity: Identity | undefined;
  readonly plans: readonly LimitsPlan[];
}

/**
 * Synchronous where every limit is known here and none is counted by an expression.
 *
 * @param plan of the route or trigger
 * @param keyLimits of the API key that the request was made with
 * @returns where it is not admitted, the fault `limit.exceeded` | `quota.exceeded` | `concurrency.exceeded` |
 *   `limit.unavailable`, or that of an expression; `release` is to be called once the response has ended
 */
export function admit(
  plan: LimitsPlan | undefined,
  exchange: Exchange,
  identity: Identity | undefined,
  keyLimits?: KeyLimits,
): Admission | Promise<Admission> {
  const plans: LimitsPlan[] = [];
  const keyPlan = keyLimits && keyPlanOf(keyLimits);
  if (plan !== undefined) plans.push(plan);
  if (keyPlan !== undefined) plans.push(keyPlan);
  if (plans.length === 0) return { ok: true };
  const caller = { exchange, identity, plans };
  if (plan?.hasExpressions === true) return admitSlowly(caller);
  const drafts: Draft[] = [];
  for (const { limits } of plans) {
    for (const each of limits) {
      const cost = typeof each.cost === 'number' ? each.cost : 1;
      drafts.push({ plan: each, account: plainAccountOf(each, exchange, identity), cost });
    }
  }
  return claim(drafts, caller);
}

const keyPlans = new WeakMap<KeyLimits, { readonly plan: LimitsPlan | undefined }>();

function keyPlanOf(limits: KeyLimits): LimitsPlan | undefined {
  let known = keyPlans.get(limits);
  if (known === undefined) keyPlans.set(limits, (known = { plan: compileKeyLimits(limits) }));
  return known.plan;
}

/** Evaluates all expressions first, so that no token is held meanwhile. */
async function admitSlowly(caller: Caller): Promise<Admission> {
  const { exchange, identity, plans } = caller;
  const drafts: Draft[] = [];
  try {
    for (const plan of plans.flatMap(({ limits }) => limits)) {
      const account = await accountOf(plan, exchange, identity);
      drafts.push({ plan, account, cost: await costOf(plan, exchange, identity) });
    }
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown), headers: [] };
  }
  return claim(drafts, caller);
}

function claim(drafts: readonly Draft[], caller: Caller): Admission | Promise<Admission> {
  const now = Date.now();
  const claims: Claim[] = [];
  let isKnown = true;
  for (const draft of drafts) {
    const { plan, account, cost } = draft;
    if (cost === 0) continue;
    const lease = leaseOf(account, plan.rule);
    const taken = lease.take(now, cost);
    if (taken === DENIED) {
      putBack(claims);
      return refusalOf(plan, lease.resetMilliseconds(now), lease.remaining, caller.plans);
    }
    isKnown &&= taken !== UNKNOWN;
    claims.push({ plan, account, cost, lease, grant: taken === UNKNOWN ? undefined : taken });
  }
  return isKnown ? granted(claims, caller) : askFor(claims, caller);
}

/** Asks the objects for the tokens that are not here. */
async function askFor(claims: readonly Claim[], caller: Caller): Promise<Admission> {
  const { exchange, plans } = caller;
  const sentAt = Date.now();
  const missing = claims.filter(({ grant }) => grant === undefined);
  const asks = missing.map(({ lease, cost }) => lease.ask(sentAt, cost));
  const answers = await callLimiter(exchange.env, asks);
  const now = Date.now();
  let refusal: Refusal | undefined;
  for (const [index, each] of missing.entries()) {
    const { plan, lease, cost } = each;
    const answer = answers[index];
    each.grant = answer && lease.learn(answer, sentAt, now, cost);
    if (lease.isOpen) reportLater(lease, exchange, now);
    if (each.grant !== undefined || refusal !== undefined) continue;
    if (answer?.ok === false) {
      refusal = refusalOf(plan, answer.resetMilliseconds, answer.remaining, plans);
    } else if (plan.onError === 'deny' && !lease.takeAlone(now, cost)) refusal = unavailable(plan);
  }
  if (refusal === undefined) return granted(claims, caller);
  putBack(claims);
  return refusal;
}

/** Every limit has room. The permit comes last, since it is held. */
function granted(claims: readonly Claim[], caller: Caller): Admission | Promise<Admission> {
  const permit = caller.plans[0]?.concurrency;
  return permit === undefined ? admitted(claims, caller, undefined) : withPermit(claims, caller, permit);
}

async function withPermit(claims: readonly Claim[], caller: Caller, plan: LimitPlan<PermitRule>): Promise<Admission> {
  const { exchange, identity } = caller;
  try {
    const permits = permitsOf(await accountOf(plan, exchange, identity), plan.rule);
    const sentAt = Date.now();
    let grant = permits.take(sentAt);
    if (grant === undefined) {
      const [answer] = await callLimiter(exchange.env, [permits.ask]);
      grant = answer && permits.learn(answer, sentAt);
      const isUnknown = answer === undefined && plan.onError === 'deny';
      if (isUnknown || answer?.ok === false) {
        putBack(claims);
        return answer === undefined ? unavailable(plan) : refusalOf(plan, answer.resetMilliseconds, 0, caller.plans);
      }
    }
    return admitted(claims, caller, grant && permits.hold(grant, exchange));
  } catch (thrown) {
    putBack(claims);
    return { ok: false, fault: faultOf(thrown), headers: [] };
  }
}

function admitted(claims: readonly Claim[], { exchange, plans }: Caller, release: (() => void) | undefined): Admission {
  const now = Date.now();
  for (const { lease, cost, grant } of claims) {
    if (grant === undefined) continue;
    lease.spend(grant, now, cost);
    reportLater(lease, exchange, now);
    if (lease.isUrgent(now)) renew(lease, exchange);
  }
  const headers = stateHeaders(claims, plans, now);
  return release === undefined ? { ok: true, headers } : { ok: true, headers, release };
}

function putBack(claims: readonly Claim[]): void {
  for (const { lease, grant, cost } of claims) if (grant !== undefined) lease.putBack(grant, cost);
}
