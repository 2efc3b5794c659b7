/** Who calls: the stage `authenticate` of the gateway. */

import { bearerOf, refusal, type Attempt } from './attempt.ts';
import { byCertificate } from './certificates.ts';
import { byBasic, byKey } from './keys.ts';
import { bySignature } from './signatures.ts';
import { byAccess, byToken } from './tokens.ts';
import type { AuthPlan, RulePlan } from '../../core/route/auth.ts';
import { fail, ok, type ErrorCode, type Fault, type Result } from '../../core/errors.ts';
import { andThen, type MaybePromise } from '../../core/maybe-promise.ts';
import type { Exchange, Identity } from '../exchange.ts';

/** The headers that are not passed on. Another `Authorization` beside `X-API-Key` is meant for the upstream. */
export const credentialHeaders = ({ credentialHeaders: names, bearerOnly }: AuthPlan, headers: Headers) =>
  bearerOnly && bearerOf(headers.get('authorization')) === undefined
    ? names.filter((name) => name !== 'authorization')
    : names;

const NOBODY = ok(undefined);

/**
 * Undefined for a public target. Synchronous for a key or token that this isolate has seen under this
 * configuration. Faults `auth.missing` and `auth.invalid`, with their challenge; `auth.forbidden`;
 * `auth.unavailable`; `request.too-large` for a signed body.
 */
export function authenticateExchange(plan: AuthPlan, exchange: Exchange): MaybePromise<Result<Identity | undefined>> {
  const [first] = plan.rules;
  if (first === undefined) return NOBODY;
  const attempt = { exchange, authorization: exchange.headers.get('authorization') };
  return (plan.mode === 'all' ? all : any)(plan, check(first, attempt), attempt, 1);
}

function check(rule: RulePlan, attempt: Attempt): MaybePromise<Result<Identity>> {
  switch (rule.type) {
    case 'key':
      return byKey(rule, attempt);
    case 'basic':
      return byBasic(rule, attempt);
    case 'jwt':
      return byToken(rule, attempt);
    case 'access':
      return byAccess(rule, attempt);
    case 'hmac':
      return bySignature(rule, attempt);
    case 'mtls':
      return byCertificate(rule, attempt);
  }
}

/** What says most about why nobody was let in. */
const RANK: Readonly<Partial<Record<ErrorCode, number>>> = { 'auth.missing': 0, 'auth.invalid': 1 };
const rankOf = ({ code }: Fault): number => RANK[code] ?? 2;

/** @param checked what the rules before `index` said */
function any(
  plan: AuthPlan,
  checked: MaybePromise<Result<Identity>>,
  attempt: Attempt,
  index: number,
): MaybePromise<Result<Identity>> {
  if (checked instanceof Promise) return checked.then((result) => any(plan, result, attempt, index));
  if (checked.ok) return checked;
  const rule = plan.rules[index];
  if (rule === undefined) return refusal(plan, checked.fault);
  const better = (next: Result<Identity>) => (next.ok || rankOf(next.fault) > rankOf(checked.fault) ? next : checked);
  const next = check(rule, attempt);
  return any(plan, andThen(next, better), attempt, index + 1);
}

function all(
  plan: AuthPlan,
  checked: MaybePromise<Result<Identity>>,
  attempt: Attempt,
  index: number,
): MaybePromise<Result<Identity>> {
  if (checked instanceof Promise) return checked.then((result) => all(plan, result, attempt, index));
  if (!checked.ok) return refusal(plan, checked.fault);
  const rule = plan.rules[index];
  if (rule === undefined) return checked;
  const both = (next: Result<Identity>) => (next.ok ? together(checked.value, next.value) : next);
  const next = check(rule, attempt);
  return all(plan, andThen(next, both), attempt, index + 1);
}

/** The first says who calls; what it does not tell, the others add. */
function together(first: Identity, other: Identity): Result<Identity> {
  if (first.tenant !== undefined && other.tenant !== undefined && first.tenant !== other.tenant) {
    return fail('auth.forbidden', 'The credentials are of different end customers.');
  }
  const [claims, key] = [first.claims ?? other.claims, first.key ?? other.key];
  return ok({
    ...first,
    tenant: first.tenant ?? other.tenant,
    ...(claims === undefined ? {} : { claims }),
    ...(key === undefined ? {} : { key }),
  });
}
