/**
 * What must hold, judged by the receipts of the upstream and by what callers were told; never by the
 * journal. The letters are the promises of the engine (docs/design/simulation.md).
 */

import type { EffectFacts, SimulatedChain } from './chains.ts';
import { mayFollow, repeated } from './checks-effects.ts';
import { answersAgree, receiptAgrees, stepAgrees, takesOver } from './checks-end.ts';
import { allItems, inside } from './checks-fan.ts';
import { flowKept } from './checks-flow.ts';
import { OutsideChecks } from './checks-outside.ts';
import { calling } from './checks-provider.ts';
import { doing, undoing, undoneAll } from './checks-undo.ts';
import {
  areRelated,
  createKnownRun,
  isSameUnit,
  unitOf,
  SETTLED,
  UNDER_WAY_MILLISECONDS,
  type Clock,
  type Judge,
  type KnownRun,
} from './known.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';
import type { RunAnswer } from '../../src/runtime/answers.ts';

export interface Violation {
  readonly invariant: string;
  readonly message: string;
}

/** What was known of a run as somebody asked about it. */
export interface Known {
  readonly isOver: boolean;
  readonly isAccepted: boolean;
  readonly loosened: number;
  readonly waiting: ReadonlySet<string>;
  readonly refused: ReadonlySet<string>;
}

const TERMINAL: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);

export class Checks {
  readonly outside: OutsideChecks;
  violation: Violation | undefined;
  readonly #clock: Clock;
  /** By delivery: whatever is delivered under one key is one run. */
  readonly #runs = new Map<string, KnownRun>();
  readonly #byId = new Map<string, KnownRun>();
  readonly #keys = new Map<string, string>();
  /** Over the connection whose provider may be down. */
  readonly #providerCalls: Receipt[] = [];
  readonly #judge: Judge = (condition, invariant, message) => this.#require(condition, invariant, message);

