/**
 * parse → compile → plan. A document becomes a plan or a list of all its mistakes, each with the path of
 * the field and what would be right.
 */

import type { Catalogue } from './catalogue.ts';
import { chainSchema, type ChainDocument } from './document.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { compileFlow } from './flow-control.ts';
import { IssueList } from './issues.ts';
import { isReservedName } from './names.ts';
import { parseDocument, refuseDocument } from './parse.ts';
import type { Mode, Plan, StepPlan } from './plan.ts';
import { compileGraph } from './steps.ts';
import { checkTemplate, SCOPES } from './scopes.ts';
import { compileTriggers, modeOf } from './triggers.ts';
import { compileJsonSchema } from '../data/json-schema.ts';
import { ok, type Result } from '../errors.ts';
import type { Json } from '../json.ts';
import { LIMITS } from '../limits.ts';

/** Fault `chain.invalid` with an issue for each mistake. */
export function compileChain(document: unknown, catalogue: Catalogue): Result<Plan> {
  const issues = new IssueList();
  const chain = parseDocument(chainSchema, document, issues);
  // The order of steps means little while the steps themselves cannot be read.
  if (chain === undefined) return refuseDocument('chain.invalid', issues);
  if (isReservedName(chain.name)) {
    issues.add('name', `The name "${chain.name}" is reserved in JavaScript; choose another.`);
  }
  if (chain.onFailure === chain.name) issues.add('onFailure', 'A chain cannot be its own failure chain; name another.');
  const mode = modeOf(chain);
  const { steps } = compileGraph(chain.steps, {
    mode,
    catalogue,
    issues,
    at: 'steps',
    within: [],
    roots: SCOPES.all,
    outer: [],
    graph: compileGraph,
  });
  const plan: Plan = {
    name: chain.name,
    mode,
    triggers: compileTriggers(chain, mode, catalogue, issues),
    validateInput: compileInput(chain, issues),
    steps,
    undoes: steps.some(undoes),
    onFailure: chain.onFailure,
    flow: compileFlow(chain, mode, issues),
    output: compileOutput(chain, issues),
    timeoutMilliseconds: runTimeout(chain, mode, steps, issues),
    document: document as Json,
  };
  return issues.all.length === 0 ? ok(plan) : refuseDocument('chain.invalid', issues);
}

const undoes = (step: StepPlan): boolean => step.undo !== undefined || (step.each?.steps.some(undoes) ?? false);

function compileInput(chain: ChainDocument, issues: IssueList): Plan['validateInput'] {
  if (chain.input === undefined) return undefined;
  const compiled = compileJsonSchema(chain.input);
  if (compiled.ok) return compiled.value;
  issues.addAll(compiled.fault.issues ?? [{ path: '', message: compiled.fault.message }], 'input');
  return undefined;
}

function compileOutput(chain: ChainDocument, issues: IssueList): Plan['output'] {
  if (chain.output === undefined) {
    if (Object.keys(chain.steps).length === 0) issues.add('steps', 'A chain needs a step or an output.');
    return undefined;
  }
  const ids = Object.keys(chain.steps);
  return checkTemplate(chain.output, 'output', { roots: SCOPES.all, steps: ids }, issues);
}

const RUN_TIMEOUTS: Readonly<Record<Mode, { usual: number; longest: number }>> = {
  inline: { usual: LIMITS.runTimeoutInlineMilliseconds, longest: LIMITS.runTimeoutInlineLongestMilliseconds },
  durable: { usual: LIMITS.runTimeoutDurableMilliseconds, longest: LIMITS.runTimeoutDurableLongestMilliseconds },
};

/** A chain that waits for something outside may well wait longer than work takes. */
const waits = (step: StepPlan): boolean =>
  step.action.control === 'wait' || step.action.control === 'call' || (step.each?.steps.some(waits) ?? false);

function runTimeout(chain: ChainDocument, mode: Mode, steps: readonly StepPlan[], issues: IssueList): number {
  const { longest } = RUN_TIMEOUTS[mode];
  const usual = mode === 'durable' && steps.some(waits) ? longest : RUN_TIMEOUTS[mode].usual;
  const milliseconds = chain.timeout === undefined ? usual : (parseDuration(chain.timeout) ?? usual);
  if (milliseconds === 0 || milliseconds > longest) {
    issues.add('timeout', `Must be more than 0 and, in this ${mode} chain, at most ${formatDuration(longest)}.`);
  }
  return milliseconds;
}
