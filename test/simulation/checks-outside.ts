/** What runs wait for: a time, an event, a decision, a called chain. Each is told once, and stays as it was told. */

import { calledBy } from './features.ts';
import type { Clock, Judge, KnownRun } from './known.ts';
import type { Receipt } from './upstream.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';

/** A decision on a step of a run, or an event. Each has a number of its own. */
export interface Message {
  readonly number: number;
  readonly kind: 'event' | 'approval';
  readonly step: string;
  /** The run that a decision is on; the delivery that an event is for. */
  readonly to: string;
  /** How many runs took it, as its sender was told. */
  taken: number | undefined;
}

export class OutsideChecks {
  readonly #judge: Judge;
  readonly #clock: Clock;
  readonly #messages = new Map<number, Message>();

  constructor(judge: Judge, clock: Clock) {
    this.#judge = judge;
    this.#clock = clock;
  }

  sends(kind: Message['kind'], step: string, to: string): Message {
    const message: Message = { number: this.#messages.size + 1, kind, step, to, taken: undefined };
    this.#messages.set(message.number, message);
    return message;
  }

  /** Its sender is told how many runs took it. */
  told(message: Message, taken: number): void {
    message.taken = taken;
    if (message.kind === 'event') return;
    const others = [...this.#messages.values()].filter(
      ({ kind, to, step, taken: times }) =>
        kind === 'approval' && to === message.to && step === message.step && times === 1,
    );
    this.#judge(others.length <= 1, 'wait', () => `${message.step} of ${message.to} was decided twice`);
  }

  /** A request is leaving: what it heard must have been told. */
  received(run: KnownRun, receipt: Receipt, calleeOf: (delivery: string) => KnownRun | undefined): void {
    const { waits, calls, effects } = run.chain;
    const where = `${receipt.step} of ${receipt.run}`;
    for (const [step, number] of Object.entries(receipt.heard)) {
      const wait = waits.get(step);
      if (wait !== undefined) this.#heard(run, receipt, step, wait.keyed, number);
      const call = calls.get(step);
      if (call === undefined) continue;
      const lineage = [run, ...(run.origin === undefined ? [] : [run.origin])];
      const made = lineage.flatMap((own) => calleeOf(calledBy(own.id ?? '', step))?.receipts ?? []);
      const known = made.some((other) => other.step === call.heard && other.value === number);
      this.#judge(
        known,
        'call',
        () => `${where} carries ${number} of the chain that ${step} calls, which it never was`,
      );
    }
    for (const step of effects.get(receipt.step)?.needs ?? []) {
      if (!waits.has(step) || waits.get(step)?.kind === 'event') continue;
      const until = run.waiting.get(step) ?? 0;
      const decided = [...this.#messages.values()].some((each) => each.step === step && each.to === run.id);
      const early = receipt.wall < until && !decided && !this.#clock.hasJumped;
      this.#judge(!early, 'wait', () => `${where} goes on ${until - receipt.wall} ms before ${step} may`);
    }
  }

  #heard(run: KnownRun, receipt: Receipt, step: string, keyed: boolean, number: number): void {
    const message = this.#messages.get(number);
    const where = `${receipt.step} of ${receipt.run} carries ${number} of ${step}`;
    const isSent = message !== undefined && message.step === step;
    this.#judge(isSent, 'wait', () => `${where}, which nobody sent`);
    if (message === undefined) return;
    const recipients: readonly (string | undefined)[] =
      message.kind === 'event' ? [run.delivery, run.input] : [run.id, run.origin?.id];
    const fits = recipients.includes(message.to) || (message.kind === 'event' && !keyed);
    this.#judge(fits, 'wait', () => `${where}, which was for ${message.to}`);
    this.#judge(message.taken !== 0, 'wait', () => `${where}, which was told to have changed nothing`);
    const other = run.receipts.find((each) => (each.heard[step] ?? number) !== number);
    this.#judge(other === undefined, 'wait', () => `${where}, but ${other?.step} carried ${other?.heard[step]}`);
  }

  /** A step is shown as waiting. */
  waits(run: KnownRun, record: RunRecord, step: RunRecord['steps'][number], wasRefused: boolean): void {
    const { waitingFor } = step;
    if (waitingFor === undefined || waitingFor.kind === 'connection') return;
    const before = run.waiting.get(step.id);
    run.waiting.set(step.id, waitingFor.until);
    const where = `${step.id} of ${record.id}`;
    const same = before === undefined || before === waitingFor.until;
    this.#judge(same, 'wait', () => `${where} waited until ${before}, and now until ${waitingFor.until}`);
    this.#judge(!wasRefused, 'wait', () => `${where} waits for what it was told to be too late for`);
  }

  /** At the end of a run. */
  concludes(run: KnownRun, record: RunRecord, calleeOf: (delivery: string) => KnownRun | undefined): void {
    for (const step of record.steps) {
      const where = `${step.id} of ${record.id}`;
      const wait = run.chain.waits.get(step.id);
      if (wait !== undefined && step.status === 'succeeded') {
        const number = numberOf(wait.kind, step.output);
        const taken = number === undefined ? undefined : this.#messages.get(number)?.taken;
        this.#judge(taken !== 0, 'wait', () => `${where} took ${number}, which was told to have changed nothing`);
      }
      const taken = [...this.#messages.values()].find(
        (each) => each.kind === 'approval' && each.to === record.id && each.step === step.id && each.taken === 1,
      );
      const shown = wait && numberOf(wait.kind, step.output);
      const kept = taken === undefined || shown === taken.number;
      this.#judge(kept, 'wait', () => `${where} was decided by ${taken?.number}, but has ${shown}`);
      if (run.chain.calls.has(step.id)) this.#called(record, step, calleeOf(calledBy(record.id, step.id)));
    }
    for (const receipt of run.receipts) {
      for (const [step, number] of Object.entries(receipt.heard)) {
        const message = run.chain.waits.has(step) ? this.#messages.get(number) : undefined;
        const told = message?.taken !== 0;
        this.#judge(told, 'wait', () => `${receipt.step} of ${record.id} carried ${number}, which changed nothing`);
      }
    }
  }

  #called(record: RunRecord, step: RunRecord['steps'][number], callee: KnownRun | undefined): void {
    if (callee?.final === undefined) return;
    const called = JSON.parse(callee.final) as RunRecord;
    const where = `${step.id} of ${record.id}`;
    if (step.status === 'succeeded') {
      const same = called.status === 'succeeded' && sameJson(step.output, called.output);
      this.#judge(same, 'call', () => `${where} has ${JSON.stringify(step.output)}, but called ${callee.final}`);
    }
    const lost = step.error?.code === 'call.failed' && called.status === 'succeeded';
    this.#judge(!lost, 'call', () => `${where} has failed, but the run ${called.id} that it called has not`);
  }
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

function numberOf(kind: 'time' | 'event' | 'approval', output: unknown): number | undefined {
  if (kind === 'time' || typeof output !== 'object' || output === null) return undefined;
  if (kind === 'approval') return Number(Reflect.get(output, 'comment'));
  const data: unknown = Reflect.get(output, 'data');
  return typeof data === 'object' && data !== null ? Number(Reflect.get(data, 'value')) : undefined;
}
