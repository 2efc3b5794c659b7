/**
 * Starts the runs of events that are on disk: the outbox of an inbox.
 *
 * Guarantee: every event is offered to all chains that want it until each has taken or refused it, whatever
 * crashes in between; the key of a run is made of the event, so an offer that is repeated starts nothing. Events
 * of a chain with `order` are offered to it in the order of their arrival; one that must wait holds up the later
 * ones for that chain, and for no other.
 */

import { acceptEach, type Acceptance, type RunRequest } from './accept.ts';
import { checkConfiguration, currentConfiguration, type Configuration } from './configuration.ts';
import { hookTargets, passes, requestFor, wantsType, type HookTarget } from './inbox-targets.ts';
import type { StoredEvent } from './inbox-store.ts';
import { eventId, triggerEventOf, type EventError, type EventOutcome, type EventRun } from '../core/inbox/event.ts';
import type { Fault, Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export interface PumpPorts {
  readonly env: Env;
  readonly source: string;
  /** An event with its body, from wherever that is; undefined where it is gone. */
  load(sequence: number): StoredEvent | undefined | Promise<StoredEvent>;
  /** Notes what became of events. */
  settle(settled: readonly Settled[]): void;
}

export interface Settled {
  readonly sequence: number;
  readonly state: 'accepted' | 'ignored' | 'failed';
  readonly outcome: EventOutcome;
}

/** An event that is tried again. */
interface Delayed {
  readonly attempts: number;
  /** Infinite while it is in the queue. */
  readonly at: number;
}

interface Offer {
  readonly target: HookTarget;
  readonly request: RunRequest;
}

interface Planned {
  readonly event: StoredEvent;
  readonly offers: readonly Offer[];
  readonly errors: readonly EventError[];
  /** An earlier event must go first. */
  readonly isHeld: boolean;
}

export class Pump {
  readonly #ports: PumpPorts;
  readonly #queue: number[] = [];
  readonly #delayed = new Map<number, Delayed>();
  /** By chain: the delayed events that it takes in order. */
  readonly #heldUp = new Map<string, Set<number>>();
  /** Events that have just arrived, with their bodies, as far as there is room. */
  readonly #fresh = new Map<number, StoredEvent>();
  #freshBytes = 0;
  #underWay: ReadonlySet<number> = new Set();
  #targets: readonly HookTarget[] = [];
  #running = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Nothing at all got through: nobody is asked before then. */
  #pausedUntil = 0;

  constructor(ports: PumpPorts) {
    this.#ports = ports;
  }

  get isIdle(): boolean {
    return this.#queue.length + this.#delayed.size + this.#underWay.size === 0;
  }

  /** The oldest event that is not done. */
  oldest(): number | undefined {
    const open = [...this.#delayed.keys(), ...this.#underWay, ...this.#queue.slice(0, 1)];
    return open.length === 0 ? undefined : open.reduce((one, other) => Math.min(one, other));
  }

  /** @param event where it is at hand */
  add(sequence: number, event?: StoredEvent): void {
    this.#queue.push(sequence);
    if (event === undefined || event.blob !== null || this.#freshBytes + event.bytes > LIMITS.inboxHeldBytes) return;
    this.#fresh.set(sequence, event);
    this.#freshBytes += event.bytes;
  }

  /** Works until nothing is left that can go on now. Never rejects. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      for (;;) {
        this.#takeDue();
        if (this.#queue.length === 0 || this.#pausedUntil > Date.now()) break;
        this.#targets = hookTargets(await this.#configuration(), this.#ports.source);
        const batch = await this.#nextBatch();
        if (batch.length > 0) await this.#forward(batch);
        this.#underWay = new Set();
      }
    } catch (thrown) {
      console.error(`the inbox ${this.#ports.source} could not go on`, thrown);
      for (const sequence of this.#underWay) this.#delay(sequence, this.#targets);
      this.#underWay = new Set();
      this.#pausedUntil = Date.now() + LIMITS.inboxRetryLongestMilliseconds;
    }
    this.#running = false;
    this.#comeBack();
  }

  #takeDue(): void {
    const now = Date.now();
    const due: number[] = [];
    for (const [sequence, delayed] of this.#delayed) {
      if (delayed.at > now) continue;
      due.push(sequence);
      this.#delayed.set(sequence, { ...delayed, at: Infinity });
    }
    if (due.length > 0) this.#queue.unshift(...due.sort((one, other) => one - other));
  }

  #comeBack(): void {
    clearTimeout(this.#timer);
    const next = [...this.#delayed.values()].reduce((soonest, { at }) => Math.min(soonest, at), Infinity);
    const at = this.#queue.length > 0 ? this.#pausedUntil : Math.max(next, this.#pausedUntil);
    if (Number.isFinite(at)) this.#timer = setTimeout(() => void this.run(), Math.max(1, at - Date.now()));
  }

  /** Where D1 is away, what this isolate knows will do. */
  async #configuration(): Promise<Configuration> {
    try {
      return await checkConfiguration(this.#ports.env, LIMITS.configurationAgeMilliseconds);
    } catch (thrown) {
      console.error(`the inbox ${this.#ports.source} goes on without a look at the configuration`, thrown);
      return currentConfiguration(this.#ports.env);
    }
  }

  /** Events as many as one call takes, with their bodies. */
  async #nextBatch(): Promise<StoredEvent[]> {
    const batch: StoredEvent[] = [];
    let taken = 0;
    let bytes = 0;
    while (taken < this.#queue.length && batch.length < LIMITS.inboxBatchEvents && bytes < LIMITS.inboxBatchBytes) {
      const sequence = this.#queue[taken++] ?? 0;
      const fresh = this.#fresh.get(sequence);
      if (this.#fresh.delete(sequence)) this.#freshBytes -= fresh?.bytes ?? 0;
      const loaded = fresh ?? this.#ports.load(sequence);
      const event = loaded instanceof Promise ? await loaded.catch(() => undefined) : loaded;
      if (event !== undefined) {
        batch.push(event);
        bytes += event.bytes;
      } else if (loaded instanceof Promise) this.#delay(sequence, this.#targets);
      else this.#forget(sequence);
    }
    this.#queue.splice(0, taken);
    this.#underWay = new Set(batch.map(({ sequence }) => sequence));
    return batch;
  }

  async #forward(batch: readonly StoredEvent[]): Promise<void> {
    const planned: Planned[] = [];
    for (const event of batch) planned.push(await this.#plan(event));
    const offers = planned.flatMap((plan) => (plan.isHeld ? [] : plan.offers));
    const results = await acceptEach(
      this.#ports.env,
      offers.map(({ request }) => request),
    );
    const answers = new Map(offers.map((offer, index) => [offer, results[index]]));
    const settled: Settled[] = [];
    let soonest = Infinity;
    for (const plan of planned) {
      const { sequence } = plan.event;
      const outcome = plan.isHeld ? undefined : outcomeOf(plan, answers);
      const targets = plan.offers.map(({ target }) => target);
      if (outcome !== undefined) settled.push(outcome);
      else if (plan.isHeld) this.#hold(sequence, targets);
      else soonest = Math.min(soonest, this.#delay(sequence, targets));
    }
    if (settled.length > 0) this.#ports.settle(settled);
    for (const { sequence } of settled) this.#forget(sequence);
    if (settled.length === 0 && Number.isFinite(soonest)) this.#pausedUntil = soonest;
  }

  async #plan(event: StoredEvent): Promise<Planned> {
    const offers: Offer[] = [];
    const errors: EventError[] = [];
    const wanting = this.#targets.filter((target) => wantsType(target, event.type));
    if (wanting.length === 0) return { event, offers, errors, isHeld: false };
    const key = runKeyOf(this.#ports.source, event.sequence);
    const trigger = triggerEventOf(event, event.receivedAt);
    for (const target of wanting) {
      const verdict = await passes(target, trigger);
      if (verdict === true) offers.push({ target, request: requestFor(target, trigger, key) });
      else if (verdict !== false) errors.push(errorOf(target, verdict));
    }
    return { event, offers, errors, isHeld: offers.some(({ target }) => this.#isHeldUp(target, event.sequence)) };
  }

  /** Whether an earlier event must go first; those of one batch go together, in their order. */
  #isHeldUp({ chain }: HookTarget, sequence: number): boolean {
    if (chain.plan.flow?.order === undefined) return false;
    for (const earlier of this.#heldUp.get(chain.name) ?? []) {
      if (earlier < sequence && !this.#underWay.has(earlier)) return true;
    }
    return false;
  }

  /** Returns when it is tried again. */
  #delay(sequence: number, targets: readonly HookTarget[]): number {
    const attempts = (this.#delayed.get(sequence)?.attempts ?? 0) + 1;
    const wait = LIMITS.inboxRetryMilliseconds * 2 ** Math.min(attempts - 1, 20);
    const at = Date.now() + Math.min(LIMITS.inboxRetryLongestMilliseconds, wait);
    this.#delayed.set(sequence, { attempts, at });
    this.#holdUp(sequence, targets);
    return at;
  }

  /** Until the event before it is through, or for as long as that may take. */
  #hold(sequence: number, targets: readonly HookTarget[]): void {
    const attempts = this.#delayed.get(sequence)?.attempts ?? 0;
    this.#delayed.set(sequence, { attempts, at: Date.now() + LIMITS.inboxRetryLongestMilliseconds });
    this.#holdUp(sequence, targets);
  }

  #holdUp(sequence: number, targets: readonly HookTarget[]): void {
    for (const { chain } of targets) {
      if (chain.plan.flow?.order === undefined) continue;
      const held = this.#heldUp.get(chain.name) ?? new Set();
      this.#heldUp.set(chain.name, held.add(sequence));
    }
  }

  #forget(sequence: number): void {
    if (!this.#delayed.delete(sequence)) return;
    for (const held of this.#heldUp.values()) if (held.delete(sequence)) this.#wake(held);
  }

  /** Lets those go on that waited for another; more than one batch of them follow each other. */
  #wake(held: ReadonlySet<number>): void {
    let left: number = LIMITS.inboxBatchEvents;
    for (const sequence of held) {
      if (left-- === 0) return;
      const delayed = this.#delayed.get(sequence);
      if (delayed !== undefined && Number.isFinite(delayed.at)) this.#delayed.set(sequence, { ...delayed, at: 0 });
    }
  }
}

/** Under which the runs of an event are known, so that each chain starts one. */
export const runKeyOf = (source: string, sequence: number): string => `${source}:${eventId(sequence)}`;

/** Undefined where it has to be tried again. */
function outcomeOf(
  { event, offers, errors }: Planned,
  answers: ReadonlyMap<Offer, Result<Acceptance> | undefined>,
): Settled | undefined {
  const runs: EventRun[] = [];
  const failed = [...errors];
  const givesUp = Date.now() - event.receivedAt > LIMITS.inboxGiveUpMilliseconds;
  for (const offer of offers) {
    const { chain, trigger } = offer.target;
    const answer = answers.get(offer);
    if (answer?.ok === true) runs.push({ chain: chain.name, trigger: trigger.name, run: answer.value.id });
    else if (answer === undefined || (answer.fault.retryable && !givesUp)) return undefined;
    else failed.push(errorOf(offer.target, answer.fault));
  }
  const state = failed.length > 0 ? 'failed' : runs.length > 0 ? 'accepted' : 'ignored';
  return { sequence: event.sequence, state, outcome: { runs, errors: failed } };
}

const errorOf = ({ chain, trigger }: HookTarget, { code, message }: Fault): EventError => ({
  chain: chain.name,
  trigger: trigger.name,
  code,
  message,
});
