/** Reads a document by its schema: all mistakes at once, each with its path and the nearest right name. */

import { toJsonSchema } from '@valibot/to-json-schema';
import { getDotPath, safeParse, type GenericSchema, type InferOutput } from 'valibot';
import { conform, type Leaf } from './conform.ts';
import { at, type IssueList } from './issues.ts';
import { fail, type ErrorCode, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

const jsonSchemas = new WeakMap<GenericSchema, unknown>();

/** What a document's own texts are before anything runs: always themselves. */
const literally = (): Leaf => 'literal';

/** Undefined where it cannot be read; whatever is wrong with it is in `issues`. */
export function parseDocument<Schema extends GenericSchema>(
  schema: Schema,
  document: unknown,
  issues: IssueList,
): InferOutput<Schema> | undefined {
  const deep = tooDeep(document);
  if (deep !== undefined) {
    issues.add(deep, `Nested deeper than ${LIMITS.jsonDepth} levels.`);
    return undefined;
  }
  let jsonSchema = jsonSchemas.get(schema);
  if (jsonSchema === undefined) {
    jsonSchema = toJsonSchema(schema, { target: 'draft-2020-12', typeMode: 'input', errorMode: 'ignore' });
    jsonSchemas.set(schema, jsonSchema);
  }
  conform(document, jsonSchema, '', issues, { leaf: literally, safeKeys: true });
  if (issues.all.length > 0) return undefined;
  const parsed = safeParse(schema, document);
  if (parsed.success) return parsed.output;
  // JSON Schema counts characters where valibot counts UTF-16 units, so that one may pass what the other refuses.
  for (const issue of parsed.issues) issues.add(getDotPath(issue) ?? '', issue.message);
  return undefined;
}

/** The path of a value nested so deep that recursion over it would not fit the stack. Scalars have no depth. */
function tooDeep(value: unknown, depth = 0): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > LIMITS.jsonDepth) return '';
  for (const [key, member] of Object.entries(value)) {
    const found = tooDeep(member, depth + 1);
    if (found !== undefined) return at(key, found);
  }
  return undefined;
}

/** The fault for a document with mistakes; its message is the first of them. */
export function refuseDocument(code: ErrorCode, issues: IssueList): Result<never> {
  const [first] = issues.all;
  const more = issues.all.length > 1 ? ` (and ${issues.all.length - 1} more)` : '';
  const path = first === undefined || first.path === '' ? '' : `${first.path}: `;
  return fail(code, `${path}${first?.message ?? 'not valid'}${more}`, { issues: issues.all });
}
