/**
 * Items of a wide `flow.each` away from their run object: the same engine over the same frames, with a
 * journal that is handed back. Keys, retries and timeouts are those that the object would have used.
 */

import type { ActionHost } from './action-context.ts';
import { createDrive, type Drive } from './drive.ts';
import { startItem, type Item } from './fan-out.ts';
import { itemError, STOPPED } from './items.ts';
import { checkStep, fitsRow, TOO_LARGE } from './output-size.ts';
import type { Providers } from './providers.ts';
import type { ClaimedItems, Delivered, Surroundings } from './wide.ts';
import type { Plan } from '../core/chain/plan.ts';
import { createFrame, createRun } from '../core/engine/engine.ts';
import { byStep, stepAt, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import type { Fan, Frame, ItemResult, RunState } from '../core/engine/state.ts';
import type { Fault } from '../core/errors.ts';
import { Bare } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

export interface RangeOptions {
  readonly id: string;
  readonly step: StepKey;
  readonly plan: Plan;
  readonly host: ActionHost;
  readonly random: () => number;
  readonly providers?: Providers;
}

type Result = Omit<Delivered, 'more'>;

/** Runs items until they have ended, or what is left is better done later. Rejects where the plan has no such step. */
export function runRange(around: Surroundings, claimed: ClaimedItems, options: RangeOptions): Promise<Result> {
  return new Promise((resolve) => new RangeRun(around, claimed, options, resolve).go());
}

class RangeRun {
  readonly #drive: Drive;
  readonly #of: Pick<Item, 'parent' | 'step' | 'each' | 'fan' | 'ended'>;
  readonly #items: (readonly [number, unknown])[];
  readonly #results: ItemResult[] = [];
  /** Of items that did not succeed, and of those only, what is new. */
  readonly #events: StepEvent[] = [];
  readonly #beginsUntil: number;
  /** Of its results. */
  #characters = 0;
  #resolve: ((result: Result) => void) | undefined;

  constructor(around: Surroundings, claimed: ClaimedItems, options: RangeOptions, resolve: (result: Result) => void) {
    const { plan, host, step: key, random } = options;
    const step = stepAt(plan, key);
    const each = step?.each;
    if (step === undefined || each === undefined) throw new Error(`${key} is no fan-out of ${plan.name}`);
    const run = createRun(
      { ...plan, undoes: false },
      { id: options.id, version: around.version, ...around.start },
      random,
    );
    // The steps of the chain itself are not for this isolate.
    run.ready.length = 0;
    this.#items = [...claimed.items];
    this.#resolve = resolve;
    this.#beginsUntil = host.now() + LIMITS.wideWorkMilliseconds;
    this.#drive = createDrive({
      run,
      host,
      random,
      journal: { record: (event) => void this.#events.push(event), flush: () => {}, end: () => {}, check: checkStep },
      recorded: claimed.events.length === 0 ? undefined : byStep(claimed.events),
      deadline: around.deadline,
      gather: undefined,
      ...(options.providers && { providers: options.providers }),
      changed: () => this.#end(),
      sleep: (drive, until) => {
        const delay = until - host.now();
        if (delay <= LIMITS.wideWaitMilliseconds) setTimeout(() => drive.advance(), Math.max(0, delay));
      },
      waiting: () => {},
    });
    const advance = this.#drive.advance;
    this.#drive.advance = () => this.#advance(advance);
    this.#of = {
      parent: parentOf(run, around),
      step,
      each,
      fan: fanOf(around),
      ended: (_drive, item, failure, output) => this.#settled(item, failure, output),
    };
  }

  go(): void {
    this.#drive.advance();
  }

  #advance(advance: () => void): void {
    // What is under way ends; everything else is for a later message.
    this.#drive.paused ||= this.#drive.host.now() >= this.#beginsUntil;
    do {
      this.#begin();
      advance();
    } while (this.#drive.run.status === 'running' && this.#mayBegin());
    if (!this.#drive.advancing && this.#isOver()) this.#end();
  }

  #mayBegin(): boolean {
    const { fan } = this.#of;
    if (this.#items.length === 0 || fan.stopped || this.#drive.advancing) return false;
    return fan.active < fan.concurrency && !this.#drive.paused;
  }

  #begin(): void {
    while (this.#mayBegin()) {
      const [index, value] = this.#items.shift() ?? [];
      if (index !== undefined) startItem(this.#drive, this.#of, index, value);
    }
  }

  #settled(item: Item, failure: Fault | undefined, output: unknown): void {
    const { fan, index } = item;
    this.#drive.items.delete(item.frame);
    fan.active--;
    this.#drive.again = true;
    if (failure === STOPPED) return;
    const json = JSON.stringify(output ?? null);
    const unfit = failure ?? (fitsRow(json) ? undefined : TOO_LARGE);
    if (unfit !== undefined) {
      if (fan.onItemError === 'stop') fan.stopped = true;
      const { data, ...error } = itemError(unfit);
      // What an upstream said may be long; its row is not.
      const isKept = data !== undefined && fitsRow(JSON.stringify(data));
      this.#results.push({ index, error: isKept ? { ...error, data } : error });
      return;
    }
    this.#results.push({ index, output: output ?? null });
    this.#characters += json.length;
    if (this.#characters > LIMITS.wideHeldCharacters) this.#drive.paused = true;
    // Its output says it all.
    const own = this.#events.filter(({ step }) => !String(step).startsWith(item.frame.prefix));
    this.#events.splice(0, this.#events.length, ...own);
  }

  /** Whether nothing is under way that is worth waiting for here. */
  #isOver(): boolean {
    return !this.#mayBegin() && [...this.#drive.items.values()].every((item) => this.#isLong(item));
  }

  #isLong({ frame, ending }: Item): boolean {
    if (ending || frame.active > 0) return false;
    if (this.#drive.paused) return true;
    return frame.ready.length === 0 && nextOf(frame) > this.#drive.host.now() + LIMITS.wideWaitMilliseconds;
  }

  #end(): void {
    const [resolve, drive] = [this.#resolve, this.#drive];
    this.#resolve = undefined;
    const now = drive.host.now();
    const againAt = this.#items.length > 0 ? now : Math.max(now, Math.min(...[...drive.items.keys()].map(nextOf)));
    // A step whose output no row can hold is one whose result is not known.
    const events = this.#events.filter((event) => fitsRow(JSON.stringify(event)));
    resolve?.({ results: this.#results, events, againAt });
  }
}

/** When the first of its steps may go on; `Infinity` where none is left. */
const nextOf = (frame: Frame): number =>
  frame.ready.length > 0
    ? 0
    : Math.min(...frame.steps.map(({ status, retryAt }) => (status === 'waiting' ? retryAt : Infinity)));

/** In which the `flow.each` itself stands. */
function parentOf(run: RunState, { around, steps, prefix, item }: Surroundings): Frame {
  const scope = { ...run.scope, ...around, steps: Object.assign(new Bare(), steps) };
  return createFrame([], scope, run.places, prefix, item);
}

const fanOf = ({ onItemError, concurrency }: Surroundings): Fan => ({
  items: [],
  concurrency,
  onItemError,
  next: 0,
  active: 0,
  results: [],
  errors: [],
  stopped: false,
});

/** What came of a range, in parts that each fit a row. */
export function inParts({ results, events, againAt }: Result): Delivered[] {
  const parts: { results: ItemResult[]; events: StepEvent[] }[] = [];
  let room = 0;
  const partFor = (entry: unknown): (typeof parts)[number] => {
    const { length } = JSON.stringify(entry);
    const last = parts.at(-1);
    if (last !== undefined && room >= length) {
      room -= length;
      return last;
    }
    room = LIMITS.wideDeliveryCharacters - length;
    const part = { results: [], events: [] };
    parts.push(part);
    return part;
  };
  for (const event of events) partFor(event).events.push(event);
  for (const result of results) partFor(result).results.push(result);
  if (parts.length === 0) parts.push({ results: [], events: [] });
  return parts.map((part, index) => ({ ...part, againAt, more: index < parts.length - 1 }));
}