  constructor(clock: Clock) {
    this.#clock = clock;
    this.outside = new OutsideChecks(this.#judge, clock);
  }

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
  delivered(delivery: string, group: string, chain: SimulatedChain, version: number): void {
    const same = chain.flow?.idempotency === undefined ? undefined : `same ${group}`;
    let run = this.#runs.get(same ?? delivery);
    if (run === undefined) {
      run = createKnownRun({ id: undefined, delivery, chain, group, origin: undefined, sent: this.#clock.now() });
      if (same !== undefined) this.#runs.set(same, run);
    }
    this.#runs.set(delivery, run);
    run.versions.add(version);
  }

  /** By what its effects say of it. */
  #runOf(delivery: string, id: string): KnownRun | undefined {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const run = this.#runs.get(delivery) ?? this.#calledRun(delivery);
    if (run === undefined) {
      this.fail('F', `${id} is of ${delivery}, which nobody delivered`);
      return undefined;
    }
    if (run.id !== undefined && run.retries.known < run.retries.asked) return this.#retryOf(run, id);
    run.id ??= id;
    this.#byId.set(id, run);
    this.#require(run.id === id, 'F', () => `${delivery} started ${run.id ?? ''} and ${id}`);
    return run;
  }

  /** The one run that a step of a run calls. */
  #calledRun(delivery: string): KnownRun | undefined {
    const [, step = ''] = delivery.split('/');
    // The run that calls may not be known yet: its first effect is behind the call.
    const chain = [...this.#runs.values()].find((run) => run.chain.calls.has(step))?.chain.calls.get(step)?.chain;
    if (chain === undefined) return undefined;
    const run = createKnownRun({
      id: undefined,
      delivery,
      chain,
      group: '',
      origin: undefined,
      sent: this.#clock.now(),
    });
    run.versions.add(1);
    this.#runs.set(delivery, run);
    return run;
  }

  #retryOf(origin: KnownRun, id: string): KnownRun {
    const { delivery, chain, group } = origin;
    const run = createKnownRun({ id, delivery, chain, group, origin, sent: this.#clock.now() });
    origin.retries.known++;
    this.#byId.set(id, run);
    return run;
  }

  /** `duplicate` is undefined where the caller was not told. */
  accepted(delivery: string, id: string, duplicate: boolean | undefined): void {
    const run = this.#runOf(delivery, id);
    if (run === undefined) return;
    run.acked ??= this.#clock.now();
    run.acknowledged = true;
    if (duplicate === false) run.acceptedFirst++;
    this.#require(run.acceptedFirst <= 1, 'F', () => `${id} was accepted as new twice`);
  }

  answered(id: string, answer: RunAnswer): void {
    const run = this.#byId.get(id);
    run?.answers.push(answer);
    if (run === undefined || !TERMINAL.has(answer.status)) return;
    run.over = true;
    this.#endedAs(id, answer.status === 'cancelled' ? 'cancelled' : 'ended');
  }

  deliveryOf(id: string): string | undefined {
    return this.#byId.get(id)?.input;
  }

  /** Somebody is about to ask for a retry; not of a run whose delivery would not be told apart from it. */
  retries(id: string): boolean {
    const run = this.#byId.get(id);
    if (run !== undefined) run.retries.asked++;
    return run !== undefined;
  }

  /** A retry was accepted as a run of its own. */
  retried(origin: string, id: string): void {
    const run = this.#byId.get(id) ?? this.#retryOf(this.#byId.get(origin) as KnownRun, id);
    this.#require(run.origin?.id === origin, 'F', () => `the retry of ${origin} is ${id}, which is another run`);
    run.acked ??= this.#clock.now();
    run.acknowledged = true;
  }

  /** Somebody asks for a run to go on, or to end. */
  loosens(id: string): void {
    const run = this.#byId.get(id);
    if (run === undefined) return;
    run.loosened++;
    run.pausedAt = undefined;
  }

  /** `done` is false where the run is said to have ended. */
  paused(id: string, done: boolean, known: Known): void {
    const run = this.#byId.get(id);
    if (!done) return this.#endedAs(id, 'ended');
    if (run?.loosened === known.loosened) run.pausedAt = this.#clock.now().at;
  }

  resumed(id: string, done: boolean): void {
    if (!done) this.#endedAs(id, 'ended');
  }

  /** What was offered to a step that was known to wait changed nothing. */
  refused(id: string, step: string, known: Known): void {
    if (known.waiting.has(step)) this.#byId.get(id)?.refused.add(step);
  }

  /** What is known of a run as a question about it is asked; answers may cross. */
  asking(id: string): Known {
    const run = this.#byId.get(id);
    return {
      isOver: run !== undefined && isOver(run),
      isAccepted: run?.acknowledged === true,
      loosened: run?.loosened ?? 0,
      waiting: new Set(run?.waiting.keys()),
      refused: new Set(run?.refused),
    };
  }

  cancelled(id: string, outcome: 'cancelled' | 'ended' | 'unknown', known: Known): void {
    if (outcome !== 'unknown') return this.#endedAs(id, outcome);
    this.#require(!known.isAccepted, 'A', () => `${id} was accepted and is unknown to a cancel`);
  }

  #endedAs(id: string, ended: 'ended' | 'cancelled'): void {
    const run = this.#byId.get(id);
    if (run === undefined || run.ended === 'cancelled') return;
    run.ended = ended;
    run.endedAt = this.#clock.now().at;
  }

  /** A request is leaving. */
  received(receipt: Receipt): void {
    const { run: id, delivery, step, key } = receipt;
    const run = this.#runOf(delivery, id);
    const facts = run?.chain.effects.get(step);
    if (run === undefined || facts === undefined) return this.fail('F', `an effect of unknown origin: ${id} ${step}`);
    const unit = unitOf(receipt);
    const owner = this.#keys.get(key) ?? `${id} ${unit}`;
    this.#keys.set(key, owner);
    this.#require(owner === `${id} ${unit}`, 'C', () => `${id} ${unit} uses the key ${key} of ${owner}`);
    this.#require(!isOver(run), 'D', () => `${unit} of ${id} begins after its end was told`);
    for (const other of run.receipts) {
      const later = run.chain.effects.get(other.step);
      const needed = later?.needs.has(step) === true && areRelated(receipt, facts, other, later);
      this.#require(!needed, 'B', () => `${unit} of ${id} is computed again after ${unitOf(other)}, which needs it`);
      if (isSameUnit(other, receipt)) repeated(run, other, receipt, facts, this.#judge);
    }
    for (const needed of facts.needs) mayFollow(run, receipt, needed, this.#judge);
    const failures = run.receipts.filter(
      (other) => isSameUnit(other, receipt) && other.settled && other.outcome === 'failure',
    );
    this.#require(failures.length <= facts.retries, 'H', () => `${unit} of ${id} has more attempts than its retries`);
    this.#features(run, receipt, facts);
    run.receipts.push(receipt);
  }

  #features(run: KnownRun, receipt: Receipt, { undoes }: EffectFacts): void {
    if (undoes !== undefined) undoing(run, receipt, undoes, this.#judge);
    else {
      const { undoes: mayEnd, timed } = run.chain;
      // A run that is out of time ends, also while it is paused.
      const held = receipt.at > (run.pausedAt ?? Infinity) + UNDER_WAY_MILLISECONDS && !(mayEnd && timed);
      this.#require(!held, 'control', () => `${unitOf(receipt)} of ${receipt.run} begins although it is paused`);
      doing(run, receipt, this.#judge);
    }
    if (receipt.item !== '') inside(run, receipt, this.#judge);
    this.outside.received(run, receipt, (delivery) => this.#runs.get(delivery));
    if (!receipt.provider) return;
    calling(this.#providerCalls, receipt, this.#judge);
    this.#providerCalls.push(receipt);
  }

  /** A record that a caller was shown. */
  shown(id: string, text: string | null, known: Known): void {
    const run = this.#byId.get(id);
    if (run === undefined) return;
    if (text === null) {
      this.#require(!known.isAccepted && !known.isOver, 'A', () => `${id} was accepted and is not known`);
      return;
    }
    const record = JSON.parse(text) as RunRecord & { readonly input?: { readonly delivery?: string } };
    run.input = record.input?.delivery;
    for (const step of record.steps) {
      this.#stepShown(run, record, step);
      this.outside.waits(run, record, step, known.refused.has(step.id));
    }
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
    const runs = new Set([...this.#runs.values(), ...this.#byId.values()]);
    flowKept([...runs], this.#clock.hasJumped, this.#judge);
    for (const run of runs) {
      const { id } = run;
      if (run.final === undefined || id === undefined) continue;
      const record = JSON.parse(run.final) as RunRecord;
      this.#require(run.versions.has(record.version), 'I', () => `${id} ran as version ${record.version}`);
      answersAgree(id, run, record, this.#judge);
      for (const step of record.steps) stepAgrees(id, run, record, step, this.#judge);
      for (const receipt of run.receipts) receiptAgrees(run, record, receipt, this.#judge);
      undoneAll(run, record, this.#judge);
      allItems(run, record, this.#judge);
      this.outside.concludes(run, record, (delivery) => this.#runs.get(delivery));
      if (run.origin?.final !== undefined) takesOver(run, JSON.parse(run.origin.final) as RunRecord, this.#judge);
    }
  }
}

/** Where something is undone, a run that is told to be cancelled, or to have failed, is not over yet. */
const isOver = ({ final, over, ended, chain }: KnownRun): boolean =>
  final !== undefined || over || (ended !== undefined && !chain.undoes);
