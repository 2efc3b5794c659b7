/** One step of a document: its action, parameters and conditions, before it is put in order. */

import type { ActionFacts, Catalogue } from './catalogue.ts';
import { conform } from './conform.ts';
import { compileConnection } from './connection.ts';
import type { StepDocument, UndoDocument } from './document.ts';
import { compileEach } from './each.ts';
import { at, type IssueList } from './issues.ts';
import { nearest, suggestion } from './names.ts';
import type { StepPlan } from './plan.ts';
import { boundedDuration, retryPolicy } from './retries.ts';
import { checkTemplate, compileCondition, leafOf, literally, type Allowed } from './scopes.ts';
import type { Surroundings } from './surroundings.ts';
import type { Template } from '../expression/types.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

/** A case of a switch before ids have become indexes. */
interface Branch {
  readonly when: Template;
  readonly then: readonly string[];
}

/** A step whose own fields are compiled. */
export interface Draft {
  readonly id: string;
  readonly fields: Omit<StepPlan, 'index' | 'after' | 'before' | 'gates' | 'switch' | 'onError'>;
  readonly branches: readonly Branch[] | undefined;
  readonly otherwise: readonly string[];
  readonly onError: 'stop' | 'continue' | { readonly step: string };
  /** Ids beside it that it waits for, gates apart. */
  readonly after: ReadonlySet<string>;
  /** Ids outside of its graph that it refers to. */
  readonly outside: readonly string[];
}

export const NOTHING: Template = {
  literal: true,
  deterministic: true,
  timed: false,
  steps: [],
  roots: [],
  evaluate: () => ({}),
};

/** The actions that wait for steps or events; attempts and their time mean nothing to them. */
const WAITS: ReadonlySet<string | undefined> = new Set(['each', 'wait', 'call']);

export function draftStep(
  id: string,
  document: StepDocument,
  ids: readonly string[],
  around: Surroundings,
): Draft | undefined {
  const { catalogue, issues } = around;
  const path = at(around.at, id);
  const action = findAction(document.use, catalogue, at(path, 'use'), issues);
  if (action === undefined) return undefined;
  if (around.outer.includes(id)) issues.add(path, `The id "${id}" is taken by a step outside; choose another.`);
  checkConnection(document.connection, action, path, issues);
  checkControl(document, action, around, path);
  const allowed = { roots: around.roots, steps: [...ids, ...around.outer], self: id };
  const connection = compileConnection(document.connection, at(path, 'connection'), allowed, issues);
  const condition = compileCondition(document.if, at(path, 'if'), allowed, issues);
  const after = new Set<string>();
  for (const [index, name] of (document.after ?? []).entries()) {
    if (checkStep(name, id, ids, at(path, 'after', index), issues)) after.add(name);
  }
  const place = at(path, 'with');
  const given = document.with ?? {};
  // Which steps a switch may choose must be known before the run, and those of an item before its items.
  conform(given, action.params, place, issues, {
    leaf: action.control === 'switch' ? literally : leafOf,
    safeKeys: false,
  });
  const routes = action.control === 'switch' ? compileSwitch(given, ids, allowed, place, issues) : undefined;
  const each = action.control === 'each' ? compileEach(id, given, place, allowed, around) : undefined;
  const own = compileOwn(given, action, place, allowed, issues);
  const written = each === undefined ? withoutOwn(given, action) : each.params;
  const params = routes === undefined ? (checkTemplate(written, place, allowed, issues) ?? NOTHING) : NOTHING;
  const undo = document.undo && compileUndo(id, document.undo, action, at(path, 'undo'), allowed, around);
  const retries = retryPolicy(document.retries, action, around.mode, at(path, 'retries'), allowed, issues);
  const templates = [
    params,
    ...Object.values(own),
    condition ?? NOTHING,
    ...(routes?.branches ?? []).map((branch) => branch.when),
  ];
  const name = typeof connection?.name === 'object' ? connection.name : NOTHING;
  const referred = [...templates, retries.if ?? NOTHING, name].flatMap((template) => template.steps);
  for (const other of [...referred, ...(each?.refersTo ?? [])]) if (other !== id) after.add(other);
  return {
    id,
    fields: {
      id,
      path: [...around.within, id].join('.'),
      action,
      connection,
      if: condition,
      with: params,
      own,
      written: document.with ?? {},
      each: each?.plan,
      undo: undo?.plan,
      retries,
      timeoutMilliseconds: WAITS.has(action.control)
        ? Infinity
        : boundedDuration(document.timeout, LIMITS.stepTimeoutLongestMilliseconds, at(path, 'timeout'), issues),
      // A response must be remembered; what is computed from the same scope is computed again.
      pure: isPure(action) && templates.every((template) => template.deterministic),
    },
    branches: routes?.branches,
    otherwise: routes?.otherwise ?? [],
    onError: errorRoute(document.onError, id, ids, at(path, 'onError'), issues),
    after: new Set([...after].filter((name) => ids.includes(name))),
    outside: [...after, ...(undo?.refersTo ?? [])].filter((name) => around.outer.includes(name)),
  };
}

