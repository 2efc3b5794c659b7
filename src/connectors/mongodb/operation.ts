/**
 * An operation on a collection: what a step does by itself, and what a transaction has a list of.
 *
 * The documents among its parameters are checked against what the author wrote, and become BSON, before it runs.
 */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { fromJson, type Bson } from '../../drivers/mongodb/bson.ts';
import type { Session } from '../../drivers/mongodb/session.ts';
import { authoredIssue, type Reading } from './authored.ts';

export interface Operation<P = unknown> {
  readonly title: string;
  readonly effect: 'idempotent' | 'external';
  readonly params: v.GenericSchema<unknown, P>;
  readonly example: Readonly<Record<string, unknown>>;
  /** The parameters that hold documents; `update` of a pipeline is one, `update` of operators is none. */
  readonly documents: Readonly<Record<string, Reading>>;
  /** @throws FaultError */
  run(session: Session, params: P): Promise<unknown>;
}

/** Gives `run` the types of its schema, then forgets them, as the kit's `defineAction` does. */
export function defineOperation<P extends v.GenericSchema>(
  operation: Omit<Operation, 'params' | 'run'> & {
    readonly params: P;
    run(session: Session, params: v.InferOutput<P>): Promise<unknown>;
  },
): Operation {
  return operation as unknown as Operation;
}

/** A mistake of the chain, found before anything is sent. */
export function authoredFault(
  { documents }: Operation,
  params: unknown,
  written: unknown,
  path = '',
): Result<undefined> {
  const fields = isObject(params) ? params : {};
  for (const [name, usual] of Object.entries(documents)) {
    if (fields[name] === undefined) continue;
    // A pipeline in the place of operators or fields.
    const reading = name === 'update' && Array.isArray(fields[name]) ? 'expression' : usual;
    const issue = authoredIssue(fields[name], isObject(written) ? written[name] : undefined, reading, path + name);
    if (issue !== undefined) return fail('step.params', issue);
  }
  return ok(undefined);
}

/** The parameters with their documents as BSON. */
export function prepared<P>({ documents }: Operation<P>, params: P, bson: Bson, path = ''): Result<P> {
  const changed: Record<string, unknown> = {};
  for (const name of Object.keys(documents)) {
    const given = isObject(params) ? params[name] : undefined;
    if (given === undefined) continue;
    const made = fromJson(bson, given, path + name);
    if (!made.ok) return made;
    changed[name] = made.value;
  }
  return ok({ ...params, ...changed });
}

export const collection = v.pipe(
  v.string(),
  v.regex(/^(?!system\.)[^$\0]{1,235}$/, 'Must be the name of a collection, without "$", and not one of the system.'),
);
export const document = v.record(v.string(), v.unknown());
export const filter = v.pipe(document, v.description('Query operators count where they are written here.'));
export const collation = v.optional(
  v.pipe(document, v.description('How texts compare, e.g. `{ "locale": "en", "strength": 2 }`.')),
);
export const hint = v.optional(
  v.pipe(v.union([v.string(), document]), v.description('The index to use, by name or by keys.')),
);
