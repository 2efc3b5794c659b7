/** Compensation: what succeeded in a run that did not is undone once, the last first, one at a time. */

import type { EffectFacts } from './chains.ts';
import { isSameUnit, isUnderWay, UNDER_WAY_MILLISECONDS, unitOf, type Judge, type KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';

const INVARIANT = 'undo';

const factsOf = (run: KnownRun, { step }: Receipt): EffectFacts | undefined => run.chain.effects.get(step);
const isUndo = (run: KnownRun, receipt: Receipt): boolean => factsOf(run, receipt)?.undoes !== undefined;

/** The receipts of the compensation of an effect. */
const undoingOf = (run: KnownRun, { step, item }: Receipt): Receipt[] =>
  run.receipts.filter((other) => factsOf(run, other)?.undoes === step && other.item === item);

/** Whether it may be undone by what may be ambiguous: that may never have left. */
function mayBeLost(run: KnownRun, { step }: Receipt): boolean {
  const compensation = run.chain.effects.get(`${step}~undo`);
  return compensation?.external === true && !compensation.declared;
}

/** A request of a compensation is leaving. */
export function undoing(run: KnownRun, receipt: Receipt, undoes: string, judge: Judge): void {
  const where = `${unitOf(receipt)} of ${receipt.run}`;
  for (const other of run.receipts) {
    const busy = isUnderWay(other, receipt) && !isSameUnit(other, receipt);
    judge(!busy, INVARIANT, () => `${where} begins while ${unitOf(other)} is under way`);
  }
  // What ended in the same turn has no order that could be seen.
  const done = run.receipts.findLast(
    (other) => other.step === undoes && other.item === receipt.item && other.outcome === 'success' && other.settled,
  );
  for (const later of run.receipts) {
    const mustComeFirst = later.outcome === 'success' && later.settled && factsOf(run, later)?.undone === true;
    if (!mustComeFirst || done === undefined || isSameUnit(later, done)) continue;
    const doneWall = Math.max(done.outcomeWall, done.settledWall);
    if (later.outcomeAt <= done.settledAt || later.outcomeWall <= doneWall) continue;
    const undone = mayBeLost(run, later) || undoingOf(run, later).length > 0;
    judge(undone, INVARIANT, () => `${where} begins before ${unitOf(later)} is undone, which succeeded after it`);
  }
}

/** A request of a plain effect is leaving. */
export function doing(run: KnownRun, receipt: Receipt, judge: Judge): void {
  if (!run.chain.undoes) return;
  const undone = run.receipts.find((other) => isUndo(run, other));
  const what = `${unitOf(receipt)} of ${receipt.run}`;
  judge(undone === undefined, INVARIANT, () => `${what} begins behind ${unitOf(undone ?? receipt)}`);
  const isCancelled = run.ended === 'cancelled' && receipt.at > run.endedAt + UNDER_WAY_MILLISECONDS;
  const known = run.receipts.some((other) => isSameUnit(other, receipt));
  judge(!isCancelled || known, INVARIANT, () => `${what} begins after a cancel was told to have come in time`);
}

/** At the end of a run. */
export function undoneAll(run: KnownRun, record: RunRecord, judge: Judge): void {
  if (!run.chain.undoes) return;
  const undoings = run.receipts.filter((receipt) => isUndo(run, receipt));
  if (record.status === 'succeeded') {
    judge(undoings.length === 0, INVARIANT, () => `${record.id} succeeded, but some of it is undone`);
    return;
  }
  for (const receipt of run.receipts) {
    if (!receipt.settled || receipt.outcome !== 'success' || factsOf(run, receipt)?.undone !== true) continue;
    const undone = mayBeLost(run, receipt) || undoingOf(run, receipt).length > 0;
    judge(undone, INVARIANT, () => `${record.id} is ${record.status}, but ${unitOf(receipt)} is not undone`);
  }
  for (const step of record.steps) {
    if (run.chain.effects.get(step.id)?.undone !== true) continue;
    const own = undoings.filter((receipt) => receipt.step === `${step.id}~undo`);
    const shown = step.undo?.status;
    const where = `${step.id} of ${record.id}`;
    if (step.status === 'succeeded') {
      const isOver = shown === 'succeeded' || shown === 'failed' || shown === 'ambiguous';
      judge(isOver, INVARIANT, () => `${where} succeeded and the run is ${record.status}, but its undo is ${shown}`);
    } else judge(own.length === 0, INVARIANT, () => `${where} is ${step.status}, but undone`);
    const succeeded = own.some((receipt) => receipt.outcome === 'success');
    judge(shown !== 'succeeded' || succeeded, INVARIANT, () => `${where} is shown as undone, but is not`);
    const recorded = own.some((receipt) => receipt.outcome === 'success' && receipt.settled);
    judge(!recorded || shown === 'succeeded', INVARIANT, () => `${where} is undone, but shown as ${shown}`);
  }
}
