/**
 * What valibot found, as issues for the caller.
 * Guarantee: an issue never quotes the value it complains about, since that may be a secret.
 */

import type * as v from 'valibot';
import { suggestion } from '../core/chain/names.ts';
import { fail, type ErrorCode, type Issue, type Result } from '../core/errors.ts';

type Found = v.BaseIssue<unknown>;

/** `request.invalid` with all issues; their paths begin with `base`. */
export const invalid = (found: readonly Found[], base = ''): Result<never> =>
  refuse('request.invalid', issuesOf(found, base));

export function refuse(code: ErrorCode, issues: readonly Issue[]): Result<never> {
  const [first] = issues;
  const where = first === undefined || first.path === '' ? '' : `${first.path}: `;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return fail(code, `${where}${first?.message ?? 'The value is not valid.'}${more}`, { issues });
}

export const issuesOf = (found: readonly Found[], base = ''): Issue[] =>
  found.flatMap((issue) => (issue.issues === undefined ? [toIssue(issue, base)] : deepest(issue.issues, issue, base)));

/** Of the alternatives of a union, what is said inside one says more than that none fits. */
function deepest(inner: readonly Found[], outer: Found, base: string): Issue[] {
  const nested = inner.filter((issue) => (issue.path?.length ?? 0) > 0);
  return nested.length > 0 ? issuesOf(nested, base) : [toIssue(outer, base)];
}

function toIssue(issue: Found, base: string): Issue {
  const keys = (issue.path ?? []).map((item) => String(item.key));
  const path = [base, ...keys].filter((key) => key !== '').join('.');
  return { path, message: messageOf(issue, keys.at(-1) ?? '') };
}

function messageOf(issue: Found, key: string): string {
  if (issue.kind === 'schema' && issue.type === 'strict_object' && issue.expected === 'never') {
    return `There is no field "${key}" here; remove it.`;
  }
  if (issue.kind === 'schema' && issue.received === 'undefined') return 'This field is required.';
  return issue.expected === null ? 'This value is not valid.' : `Expected ${issue.expected}.`;
}

/** For a schema that lets unknown fields pass in silence: each of them as an issue. */
export const unknownFields = (given: object, parsed: unknown, base: string): Issue[] => {
  const known = typeof parsed === 'object' && parsed !== null ? Object.keys(parsed) : [];
  return Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key) => ({ path: `${base}.${key}`, message: `There is no field "${key}" here.${suggestion(key, known)}` }));
};
