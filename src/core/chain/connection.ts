/**
 * Which connection a step uses: one of the owner (`shop-db`), of a tenant that the author names (`acme/crm`), or
 * of whichever tenant the caller acts for (`{{ trigger.tenant }}/crm`).
 *
 * Guarantee: the tenant is a constant of the document or that of the authenticated identity, never a value that a
 * request, a step or an item gives; so no caller reaches the connection of a tenant that is neither theirs nor
 * written down by the author. An expression behind the slash chooses among the connections of that one tenant.
 */

import type { IssueList } from './issues.ts';
import { checkTemplate, type Allowed } from './scopes.ts';
import type { RunIdentity } from '../engine/state.ts';
import type { Scope, Template } from '../expression/types.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { andThen } from '../maybe-promise.ts';

/** The tenant of what belongs to the owner of the gateway; end customers have names of theirs. */
export const OWNER = '';

export interface ConnectionRef {
  /** {@link OWNER}, or an end customer. */
  readonly tenant: string;
  readonly name: string;
}

export interface ConnectionPlan {
  /** As the author wrote it. */
  readonly written: string;
  /** Where the document itself says which one it is. */
  readonly constant: ConnectionRef | undefined;
  /** Undefined: the tenant of the caller. */
  readonly tenant: string | undefined;
  readonly name: string | Template;
}

const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const isName = (name: string): boolean => name.length <= LIMITS.connectionNameCharacters && NAME.test(name);

/** What a `connection` may look like before its expressions are read. */
export const CONNECTION = /^(?:[^{}/]+\/)?[a-z0-9]+(?:-[a-z0-9]+)*$|\{\{/;

const CALLER = /^\{\{\s*trigger\.(?:identity\.)?tenant\s*\}\}$/;

/** Whether a text, as the author wrote it, stands for the tenant that the caller acts for. */
export const isCallersTenant = (written: string): boolean => CALLER.test(written);

const RULE =
  'Only the tenant of the caller may be an expression in front of the slash: "{{ trigger.tenant }}/crm". ' +
  'A tenant that the author chooses stands there as it is: "acme/crm".';

/** What it is called in messages and logs. No two are called the same: a name holds no slash, a tenant is not empty. */
export const connectionPath = ({ tenant, name }: ConnectionRef): string =>
  tenant === OWNER ? name : `${tenant}/${name}`;

/** The connection that {@link connectionPath} calls so. */
export function refOf(path: string): ConnectionRef {
  const slash = path.indexOf('/');
  return slash === -1 ? { tenant: OWNER, name: path } : { tenant: path.slice(0, slash), name: path.slice(slash + 1) };
}

/** The end of a message about a connection that is not there. */
export const howToMake = ({ tenant, name }: ConnectionRef): string =>
  `PUT /_/api/v1/connections/${name}${tenant === OWNER ? '' : `?tenant=${encodeURIComponent(tenant)}`} makes it.`;

/** Undefined where it is none, or wrong: `issues` then tells how. */
export function compileConnection(
  written: string | undefined,
  path: string,
  allowed: Allowed,
  issues: IssueList,
): ConnectionPlan | undefined {
  if (written === undefined) return undefined;
  const slash = written.indexOf('/');
  const front = written.slice(0, Math.max(slash, 0));
  const name = written.slice(slash + 1);
  const isCaller = isCallersTenant(front);
  if (!isCaller && (front.includes('{{') || (slash === -1 && name.includes('{{')) || slash === 0)) {
    issues.add(path, RULE);
    return undefined;
  }
  const tenant = isCaller ? undefined : front;
  if (name.includes('{{')) {
    const template = checkTemplate(name, path, allowed, issues);
    return template && { written, constant: undefined, tenant, name: template };
  }
  if (!isName(name)) {
    const longest = LIMITS.connectionNameCharacters;
    issues.add(path, `"${name}" is no name of a connection: lower-case words joined by hyphens, at most ${longest}.`);
    return undefined;
  }
  return { written, constant: tenant === undefined ? undefined : { tenant, name }, tenant, name };
}

/**
 * The connection of one attempt. Faults `connection.tenant` where the run has no tenant, `connection.invalid` where
 * the expression gives no name.
 *
 * @throws FaultError where the expression fails, also by rejection
 */
export function resolveConnection(
  plan: ConnectionPlan,
  scope: Scope,
  identity: RunIdentity | undefined,
): Result<ConnectionRef> | Promise<Result<ConnectionRef>> {
  if (plan.constant !== undefined) return ok(plan.constant);
  const tenant = plan.tenant ?? identity?.tenant;
  // An empty tenant would be the owner.
  if (tenant === undefined || (plan.tenant === undefined && tenant === OWNER)) {
    const fix = 'Start the chain with a key or token of a tenant.';
    return fail('connection.tenant', `The connection ${plan.written} is that of the caller, who has no tenant. ${fix}`);
  }
  const named = (name: unknown): Result<ConnectionRef> =>
    typeof name === 'string' && isName(name)
      ? ok({ tenant, name })
      : fail('connection.invalid', `The expression of the connection ${plan.written} gave no name of a connection.`);
  if (typeof plan.name === 'string') return ok({ tenant, name: plan.name });
  const name = plan.name.evaluate(scope);
  return andThen(name, named);
}

/** As {@link connectionPath}; undefined where it cannot be told yet, or not at all. */
export function knownConnection(
  plan: ConnectionPlan,
  scope: Scope,
  identity: RunIdentity | undefined,
): string | undefined {
  try {
    const resolved = resolveConnection(plan, scope, identity);
    if (!(resolved instanceof Promise)) return resolved.ok ? connectionPath(resolved.value) : undefined;
    // The attempt itself will tell of what is wrong with it.
    void resolved.catch(() => undefined);
  } catch {
    // As above.
  }
  return undefined;
}
