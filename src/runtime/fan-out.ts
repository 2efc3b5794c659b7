/**
 * The items of a `flow.each`: each runs the steps inside in a frame of its own. Nothing of the fan-out is
 * journaled but the results of steps with effects, since the list and the order of items are computed again.
 */

import { parse, type InferOutput } from 'valibot';
import { isBlocked, isReplaying, settle } from './attempt.ts';
import type { Drive } from './drive.ts';
import type { Outcome } from './execute.ts';
import { itemParams } from '../connectors/flow/each.ts';
import type { EachPlan, StepPlan } from '../core/chain/plan.ts';
import { createFrame, outcome } from '../core/engine/engine.ts';
import { keyOf } from '../core/engine/journal.ts';
import type { Fan, Frame } from '../core/engine/state.ts';
import { fault, faultOf, type Fault } from '../core/errors.ts';
import { Bare } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** One item under way. */
export interface Item {
  readonly frame: Frame;
  readonly index: number;
  readonly parent: Frame;
  readonly step: StepPlan;
  readonly each: EachPlan;
  readonly fan: Fan;
  /** Its output is being made. */
  ending: boolean;
}

/** Opens the fan-out of a step under way; an outcome where there is nothing to wait for. */
export function openFan(drive: Drive, parent: Frame, step: StepPlan, evaluated: unknown): Outcome | undefined {
  const state = parent.steps[step.index];
  if (state === undefined || step.each === undefined) throw new Error(`${step.path} is no fan-out`);
  const key = keyOf(parent, step);
  const [opened] = drive.recorded?.get(key) ?? [];
  drive.recorded?.delete(key);
  const given = opened?.type === 'opened' ? opened.params : evaluated;
  if (!step.pure && opened === undefined) {
    drive.journal?.record({ type: 'opened', step: key, at: drive.host.now(), params: given });
  }
  const params = parse(itemParams, given);
  const items = inBatches(params.in, params.batch);
  if (items.length > LIMITS.eachItems) {
    const message = `${step.path}: ${items.length} items; at most ${LIMITS.eachItems} are taken at a time.`;
    return { kind: 'failed', fault: fault('step.params', message) };
  }
  state.fan = {
    items,
    concurrency: params.concurrency,
    onItemError: params.onItemError,
    next: 0,
    active: 0,
    results: Array.from({ length: items.length }, () => null),
    errors: [],
    stopped: false,
  };
  if (items.length === 0) return concluded(step, state.fan, undefined);
  startItems(drive, parent, step, state.fan);
  return undefined;
}

type Params = InferOutput<typeof itemParams>;

function inBatches(items: Params['in'], size: number | undefined): readonly unknown[] {
  if (size === undefined) return items;
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}

function startItems(drive: Drive, parent: Frame, step: StepPlan, fan: Fan): void {
  const { each } = step;
  if (each === undefined) return;
  while (fan.active < fan.concurrency && fan.next < fan.items.length) {
    const prefix = `${keyOf(parent, step)}/${fan.next}/`;
    if ((fan.stopped || isBlocked(drive, parent)) && !hasRecorded(drive, `${keyOf(parent, step)}/`)) break;
    const index = fan.next++;
    const scope = {
      ...parent.scope,
      // What the items compute is theirs alone.
      steps: Object.assign(new Bare(), parent.scope.steps),
      [each.as]: fan.items[index],
      index,
    };
    const place = parent.item === '0' && parent.prefix === '' ? String(index) : `${parent.item}.${index}`;
    const frame = createFrame(each.steps, scope, parent.places, prefix, place);
    fan.active++;
    drive.items.set(frame, { frame, index, parent, step, each, fan, ending: false });
  }
}

const hasRecorded = (drive: Drive, prefix: string): boolean =>
  isReplaying(drive) && [...(drive.recorded?.keys() ?? [])].some((key) => String(key).startsWith(prefix));

/** Drives one item as far as it goes; returns when its next step is due. */
export function advanceItem(
  drive: Drive,
  item: Item,
  advanceFrame: (drive: Drive, frame: Frame) => number | undefined,
): number | undefined {
  const { frame, fan, parent, each } = item;
  if (item.ending) return undefined;
  if (fan.stopped || isBlocked(drive, parent)) frame.fault ??= STOPPED;
  const next = advanceFrame(drive, frame);
  const how = outcome(frame);
  if (how === undefined) return next;
  if (how === 'failed') {
    end(drive, item, frame.fault ?? STOPPED, null);
    return undefined;
  }
  item.ending = true;
  try {
    const output = each.output === undefined ? usualOutput(item) : each.output.evaluate(frame.scope);
    if (!(output instanceof Promise)) end(drive, item, undefined, output);
    else {
      output.then(
        (value: unknown) => endLate(drive, item, undefined, value),
        (thrown: unknown) => endLate(drive, item, faultOf(thrown), null),
      );
    }
  } catch (thrown) {
    end(drive, item, faultOf(thrown), null);
  }
  return undefined;
}

const STOPPED = fault('run.cancelled', 'The item was not finished, because the fan-out had failed.');

/** The output of the only step, or of all by id. */
function usualOutput({ each, frame }: Item): unknown {
  const [only] = each.steps;
  if (each.steps.length === 1 && only !== undefined) return frame.scope.steps[only.id] ?? null;
  return Object.fromEntries(each.steps.map((step) => [step.id, frame.scope.steps[step.id] ?? null]));
}

function endLate(drive: Drive, item: Item, failure: Fault | undefined, output: unknown): void {
  if (drive.run.status !== 'running') return;
  end(drive, item, failure, output);
  drive.advance();
}

function end(drive: Drive, item: Item, failure: Fault | undefined, output: unknown): void {
  const { frame, fan, parent, step, index } = item;
  drive.items.delete(frame);
  fan.active--;
  if (failure === undefined) fan.results[index] = output ?? null;
  else if (failure !== STOPPED) {
    const { code, message, data } = failure;
    fan.errors.push({ index, error: { code, message, ...(data === undefined ? {} : { data }) } });
    if (fan.onItemError === 'stop') fan.stopped = true;
  }
  startItems(drive, parent, step, fan);
  if (fan.active > 0) return;
  // The steps around it may have become ready.
  drive.again = true;
  const attempt = parent.steps[step.index]?.attempts.length ?? 0;
  settle(drive, parent, step, attempt, concluded(step, fan, isBlocked(drive, parent) ? STOPPED : undefined));
}

function concluded(step: StepPlan, fan: Fan, stopped: Fault | undefined): Outcome {
  const errors = fan.errors.toSorted((a, b) => a.index - b.index);
  const [first] = fan.errors;
  const unfinished = fan.stopped || fan.next < fan.items.length;
  if (stopped !== undefined && unfinished && first === undefined) return { kind: 'failed', fault: stopped };
  if (first !== undefined && fan.onItemError !== 'continue') {
    const message = `${step.path}: ${errors.length} of ${fan.items.length} items failed; item ${first.index}: ${first.error.message}`;
    const data = { count: fan.items.length, results: fan.results, errors };
    return { kind: 'failed', fault: fault('step.items-failed', message, { data }) };
  }
  return { kind: 'succeeded', success: { output: { count: fan.items.length, results: fan.results, errors } } };
}
