/** The inside of a `flow.each`: steps that are executed once for each item. */

import { toJsonSchema } from '@valibot/to-json-schema';
import { parse, record, string } from 'valibot';
import { conform } from './conform.ts';
import { stepSchema } from './document.ts';
import { at, IssueList } from './issues.ts';
import type { EachPlan } from './plan.ts';
import { portabilityOf } from './portable.ts';
import { checkTemplate, literally, SCOPES, type Allowed } from './scopes.ts';
import type { Surroundings } from './surroundings.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

const stepsSchema = record(string(), stepSchema);
let stepsJsonSchema: unknown;

export interface CompiledEach {
  readonly plan: EachPlan | undefined;
  /** `with` without what belongs to the items. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Steps around it that its items refer to. */
  readonly refersTo: readonly string[];
}

export function compileEach(
  id: string,
  given: Readonly<Record<string, unknown>>,
  path: string,
  allowed: Required<Allowed>,
  around: Surroundings,
): CompiledEach {
  const { steps: inside, output: result, as: called = 'item', ...params } = given;
  const nothing = { plan: undefined, params, refersTo: [] };
  const { issues } = around;
  if (around.within.length >= LIMITS.eachDepth) {
    issues.add(path, `flow.each stands at most ${LIMITS.eachDepth} deep; put the inner part into a chain of its own.`);
    return nothing;
  }
  if (typeof called !== 'string' || !isObject(inside)) return nothing;
  checkName(called, around.roots, at(path, 'as'), issues);
  stepsJsonSchema ??= toJsonSchema(stepsSchema, { target: 'draft-2020-12', typeMode: 'input', errorMode: 'ignore' });
  const own = new IssueList();
  conform(inside, stepsJsonSchema, at(path, 'steps'), own, { leaf: literally, safeKeys: true });
  if (Object.keys(inside).length === 0) own.add(at(path, 'steps'), 'Give the items at least one step.');
  issues.addAll(own.all);
  if (own.all.length > 0) return nothing;
  const roots = [...around.roots, called, 'index'];
  const outer = allowed.steps.filter((name) => name !== id);
  const graph = around.graph(parse(stepsSchema, inside), {
    ...around,
    at: at(path, 'steps'),
    within: [...around.within, id],
    roots,
    outer,
  });
  const scope = { roots, steps: [...Object.keys(inside), ...outer] };
  const output = result === undefined ? undefined : checkTemplate(result, at(path, 'output'), scope, issues);
  const outputRefers = (output?.steps ?? []).filter((name) => outer.includes(name));
  const refersTo = [...graph.refersTo, ...outputRefers];
  const everything = output?.steps.includes('*') === true ? ['*'] : [];
  return {
    plan: {
      steps: graph.steps,
      as: called,
      output,
      ...portabilityOf(graph.steps, { inside, result }, [...refersTo, ...everything]),
    },
    params,
    refersTo,
  };
}

function checkName(name: string, taken: readonly string[], path: string, issues: IssueList): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name)) {
    issues.add(path, `"${name}" cannot be used in an expression; use letters, digits and _.`);
  } else if ([...SCOPES.all, ...taken, 'index', 'error'].includes(name)) {
    issues.add(path, `"${name}" is taken; choose another name for the item.`);
  }
}
