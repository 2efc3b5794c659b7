/**
 * The wide fan-out, in the run object: items of a `flow.each` are handed to other isolates in ranges, through
 * the `steps` queue, and their results come back by RPC.
 *
 * Guarantee: what is outstanding follows from the journal and is sent again until it is settled; each item is
 * settled once; an effect that must not be repeated is begun only after its claim is on disk.
 * Accepted weakness: a range whose results are lost is run again, with the same idempotency keys, also those
 * steps of an item that had succeeded.
 */

import { isBlocked, settle } from './attempt.ts';
import type { Drive } from './drive.ts';
import { concluded, itemError, STOPPED } from './items.ts';
import type { StepsMessage } from './steps-queue.ts';
import type { EachPlan, StepPlan } from '../core/chain/plan.ts';
import { byStep, keyOf, type StepEvent, type StepKey } from '../core/engine/journal.ts';
import {
  claim,
  claimedBy,
  createRanges,
  isDone,
  isOut,
  itemsLeft,
  lapsed,
  nextDue,
  openRange,
  release,
  settleItem,
  takeDue,
  withdraw,
  type Delivery,
  type Range,
  type Ranges,
} from '../core/engine/ranges.ts';
import { requestlessEvent, type Fan, type Frame, type ItemResult, type RunStart } from '../core/engine/state.ts';
import { fault, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

interface Opening {
  readonly parent: Frame;
  readonly step: StepPlan;
  readonly each: EachPlan;
  readonly fan: Fan;
}

export interface WideFan extends Opening {
  readonly key: StepKey;
  readonly ranges: Ranges;
  /** What the steps of items did that were handed back before they ended. */
  readonly begun: Map<number, readonly StepEvent[]>;
  /** While somebody has items of it, the run stays in memory. */
  readonly hold: { giveUp(): void };
  /** As JSON text, what all claims are told. */
  told: string | undefined;
  /** Of the outputs so far, as JSON. */
  characters: number;
}

/** What a consumer asks the run object for. */
export interface ClaimRequest extends Delivery {
  readonly run: string;
  readonly step: StepKey;
  readonly first: number;
}

export interface ItemsClaim extends Omit<ClaimRequest, keyof Delivery> {
  readonly epoch: number;
}

/** What a consumer needs to run items, whichever they are. */
export interface Surroundings {
  readonly chain: string;
  readonly version: number;
  readonly start: Pick<RunStart, 'trigger' | 'event' | 'input'>;
  /** Unix milliseconds. */
  readonly deadline: number;
  /** Roots that the steps around add, e.g. the item of an outer `flow.each`. */
  readonly around: Readonly<Record<string, unknown>>;
  readonly steps: Readonly<Record<string, unknown>>;
  /** Where the `flow.each` stands itself. */
  readonly prefix: string;
  readonly item: string;
  readonly onItemError: Fan['onItemError'];
  /** Items of one range that may be under way at a time. */
  readonly concurrency: number;
}

export interface ClaimedItems {
  readonly epoch: number;
  /** Index and value. */
  readonly items: readonly (readonly [number, unknown])[];
  /** What their steps have done before. */
  readonly events: readonly StepEvent[];
}

/** What came of a claim, or of a part of it. */
export interface Delivered {
  readonly results: readonly ItemResult[];
  /** Of items that did not end, or failed: what their steps did. */
  readonly events: readonly StepEvent[];
  /** Unix milliseconds; when the items that did not end are to be sent again. */
  readonly againAt: number;
  /** The consumer has not delivered all. */
  readonly more: boolean;
}

/**
 * Takes up a fan-out in ranges, with what the journal knows of it. False where it cannot be wide, or not any
 * more: then the items that are left are for the object.
 */
export function openWide(drive: Drive, opening: Opening, size: number, events: readonly StepEvent[]): boolean {
  const { parent, step, each, fan } = opening;
  const key = keyOf(parent, step);
  const ranges = createRanges(fan.items.length, size, fan.concurrency, each.once);
  fan.settled = ranges.settled;
  const wide: WideFan = {
    ...opening,
    key,
    ranges,
    begun: new Map(),
    hold: { giveUp: () => void drive.wides.delete(key) },
    told: undefined,
    characters: 0,
  };
  for (const event of events) take(wide, event);
  if (drive.steps === undefined) {
    for (const range of ranges.open.values()) if (range.claim !== undefined) lose(drive, wide, range, ambiguous(wide));
    fan.next = 0;
    return false;
  }
  takeBegun(drive, wide);
  drive.wides.set(key, wide);
  // The loop that has opened it does not come past it again by itself.
  drive.again = true;
  return true;
}

function take(wide: WideFan, event: StepEvent): void {
  const { ranges } = wide;
  if (event.type === 'items') {
    for (const result of bounded(wide, event.results)) settleAs(wide, result);
    const range = ranges.open.get(event.first);
    if (range !== undefined && event.more !== true) ranges.open.delete(event.first);
  }
  const range = event.type === 'claimed' ? openRange(ranges, event.first) : undefined;
  if (range === undefined || event.type !== 'claimed') return;
  range.claim = { sent: 0, attempt: Infinity, epoch: event.epoch };
  range.dueAt = event.at + leaseMilliseconds(wide.each);
  ranges.ticket = Math.max(ranges.ticket, event.epoch);
}

/** The steps of items are for those who will run them, not for the engine here. */
function takeBegun(drive: Drive, { key, ranges, begun }: WideFan): void {
  const { recorded } = drive;
  if (recorded === undefined) return;
  const prefix = `${key}/`;
  for (const [step, events] of recorded) {
    if (typeof step !== 'string' || !step.startsWith(prefix)) continue;
    recorded.delete(step);
    const index = Number.parseInt(step.slice(prefix.length), 10);
    if (ranges.settled[index] === 0) begun.set(index, [...(begun.get(index) ?? []), ...events]);
  }
}

/** How long a claim holds: a consumer begins items for a while, and then lets attempts under way end. */
const leaseMilliseconds = ({ steps }: EachPlan): number =>
  LIMITS.wideWorkMilliseconds +
  LIMITS.wideGraceMilliseconds +
  Math.max(...steps.map(({ timeoutMilliseconds }) => (Number.isFinite(timeoutMilliseconds) ? timeoutMilliseconds : 0)));

/** Sends what is due, and ends the step when all is settled; returns when it has something to do again. */
export function advanceWide(drive: Drive, wide: WideFan): number | undefined {
  const { ranges, fan, parent } = wide;
  const now = drive.host.now();
  for (const range of lapsed(ranges, now)) lose(drive, wide, range, ambiguous(wide));
  const isStopped = fan.stopped || isBlocked(drive, parent);
  if (isStopped || drive.paused) withdraw(ranges, now);
  if (concludeWide(drive, wide)) return undefined;
  if (!isStopped && !drive.paused) send(drive, wide, takeDue(ranges, now));
  if (isOut(ranges)) drive.underWay.add(wide.hold);
  else drive.underWay.delete(wide.hold);
  return nextDue(ranges);
}

/** Ends the step where nothing of it is left to be done. */
export function concludeWide(drive: Drive, wide: WideFan): boolean {
  const { ranges, fan, parent, step, key } = wide;
  const isStopped = fan.stopped || isBlocked(drive, parent);
  if (!isDone(ranges) && !(isStopped && ranges.open.size === 0)) return false;
  drive.wides.delete(key);
  drive.underWay.delete(wide.hold);
  drive.again = true;
  const attempt = parent.steps[step.index]?.attempts.length ?? 0;
  settle(drive, parent, step, attempt, concluded(step, fan, isBlocked(drive, parent) ? STOPPED : undefined));
  return true;
}

function send(drive: Drive, { key }: WideFan, due: readonly Range[]): void {
  const { steps, run, host } = drive;
  if (steps === undefined || due.length === 0) return;
  const messages = due.map(({ first, count, sent = 0 }): StepsMessage => ({
    run: run.start.id,
    step: key,
    first,
    count,
    sent,
  }));
  drive.perform(() => {
    steps.send(messages).catch((thrown: unknown) => {
      console.error(`items of run ${run.start.id} could not be queued`, thrown);
      // Some of them may be there all the same.
      const unclaimed = due.filter(({ claim: held }) => held === undefined);
      for (const range of unclaimed) range.dueAt = Math.min(range.dueAt, host.now() + LIMITS.wideSendAgainMilliseconds);
      drive.advance();
    });
  });
}

function settleAs({ fan, ranges }: WideFan, result: ItemResult): boolean {
  const { index } = result;
  if (!settleItem(ranges, index)) return false;
  fan.next = ranges.settledCount;
  if ('output' in result) fan.results[index] = result.output;
  else {
    fan.errors.push({ index, error: result.error });
    if (fan.onItemError === 'stop') fan.stopped = true;
  }
  return true;
}

/** Settles what is left of a range as failed. */
function lose(drive: Drive, wide: WideFan, range: Range, reason: Fault): void {
  const error = itemError(reason);
  const results = itemsLeft(wide.ranges, range).map((index) => ({ index, error }));
  drive.journal?.record({ type: 'items', step: wide.key, at: drive.host.now(), first: range.first, results });
  for (const result of results) settleAs(wide, result);
}

const ambiguous = ({ step }: WideFan): Fault =>
  fault(
    'step.ambiguous',
    `What became of items of ${step.path} that somebody had begun is unknown, and they may have taken effect. ` +
      'Give the steps inside `retries` if they may be repeated.',
  );

/**
 * Gives a range to a consumer, as JSON text of {@link Surroundings} and {@link ClaimedItems} in a list. Null
 * where there is nothing to do for the message: it is settled, withdrawn, or somebody else's.
 */
export function claimItems(drive: Drive, { step, first, sent, attempt }: ClaimRequest): string | null {
  const wide = drive.wides.get(step);
  if (wide === undefined || drive.run.status !== 'running') return null;
  const { ranges, fan, begun, each } = wide;
  if (drive.paused || fan.stopped || isBlocked(drive, wide.parent)) return null;
  const now = drive.host.now();
  const range = claim(ranges, first, { sent, attempt }, now, leaseMilliseconds(each));
  if (range === 'lapsed') {
    const held = ranges.open.get(first);
    if (held !== undefined) lose(drive, wide, held, ambiguous(wide));
    drive.advance();
    return null;
  }
  if (typeof range === 'string' || range.claim === undefined) return null;
  const { epoch } = range.claim;
  drive.underWay.add(wide.hold);
  if (ranges.once) {
    drive.journal?.record({ type: 'claimed', step, at: now, first, epoch });
    drive.journal?.flush();
  }
  const indexes = itemsLeft(ranges, range);
  const claimed: ClaimedItems = {
    epoch,
    items: indexes.map((index) => [index, fan.items[index]]),
    events: indexes.flatMap((index) => begun.get(index) ?? []),
  };
  wide.told ??= JSON.stringify(surroundingsOf(drive, wide));
  return `[${wide.told},${JSON.stringify(claimed)}]`;
}

/** Only what the items may read: the input often holds the whole list. */
function surroundingsOf(drive: Drive, { parent, each, fan, ranges }: WideFan): Surroundings {
  const { start, plan } = drive.run;
  const { trigger: event, input, steps, run: _run, chain: _chain, ...around } = parent.scope;
  const { type, receivedAt } = event;
  const read = each.reads.steps;
  return {
    chain: plan.name,
    version: start.version,
    start: {
      trigger: start.trigger,
      event: each.reads.trigger ? start.event : requestlessEvent(type, null, receivedAt),
      input: each.reads.input ? input : null,
    },
    deadline: drive.deadline,
    around,
    steps: read === undefined ? steps : Object.fromEntries(read.map((id) => [id, steps[id]])),
    prefix: parent.prefix,
    item: parent.item,
    onItemError: fan.onItemError,
    concurrency: Math.floor(fan.concurrency / ranges.parallel),
  };
}

/** Takes what came of a claim; false where another has it since, or nobody wants it any more. */
export function deliverItems(
  drive: Drive,
  { step, first, epoch }: ItemsClaim,
  { results, events, againAt, more }: Delivered,
): boolean {
  const wide = drive.wides.get(step);
  const range = wide && claimedBy(wide.ranges, first, epoch);
  if (wide === undefined || range === undefined || drive.run.status !== 'running') return false;
  const isOwn = (index: number): boolean => index >= first && index < first + range.count;
  const isNew = ({ index }: ItemResult): boolean => isOwn(index) && wide.ranges.settled[index] === 0;
  const news = bounded(wide, results.filter(isNew));
  for (const event of events) drive.journal?.record(event);
  if (news.length > 0 || wide.ranges.once) {
    const at = drive.host.now();
    drive.journal?.record({ type: 'items', step, at, first, results: news, ...(more && { more }) });
  }
  if (!more) release(range, againAt);
  for (const result of news) settleAs(wide, result);
  for (const [key, own] of byStep(events)) keepBegun(wide, String(key), own);
  drive.advance();
  return true;
}

const TOO_MUCH = itemError(
  fault(
    'step.output-too-large',
    `The outputs of the items are too large together; they may have ${LIMITS.runOutputsBytes} characters as JSON. ` +
      'Give them an `output` with what is needed of each.',
  ),
);

/** All outputs are in memory while the run is: items fail whose outputs are too much for that. */
function bounded(wide: WideFan, results: readonly ItemResult[]): ItemResult[] {
  return results.map((result) => {
    if (!('output' in result)) return result;
    wide.characters += JSON.stringify(result.output).length;
    return wide.characters > LIMITS.runOutputsBytes ? { index: result.index, error: TOO_MUCH } : result;
  });
}

function keepBegun({ key, begun, ranges }: WideFan, step: string, events: readonly StepEvent[]): void {
  const index = Number.parseInt(step.slice(`${key}/`.length), 10);
  if (ranges.settled[index] === 0) begun.set(index, [...(begun.get(index) ?? []), ...events]);
  else begun.delete(index);
}

/** Settles what is left of a range whose message nobody could work on. */
export function giveUpItems(drive: Drive, { step, first, sent }: StepsMessage): boolean {
  const wide = drive.wides.get(step);
  const range = wide?.ranges.open.get(first);
  // The message of another sending may still be on its way.
  if (wide === undefined || (range?.claim?.sent ?? range?.sent) !== sent || range === undefined) return false;
  const message = `Items ${first} to ${first + range.count - 1} of ${wide.step.path} could not be handed over.`;
  const isAmbiguous = wide.ranges.once && range.claim !== undefined;
  lose(drive, wide, range, isAmbiguous ? ambiguous(wide) : fault('each.undeliverable', message));
  drive.advance();
  return true;
}
