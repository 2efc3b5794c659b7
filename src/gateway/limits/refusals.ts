/** What a caller is told of limits: headers by draft-ietf-httpapi-ratelimit-headers, and why it was refused. */

import { fault, type Fault } from '../../core/errors.ts';
import type { Lease } from '../../core/policy/lease.ts';
import type { PermitRule, QuotaRule, WindowRule } from '../../core/policy/limiter.ts';
import type { LimitPlan, LimitsPlan } from '../../core/route/limits.ts';

type AnyPlan = LimitPlan<WindowRule | QuotaRule | PermitRule>;

export type Headers = readonly (readonly [name: string, value: string])[];

export interface Refusal {
  readonly ok: false;
  readonly fault: Fault;
  readonly headers: Headers;
}

const REFUSALS = {
  window: {
    code: 'limit.exceeded',
    message: ({ name, rule }: AnyPlan) => `The limit "${name}" of ${rule.limit} requests is reached.`,
  },
  quota: {
    code: 'quota.exceeded',
    message: ({ name, rule }: AnyPlan) => `The quota "${name}" of ${rule.limit} requests is used up.`,
  },
  permits: {
    code: 'concurrency.exceeded',
    message: ({ rule }: AnyPlan) => `As many requests as may be, ${rule.limit}, are under way.`,
  },
} as const;

const secondsOf = (milliseconds: number): number => Math.ceil(milliseconds / 1_000);

export function refusalOf(
  plan: AnyPlan,
  retryAfterMilliseconds: number,
  remaining: number,
  plans: readonly LimitsPlan[],
): Refusal {
  const { code, message } = REFUSALS[plan.rule.kind];
  const seconds = secondsOf(retryAfterMilliseconds);
  const data = { policy: plan.name, limit: plan.rule.limit };
  return {
    ok: false,
    fault: fault(code, `${message(plan)} Try again in ${seconds} s.`, { retryAfterMilliseconds, data }),
    headers: [policyHeader(plans), ['ratelimit', `${plan.label};r=${remaining};t=${seconds}`]],
  };
}

const UNAVAILABLE_MILLISECONDS = 1_000;

export function unavailable({ name }: Pick<AnyPlan, 'name'>): Refusal {
  const message = `The limit "${name}" cannot be checked at the moment. Try again in a second.`;
  const extra = { retryAfterMilliseconds: UNAVAILABLE_MILLISECONDS, data: { policy: name } };
  return { ok: false, fault: fault('limit.unavailable', message, extra), headers: [] };
}

interface State {
  readonly plan: LimitPlan;
  readonly lease: Lease;
}

/** `r` is what remains, `t` the seconds until there is more. */
export function stateHeaders(states: readonly State[], plans: readonly LimitsPlan[], now: number): Headers {
  if (states.length === 0) return [policyHeader(plans)];
  let text = '';
  for (const { plan, lease } of states) {
    if (text !== '') text += ', ';
    text += `${plan.label};r=${lease.remaining};t=${secondsOf(lease.resetMilliseconds(now))}`;
  }
  return [policyHeader(plans), ['ratelimit', text]];
}

function policyHeader([first, second]: readonly LimitsPlan[]): readonly [name: string, value: string] {
  const own = first?.policyHeader ?? '';
  return ['ratelimit-policy', second === undefined ? own : `${own}, ${second.policyHeader}`];
}
