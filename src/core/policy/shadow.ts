/**
 * Shadow replay: what another version would have done with the input of a recorded run. Pure steps are
 * computed; a step with an effect takes the recorded result of the step of the same name and action.
 */

import { differencesOf, type Difference } from '../data/difference.ts';
import type { Plan, StepPlan } from '../chain/plan.ts';
import { byStep, stepAt, type StepEvent } from '../engine/journal.ts';
import type { RunRecord, ShownFault } from '../engine/record.ts';
import type { RunResponse } from '../engine/state.ts';
import { LIMITS } from '../limits.ts';
import type { Template } from '../expression/types.ts';

/** A step and the item that it was done for, as in its idempotency key: `<path>:<item>`. */
export type CallKey = string;

export type Recording = { readonly use: string } & ({ readonly output: unknown } | { readonly fault: ShownFault });

/** The results of steps, by the journal where there is one, and by the record. */
export function recordingsOf(record: RunRecord, plan: Plan, events: readonly StepEvent[]): Map<CallKey, Recording> {
  const recordings = new Map<CallKey, Recording>();
  for (const [key, own] of byStep(events)) {
    const place = placeOf(String(key), plan.steps);
    const last = own.at(-1);
    if (place === undefined) continue;
    if (last?.type === 'succeeded') recordings.set(place.key, { use: place.use, output: last.output });
    if (last?.type === 'failed') recordings.set(place.key, { use: place.use, fault: last.fault });
    for (const event of own) if (event.type === 'items') addItems(recordings, plan, event);
  }
  for (const { id, use, output, error } of record.steps) {
    if (output !== undefined) recordings.set(`${id}:0`, { use, output });
    else if (error !== undefined) recordings.set(`${id}:0`, { use, fault: error });
  }
  return recordings;
}

/** What other isolates gave of items, which is that of their steps only where there is one and no more is made of it. */
function addItems(into: Map<CallKey, Recording>, plan: Plan, event: StepEvent & { readonly type: 'items' }): void {
  const each = stepAt(plan, event.step)?.each;
  if (each?.steps.length !== 1 || each.output !== undefined) return;
  for (const result of event.results) {
    const place = placeOf(`${event.step}/${result.index}/0`, plan.steps);
    if (place === undefined) continue;
    const { key, use } = place;
    into.set(key, 'output' in result ? { use, output: result.output } : { use, fault: result.error });
  }
}

/** A key of the journal, e.g. `2/17/0`: the first step inside of the third, for its item 17. */
function placeOf(key: string, steps: readonly StepPlan[]): { key: CallKey; use: string } | undefined {
  const parts = key.split('/').map(Number);
  let inside: readonly StepPlan[] = steps;
  let step: StepPlan | undefined;
  for (let at = 0; at < parts.length; at += 2) {
    step = inside[parts[at] ?? NaN];
    inside = step?.each?.steps ?? [];
  }
  const items = parts.filter((_, at) => at % 2 === 1);
  return step && { key: `${step.path}:${items.join('.') || '0'}`, use: step.action.name };
}

/** Whether a step is taken from the records instead of being done. */
export const isRecorded = (action: StepPlan['action']): boolean =>
  action.effect !== 'pure' || action.control === 'wait' || action.control === 'call';

const NEVER: Template = {
  literal: true,
  deterministic: true,
  timed: false,
  steps: [],
  roots: [],
  evaluate: () => false,
};

/**
 * The plan as it is played: nothing is repeated, undone or waited for, and `unknown` steps are passed by.
 */
export function shadowPlan(plan: Plan, unknown: ReadonlySet<string>): Plan {
  return { ...plan, undoes: false, onFailure: undefined, steps: plan.steps.map((step) => shadowStep(step, unknown)) };
}

