/** The steps of a plan: what each waits for, what chooses it, how it fails. */

import type { ActionFacts, Catalogue } from './catalogue.ts';
import { conform, type Leaf } from './conform.ts';
import type { ChainDocument, RetriesDocument, StepDocument } from './document.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { at, type IssueList } from './issues.ts';
import { nearest, suggestion } from './names.ts';
import { orderSteps } from './order.ts';
import type { Mode, OnError, RetryPolicy, StepPlan, SwitchCase } from './plan.ts';
import { checkTemplate, SCOPES, type Allowed } from './scopes.ts';
import { scanTemplate } from '../expression/scan.ts';
import type { Template } from '../expression/types.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

/** A case of a switch before ids have become indexes. */
interface Branch {
  readonly when: Template;
  readonly then: readonly string[];
}

/** A step whose own fields are compiled, before it is put in order. */
interface Draft {
  readonly id: string;
  readonly document: StepDocument;
  readonly action: ActionFacts;
  readonly if: Template | undefined;
  readonly with: Template;
  readonly branches: readonly Branch[] | undefined;
  readonly otherwise: readonly string[];
  readonly onError: 'stop' | 'continue' | { readonly step: string };
  /** Ids that it waits for, gates apart. */
  readonly after: Set<string>;
}

const NOTHING: Template = { literal: true, deterministic: true, steps: [], roots: [], evaluate: () => ({}) };

export function compileSteps(
  chain: ChainDocument,
  mode: Mode,
  catalogue: Catalogue,
  issues: IssueList,
): readonly StepPlan[] {
  const ids = Object.keys(chain.steps);
  const drafts = Object.entries(chain.steps).flatMap(([id, step]) => draft(id, step, ids, catalogue, issues) ?? []);
  const gates = gatesOf(drafts);
  const after = new Map(drafts.map((step) => [step.id, new Set([...step.after, ...(gates.get(step.id) ?? [])])]));
  const ordered = orderSteps(after);
  if ('cycle' in ordered) {
    const [first = ''] = ordered.cycle;
    issues.add(at('steps', first), `The steps wait for each other: ${ordered.cycle.join(' → ')}. Break the circle.`);
    return [];
  }
  const indexes = new Map(ordered.order.map((id, index) => [id, index]));
  const byId = new Map(drafts.map((step) => [step.id, step]));
  const indexesOf = (names: Iterable<string>): number[] =>
    [...new Set(names)].flatMap((name) => indexes.get(name) ?? []).sort((a, b) => a - b);
  return ordered.order.flatMap((id, index): StepPlan[] => {
    const step = byId.get(id);
    if (step === undefined) return [];
    const waiting = [...after].flatMap(([other, needed]) => (needed.has(id) ? [other] : []));
    const place = {
      index,
      after: indexesOf(after.get(id) ?? []),
      before: indexesOf(waiting),
      gates: indexesOf(gates.get(id) ?? []),
    };
    return [finish(step, place, mode, indexesOf, issues)];
  });
}

/** By step, the switches and error routes that may choose it. */
function gatesOf(drafts: readonly Draft[]): Map<string, Set<string>> {
  const gates = new Map<string, Set<string>>();
  const add = (id: string, gate: string): void => void gates.set(id, (gates.get(id) ?? new Set()).add(gate));
  for (const step of drafts) {
    for (const id of [...(step.branches ?? []).flatMap((branch) => branch.then), ...step.otherwise]) add(id, step.id);
    if (typeof step.onError === 'object') add(step.onError.step, step.id);
  }
  return gates;
}

type Place = Pick<StepPlan, 'index' | 'after' | 'before' | 'gates'>;

function finish(
  step: Draft,
  place: Place,
  mode: Mode,
  indexesOf: (ids: readonly string[]) => number[],
  issues: IssueList,
): StepPlan {
  const { id, document, action, onError } = step;
  const cases = (step.branches ?? []).map((branch): SwitchCase => ({
    when: branch.when,
    then: indexesOf(branch.then),
  }));
  const [target = 0] = typeof onError === 'object' ? indexesOf([onError.step]) : [];
  const route: OnError = typeof onError === 'object' ? { kind: 'step', step: target } : { kind: onError };
  const templates = [step.with, step.if ?? NOTHING, ...cases.map((branch) => branch.when)];
  const path = at('steps', id);
  return {
    id,
    ...place,
    action,
    connection: document.connection,
    if: step.if,
    with: step.with,
    written: document.with ?? {},
    switch: step.branches && { cases, otherwise: indexesOf(step.otherwise) },
    onError: route,
    retries: retryPolicy(document.retries, action, mode, at(path, 'retries'), issues),
    timeoutMilliseconds: bounded(document.timeout, LIMITS.stepTimeoutLongestMilliseconds, at(path, 'timeout'), issues),
    // A response must be remembered; what is computed from the same scope is computed again.
    pure:
      action.effect === 'pure' && action.control !== 'respond' && templates.every((template) => template.deterministic),
  };
}

