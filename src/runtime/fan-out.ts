/**
 * The items of a `flow.each`: each runs the steps inside in a frame of its own. Nothing of the fan-out is
 * journaled but the results of steps with effects, since the list and the order of items are computed again.
 * Where there are many, other isolates run them: see wide.ts.
 */

import { parse, type InferOutput } from 'valibot';
import { isBlocked, isReplaying, settle } from './attempt.ts';
import type { Drive } from './drive.ts';
import type { Outcome } from './execute.ts';
import { concluded, itemError, STOPPED } from './items.ts';
import { openWide } from './wide.ts';
import { itemParams } from '../connectors/flow/each.ts';
import type { EachPlan, StepPlan } from '../core/chain/plan.ts';
import { createFrame, outcome } from '../core/engine/engine.ts';
import { keyOf, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import type { StepStatus } from '../core/engine/record.ts';
import { rangeSize } from '../core/engine/ranges.ts';
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
  /** Told once what came of it: {@link STOPPED} where it was not finished. */
  readonly ended: (drive: Drive, item: Item, failure: Fault | undefined, output: unknown) => void;
}

/** Opens the fan-out of a step under way; an outcome where there is nothing to wait for. */
export function openFan(drive: Drive, parent: Frame, step: StepPlan, evaluated: unknown): Outcome | undefined {
  const state = parent.steps[step.index];
  if (state === undefined || step.each === undefined) throw new Error(`${step.path} is no fan-out`);
  const key = keyOf(parent, step);
  const events = drive.recorded?.get(key) ?? [];
  const [opened] = events;
  drive.recorded?.delete(key);
  const given = opened?.type === 'opened' && 'params' in opened ? opened.params : evaluated;
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
    recorded: events.some(({ type }) => type === 'succeeded' || type === 'failed'),
  };
  const range = rangeOf(drive, key, step.each, state.fan, opened);
  if (opened === undefined && (!step.pure || range !== undefined)) {
    const kept = step.pure ? {} : { params: given };
    drive.journal?.record({ type: 'opened', step: key, at: drive.host.now(), ...kept, ...(range && { range }) });
  }
  const opening = { parent, step, each: step.each, fan: state.fan };
  if (range !== undefined && openWide(drive, opening, range, events)) return undefined;
  startItems(drive, parent, step, state.fan);
  if (state.fan.active > 0) return undefined;
  return concluded(step, state.fan, isBlocked(drive, parent) ? STOPPED : undefined);
}

/**
 * Into ranges of how many items the fan-out is divided; undefined where it stays in the object. Decided once:
 * what the journal holds of it tells.
 */
function rangeOf(
  drive: Drive,
  key: StepKey,
  each: EachPlan,
  fan: Fan,
  opened: StepEvent | undefined,
): number | undefined {
  if (opened !== undefined) return opened.type === 'opened' ? opened.range : undefined;
  const { concurrency, items } = fan;
  const isWide = each.portable && concurrency > LIMITS.concurrentSteps && items.length >= LIMITS.wideItems;
  if (drive.steps === undefined || !isWide || hasRecorded(drive, `${key}/`)) return undefined;
  return rangeSize(items.length, concurrency, each.once);
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
  const of = { parent, step, each, fan, ended: end };
  while (fan.active < fan.concurrency && fan.next < fan.items.length) {
    if ((fan.stopped || isBlocked(drive, parent)) && !hasRecorded(drive, `${keyOf(parent, step)}/`)) break;
    const index = fan.next++;
    if (fan.settled?.[index] !== 1) startItem(drive, of, index, fan.items[index]);
  }
}

/** Gives an item its frame; the drive takes it up. */
export function startItem(
  drive: Drive,
  of: Pick<Item, 'parent' | 'step' | 'each' | 'fan' | 'ended'>,
  index: number,
  value: unknown,
): void {
  const { parent, step, each, fan } = of;
  const scope = {
    ...parent.scope,
    // What the items compute is theirs alone.
    steps: Object.assign(new Bare(), parent.scope.steps),
    [each.as]: value,
    index,
  };
  const place = parent.item === '0' && parent.prefix === '' ? String(index) : `${parent.item}.${index}`;
  const frame = createFrame(each.steps, scope, parent.places, `${keyOf(parent, step)}/${index}/`, place);
  fan.active++;
  drive.items.set(frame, { ...of, frame, index, ending: false });
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
  // One that had nothing left to do is whole, whatever came up around it.
  const how = frame.fault === STOPPED && isWhole(frame) ? 'complete' : outcome(frame);
  if (how === undefined) return next;
  if (how === 'failed') {
    item.ended(drive, item, frame.fault ?? STOPPED, null);
    return undefined;
  }
  item.ending = true;
  try {
    const output = each.output === undefined ? usualOutput(item) : each.output.evaluate(frame.scope);
    if (!(output instanceof Promise)) item.ended(drive, item, undefined, output);
    else {
      output.then(
        (value: unknown) => endLate(drive, item, undefined, value),
        (thrown: unknown) => endLate(drive, item, faultOf(thrown), null),
      );
    }
  } catch (thrown) {
    item.ended(drive, item, faultOf(thrown), null);
  }
  return undefined;
}

const isWhole = ({ open, steps, graph }: Frame): boolean =>
  open === 0 && steps.every(({ status }, index) => UNHARMED.has(status) || graph[index]?.onError.kind !== 'stop');
const UNHARMED: ReadonlySet<StepStatus> = new Set(['succeeded', 'skipped']);

/** The output of the only step, or of all by id. */
function usualOutput({ each, frame }: Item): unknown {
  const [only] = each.steps;
  if (each.steps.length === 1 && only !== undefined) return frame.scope.steps[only.id] ?? null;
  return Object.fromEntries(each.steps.map((step) => [step.id, frame.scope.steps[step.id] ?? null]));
}

function endLate(drive: Drive, item: Item, failure: Fault | undefined, output: unknown): void {
  if (drive.run.status !== 'running') return;
  item.ended(drive, item, failure, output);
  drive.advance();
}

function end(drive: Drive, item: Item, failure: Fault | undefined, output: unknown): void {
  const { frame, fan, parent, step, index } = item;
  drive.items.delete(frame);
  fan.active--;
  if (failure === undefined) fan.results[index] = output ?? null;
  else if (failure === STOPPED) fan.cut = true;
  else {
    fan.errors.push({ index, error: itemError(failure) });
    if (fan.onItemError === 'stop') fan.stopped = true;
  }
  startItems(drive, parent, step, fan);
  if (fan.active > 0) return;
  // The steps around it may have become ready.
  drive.again = true;
  const attempt = parent.steps[step.index]?.attempts.length ?? 0;
  settle(drive, parent, step, attempt, concluded(step, fan, isBlocked(drive, parent) ? STOPPED : undefined));
}
