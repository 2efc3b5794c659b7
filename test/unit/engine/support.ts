/** Plans, and runs of them whose steps do what the test says. */

import * as v from 'valibot';
import { vi } from 'vitest';
import { data } from '../../../src/connectors/data/index.ts';
import { flow } from '../../../src/connectors/flow/index.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import type { Action, ActionContext, Connector } from '../../../src/connectors/kit/types.ts';
import { compileChain } from '../../../src/core/chain/compile.ts';
import type { Effect } from '../../../src/core/chain/catalogue.ts';
import type { Plan, StepPlan } from '../../../src/core/chain/plan.ts';
import { createRun } from '../../../src/core/engine/engine.ts';
import { byStep, type StepEvent } from '../../../src/core/engine/journal.ts';
import type { RunState } from '../../../src/core/engine/state.ts';
import { fail, ok, type Fault, type Result } from '../../../src/core/errors.ts';
import { NO_CONNECTION, type ActionHost } from '../../../src/runtime/action-context.ts';
import { advance, createDrive, type Drive, type Journal } from '../../../src/runtime/drive.ts';
import type { StepsQueue } from '../../../src/runtime/steps-queue.ts';

export type Answer = (context: ActionContext, params: unknown) => Result<unknown> | Promise<Result<unknown>>;

/** What the steps of the test do, by id; a step that is not here succeeds with its own id. */
let answers: Readonly<Record<string, Answer>> = {};
let calls: { readonly step: string; readonly key: string }[] = [];

const act = (effect: Effect): Action => ({
  title: effect,
  effect,
  params: v.unknown(),
  example: {},
  run: (params, context) => {
    const step = context.idempotencyKey.split(':')[1] ?? '';
    calls.push({ step, key: context.idempotencyKey });
    return answers[step]?.(context, params) ?? ok(step);
  },
});

const classes: Connector = {
  name: 'act',
  title: 'One action of each effect class',
  actions: { pure: act('pure'), idempotent: act('idempotent'), keyed: act('keyed'), external: act('external') },
};
const connectors = [flow, data, classes];
const catalogue = buildCatalogue(connectors);
const actions = new Map(
  connectors.flatMap(({ name, actions: own }) =>
    Object.entries(own).map(([action, value]): [string, Action] => [`${name}.${action}`, value]),
  ),
);

type Steps = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export function planOf(steps: Steps, more: Readonly<Record<string, unknown>> = {}): Plan {
  const compiled = compileChain({ name: 'test', steps, ...more }, catalogue);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.fault.issues));
  return compiled.value;
}

export const runOf = (plan: Plan, receivedAt = 0): RunState =>
  createRun(
    plan,
    {
      id: 'run_1',
      version: 1,
      trigger: 'manual',
      event: { type: 'manual', params: {}, query: {}, headers: {}, body: { n: 1 }, receivedAt },
      input: { n: 1 },
    },
    Math.random,
  );

export function stepOf(run: RunState, id: string): StepPlan {
  const step = run.plan.steps.find((candidate) => candidate.id === id);
  if (step === undefined) throw new Error(`there is no step ${id}`);
  return step;
}

export const statuses = (run: RunState): Record<string, string | undefined> =>
  Object.fromEntries(run.plan.steps.map((step) => [step.id, run.steps[step.index]?.status]));

export const away = fail('upstream.unavailable', 'away');
export const refused = fail('upstream.rejected', 'refused');
export const never = (): Promise<Result<unknown>> => new Promise(() => {});
/** Fails so often, then succeeds. */
export function failing(times: number, failure: Result<unknown> = away): Answer {
  let left = times;
  return (context) => (left-- > 0 ? failure : ok(context.idempotencyKey.split(':')[1]));
}

export interface Driven {
  readonly drive: Drive;
  readonly run: RunState;
  /** What is on disk: a row for each flush. */
  readonly rows: StepEvent[][];
  /** Ids of the steps whose action was called, in order. */
  readonly called: () => string[];
  readonly keys: () => string[];
  /** How often the journal was told of the end. */
  readonly ends: () => number;
}

export const host: ActionHost = {
  actions,
  fetch: () => Promise.reject(new Error('no traffic')),
  connect: () => fail('egress.refused', 'no traffic'),
  // Handed on to every action; none of these looks at it.
  data: {} as D1Database,
  bucket: undefined,
  now: () => Date.now(),
  linkTo: () => Promise.resolve(ok('link')),
  sendMessage: () => Promise.resolve(ok(null)),
  open: () => ok(NO_CONNECTION),
  openStore: () => Promise.reject(new Error('no stores')),
};

export interface DriveOptions {
  readonly answers?: Readonly<Record<string, Answer>>;
  /** The journal of the process that died. */
  readonly recorded?: readonly StepEvent[];
  readonly unfit?: (output: unknown) => Fault | undefined;
  readonly random?: () => number;
  readonly receivedAt?: number;
  /** Without a journal the run is inline. */
  readonly journal?: false;
  /** Takes the items of wide fan-outs. */
  readonly steps?: StepsQueue;
}

/** Starts a run, under the fake clock that the test has installed. */
export function drive(plan: Plan, options: DriveOptions = {}): Driven {
  // The process that wrote that journal is dead; it must not go on beside this one.
  if (options.recorded !== undefined) {
    const now = Date.now();
    vi.clearAllTimers();
    // Clearing the timers sets back the clock.
    vi.setSystemTime(now);
  }
  answers = options.answers ?? {};
  const own: typeof calls = [];
  calls = own;
  const rows: StepEvent[][] = [];
  let pending: StepEvent[] = [];
  let ends = 0;
  const flush = (): void => {
    // As JSON: what a process after this one reads is what could be written.
    if (pending.length > 0) rows.push(JSON.parse(JSON.stringify(pending)) as StepEvent[]);
    pending = [];
  };
  const journal: Journal = {
    record: (event) => void pending.push(event),
    flush,
    check: (output) => options.unfit?.(output),
    end: () => {
      flush();
      ends++;
    },
  };
  const receivedAt = options.receivedAt ?? Date.now();
  const driven = createDrive({
    run: runOf(plan, receivedAt),
    host,
    random: options.random ?? (() => 0.5),
    journal: options.journal === false ? undefined : journal,
    recorded: options.recorded && byStep(options.recorded),
    deadline: receivedAt + plan.timeoutMilliseconds,
    changed: () => {},
    sleep: (self, until) => void setTimeout(advance, Math.max(0, until - Date.now()), self),
    waiting: () => {},
    gather: undefined,
    steps: options.steps,
  });
  advance(driven);
  return {
    drive: driven,
    run: driven.run,
    rows,
    called: () => own.map(({ step }) => step),
    keys: () => own.map(({ key }) => key),
    ends: () => ends,
  };
}
