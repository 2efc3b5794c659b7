/**
 * Which items of a wide `flow.each` are where: the outbox of the run, and the fence against results that
 * come late. Items are handed out in ranges; a range that is sent, claimed or to be sent again is open.
 *
 * Guarantee: an item is settled once, and only by the newest claim of its range; whatever is lost on the way
 * is due again at a known instant.
 */

import { LIMITS } from '../limits.ts';

export interface Range {
  readonly first: number;
  readonly count: number;
  /** Items that are not settled. */
  left: number;
  /** Number of its last message. */
  sent: number | undefined;
  /** How often it was sent. */
  sends: number;
  claim: Claim | undefined;
  /** When it is to be sent, or sent again: its lease. */
  dueAt: number;
}

/** Which delivery of which message. */
export interface Delivery {
  readonly sent: number;
  readonly attempt: number;
}

interface Claim extends Delivery {
  readonly epoch: number;
}

export interface Ranges {
  readonly count: number;
  readonly size: number;
  /** Ranges that are open at a time. */
  readonly parallel: number;
  /** What was claimed must not run again. */
  readonly once: boolean;
  /** By item. */
  readonly settled: Uint8Array;
  settledCount: number;
  /** No range before this item is still to be opened. */
  next: number;
  /** By their first item. */
  readonly open: Map<number, Range>;
  /** The last number that was given to a message or a claim. */
  ticket: number;
}

/** A message is run by one invocation, which has six requests at a time: so many are the concurrency asked for. */
const parallelOf = (concurrency: number): number => Math.ceil(concurrency / LIMITS.concurrentSteps);

/** Items of a range: enough ranges for the concurrency, and no more rows than that needs. */
export function rangeSize(count: number, concurrency: number, once: boolean): number {
  // A claim that is lost makes all its items ambiguous.
  if (once) return LIMITS.concurrentSteps;
  const even = Math.ceil(count / parallelOf(concurrency));
  return Math.max(LIMITS.concurrentSteps, Math.min(even, LIMITS.wideRangeItems));
}

export function createRanges(count: number, size: number, concurrency: number, once: boolean): Ranges {
  return {
    count,
    size,
    parallel: parallelOf(concurrency),
    once,
    settled: new Uint8Array(count),
    settledCount: 0,
    next: 0,
    open: new Map(),
    ticket: 0,
  };
}

/** Begins with the instant, so that an object does not give again what it gave before a restart. */
const takeTicket = (ranges: Ranges, now: number): number => (ranges.ticket = Math.max(ranges.ticket + 1, now * 1_000));

export const isDone = (ranges: Ranges): boolean => ranges.settledCount === ranges.count;

/** Whether anybody may have items of it now. */
export function isOut(ranges: Ranges): boolean {
  for (const { sent, claim } of ranges.open.values()) if (sent !== undefined || claim !== undefined) return true;
  return false;
}

/** Items of a range that are not settled. */
export function itemsLeft(ranges: Ranges, { first, count }: Pick<Range, 'first' | 'count'>): number[] {
  const items: number[] = [];
  for (let index = first; index < first + count; index++) if (ranges.settled[index] === 0) items.push(index);
  return items;
}

/** The open range that begins there; undefined where none begins, or all of it is settled. */
export function openRange(ranges: Ranges, first: number): Range | undefined {
  const known = ranges.open.get(first);
  if (known !== undefined || first % ranges.size !== 0 || first < 0 || first >= ranges.count) return known;
  const count = Math.min(ranges.size, ranges.count - first);
  const left = itemsLeft(ranges, { first, count }).length;
  if (left === 0) return undefined;
  const range = { first, count, left, sent: undefined, sends: 0, claim: undefined, dueAt: 0 };
  ranges.open.set(first, range);
  return range;
}

/** Ranges to be sent now: those that are due, and as many new ones as may be open. They are taken for sent. */
export function takeDue(ranges: Ranges, now: number): Range[] {
  while (ranges.open.size < ranges.parallel && ranges.next < ranges.count) {
    openRange(ranges, ranges.next);
    ranges.next += ranges.size;
  }
  const due = [...ranges.open.values()].filter((range) => range.dueAt <= now);
  for (const range of due) {
    range.claim = undefined;
    range.sent = takeTicket(ranges, now);
    // A queue that is slow is not to be filled with copies.
    const wait = LIMITS.wideQueueMilliseconds * 2 ** range.sends++;
    range.dueAt = now + Math.min(wait, LIMITS.wideQueueLongestMilliseconds);
  }
  return due;
}

/**
 * Gives a range to a delivery of a message; `busy` where another one has it. A message that is delivered again
 * is given it, since its delivery before has failed; `lapsed` where that must not be.
 */
export function claim(
  ranges: Ranges,
  first: number,
  { sent, attempt }: Delivery,
  now: number,
  leaseMilliseconds: number,
): Range | 'settled' | 'busy' | 'lapsed' {
  const range = openRange(ranges, first);
  if (range === undefined) return 'settled';
  const held = range.claim;
  const isRepeated = held?.sent === sent && held.attempt < attempt;
  // Claimed by another, or not to be worked on before its time.
  if (range.dueAt > now && !isRepeated && (held !== undefined || range.sent === undefined)) return 'busy';
  if (held !== undefined && ranges.once) return 'lapsed';
  range.claim = { sent, attempt, epoch: takeTicket(ranges, now) };
  range.dueAt = now + leaseMilliseconds;
  return range;
}

/** The range for which a result of that claim is still wanted. */
export function claimedBy(ranges: Ranges, first: number, epoch: number): Range | undefined {
  const range = ranges.open.get(first);
  return range?.claim?.epoch === epoch ? range : undefined;
}

/** False for an item that is settled already. */
export function settleItem(ranges: Ranges, index: number): boolean {
  if (ranges.settled[index] !== 0) return false;
  ranges.settled[index] = 1;
  ranges.settledCount++;
  const range = ranges.open.get(index - (index % ranges.size));
  if (range !== undefined && --range.left === 0) ranges.open.delete(range.first);
  return true;
}

/** Ends the claim of a range; what is left of it is sent at that time. */
export function release(range: Range, dueAt: number): void {
  range.claim = undefined;
  range.sent = undefined;
  range.sends = 0;
  range.dueAt = dueAt;
}

/** Claims whose lease has passed and whose items must not run again. */
export const lapsed = (ranges: Ranges, now: number): Range[] =>
  ranges.once ? [...ranges.open.values()].filter(({ claim: held, dueAt }) => held !== undefined && dueAt <= now) : [];

/** Forgets what nobody has claimed, or claimed too long ago; it is opened again when it may be sent. */
export function withdraw(ranges: Ranges, now: number): void {
  for (const { first, claim: held, dueAt } of ranges.open.values()) {
    if (held !== undefined && dueAt > now) continue;
    ranges.open.delete(first);
    ranges.next = Math.min(ranges.next, first);
  }
}

/** When something is to be done for a range that is open. */
export function nextDue(ranges: Ranges): number | undefined {
  let next: number | undefined;
  for (const { dueAt } of ranges.open.values()) if (next === undefined || dueAt < next) next = dueAt;
  return next;
}
