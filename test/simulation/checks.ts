/**
 * What must hold, judged by the receipts of the upstream and by what callers were told; never by the
 * journal. The letters are the promises of the engine (docs/design/simulation.md).
 */

import type { EffectFacts, SimulatedChain } from './chains.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';
import type { RunAnswer } from '../../src/runtime/answers.ts';

export interface Violation {
  readonly invariant: string;
  readonly message: string;
}

interface KnownRun {
  /** Known once it was told, or once an effect of it shows it. */
  id: string | undefined;
  readonly chain: SimulatedChain;
  /** Versions that a delivery asked for; the first to be accepted decides. */
  readonly versions: Set<number>;
  /** A caller was told that it is accepted. */
  acknowledged: boolean;
  acceptedFirst: number;
  /** The final record as JSON text, once it was shown. */
  final: string | undefined;
  /** A caller was told that it has ended, with this status where it was said. */
  ended: 'ended' | 'cancelled' | undefined;
  readonly answers: RunAnswer[];
  readonly receipts: Receipt[];
  /** Settled steps as they were first shown: status and output. */
  readonly shown: Map<string, string>;
}

const RETRYABLE: ReadonlySet<string> = new Set([
  'step.timeout',
  'upstream.unreachable',
  'upstream.unavailable',
  'upstream.rate-limited',
]);

interface Known {
  readonly isOver: boolean;
  readonly isAccepted: boolean;
}

const TERMINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);
const SETTLED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'skipped', 'ambiguous']);

export class Checks {
  /** By delivery: whatever is delivered under one key is one run. */
  readonly #runs = new Map<string, KnownRun>();
  readonly #byId = new Map<string, KnownRun>();
  violation: Violation | undefined;
  readonly #keys = new Map<string, string>();

  fail(invariant: string, message: string): void {
    this.violation ??= { invariant, message };
  }

