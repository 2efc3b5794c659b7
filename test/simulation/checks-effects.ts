/** Effects: what may be repeated, and what a step carries of those before it. */

import type { EffectFacts } from './chains.ts';
import { areRelated, elapsed, isSameUnit, lineageOf, unitOf, type Judge, type KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';

export function repeated(run: KnownRun, earlier: Receipt, later: Receipt, facts: EffectFacts, judge: Judge): void {
  const name = `${unitOf(later)} of ${later.run}`;
  judge(earlier.key === later.key, 'C', () => `${name} has the keys ${earlier.key} and ${later.key}`);
  const once = facts.external && !facts.declared;
  judge(!once, 'C', () => `${name} is external, has no retries and happens twice`);
  const recorded = earlier.settled && earlier.outcome === 'success';
  judge(!recorded, 'B', () => `${name} is computed again after its result was recorded`);
  const failed = earlier.outcome === 'failure' || earlier.outcome === 'given-up';
  const lost = earlier.instance !== later.instance || failed;
  judge(lost, 'C', () => `${name} happens twice and nothing had gone wrong`);
  if (run.receipts.findLast((other) => isSameUnit(other, later)) !== earlier) return;
  const waited = elapsed({ at: earlier.outcomeAt, wall: earlier.outcomeWall }, later);
  const early = earlier.settled && waited < earlier.retryAfterMilliseconds;
  judge(!early, 'C', () => `${name} is tried again ${earlier.retryAfterMilliseconds - waited} ms too early`);
}

/** What a step carries must be what the step before it brought, and brought to a living attempt. */
export function mayFollow(run: KnownRun, receipt: Receipt, needed: string, judge: Judge): void {
  const value = receipt.seen[needed];
  const [own, other] = [run.chain.effects.get(receipt.step), run.chain.effects.get(needed)];
  if (value === undefined || own === undefined) return;
  const source = lineageOf(run).find(
    (each) => each.step === needed && each.value === value && areRelated(receipt, own, each, other),
  );
  const where = `${unitOf(receipt)} of ${receipt.run}`;
  const valid = source?.outcome === 'success';
  judge(valid, 'E', () => `${where} carries ${value} of ${needed}, which was ${source?.outcome ?? 'never'}`);
}
