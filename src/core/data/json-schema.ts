/**
 * JSON Schema (2020-12, or draft 7 where `$schema` says so) as a function.
 *
 * The keywords that most schemas are made of are compiled to closures, because inputs are validated on
 * the hot path; a schema with any other keyword goes to @cfworker/json-schema as a whole. Both give the
 * same verdict. Messages are made only for what is not valid. `format` is asserted.
 * Accepted weakness: a `pattern` that backtracks without end is not found out; schemas are the author's.
 */

import { dereference, validate, type OutputUnit, type Schema } from '@cfworker/json-schema';
import { checkSchema } from './json-schema-check.ts';
import { compileFast } from './json-schema-fast.ts';
import { conform } from '../chain/conform.ts';
import { at, IssueList } from '../chain/issues.ts';
import { fail, ok, type Issue, type Result } from '../errors.ts';
import { isObject } from '../json.ts';

/** Gives what is wrong with a value, by dotted paths; an empty list means valid. */
export type Validate = (value: unknown) => readonly Issue[];

const VALID: readonly Issue[] = [];
type Draft = '7' | '2020-12';
const DRAFTS = new Map<unknown, Draft>([
  [undefined, '2020-12'],
  ['https://json-schema.org/draft/2020-12/schema', '2020-12'],
  ['http://json-schema.org/draft-07/schema', '7'],
  ['http://json-schema.org/draft-07/schema#', '7'],
]);

const compiled = new WeakMap<object, Result<Validate>>();

/**
 * Compiled once for each schema object, which must not be changed afterwards.
 *
 * Fault `chain.invalid`, with issues, for what is no schema or refers to anything outside of itself.
 */
export function compileJsonSchema(schema: unknown): Result<Validate> {
  if (!isObject(schema)) return compile(schema);
  let result = compiled.get(schema);
  if (result === undefined) {
    result = compile(schema);
    compiled.set(schema, result);
  }
  return result;
}

function compile(schema: unknown): Result<Validate> {
  const mistakes = new IssueList();
  checkSchema(schema, '', mistakes);
  const draft = DRAFTS.get(isObject(schema) ? schema['$schema'] : undefined);
  if (draft === undefined) mistakes.add('$schema', 'Must be that of draft 2020-12 or draft 07.');
  if (draft === undefined || mistakes.all.length > 0) return refuse(mistakes.all);
  const isValid = compileFast(schema);
  if (isValid !== undefined) return ok((value) => (isValid(value) ? VALID : explain(value, schema, draft)));
  const library = compileLibrary(schema, draft);
  return library.ok ? ok((value) => wordsOf(library.value(value))) : library;
}

/** What is wrong with a value that a fast test refused. */
function explain(value: unknown, schema: unknown, draft: Draft): readonly Issue[] {
  const issues = new IssueList();
  conform(value, schema, '', issues, { leaf: () => 'literal', safeKeys: false });
  if (issues.all.length > 0) return issues.all;
  const library = compileLibrary(schema, draft);
  const words = library.ok ? wordsOf(library.value(value)) : VALID;
  return words.length > 0 ? words : [{ path: '', message: 'Does not match the schema.' }];
}

const refuse = (issues: readonly Issue[]): Result<never> =>
  fail('chain.invalid', issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join(' '), {
    issues,
  });

/** The schema as the library runs it. */
function compileLibrary(given: unknown, draft: Draft): Result<(value: unknown) => readonly OutputUnit[]> {
  // The library writes into the schema.
  const schema = structuredClone(given) as Schema | boolean;
  let lookup: ReturnType<typeof dereference>;
  try {
    lookup = dereference(schema);
  } catch (thrown) {
    return refuse([{ path: '', message: thrown instanceof Error ? thrown.message : 'Cannot be read.' }]);
  }
  for (const part of Object.values(lookup)) {
    if (typeof part === 'boolean' || part.$ref === undefined || lookup[part.__absolute_ref__ ?? ''] !== undefined)
      continue;
    const message = `The reference "${part.$ref}" leads to nothing inside of the schema; put a copy into $defs.`;
    return refuse([{ path: '$ref', message }]);
  }
  return ok((value) => {
    try {
      return validate(value, schema, draft, lookup, false).errors;
    } catch (thrown) {
      // Endless recursion of the schema, or a key that the library cannot write as a URI.
      const reason = thrown instanceof RangeError ? 'the schema refers to itself without end' : 'it is no JSON value';
      return [
        { instanceLocation: '#', keyword: 'error', keywordLocation: '#', error: `Cannot be validated: ${reason}.` },
      ];
    }
  });
}

/** Keywords whose own message only says that the message of another one is below. */
const CONTAINERS = new Set(
  (
    '$ref allOf anyOf if properties patternProperties additionalProperties unevaluatedProperties dependentSchemas ' +
    'dependencies propertyNames items prefixItems additionalItems unevaluatedItems'
  ).split(' '),
);

function wordsOf(units: readonly OutputUnit[]): readonly Issue[] {
  if (units.length === 0) return VALID;
  const list = new IssueList();
  const seen = new Set<string>();
  const leaves = units.filter(({ keyword }) => !CONTAINERS.has(keyword));
  for (const unit of leaves.length > 0 ? leaves : units) {
    const { path, message } = wordOf(unit);
    if (seen.has(`${path}\n${message}`)) continue;
    seen.add(`${path}\n${message}`);
    list.add(path, message);
  }
  return list.all;
}

function wordOf({ instanceLocation, keyword, error }: OutputUnit): Issue {
  const path = at('', ...instanceLocation.split('/').slice(1).map(keyOf));
  const [, first = '', second = ''] = /"(.*?)"(?:.*?"(.*)")?/.exec(error) ?? [];
  switch (keyword) {
    case 'required':
      return { path: at(path, first), message: `"${first}" is missing.` };
    case 'false':
      return { path, message: 'This field is not allowed here; remove it.' };
    case 'type':
      return { path, message: `Must be ${second.replaceAll('", "', ' or ')}, not ${first}.` };
    default:
      return { path, message: error.replace(/^Instance /, 'The value ').replace(/^String /, 'The text ') };
  }
}

const keyOf = (segment: string): string => decodeURIComponent(segment).replaceAll('~1', '/').replaceAll('~0', '~');
