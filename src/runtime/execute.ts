/**
 * One attempt of one step: evaluate, check, call. Everything that can be done without waiting is done
 * without a promise, because an `await` costs more than most steps.
 */

import { safeParse } from 'valibot';
import { AttemptContext, type ActionHost } from './action-context.ts';
import type { StoreGuard } from './guarded-store.ts';
import type { Action, OpenConnection } from '../connectors/kit/types.ts';
import { resolveConnection } from '../core/chain/connection.ts';
import { fail, fault, faultOf, type Fault, type Issue, type Result } from '../core/errors.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import type { Success } from '../core/engine/engine.ts';
import type { Frame, RunResponse, RunState } from '../core/engine/state.ts';
import { isObject } from '../core/json.ts';
import { andThen, type MaybePromise } from '../core/maybe-promise.ts';

export type Outcome =
  | { readonly kind: 'succeeded'; readonly success: Success }
  | { readonly kind: 'skipped' }
  /** It waits for other steps, an event or another run; its parameters are checked. */
  | { readonly kind: 'opened'; readonly params: unknown }
  /** All is checked and the effect can begin, once its intent is on disk. */
  | { readonly kind: 'ready'; perform(): MaybePromise<Outcome> }
  | { readonly kind: 'failed'; readonly fault: Fault };

export interface Attempt {
  readonly run: RunState;
  readonly frame: Frame;
  readonly step: StepPlan;
  /** Stop before the action, as `ready`: its intent is written first. */
  readonly intends: boolean;
  /** The breaker of another connection than the step's own; none in an inline run. */
  guard?(connection: string): StoreGuard | undefined;
  /** Aborts when the attempt is given up. Made only when an action asks for it; none in an inline run. */
  signal(): AbortSignal | undefined;
}

/** Actions that the driver carries out itself. */
const OPENED: ReadonlySet<string | undefined> = new Set(['each', 'wait', 'call']);
const SKIPPED: Outcome = { kind: 'skipped' };
const failed = (value: Fault): Outcome => ({ kind: 'failed', fault: value });

/** Never throws and never rejects: whatever goes wrong is the outcome. */
export function execute(attempt: Attempt, host: ActionHost): MaybePromise<Outcome> {
  return guarded(() => attempted(attempt, host));
}

function guarded(work: () => MaybePromise<Outcome>): MaybePromise<Outcome> {
  try {
    const result = work();
    return result instanceof Promise ? result.catch((thrown: unknown) => failed(faultOf(thrown))) : result;
  } catch (thrown) {
    return failed(faultOf(thrown));
  }
}

function attempted(attempt: Attempt, host: ActionHost): MaybePromise<Outcome> {
  const { frame, step } = attempt;
  if (step.if === undefined) return chosen(attempt, host);
  return andThen(step.if.evaluate(frame.scope), (condition) => (isTrue(condition) ? chosen(attempt, host) : SKIPPED));
}

/** JSONata's `$boolean` for what a condition usually gives. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isTrue);
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}

function chosen(attempt: Attempt, host: ActionHost): MaybePromise<Outcome> {
  const { frame, step } = attempt;
  if (step.switch !== undefined) return takeBranch(attempt, 0);
  const action = host.actions.get(step.action.name);
  if (action === undefined) return failed(fault('step.failed', `The action ${step.action.name} is not installed.`));
  return andThen(parameters(step, action, step.with.evaluate(frame.scope)), (params) => {
    if (!params.ok) return failed(params.fault);
    if (OPENED.has(step.action.control)) return { kind: 'opened', params: params.value };
    return andThen(openFor(attempt, host), (connection) => {
      if (!connection.ok) return failed(connection.fault);
      const perform = (): MaybePromise<Outcome> => {
        const context = new AttemptContext(attempt, host, connection.value);
        return andThen(action.run(params.value, context), (result) => outcomeOf(step, result));
      };
      return attempt.intends ? { kind: 'ready', perform: () => guarded(perform) } : perform();
    });
  });
}

function openFor(attempt: Attempt, host: ActionHost): MaybePromise<Result<OpenConnection>> {
  const { run, frame, step } = attempt;
  if (step.connection === undefined) return host.open(undefined, attempt);
  return andThen(resolveConnection(step.connection, frame.scope, run.start.event.identity), (ref) =>
    ref.ok ? host.open(ref.value, attempt) : ref,
  );
}

function takeBranch(attempt: Attempt, index: number): MaybePromise<Outcome> {
  const cases = attempt.step.switch?.cases ?? [];
  const branch = cases[index];
  if (branch === undefined) return branchTaken(null, attempt.step.switch?.otherwise ?? []);
  return andThen(branch.when.evaluate(attempt.frame.scope), (condition) =>
    isTrue(condition) ? branchTaken(index, branch.then) : takeBranch(attempt, index + 1),
  );
}

/** The output of a switch is the position of the case that was taken, or null for `otherwise`. */
const branchTaken = (taken: number | null, steps: readonly number[]): Outcome => ({
  kind: 'succeeded',
  success: { output: { case: taken }, chosen: steps },
});

/** Parameters without expressions are the same in every run, so they are checked once. */
const checked = new WeakMap<StepPlan, Result<unknown>>();

function parameters(step: StepPlan, action: Action, evaluated: unknown): MaybePromise<Result<unknown>> {
  const known = checked.get(step);
  if (known !== undefined) return known;
  return andThen(evaluated, (value) => {
    const result = parse(step, action, value);
    if (step.with.literal) checked.set(step, result);
    return result;
  });
}

function parse(step: StepPlan, action: Action, value: unknown): Result<unknown> {
  const parsed = safeParse(action.evaluated ?? action.params, value ?? {}, { abortEarly: false });
  if (parsed.success) return { ok: true, value: parsed.output };
  const issues = parsed.issues.map((issue): Issue => {
    const path = (issue.path ?? []).map((item) => String(item.key)).join('.');
    return { path: `steps.${step.path}.with${path === '' ? '' : `.${path}`}`, message: issue.message };
  });
  const first = issues[0];
  return fail('step.params', `${first?.path ?? step.id}: ${first?.message ?? 'not valid'}`, { issues });
}

function outcomeOf(step: StepPlan, result: Result<unknown>): Outcome {
  if (!result.ok) return failed(result.fault);
  const output = result.value === undefined ? null : result.value;
  if (step.action.control !== 'respond') return { kind: 'succeeded', success: { output } };
  return { kind: 'succeeded', success: { output, response: responseOf(output) } };
}

function responseOf(output: unknown): RunResponse {
  const fields = isObject(output) ? output : {};
  const headers: Record<string, string> = {};
  if (isObject(fields['headers'])) {
    for (const [name, value] of Object.entries(fields['headers'])) headers[name] = String(value);
  }
  return {
    status: typeof fields['status'] === 'number' ? fields['status'] : 200,
    headers,
    body: fields['body'],
  };
}