const withoutOwn = (given: Readonly<Record<string, unknown>>, { templates }: ActionFacts): typeof given =>
  templates === undefined
    ? given
    : Object.fromEntries(Object.entries(given).filter(([name]) => !templates.fields.includes(name)));

/** An expression in them sees what the others of the step see, and what the action adds to it. */
function compileOwn(
  given: Readonly<Record<string, unknown>>,
  { templates }: ActionFacts,
  path: string,
  allowed: Allowed,
  issues: IssueList,
): Record<string, Template> {
  const own: Record<string, Template> = {};
  for (const field of templates?.fields ?? []) {
    if (given[field] === undefined) continue;
    const roots = [...allowed.roots, ...(templates?.roots ?? [])];
    const template = checkTemplate(given[field], at(path, field), { ...allowed, roots }, issues);
    if (template !== undefined) own[field] = template;
  }
  return own;
}

const isPure = (action: ActionFacts): boolean =>
  action.effect === 'pure' && action.control !== 'respond' && action.control !== 'wait' && action.control !== 'call';

function findAction(use: string, catalogue: Catalogue, path: string, issues: IssueList): ActionFacts | undefined {
  const action = catalogue.action(use);
  if (action === undefined) issues.add(path, () => unknownAction(use, catalogue));
  return action;
}

const WAITED_FOR = ['for', 'until', 'event', 'approval'] as const;

/** What makes no sense for the actions that steer the run. */
function checkControl(document: StepDocument, action: ActionFacts, around: Surroundings, path: string): void {
  const { issues, mode, within } = around;
  if (WAITS.has(action.control)) {
    const instead = { each: 'the steps inside', wait: 'timeout in `with`', call: 'the steps of that chain' };
    const fix = instead[action.control as keyof typeof instead];
    if (document.retries !== undefined) issues.add(at(path, 'retries'), `${action.name} is not repeated; see ${fix}.`);
    if (document.timeout !== undefined) issues.add(at(path, 'timeout'), `${action.name} takes no timeout; see ${fix}.`);
  }
  if (action.control === 'wait') {
    if (mode === 'inline')
      issues.add(at(path, 'use'), 'An inline chain cannot wait; give the chain "mode": "durable".');
    const chosen = WAITED_FOR.filter((name) => document.with?.[name] !== undefined);
    if (chosen.length !== 1) {
      const found = chosen.length === 0 ? 'none of them' : chosen.join(' and ');
      issues.add(at(path, 'with'), `flow.wait takes one of ${WAITED_FOR.join(', ')}; here is ${found}.`);
    }
  }
  if (action.control === 'respond' && within.length > 0) {
    issues.add(at(path, 'use'), 'Only a step of the chain itself answers the caller, not one for each item.');
  }
}

