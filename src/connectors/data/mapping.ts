/** The table of `data.map`: a value in which `{ "jsonpath": … }` stands for what the path finds. */

import { compileJsonPath } from '../../core/data/jsonpath.ts';
import { FaultError, fault, type Result } from '../../core/errors.ts';

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
 * @param written the table as its author wrote it. Only what stands there as a path is one: a path in data
 *   that an expression brought in stays data.
 * @param input what a path without `of` is applied to
 * @throws FaultError `expression.syntax` for a malformed path, `expression.missing` where a path that
 *   stands for one value finds none and has no `default`
 */
export function applyMapping(value: unknown, written: unknown, input: unknown): unknown {
  if (typeof value !== 'object' || value === null || typeof written !== 'object' || written === null) return value;
  if (Array.isArray(written)) return Array.isArray(value) ? mapList(value, written, input) : value;
  if (Array.isArray(value)) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const table = written as Readonly<Record<string, unknown>>;
  return isPath(table) ? find(fields as unknown as PathObject, table, input) : mapObject(fields, table, input);
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

function find(fields: PathObject, written: PathObject, input: unknown): unknown {
  const path = pathOf(fields.jsonpath);
  if (!path.ok) throw new FaultError(path.fault);
  const target = Object.hasOwn(fields, 'of') ? applyMapping(fields.of, written.of, input) : input;
  let found: readonly unknown[];
  try {
    found = path.value.query(target);
  } catch (thrown) {
    throw new FaultError(fault('expression.bounds', `The JSONPath ${fields.jsonpath} failed.`, { detail: thrown }));
  }
  if (!path.value.singular) return found;
  if (found.length > 0) return found[0];
  if (Object.hasOwn(fields, 'default')) return applyMapping(fields.default, written.default, input);
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

function mapList(list: readonly unknown[], written: readonly unknown[], input: unknown): readonly unknown[] {
  // An optional item that was left out moved the others, so places no longer tell which is which.
  if (list.length !== written.length && written.some((item) => isPath(Object(item) as Record<string, unknown>))) {
    throw new FaultError(
      fault('step.params', 'A list with a JSONPath in it may have no optional item: give it a default.'),
    );
  }
  let copy: unknown[] | undefined;
  for (let index = 0; index < list.length; index++) {
    const mapped = applyMapping(list[index], written[index], input);
    if (mapped === list[index] && copy === undefined) continue;
    copy ??= list.slice(0, index);
    copy.push(mapped);
  }
  return copy ?? list;
}

function mapObject(
  fields: Readonly<Record<string, unknown>>,
  written: Readonly<Record<string, unknown>>,
  input: unknown,
): unknown {
  let changes: [string, unknown][] | undefined;
  for (const key of Object.keys(fields)) {
    const mapped = applyMapping(fields[key], Object.hasOwn(written, key) ? written[key] : undefined, input);
    if (mapped !== fields[key]) (changes ??= []).push([key, mapped]);
  }
  // Not by assignment: a member named `__proto__` must stay a member.
  return changes === undefined ? fields : Object.fromEntries([...Object.entries(fields), ...changes]);
}
