/** The table of `data.map`: a value in which `{ "jsonpath": … }` stands for what the path finds. */

import { compileJsonPath } from '../../core/data/jsonpath.ts';
import { FaultError, fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

interface Path {
  /** Finds one value or none. */
  readonly singular: boolean;
  query(value: unknown): readonly unknown[];
}

/** Paths are few and come from documents, but an evaluated `with` could make ever new ones. */
const PATHS_IN_MEMORY = 500;
const paths = new Map<string, Result<Path>>();

/**
 * The same value where there is no path in it: nothing is copied.
 *
 * @param input what a path without `of` is applied to
 * @throws FaultError `expression.syntax` for a malformed path, `expression.missing` where a path that
 *   stands for one value finds none and has no `default`
 */
export function applyMapping(value: unknown, input: unknown, depth = 0): unknown {
  // No document is this deep, so what is deeper is data.
  if (typeof value !== 'object' || value === null || depth > LIMITS.jsonDepth) return value;
  if (Array.isArray(value)) return mapList(value, input, depth);
  const fields = value as Readonly<Record<string, unknown>>;
  return isPath(fields) ? find(fields, input, depth) : mapObject(fields, input, depth);
}

interface PathObject {
  readonly jsonpath: string;
  readonly of?: unknown;
  readonly default?: unknown;
}

/** Exactly this form; an object with any other member is data. */
function isPath(fields: Readonly<Record<string, unknown>>): fields is Record<string, unknown> & PathObject {
  if (typeof fields['jsonpath'] !== 'string' || !Object.hasOwn(fields, 'jsonpath')) return false;
  return Object.keys(fields).every((key) => key === 'jsonpath' || key === 'of' || key === 'default');
}

function find(fields: PathObject, input: unknown, depth: number): unknown {
  const path = pathOf(fields.jsonpath);
  if (!path.ok) throw new FaultError(path.fault);
  const target = Object.hasOwn(fields, 'of') ? applyMapping(fields.of, input, depth + 1) : input;
  let found: readonly unknown[];
  try {
    found = path.value.query(target);
  } catch (thrown) {
    throw new FaultError(fault('expression.bounds', `The JSONPath ${fields.jsonpath} failed.`, { detail: thrown }));
  }
  if (!path.value.singular) return found;
  if (found.length > 0) return found[0];
  if (Object.hasOwn(fields, 'default')) return applyMapping(fields.default, input, depth + 1);
  const fix = 'Give it a "default" if it may be missing.';
  throw new FaultError(fault('expression.missing', `The JSONPath ${fields.jsonpath} finds nothing. ${fix}`));
}

function pathOf(source: string): Result<Path> {
  let path = paths.get(source);
  if (path === undefined) {
    path = compileJsonPath(source);
    if (paths.size >= PATHS_IN_MEMORY) paths.clear();
    paths.set(source, path);
  }
  return path;
}

function mapList(list: readonly unknown[], input: unknown, depth: number): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let index = 0; index < list.length; index++) {
    const mapped = applyMapping(list[index], input, depth + 1);
    if (mapped === list[index] && copy === undefined) continue;
    copy ??= list.slice(0, index);
    copy.push(mapped);
  }
  return copy ?? list;
}

function mapObject(fields: Readonly<Record<string, unknown>>, input: unknown, depth: number): unknown {
  let changes: [string, unknown][] | undefined;
  for (const key of Object.keys(fields)) {
    const mapped = applyMapping(fields[key], input, depth + 1);
    if (mapped !== fields[key]) (changes ??= []).push([key, mapped]);
  }
  // Not by assignment: a member named `__proto__` must stay a member.
  return changes === undefined ? fields : Object.fromEntries([...Object.entries(fields), ...changes]);
}
