/** The end of a run: its record agrees with the receipts, and with what callers were told. */

import { lineageOf, SETTLED, valueOf, type Judge, type KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';

const RETRYABLE: ReadonlySet<string> = new Set([
  'step.timeout',
  'upstream.unreachable',
  'upstream.unavailable',
  'upstream.rate-limited',
]);

/** A retry begins where the run before it failed. */
export function takesOver(run: KnownRun, before: RunRecord, judge: Judge): void {
  for (const { id, status, undo } of before.steps) {
    if (status !== 'succeeded' || undo?.status === 'succeeded') continue;
    const again = run.receipts.some((receipt) => receipt.step === id);
    judge(!again, 'B', () => `${id} had succeeded in ${before.id}, and is done again in ${run.id}`);
  }
}

export function answersAgree(id: string, run: KnownRun, record: RunRecord, judge: Judge): void {
  if (run.ended === 'cancelled') {
    judge(record.status === 'cancelled', 'D', () => `${id} was cancelled, but is ${record.status}`);
  }
  for (const answer of run.answers) {
    const responded = record.steps.find((step) => step.use === 'flow.respond' && step.status === 'succeeded');
    if (answer.response !== undefined) {
      judge(responded !== undefined, 'D', () => `${id} answered, but no step of it has`);
    }
    if (answer.status === 'running') continue;
    const output = record.output === undefined ? undefined : JSON.stringify(record.output);
    const same =
      answer.status === record.status && answer.output === output && answer.fault?.code === record.error?.code;
    judge(same, 'D', () => `${id} answered ${JSON.stringify(answer)}, but its record is ${run.final ?? ''}`);
  }
}

export function stepAgrees(
  id: string,
  run: KnownRun,
  record: RunRecord,
  step: RunRecord['steps'][number],
  judge: Judge,
): void {
  const facts = run.chain.effects.get(step.id);
  const where = `${step.id} of ${id}`;
  if (record.status === 'succeeded') {
    judge(SETTLED.has(step.status), 'A', () => `${id} succeeded while ${step.id} is ${step.status}`);
  }
  if (facts === undefined) return;
  const receipts = run.receipts.filter((receipt) => receipt.step === step.id);
  if (step.status === 'succeeded') {
    const value = valueOf(step.output);
    const source = lineageOf(run).find((receipt) => receipt.step === step.id && receipt.value === value);
    const valid = source?.outcome === 'success';
    judge(valid, 'E', () => `${where} has the value ${value}, which was ${source?.outcome ?? 'never'}`);
  }
  if (step.status === 'ambiguous') {
    judge(facts.external && !facts.declared, 'C', () => `${where} is ambiguous, and may be repeated`);
  }
  const failures = step.attempts.filter((attempt) => attempt.error?.code !== 'step.interrupted').length;
  // In a run that fails for another step, nothing is tried again.
  const others = record.steps.filter((other) => other.status === 'failed' && other.id !== step.id);
  const isCause = record.status === 'succeeded' || (record.error?.step === step.id && others.length === 0);
  const isGivenUp =
    isCause && step.status === 'failed' && RETRYABLE.has(step.error?.code ?? '') && failures <= facts.retries;
  judge(!isGivenUp, 'A', () => `${where} has failed after ${failures} attempts, with ${facts.retries} retries`);
  const wasRecorded = receipts.some((receipt) => receipt.settled && receipt.outcome === 'success');
  const recorded = record.status === 'cancelled' || record.error?.code === 'run.timeout' || !wasRecorded;
  judge(recorded || step.status === 'succeeded', 'B', () => `${where} succeeded, but is ${step.status}`);
  const unknown = facts.external && !facts.declared && receipts.some((receipt) => receipt.outcome === undefined);
  const honest = step.status !== 'succeeded' && step.status !== 'failed' && step.status !== 'skipped';
  // An attempt that ran out of time is given up, never left without an outcome.
  judge(!unknown || honest, 'C', () => `${where} may have happened, but is ${step.status}`);
}

export function receiptAgrees(run: KnownRun, record: RunRecord, receipt: Receipt, judge: Judge): void {
  const { run: id, step, seen, version } = receipt;
  judge(version === record.version, 'I', () => `${step} of ${id} ran as version ${version}`);
  for (const needed of run.chain.effects.get(step)?.needs ?? []) {
    const final = record.steps.find((other) => other.id === needed);
    if (final?.status !== 'succeeded') continue;
    const value = valueOf(final.output);
    const isRead = run.chain.effects.get(step)?.reads.has(needed) === true;
    const same = seen[needed] === value || (seen[needed] === undefined && !isRead);
    judge(same, 'B', () => `${step} of ${id} carried ${seen[needed]} of ${needed}, which is ${value}`);
  }
}