/** A compensation sees what the step saw, and its output. It is a step of its own without order. */
function compileUndo(
  id: string,
  document: UndoDocument,
  undone: ActionFacts,
  path: string,
  allowed: Required<Allowed>,
  around: Surroundings,
): { readonly plan: StepPlan; readonly refersTo: readonly string[] } | undefined {
  const { catalogue, issues, mode } = around;
  const action = findAction(document.use, catalogue, at(path, 'use'), issues);
  if (action === undefined) return undefined;
  if (mode === 'inline') issues.add(path, 'An inline chain undoes nothing; give the chain "mode": "durable".');
  if (undone.effect === 'pure')
    issues.add(path, `${undone.name} has no effect that could be undone; remove the field.`);
  if (action.control !== undefined) issues.add(at(path, 'use'), `${action.name} cannot undo a step.`);
  checkConnection(document.connection, action, path, issues);
  const place = at(path, 'with');
  const given = document.with ?? {};
  conform(given, action.params, place, issues, { leaf: leafOf, safeKeys: false });
  const after = { roots: allowed.roots, steps: allowed.steps };
  const own = compileOwn(given, action, place, after, issues);
  const params = checkTemplate(withoutOwn(given, action), place, after, issues) ?? NOTHING;
  const connection = compileConnection(document.connection, at(path, 'connection'), after, issues);
  return {
    plan: {
      id: `${id}~undo`,
      path: [...around.within, `${id}~undo`].join('.'),
      index: 0,
      after: [],
      before: [],
      gates: [],
      action,
      connection,
      if: undefined,
      with: params,
      own,
      written: given,
      switch: undefined,
      each: undefined,
      undo: undefined,
      onError: { kind: 'stop' },
      retries: retryPolicy(document.retries, action, mode, at(path, 'retries'), allowed, issues),
      timeoutMilliseconds: boundedDuration(
        document.timeout,
        LIMITS.stepTimeoutLongestMilliseconds,
        at(path, 'timeout'),
        issues,
      ),
      pure: false,
    },
    refersTo: [
      ...[params, ...Object.values(own)].flatMap(({ steps }) => steps),
      ...(typeof connection?.name === 'object' ? connection.name.steps : []),
    ],
  };
}

function unknownAction(use: string, catalogue: Catalogue): string {
  const [connector = ''] = use.split('.');
  const siblings = catalogue.names.filter((name) => name.startsWith(`${connector}.`));
  const near = nearest(use, catalogue.names);
  const fix =
    near !== undefined ? ` Did you mean "${near}"?` : suggestion(use, siblings.length > 0 ? siblings : catalogue.names);
  return `There is no action "${use}".${fix}`;
}

function checkConnection(name: string | undefined, action: ActionFacts, path: string, issues: IssueList): void {
  if (action.connection === 'required' && name === undefined) {
    issues.add(at(path, 'connection'), `"connection" is missing: ${action.name} needs the name of a connection.`);
  }
  if (action.connection === 'none' && name !== undefined) {
    issues.add(at(path, 'connection'), `${action.name} takes no connection; remove the field.`);
  }
}

function checkStep(name: string, self: string, ids: readonly string[], path: string, issues: IssueList): boolean {
  if (name === self) issues.add(path, 'A step cannot wait for or choose itself.');
  else if (!ids.includes(name)) issues.add(path, () => `There is no step "${name}".${suggestion(name, ids)}`);
  else return true;
  return false;
}

function compileSwitch(
  given: Readonly<Record<string, unknown>>,
  ids: readonly string[],
  allowed: Required<Allowed>,
  path: string,
  issues: IssueList,
): { readonly branches: readonly Branch[]; readonly otherwise: readonly string[] } {
  const targets = (value: unknown, place: string): string[] =>
    (Array.isArray(value) ? value : []).filter(
      (name, index): name is string =>
        typeof name === 'string' && checkStep(name, allowed.self, ids, at(place, index), issues),
    );
  const cases = Array.isArray(given['cases']) ? given['cases'] : [];
  const branches = cases.flatMap((value: unknown, index): Branch[] => {
    if (!isObject(value) || typeof value['when'] !== 'string') return [];
    const place = at(path, 'cases', index);
    const when = compileCondition(value['when'], at(place, 'when'), allowed, issues);
    return when === undefined ? [] : [{ when, then: targets(value['then'], at(place, 'then')) }];
  });
  return { branches, otherwise: targets(given['otherwise'], at(path, 'otherwise')) };
}

function errorRoute(
  value: string,
  self: string,
  ids: readonly string[],
  path: string,
  issues: IssueList,
): Draft['onError'] {
  if (value === 'stop' || value === 'continue') return value;
  return checkStep(value, self, ['stop', 'continue', ...ids], path, issues) ? { step: value } : 'stop';
}
