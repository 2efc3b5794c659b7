/** `flow.each`: no more items at a time than `concurrency`, each item once, results that are those of the items. */

import type { FanFacts } from './chains.ts';
import { isUnderWay, lineageOf, UNDER_WAY_MILLISECONDS, unitOf, type Judge, type KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';

const INVARIANT = 'each';

const itemAt = ({ item }: Receipt, depth: number): string => item.split('.')[depth] ?? '';
const around = ({ item }: Receipt, depth: number): string => item.split('.').slice(0, depth).join('.');

/** A request of a step inside is leaving. */
export function inside(run: KnownRun, receipt: Receipt, judge: Judge): void {
  const { effects, fans } = run.chain;
  const facts = effects.get(receipt.step);
  if (facts === undefined || facts.undoes !== undefined) return;
  for (const [depth, id] of facts.within.entries()) {
    const path = [...facts.within.slice(0, depth), id].join('.');
    const fan = fans.get(path);
    if (fan === undefined) continue;
    const others = run.receipts.filter((other) => {
      const own = effects.get(other.step);
      const isInside = own?.undoes === undefined && own?.within[depth] === id;
      return isInside && around(other, depth) === around(receipt, depth) && other.instance === receipt.instance;
    });
    const underWay = others.filter((other) => isUnderWay(other, receipt)).map((other) => itemAt(other, depth));
    const items = new Set([...underWay, itemAt(receipt, depth)]);
    const where = `${path} of ${receipt.run}`;
    judge(items.size <= fan.concurrency, INVARIANT, () => `${where} has ${[...items].join()} under way at a time`);
    if (fan.onItemError === 'stop') stopped(run, receipt, depth, others, judge);
  }
}

/** Whether it began when the other was over and known. */
const isBehind = (receipt: Receipt, other: Receipt): boolean =>
  other.outcome !== undefined && receipt.at > Math.max(other.outcomeAt, other.settledAt) + UNDER_WAY_MILLISECONDS;

function stopped(run: KnownRun, receipt: Receipt, depth: number, others: readonly Receipt[], judge: Judge): void {
  const { effects } = run.chain;
  for (const other of others) {
    const facts = effects.get(other.step);
    if (facts?.within.length !== depth + 1 || !facts.sure || itemAt(other, depth) === itemAt(receipt, depth)) continue;
    const own = others.filter((each) => itemAt(each, depth) === itemAt(other, depth));
    // An item has failed once nothing of it is under way; what its own items wait for cannot be seen.
    const mayGoOn = own.some((each) => effects.get(each.step)?.within.length !== depth + 1 || !isBehind(receipt, each));
    if (mayGoOn) continue;
    const failures = own.filter((each) => unitOf(each) === unitOf(other) && each.outcome === 'failure' && each.settled);
    const goesOn = failures.length <= facts.retries;
    judge(goesOn, INVARIANT, () => `${unitOf(receipt)} of ${receipt.run} begins after ${unitOf(other)} has failed`);
  }
}

/** At the end of a run. */
export function allItems(run: KnownRun, record: RunRecord, judge: Judge): void {
  const receipts = lineageOf(run);
  for (const [path, fan] of run.chain.fans) {
    const step = record.steps.find(({ id }) => id === path);
    if (step?.status !== 'succeeded') continue;
    const { count, results, errors } = step.output as Output;
    const where = `${path} of ${record.id}`;
    judge(count === fan.items.length, INVARIANT, () => `${where} had ${count} items instead of ${fan.items.length}`);
    const isWhole = fan.onItemError === 'continue' || errors.length === 0;
    judge(isWhole, INVARIANT, () => `${where} succeeded, but items of it have failed`);
    const made = receipts.filter((receipt) => receipt.step === fan.source && receipt.outcome === 'success');
    for (const value of results.filter((each) => each !== null)) {
      const known = made.some((receipt) => receipt.value === value);
      judge(known, INVARIANT, () => `${where} has the result ${value}, which no item has brought`);
    }
    const items = made.filter((receipt) => results.includes(receipt.value)).map(({ item }) => item);
    judge(new Set(items).size === items.length, INVARIANT, () => `${where} has an item twice: ${items.join()}`);
    for (const receipt of run.receipts) {
      const had = receipt.step !== fan.source || results.includes(receipt.value) || errors.length > 0;
      const recorded = receipt.settled && receipt.outcome === 'success';
      judge(had || !recorded, 'B', () => `${where} lacks the result of ${unitOf(receipt)}, which was recorded`);
      const same = !(path in receipt.lists) || JSON.stringify(receipt.lists[path]) === JSON.stringify(results);
      judge(same, 'B', () => `${unitOf(receipt)} of ${record.id} carried other results of ${path} than the record has`);
    }
    if (errors.length === 0) everyItem(run, path, fan, receipts, where, judge);
  }
}

interface Output {
  readonly count: number;
  readonly results: readonly (number | null)[];
  readonly errors: readonly unknown[];
}

function everyItem(
  run: KnownRun,
  path: string,
  fan: FanFacts,
  receipts: readonly Receipt[],
  where: string,
  judge: Judge,
): void {
  for (const [id, facts] of run.chain.effects) {
    if (!facts.sure || facts.within.length !== 1 || facts.within[0] !== path) continue;
    for (const item of fan.items) {
      const done = receipts.some((each) => each.step === id && each.item === item && each.outcome === 'success');
      judge(done, INVARIANT, () => `${where} succeeded without ${id}[${item}]`);
    }
  }
}
