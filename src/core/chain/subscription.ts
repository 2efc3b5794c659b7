/** What a trigger listens to: all of it is fixed, since it is opened before there is an event. */

import type { Catalogue } from './catalogue.ts';
import { conform } from './conform.ts';
import { compileConnection, type ConnectionRef } from './connection.ts';
import type { TriggerDocument } from './document.ts';
import { at, type IssueList } from './issues.ts';
import { nearest, suggestion } from './names.ts';
import { literally } from './scopes.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

type SubscriptionDocument = Extract<TriggerDocument, { type: 'subscription' }>;

export interface SubscriptionPlan {
  readonly to: string;
  readonly connection: ConnectionRef | undefined;
  readonly with: Readonly<Record<string, unknown>>;
}

export function compileSubscription(
  { to, connection: written, with: given = {} }: SubscriptionDocument,
  path: string,
  catalogue: Catalogue,
  issues: IssueList,
): SubscriptionPlan {
  const facts = catalogue.subscription(to);
  const names = catalogue.subscriptionNames;
  if (facts === undefined) issues.add(at(path, 'to'), () => unknown(to, names));
  const place = at(path, 'connection');
  if (facts?.connection === 'required' && written === undefined) {
    issues.add(place, `"connection" is missing: ${to} needs the name of a connection.`);
  }
  if (facts?.connection === 'none' && written !== undefined) {
    issues.add(place, `${to} takes no connection; remove the field.`);
  }
  const connection = fixedConnection(written, place, issues);
  if (facts !== undefined) {
    conform(given, facts.params, at(path, 'with'), issues, { leaf: literally, safeKeys: false });
  }
  refuseExpressions(given, at(path, 'with'), issues, 0);
  return { to, connection, with: given };
}

function unknown(to: string, names: readonly string[]): string {
  const near = nearest(to, names);
  return `There is nothing to subscribe to called "${to}".${near === undefined ? suggestion(to, names) : ` Did you mean "${near}"?`}`;
}

function fixedConnection(written: string | undefined, path: string, issues: IssueList): ConnectionRef | undefined {
  if (written?.includes('{{')) {
    issues.add(path, 'A subscription has no caller: name its connection as it is, such as "shop-db" or "acme/crm".');
    return undefined;
  }
  return compileConnection(written, path, { roots: [], steps: [] }, issues)?.constant;
}

function refuseExpressions(value: unknown, path: string, issues: IssueList, depth: number): void {
  if (depth > LIMITS.jsonDepth) issues.add(path, `Nested deeper than ${LIMITS.jsonDepth} levels.`);
  else if (typeof value === 'string' && value.includes('{{')) {
    issues.add(path, 'There is no event yet that an expression could refer to; write the value itself.');
  } else if (isObject(value) || Array.isArray(value)) {
    for (const [key, member] of Object.entries(value)) refuseExpressions(member, at(path, key), issues, depth + 1);
  }
}
