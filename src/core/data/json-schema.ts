/**
 * JSON Schema (2020-12, or draft 7 where `$schema` says so) as a function.
 *
 * The keywords that most schemas are made of are compiled to closures that only say yes or no, because inputs are
 * validated on the hot path; a schema with any other keyword gets the complete rules. Both give the same verdict.
 * Messages are made only for what is not valid.
 * Accepted weakness: a `pattern` that backtracks without end is not found out; schemas are the author's.
 */

import { checkSchema } from './json-schema-check.ts';
import { DRAFTS, SchemaDocuments, type Draft } from './json-schema-documents.ts';
import { compileFast } from './json-schema-fast.ts';
import { createCompiler, UnresolvedReference } from './json-schema-rules.ts';
import { checkRoot, type Node } from './json-schema-visit.ts';
import { conform } from '../chain/conform.ts';
import { at, IssueList } from '../chain/issues.ts';
import { fail, ok, type Issue, type Result } from '../errors.ts';
import { isObject } from '../json.ts';

/** Gives what is wrong with a value, by dotted paths; an empty list means valid. */
export type Validate = (value: unknown) => readonly Issue[];

export interface SchemaOptions {
  /** Schemas that references may lead to, by their URIs. */
  readonly schemas?: Readonly<Record<string, unknown>> | undefined;
  /** Whether `format` decides (default) or only describes. */
  readonly assertsFormats?: boolean;
}

const VALID: readonly Issue[] = [];
const compiled = new WeakMap<object, Result<Validate>>();

/**
 * Without options compiled once for each schema object, which must not be changed afterwards.
 *
 * Fault `chain.invalid`, with issues, for what is no schema or refers to anything outside of what was given.
 */
export function compileJsonSchema(schema: unknown, options?: SchemaOptions): Result<Validate> {
  if (!isObject(schema) || options !== undefined) return compile(schema, options ?? {});
  let result = compiled.get(schema);
  if (result === undefined) {
    result = compile(schema, {});
    compiled.set(schema, result);
  }
  return result;
}

function compile(schema: unknown, options: SchemaOptions): Result<Validate> {
  const mistakes = new IssueList();
  checkSchema(schema, '', mistakes);
  for (const [uri, other] of Object.entries(options.schemas ?? {})) checkSchema(other, at('schemas', uri), mistakes);
  const named = isObject(schema) ? schema['$schema'] : undefined;
  const draft = named === undefined ? '2020-12' : DRAFTS.get(named);
  if (draft === undefined) mistakes.add('$schema', 'Must be that of draft 2020-12 or draft 07.');
  if (draft === undefined || mistakes.all.length > 0) return refuse(mistakes.all);
  const isValid = compileFast(schema);
  if (isValid !== undefined) return ok((value) => (isValid(value) ? VALID : explain(value, schema, draft)));
  const node = compileRules(schema, draft, options);
  return node.ok ? ok((value) => issuesOf(node.value, value)) : node;
}

/** What is wrong with a value that a fast test refused. */
function explain(value: unknown, schema: unknown, draft: Draft): readonly Issue[] {
  const issues = new IssueList();
  conform(value, schema, '', issues, { leaf: () => 'literal', safeKeys: false });
  if (issues.all.length > 0) return issues.all;
  const node = compileRules(schema, draft, {});
  const words = node.ok ? issuesOf(node.value, value) : VALID;
  return words.length > 0 ? words : [{ path: '', message: 'Does not match the schema.' }];
}

const refuse = (issues: readonly Issue[]): Result<never> =>
  fail('chain.invalid', issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join(' '), {
    issues,
  });

function compileRules(schema: unknown, draft: Draft, { schemas, assertsFormats = true }: SchemaOptions): Result<Node> {
  const documents = new SchemaDocuments();
  try {
    // Copies: parts are told apart by identity, and one that stands twice has two places.
    const root: unknown = JSON.parse(JSON.stringify(schema));
    const resource = documents.add(root, draft);
    for (const [uri, other] of Object.entries(schemas ?? {}))
      documents.add(JSON.parse(JSON.stringify(other)), draft, uri);
    return ok(createCompiler(documents, assertsFormats)(root, resource));
  } catch (thrown) {
    if (thrown instanceof UnresolvedReference) {
      const message = `The reference "${thrown.reference}" leads to nothing inside of the schema; put a copy into $defs.`;
      return refuse([{ path: '$ref', message }]);
    }
    if (thrown instanceof RangeError) return refuse([{ path: '', message: 'The references are nested too deep.' }]);
    throw thrown;
  }
}

function issuesOf(node: Node, value: unknown): readonly Issue[] {
  try {
    if (checkRoot(node, value, undefined)) return VALID;
    const issues = new IssueList();
    checkRoot(node, value, issues);
    return distinct(issues.all);
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    return [
      { path: '', message: 'Cannot be validated: the schema refers to itself without end, or the value is too deep.' },
    ];
  }
}

/** Branches of an `anyOf` often say the same. */
const distinct = (issues: readonly Issue[]): readonly Issue[] => [
  ...new Map(issues.map((issue) => [`${issue.path}\n${issue.message}`, issue])).values(),
];
