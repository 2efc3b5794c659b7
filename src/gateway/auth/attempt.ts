/** What the kinds of rules have in common. */

import type { AuthPlan, RulePlan } from '../../core/route/auth.ts';
import { fail, type Fault, type Result } from '../../core/errors.ts';
import type { MaybePromise } from '../../core/maybe-promise.ts';
import type { Exchange, Identity } from '../exchange.ts';

/** A request, and what every rule reads of it. */
export interface Attempt {
  readonly exchange: Exchange;
  readonly authorization: string | null;
}

export type RuleOf<Type extends RulePlan['type']> = Extract<RulePlan, { readonly type: Type }>;

/** `auth.missing` where the request has no credential of this kind: another rule may find its own. */
export type Check<Type extends RulePlan['type']> = (
  rule: RuleOf<Type>,
  attempt: Attempt,
) => MaybePromise<Result<Identity>>;

const BEARER = /^bearer /i;

/** What stands behind `Bearer`, or undefined. */
export function bearerOf(authorization: string | null): string | undefined {
  return authorization !== null && BEARER.test(authorization)
    ? authorization.slice('bearer '.length).trim()
    : undefined;
}

/** RFC 6750, section 3.1. */
export function lackingScope(what: 'API key' | 'token', scope: string): Result<never> {
  const challenge = `Bearer realm="tidegate", error="insufficient_scope", scope="${scope}"`;
  return fail('auth.forbidden', `The ${what} lacks the scope ${scope}.`, { challenge });
}

/** The refusal as the caller of this plan reads it. */
export function refusal({ challenge }: AuthPlan, fault: Fault): Result<never> {
  if (fault.code === 'auth.missing') return { ok: false, fault: { ...fault, challenge } };
  if (fault.code !== 'auth.invalid') return { ok: false, fault };
  const told = challenge.replace('Bearer realm="tidegate"', '$&, error="invalid_token"');
  return { ok: false, fault: { ...fault, challenge: told } };
}
