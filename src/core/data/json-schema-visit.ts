/** How rules of JSON Schema are applied to a value, and what they tell of it. */

import type { Resource, Schema } from './json-schema-documents.ts';
import { at, type IssueList } from '../chain/issues.ts';
import { isObject } from '../json.ts';

/** Members and items of one value that keywords have looked at; `unevaluated…` is about the others. */
class Seen {
  readonly names = new Set<string>();
  readonly items = new Set<number>();

  add(other: Seen): void {
    for (const name of other.names) this.names.add(name);
    for (const index of other.items) this.items.add(index);
  }
}

/** The resources that references have led through, which is what `$dynamicRef` asks for. */
export interface Scope {
  readonly resource: Resource;
  readonly outer: Scope | undefined;
}

export interface Visit {
  /** Kept only where there are issues to tell. */
  readonly path: string;
  readonly issues: IssueList | undefined;
  readonly scope: Scope;
  readonly seen: Seen | undefined;
}

export type Rule = (value: unknown, visit: Visit) => boolean;

export interface Node {
  readonly resource: Resource;
  readonly rules: Rule[];
  /** It has an `unevaluated…`, so what its other keywords look at must be known. */
  tracks: boolean;
}

/** @param issues gets all that is wrong; without it the first mistake decides */
export const checkRoot = (node: Node, value: unknown, issues: IssueList | undefined): boolean =>
  check(node, value, { path: '', issues, scope: { resource: node.resource, outer: undefined }, seen: undefined });

export function check(node: Node, value: unknown, visit: Visit): boolean {
  const scope = visit.scope.resource === node.resource ? visit.scope : { resource: node.resource, outer: visit.scope };
  const seen = node.tracks ? new Seen() : visit.seen;
  const inner = { path: visit.path, issues: visit.issues, scope, seen };
  let isValid = true;
  for (const rule of node.rules) {
    if (rule(value, inner)) continue;
    if (visit.issues === undefined) return false;
    isValid = false;
  }
  if (isValid && seen !== undefined && seen !== visit.seen) visit.seen?.add(seen);
  return isValid;
}

export function no({ path, issues }: Visit, message: string): false {
  issues?.add(path, message);
  return false;
}

export const below = (visit: Visit, key: string | number): Visit => ({
  ...visit,
  path: visit.issues === undefined ? '' : at(visit.path, key),
  seen: undefined,
});

/** Silent: whether it matches is a question here, not a demand. What it looked at counts only if it does. */
export function matches(node: Node, value: unknown, visit: Visit): boolean {
  const seen = visit.seen === undefined ? undefined : new Seen();
  const isMatch = check(node, value, { ...visit, issues: undefined, seen });
  if (isMatch && seen !== undefined) visit.seen?.add(seen);
  return isMatch;
}

/** Holds for all, and tells of all where issues are asked for. */
export function every<T>(list: readonly T[], visit: Visit, holds: (item: T, index: number) => boolean): boolean {
  let isValid = true;
  for (const [index, item] of list.entries()) {
    if (holds(item, index)) continue;
    if (visit.issues === undefined) return false;
    isValid = false;
  }
  return isValid;
}

export const ofObject =
  (rule: (value: Schema, visit: Visit) => boolean): Rule =>
  (value, visit) =>
    !isObject(value) || rule(value, visit);
export const ofArray =
  (rule: (value: readonly unknown[], visit: Visit) => boolean): Rule =>
  (value, visit) =>
    !Array.isArray(value) || rule(value, visit);
export const ofNumber =
  (holds: (value: number) => boolean, message: string): Rule =>
  (value, visit) =>
    typeof value !== 'number' || holds(value) || no(visit, message);
export const ofText =
  (holds: (value: string) => boolean, message: string): Rule =>
  (value, visit) =>
    typeof value !== 'string' || holds(value) || no(visit, message);
export const ofSize = (
  is: (value: unknown) => number | undefined,
  holds: (size: number) => boolean,
  message: string,
): Rule => {
  return (value, visit) => {
    const size = is(value);
    return size === undefined || holds(size) || no(visit, message);
  };
};
export const lengthOf = (value: unknown): number | undefined => (Array.isArray(value) ? value.length : undefined);
export const membersOf = (value: unknown): number | undefined =>
  isObject(value) ? Object.keys(value).length : undefined;

/** A member, looked at by a keyword that counts as evaluating it. */
export function member(node: Node, value: Schema, name: string, visit: Visit): boolean {
  visit.seen?.names.add(name);
  return check(node, value[name], below(visit, name));
}
export function item(node: Node, value: readonly unknown[], index: number, visit: Visit): boolean {
  visit.seen?.items.add(index);
  return check(node, value[index], below(visit, index));
}
