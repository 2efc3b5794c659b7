/** Flow control: how many runs of a key execute effects at a time, in which order, how often, and which not at all. */

import { elapsed, type Judge, type KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';

const INVARIANT = 'flow';

/** A run with effects. It holds its place from before the first until after the last. */
interface Span {
  readonly run: KnownRun;
  readonly first: Receipt;
  readonly last: Receipt;
}

/** At the end, over all runs of a chain. */
export function flowKept(known: readonly KnownRun[], hasJumped: boolean, judge: Judge): void {
  const runs = known.filter(({ chain }) => chain.flow !== undefined);
  const flow = runs[0]?.chain.flow;
  if (flow === undefined) return;
  const { concurrency, order, throttle, debounce } = flow;
  const groups = (keyed: boolean): KnownRun[][] => [...Map.groupBy(runs, ({ group }) => (keyed ? group : '')).values()];
  if (concurrency !== undefined) for (const own of groups(concurrency.keyed)) limited(own, concurrency.limit, judge);
  if (order !== undefined) {
    for (const own of groups(order.keyed)) {
      limited(own, 1, judge);
      ordered(own, judge);
    }
  }
  // A clock that jumps gives starts away, also where it jumps back.
  if (throttle !== undefined && !hasJumped) for (const own of groups(throttle.keyed)) throttled(own, throttle, judge);
  if (debounce !== undefined && !hasJumped)
    for (const own of groups(debounce.keyed)) quieted(own, debounce.periodMilliseconds, judge);
}

const spansOf = (runs: readonly KnownRun[]): Span[] =>
  runs
    .flatMap((run): Span[] => {
      const [first, last] = [run.receipts[0], run.receipts.at(-1)];
      return first === undefined || last === undefined ? [] : [{ run, first, last }];
    })
    .sort((a, b) => a.first.at - b.first.at);

function limited(runs: readonly KnownRun[], limit: number, judge: Judge): void {
  const spans = spansOf(runs);
  for (const { run, first } of spans) {
    // Values are in the order of arrival, also of those that arrive at the same instant.
    const others = spans.filter((other) => other.first.value <= first.value && other.last.value >= first.value);
    const names = (): string => others.map((other) => other.run.id).join(' and ');
    judge(others.length <= limit, INVARIANT, () => `${names()} are under way at a time as ${run.id} begins`);
  }
}

/** In the order in which they were accepted, where callers could see it. */
function ordered(runs: readonly KnownRun[], judge: Judge): void {
  const spans = spansOf(runs);
  for (const earlier of spans) {
    for (const later of spans) {
      if (earlier.run.acked === undefined || earlier.run.acked.at >= later.run.sent.at) continue;
      const kept = earlier.last.at <= later.first.at;
      judge(kept, INVARIANT, () => `${later.run.id} overtakes ${earlier.run.id}, which was accepted before it came`);
    }
  }
}

/** By the time of the n-th start, `n - burst` intervals have gone by. */
function throttled(
  runs: readonly KnownRun[],
  { intervalMilliseconds, burst }: { readonly intervalMilliseconds: number; readonly burst: number },
  judge: Judge,
): void {
  const [begin] = runs.map(({ sent }) => sent).sort((a, b) => a.at - b.at);
  if (begin === undefined) return;
  for (const [index, { run, first }] of spansOf(runs).entries()) {
    const allowed = elapsed(begin, first) / intervalMilliseconds + burst;
    judge(index + 1 <= allowed + 0.01, INVARIANT, () => `${run.id} is start ${index + 1}, but ${allowed} are allowed`);
  }
}

function quieted(runs: readonly KnownRun[], periodMilliseconds: number, judge: Judge): void {
  for (const { run, first } of spansOf(runs)) {
    // One that somebody tried to cancel may have left its place.
    if (run.origin !== undefined || run.loosened > 0) continue;
    const waited = elapsed(run.sent, first);
    judge(waited >= periodMilliseconds, INVARIANT, () => `${run.id} starts ${waited} ms after it came`);
    for (const newer of runs) {
      const isNewer = run.acked !== undefined && run.acked.at < newer.sent.at && newer.origin === undefined;
      if (!isNewer || newer.acked === undefined) continue;
      const isSame = elapsed(run.sent, newer.acked) < periodMilliseconds;
      judge(!isSame, INVARIANT, () => `${run.id} starts although ${newer.id} came within its period`);
    }
  }
}