  #require(condition: boolean, invariant: string, message: () => string): void {
    if (!condition) this.fail(invariant, message());
  }

  get ids(): readonly string[] {
    return [...this.#byId.keys()];
  }

  /** Something is about to be sent to the gateway under that key. */
  delivered(key: string, chain: SimulatedChain, version: number): void {
    let run = this.#runs.get(key);
    if (run === undefined) {
      run = {
        id: undefined,
        chain,
        versions: new Set(),
        acknowledged: false,
        acceptedFirst: 0,
        final: undefined,
        ended: undefined,
        answers: [],
        receipts: [],
        shown: new Map(),
      };
      this.#runs.set(key, run);
    }
    run.versions.add(version);
  }

  #runOf(key: string, id: string): KnownRun | undefined {
    const run = this.#runs.get(key);
    if (run === undefined) {
      this.fail('F', `${id} is of ${key}, which nobody delivered`);
      return undefined;
    }
    run.id ??= id;
    this.#byId.set(id, run);
    this.#require(run.id === id, 'F', () => `${key} started ${run.id ?? ''} and ${id}`);
    return run;
  }

  /** `duplicate` is undefined where the caller was not told. */
  accepted(key: string, id: string, duplicate: boolean | undefined): void {
    const run = this.#runOf(key, id);
    if (run === undefined) return;
    run.acknowledged = true;
    if (duplicate === false) run.acceptedFirst++;
    this.#require(run.acceptedFirst <= 1, 'F', () => `${id} was accepted as new twice`);
  }

  answered(id: string, answer: RunAnswer): void {
    this.#byId.get(id)?.answers.push(answer);
    if (TERMINAL.has(answer.status)) this.#endedAs(id, answer.status === 'cancelled' ? 'cancelled' : 'ended');
  }

  /** What is known of a run as a question about it is asked; answers may cross. */
  asking(id: string): Known {
    const run = this.#byId.get(id);
    const isOver = run !== undefined && (run.final !== undefined || run.ended !== undefined);
    return { isOver, isAccepted: run?.acknowledged === true };
  }

  cancelled(id: string, outcome: 'cancelled' | 'ended' | 'unknown', known: Known): void {
    if (outcome !== 'unknown') return this.#endedAs(id, outcome);
    this.#require(!known.isAccepted, 'A', () => `${id} was accepted and is unknown to a cancel`);
  }

  #endedAs(id: string, ended: 'ended' | 'cancelled'): void {
    const run = this.#byId.get(id);
    if (run !== undefined && run.ended !== 'cancelled') run.ended = ended;
  }

  /** A request is leaving. */
  received(receipt: Receipt): void {
    const { run: id, delivery, step, key } = receipt;
    const run = this.#runOf(delivery, id);
    const facts = run?.chain.effects.get(step);
    if (run === undefined || facts === undefined) return this.fail('F', `an effect of unknown origin: ${id} ${step}`);
    const owner = this.#keys.get(key) ?? `${id} ${step}`;
    this.#keys.set(key, owner);
    this.#require(owner === `${id} ${step}`, 'C', () => `${id} ${step} uses the key ${key} of ${owner}`);
    const over = run.final !== undefined || run.ended !== undefined;
    this.#require(!over, 'D', () => `${step} of ${id} begins after its end was told`);
    for (const other of run.receipts) {
      const needed = run.chain.effects.get(other.step)?.needs.has(step) === true;
      this.#require(!needed, 'B', () => `${step} of ${id} is computed again after ${other.step}, which needs it`);
      if (other.step === step) this.#repeated(run, other, receipt, facts);
    }
    for (const needed of facts.needs) this.#mayFollow(run, receipt, needed);
    const failures = run.receipts.filter(
      (other) => other.step === step && other.settled && other.outcome === 'failure',
    );
    this.#require(failures.length <= facts.retries, 'H', () => `${step} of ${id} has more attempts than its retries`);
    run.receipts.push(receipt);
  }

  #repeated(run: KnownRun, earlier: Receipt, later: Receipt, facts: EffectFacts): void {
    const name = `${later.step} of ${later.run}`;
    this.#require(earlier.key === later.key, 'C', () => `${name} has the keys ${earlier.key} and ${later.key}`);
    const once = facts.external && !facts.declared;
    this.#require(!once, 'C', () => `${name} is external, has no retries and happens twice`);
    const recorded = earlier.settled && earlier.outcome === 'success';
    this.#require(!recorded, 'B', () => `${name} is computed again after its result was recorded`);
    const failed = earlier.outcome === 'failure' || earlier.outcome === 'given-up';
    const lost = earlier.instance !== later.instance || failed;
    this.#require(lost, 'C', () => `${name} happens twice and nothing had gone wrong`);
    if (run.receipts.findLast((other) => other.step === later.step) !== earlier) return;
    // When the clock jumps, either reading of it will do.
    const waited = Math.max(later.at - earlier.outcomeAt, later.wall - earlier.outcomeWall);
    const early = earlier.settled && waited < earlier.retryAfterMilliseconds;
    this.#require(!early, 'C', () => `${name} is tried again ${earlier.retryAfterMilliseconds - waited} ms too early`);
  }

  /** What a step carries must be what the step before it brought, and brought to a living attempt. */
  #mayFollow(run: KnownRun, receipt: Receipt, needed: string): void {
    const value = receipt.seen[needed];
    if (value === undefined) return;
    const source = run.receipts.find((other) => other.step === needed && other.value === value);
    const where = `${receipt.step} of ${receipt.run}`;
    const valid = source?.outcome === 'success';
    this.#require(valid, 'E', () => `${where} carries ${value} of ${needed}, which was ${source?.outcome ?? 'never'}`);
  }

  /** A record that a caller was shown. */
  shown(id: string, text: string | null, known: Known): void {
    const run = this.#byId.get(id);
    if (run === undefined) return;
    if (text === null) {
      this.#require(!known.isAccepted && !known.isOver, 'A', () => `${id} was accepted and is not known`);
      return;
    }
    const record = JSON.parse(text) as RunRecord;
    for (const step of record.steps) this.#stepShown(run, record, step);
    if (!TERMINAL.has(record.status)) {
      this.#require(!known.isOver, 'D', () => `${id} is ${record.status} after its end was told`);
      return;
    }
    run.final ??= text;
    this.#require(run.final === text, 'D', () => `the end of ${id} has changed from ${run.final ?? ''} to ${text}`);
  }

  #stepShown(run: KnownRun, record: RunRecord, step: RunRecord['steps'][number]): void {
    // Pure steps are computed again after a restart, which may come too late for one that takes its time.
    if (!SETTLED.has(step.status) || !run.chain.effects.has(step.id)) return;
    const now = JSON.stringify([step.status, step.output]);
    const before = run.shown.get(step.id);
    run.shown.set(step.id, now);
    const same = before === undefined || before === now;
    this.#require(same, 'D', () => `${step.id} of ${record.id} has changed from ${before ?? ''} to ${now}`);
  }

  /** Lists show the end of every run. */
  savedAs(statusOf: (id: string) => string | undefined): void {
    for (const [id, { final }] of this.#byId) {
      if (final === undefined) continue;
      const { status } = JSON.parse(final) as RunRecord;
      const saved = statusOf(id);
      this.#require(saved === status, 'A', () => `${id} is ${status}, but lists show ${saved ?? 'nothing'}`);
    }
  }

  /** Everything at the end, when every run has been read once more. */
  conclude(): void {
    for (const run of this.#runs.values()) {
      const { id } = run;
      if (run.final === undefined || id === undefined) continue;
      const record = JSON.parse(run.final) as RunRecord;
      this.#require(run.versions.has(record.version), 'I', () => `${id} ran as version ${record.version}`);
      this.#answersAgree(id, run, record);
      for (const step of record.steps) this.#stepAgrees(id, run, record, step);
      for (const receipt of run.receipts) this.#receiptAgrees(run, record, receipt);
    }
  }

  #answersAgree(id: string, run: KnownRun, record: RunRecord): void {
    if (run.ended === 'cancelled') {
      this.#require(record.status === 'cancelled', 'D', () => `${id} was cancelled, but is ${record.status}`);
    }
    for (const answer of run.answers) {
      const responded = record.steps.find((step) => step.use === 'flow.respond' && step.status === 'succeeded');
      if (answer.response !== undefined) {
        this.#require(responded !== undefined, 'D', () => `${id} answered, but no step of it has`);
      }
      if (answer.status === 'running') continue;
      const output = record.output === undefined ? undefined : JSON.stringify(record.output);
      const same =
        answer.status === record.status && answer.output === output && answer.fault?.code === record.error?.code;
      this.#require(same, 'D', () => `${id} answered ${JSON.stringify(answer)}, but its record is ${run.final ?? ''}`);
    }
  }

  #stepAgrees(id: string, run: KnownRun, record: RunRecord, step: RunRecord['steps'][number]): void {
    const facts = run.chain.effects.get(step.id);
    const where = `${step.id} of ${id}`;
    if (record.status === 'succeeded') {
      this.#require(SETTLED.has(step.status), 'A', () => `${id} succeeded while ${step.id} is ${step.status}`);
    }
    if (facts === undefined) return;
    const receipts = run.receipts.filter((receipt) => receipt.step === step.id);
    if (step.status === 'succeeded') {
      const value = valueOf(step.output);
      const source = receipts.find((receipt) => receipt.value === value);
      const valid = source?.outcome === 'success';
      this.#require(valid, 'E', () => `${where} has the value ${value}, which was ${source?.outcome ?? 'never'}`);
    }
    if (step.status === 'ambiguous') {
      this.#require(facts.external && !facts.declared, 'C', () => `${where} is ambiguous, and may be repeated`);
    }
    const failures = step.attempts.filter((attempt) => attempt.error?.code !== 'step.interrupted').length;
    // In a run that fails for another step, nothing is tried again.
    const others = record.steps.filter((other) => other.status === 'failed' && other.id !== step.id);
    const isCause = record.status === 'succeeded' || (record.error?.step === step.id && others.length === 0);
    const isGivenUp =
      isCause && step.status === 'failed' && RETRYABLE.has(step.error?.code ?? '') && failures <= facts.retries;
    this.#require(
      !isGivenUp,
      'A',
      () => `${where} has failed after ${failures} attempts, with ${facts.retries} retries`,
    );
    const wasRecorded = receipts.some((receipt) => receipt.settled && receipt.outcome === 'success');
    const recorded = record.status === 'cancelled' || record.error?.code === 'run.timeout' || !wasRecorded;
    this.#require(recorded || step.status === 'succeeded', 'B', () => `${where} succeeded, but is ${step.status}`);
    const unknown = facts.external && !facts.declared && receipts.some((receipt) => receipt.outcome === undefined);
    const honest = step.status !== 'succeeded' && step.status !== 'failed' && step.status !== 'skipped';
    // An attempt that ran out of time is given up, never left without an outcome.
    this.#require(!unknown || honest, 'C', () => `${where} may have happened, but is ${step.status}`);
  }

  #receiptAgrees(run: KnownRun, record: RunRecord, receipt: Receipt): void {
    const { run: id, step, seen, version } = receipt;
    this.#require(version === record.version, 'I', () => `${step} of ${id} ran as version ${version}`);
    for (const needed of run.chain.effects.get(step)?.needs ?? []) {
      const final = record.steps.find((other) => other.id === needed);
      if (final?.status !== 'succeeded') continue;
      const value = valueOf(final.output);
      const isRead = run.chain.effects.get(step)?.reads.has(needed) === true;
      const same = seen[needed] === value || (seen[needed] === undefined && !isRead);
      this.#require(same, 'B', () => `${step} of ${id} carried ${seen[needed]} of ${needed}, which is ${value}`);
    }
  }
}

const valueOf = (output: unknown): unknown => {
  const body: unknown = typeof output === 'object' && output !== null ? Reflect.get(output, 'body') : undefined;
  return typeof body === 'object' && body !== null ? Reflect.get(body, 'value') : undefined;
};
