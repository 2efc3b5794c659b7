/** A graph of steps: what each waits for, what chooses it, in which order they stand. */

import type { StepDocument } from './document.ts';
import { at } from './issues.ts';
import { orderSteps } from './order.ts';
import type { OnError, StepPlan, SwitchCase } from './plan.ts';
import { draftStep, type Draft } from './step.ts';
import type { Graph, Surroundings } from './surroundings.ts';

export function compileGraph(documents: Readonly<Record<string, StepDocument>>, around: Surroundings): Graph {
  const ids = Object.keys(documents);
  const drafts = Object.entries(documents).flatMap(([id, step]) => draftStep(id, step, ids, around) ?? []);
  const gates = gatesOf(drafts);
  const after = new Map(drafts.map((step) => [step.id, new Set([...step.after, ...(gates.get(step.id) ?? [])])]));
  const refersTo = [...new Set(drafts.flatMap((step) => step.outside))];
  const ordered = orderSteps(after);
  if ('cycle' in ordered) {
    const [first = ''] = ordered.cycle;
    const circle = ordered.cycle.join(' → ');
    around.issues.add(at(around.at, first), `The steps wait for each other: ${circle}. Break the circle.`);
    return { steps: [], refersTo };
  }
  const indexes = new Map(ordered.order.map((id, index) => [id, index]));
  const byId = new Map(drafts.map((step) => [step.id, step]));
  const indexesOf = (names: Iterable<string>): number[] =>
    [...new Set(names)].flatMap((name) => indexes.get(name) ?? []).sort((a, b) => a - b);
  const before = new Map<string, string[]>();
  for (const [id, needed] of after) {
    for (const other of needed) before.set(other, [...(before.get(other) ?? []), id]);
  }
  const steps = ordered.order.flatMap((id, index): StepPlan[] => {
    const step = byId.get(id);
    if (step === undefined) return [];
    const place = {
      index,
      after: indexesOf(after.get(id) ?? []),
      before: indexesOf(before.get(id) ?? []),
      gates: indexesOf(gates.get(id) ?? []),
    };
    return [finish(step, place, indexesOf)];
  });
  return { steps, refersTo };
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

function finish(step: Draft, place: Place, indexesOf: (ids: readonly string[]) => number[]): StepPlan {
  const cases = (step.branches ?? []).map((branch): SwitchCase => ({
    when: branch.when,
    then: indexesOf(branch.then),
  }));
  const [target = 0] = typeof step.onError === 'object' ? indexesOf([step.onError.step]) : [];
  const onError: OnError = typeof step.onError === 'object' ? { kind: 'step', step: target } : { kind: step.onError };
  return {
    ...step.fields,
    ...place,
    switch: step.branches && { cases, otherwise: indexesOf(step.otherwise) },
    onError,
  };
}