function shadowStep(step: StepPlan, unknown: ReadonlySet<string>): StepPlan {
  const { control: _control, ...plain } = step.action;
  return {
    ...step,
    action: isRecorded(step.action) ? plain : step.action,
    if: unknown.has(step.path) ? NEVER : step.if,
    undo: undefined,
    retries: { ...step.retries, limit: 0, if: undefined },
    each: step.each && { ...step.each, steps: step.each.steps.map((inner) => shadowStep(inner, unknown)) },
  };
}

/** Those steps and all that come to their turn through them. */
export function withDependants(plan: Plan, steps: Iterable<string>): Set<string> {
  const found = new Set<string>();
  const add = (step: StepPlan | undefined): void => {
    if (step === undefined || found.has(step.id)) return;
    found.add(step.id);
    for (const index of step.before) add(plan.steps[index]);
  };
  for (const id of steps) add(plan.steps.find((step) => step.id === id));
  return found;
}

/** What came of playing one version. */
export interface Played {
  /** What steps with effects would have been given, as JSON. */
  readonly calls: ReadonlyMap<CallKey, { readonly use: string; readonly parameters: unknown }>;
  /** Steps that had no recording. */
  readonly unrecorded: ReadonlySet<string>;
  /** These, and those that come after them. */
  readonly unknown: ReadonlySet<string>;
  readonly input: unknown;
  readonly status: string;
  readonly error: Pick<ShownFault, 'code' | 'message' | 'data'> | null;
  readonly output: unknown;
  readonly response: RunResponse | undefined;
}

export interface ShadowDifference extends Difference {
  readonly what: 'input' | 'step' | 'parameters' | 'status' | 'error' | 'output' | 'response';
  /** With the number of its item in front, where it is inside of a `flow.each`. */
  readonly step?: string;
}

export interface Comparison {
  readonly differences: readonly ShadowDifference[];
  /** `step` is null for the outcome of the run, which depends on all steps. */
  readonly unknown: readonly { readonly step: string | null; readonly reason: 'no-recording' | 'depends' }[];
}

export function compareRuns(from: Played, to: Played): Comparison {
  const found: ShadowDifference[] = [];
  const compare = (what: ShadowDifference['what'], before: unknown, after: unknown, step?: string): void => {
    for (const difference of differencesOf(before, after, LIMITS.shadowDifferences - found.length)) {
      found.push({ what, ...(step !== undefined && { step }), ...shortened(difference) });
    }
  };
  compare('input', from.input, to.input);
  for (const key of new Set([...from.calls.keys(), ...to.calls.keys()])) {
    const [path = '', item] = key.split(':');
    const name = path.includes('.') ? `${path}[${item ?? ''}]` : path;
    const [before, after] = [from.calls.get(key), to.calls.get(key)];
    // That one was not come to says nothing where what leads to it is unknown.
    if ((before === undefined ? from : after === undefined ? to : undefined)?.unknown.has(topOf(path))) continue;
    if (before?.use === after?.use) compare('parameters', before?.parameters, after?.parameters, name);
    else compare('step', before, after, name);
  }
  const unknown = [...to.unknown].map((step) => ({
    step,
    reason: to.unrecorded.has(step) ? ('no-recording' as const) : ('depends' as const),
  }));
  if (from.unknown.size + to.unknown.size > 0)
    return { differences: found, unknown: [...unknown, { step: null, reason: 'depends' }] };
  for (const what of ['status', 'error', 'output', 'response'] as const) compare(what, from[what], to[what]);
  return { differences: found, unknown };
}

const topOf = (path: string): string => path.split('.')[0] ?? path;

function shortened(difference: Difference): Difference {
  const { op, path, from, to } = difference;
  return { op, path, ...('from' in difference && { from: short(from) }), ...('to' in difference && { to: short(to) }) };
}

const short = (value: unknown): unknown => {
  const text = JSON.stringify(value) ?? 'null';
  return text.length <= LIMITS.shadowValueCharacters ? value : `${text.slice(0, LIMITS.shadowValueCharacters)}…`;
};