function draft(
  id: string,
  document: StepDocument,
  ids: readonly string[],
  catalogue: Catalogue,
  issues: IssueList,
): Draft | undefined {
  const path = at('steps', id);
  const action = catalogue.action(document.use);
  if (action === undefined) {
    issues.add(at(path, 'use'), () => unknownAction(document.use, catalogue));
    return undefined;
  }
  checkConnection(document, action, path, issues);
  const allowed = { roots: SCOPES.all, steps: ids, self: id };
  const condition = compileCondition(document.if, at(path, 'if'), allowed, issues);
  const after = new Set<string>();
  for (const [index, name] of (document.after ?? []).entries()) {
    if (checkStep(name, id, ids, at(path, 'after', index), issues)) after.add(name);
  }
  const place = at(path, 'with');
  const given = document.with ?? {};
  // Which steps a switch may choose must be known before the run.
  const leaf = action.control === 'switch' ? literally : leafOf;
  conform(given, action.params, place, issues, { leaf, safeKeys: false });
  const routes = action.control === 'switch' ? compileSwitch(given, allowed, place, issues) : undefined;
  const params = routes === undefined ? (checkTemplate(given, place, allowed, issues) ?? NOTHING) : NOTHING;
  const templates = [params, condition ?? NOTHING, ...(routes?.branches ?? []).map((branch) => branch.when)];
  for (const name of templates.flatMap((template) => template.steps)) {
    if (name !== id) after.add(name);
  }
  return {
    id,
    document,
    action,
    if: condition,
    with: params,
    branches: routes?.branches,
    otherwise: routes?.otherwise ?? [],
    onError: errorRoute(document.onError, id, ids, at(path, 'onError'), issues),
    after,
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

function checkConnection(document: StepDocument, action: ActionFacts, path: string, issues: IssueList): void {
  if (action.connection === 'required' && document.connection === undefined) {
    issues.add(at(path, 'connection'), `"connection" is missing: ${action.name} needs the name of a connection.`);
  }
  if (action.connection === 'none' && document.connection !== undefined) {
    issues.add(at(path, 'connection'), `${action.name} takes no connection; remove the field.`);
  }
}

function compileCondition(
  text: string | undefined,
  path: string,
  allowed: Allowed,
  issues: IssueList,
): Template | undefined {
  if (text === undefined) return undefined;
  if (leafOf(text) !== 'anything') {
    issues.add(path, 'A condition is one expression as a whole: "{{ … }}".');
    return undefined;
  }
  return checkTemplate(text, path, allowed, issues);
}

const literally = (): Leaf => 'literal';

/** What a text will be: itself, some text, or whatever its one expression gives. */
function leafOf(text: string): Leaf {
  if (!text.includes('{{')) return 'literal';
  const segments = scanTemplate(text);
  return segments?.length === 1 && segments[0]?.kind === 'expression' ? 'anything' : 'text';
}

function checkStep(name: string, self: string, ids: readonly string[], path: string, issues: IssueList): boolean {
  if (name === self) issues.add(path, 'A step cannot wait for or choose itself.');
  else if (!ids.includes(name)) issues.add(path, () => `There is no step "${name}".${suggestion(name, ids)}`);
  else return true;
  return false;
}

function compileSwitch(
  given: Readonly<Record<string, unknown>>,
  allowed: Required<Allowed>,
  path: string,
  issues: IssueList,
): { readonly branches: readonly Branch[]; readonly otherwise: readonly string[] } {
  const targets = (value: unknown, place: string): string[] =>
    (Array.isArray(value) ? value : []).filter(
      (name, index): name is string =>
        typeof name === 'string' && checkStep(name, allowed.self, allowed.steps, at(place, index), issues),
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

function retryPolicy(
  given: RetriesDocument | undefined,
  action: ActionFacts,
  mode: Mode,
  path: string,
  issues: IssueList,
): RetryPolicy {
  const longest = LIMITS.retryDelayLongestMilliseconds;
  const usual = mode === 'inline' || action.effect === 'external' ? 0 : LIMITS.retriesUsual;
  return {
    limit: given?.limit ?? usual,
    delayMilliseconds: bounded(given?.delay ?? '1s', longest, at(path, 'delay'), issues, 0),
    backoff: given?.backoff ?? 'exponential',
    jitter: given?.jitter ?? true,
    capMilliseconds: bounded(given?.cap ?? '5m', longest, at(path, 'cap'), issues, 0),
    declared: given !== undefined,
  };
}

function bounded(text: string, longest: number, path: string, issues: IssueList, shortest = 1): number {
  const milliseconds = parseDuration(text) ?? 0;
  if (milliseconds < shortest || milliseconds > longest) {
    issues.add(path, `Must be ${shortest > 0 ? 'more than 0 and ' : ''}at most ${formatDuration(longest)}.`);
  }
  return milliseconds;
}
