/** Whom a request is counted for, and how much it counts. */

import type { Exchange, Identity } from '../exchange.ts';
import { identityOf, requestOf } from '../scope.ts';
import { hashDocument } from '../../core/chain/canonical.ts';
import { FaultError, fault, faultOf } from '../../core/errors.ts';
import type { Scope, Template } from '../../core/expression/types.ts';
import { LIMITS } from '../../core/limits.ts';
import type { PermitRule, QuotaRule, WindowRule } from '../../core/policy/limiter.ts';
import type { LimitPlan } from '../../core/route/limits.ts';
import { addressOf } from '../../runtime/address.ts';

type AnyPlan = LimitPlan<WindowRule | QuotaRule | PermitRule>;

const prefixOf = ({ perTarget, account }: AnyPlan, { target }: Exchange): string =>
  perTarget ? target + account : account;

/** The name of an account that is not chosen by an expression. */
export function plainAccountOf(plan: AnyPlan, exchange: Exchange, identity: Identity | undefined): string {
  const prefix = prefixOf(plan, exchange);
  const by = typeof plan.by === 'string' ? plan.by : 'route';
  switch (by) {
    case 'route':
      // All callers together; `accountOf` sees to expressions.
      return prefix;
    case 'key':
      return prefix + (identity?.kind === 'key' ? identity.id : byAddress(exchange));
    case 'identity':
      return prefix + (identity?.id ?? byAddress(exchange));
    case 'tenant':
      return prefix + (identity?.tenant === undefined ? byAddress(exchange) : `tenant:${identity.tenant}`);
    case 'ip':
      return prefix + byAddress(exchange);
  }
}

/** The name of any account. @throws FaultError of an expression, by rejection */
export async function accountOf(plan: AnyPlan, exchange: Exchange, identity: Identity | undefined): Promise<string> {
  if (typeof plan.by === 'string') return plainAccountOf(plan, exchange, identity);
  const value = await given(plan.by, scopeOf(exchange, identity));
  if (value === undefined || value === null) return prefixOf(plan, exchange) + byAddress(exchange);
  const text = `=${JSON.stringify(value)}`;
  return prefixOf(plan, exchange) + (text.length <= LIMITS.limitKeyCharacters ? text : `#${await hashDocument(value)}`);
}

const byAddress = (exchange: Exchange): string => `ip:${addressOf(exchange)}`;

/** Undefined where something that the expression refers to is missing. */
async function given(template: Template, scope: Scope): Promise<unknown> {
  try {
    return await template.evaluate(scope);
  } catch (thrown) {
    if (faultOf(thrown).code === 'expression.missing') return undefined;
    throw thrown;
  }
}

/** Tokens that a request takes. @throws FaultError `limit.exceeded` where no request of that cost is ever admitted */
export async function costOf(plan: AnyPlan, exchange: Exchange, identity: Identity | undefined): Promise<number> {
  const { name, rule } = plan;
  if (typeof plan.cost === 'number') return plan.cost;
  const cost = await plan.cost.evaluate(scopeOf(exchange, identity));
  if (typeof cost !== 'number' || !Number.isInteger(cost) || cost < 0) {
    const message = `The cost of the limit "${name}" must be a whole number, not ${JSON.stringify(cost ?? null)}.`;
    throw new FaultError(fault('expression.failed', message));
  }
  if (cost <= rule.limit) return cost;
  const message = `The request counts for ${cost}, and the limit "${name}" is ${rule.limit}.`;
  throw new FaultError(fault('limit.exceeded', message, { retryable: false, data: { policy: name } }));
}

/** A caller who is nobody has an identity without fields. */
const scopeOf = (exchange: Exchange, identity: Identity | undefined): Scope => ({
  request: requestOf(exchange),
  identity: identityOf(identity) ?? {},
});
