/**
 * An inbox: the object that keeps the events of a source and starts their runs.
 *
 * Guarantee: what `receive` has returned is on disk, is kept for as long as the source says, and comes to every
 * chain that wants it; a delivery that comes again is the same event. Answers are held back by the platform until
 * the writes before them are on disk.
 * Accepted weakness: how often a delivery came again is counted in memory for up to a minute.
 */

import { DurableObject } from 'cloudflare:workers';
import { Alarm } from './alarm.ts';
import { currentConfiguration } from './configuration.ts';
import { Feed } from './inbox-feed.ts';
import { Pump, type Settled } from './inbox-pump.ts';
import { inboxSettings } from './inbox-settings.ts';
import {
  InboxStore,
  type Delivery,
  type EventFilter,
  type EventPage,
  type Refused,
  type StoredEvent,
} from './inbox-store.ts';
import { Turns } from './turns.ts';
import { sequenceAt, type EventContent, type EventRun, type EventSummary } from '../core/inbox/event.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export interface Receipt {
  readonly sequence: number;
  readonly duplicate: boolean;
}

export interface ShownEvent {
  readonly summary: EventSummary;
  readonly content: EventContent;
}

export class InboxObject extends DurableObject<Env> {
  readonly #store: InboxStore;
  readonly #turns: Turns;
  readonly #alarm: Alarm;
  readonly #pump: Pump;
  readonly #feed: Feed;
  readonly #duplicates = new Map<number, number>();
  #settled: Settled[] = [];
  #markedAt = 0;
  #prunedAt = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new InboxStore(ctx.storage);
    this.#turns = new Turns(() => ctx.storage.sync());
    this.#alarm = new Alarm(ctx.storage);
    this.#pump = new Pump({
      env,
      source: this.#source,
      load: (sequence) => this.#load(sequence),
      settle: (settled) => this.#settle(settled),
    });
    this.#feed = new Feed({
      readAfter: async (sequence) => {
        const events = this.#store.readAfter(sequence);
        // Nobody is told of an event that is not on disk.
        if (events.length > 0) await ctx.storage.sync();
        return Promise.all(events.map((event) => this.#withBody(event)));
      },
    });
    for (const sequence of this.#store.pending()) this.#pump.add(sequence);
    if (!this.#pump.isIdle) void this.#pump.run();
  }

  get #source(): string {
    return this.ctx.id.name ?? '';
  }

  /**
   * Resolves when the event is written. Deliveries that arrive while the disk is busy share the next write.
   * @param dedupeMilliseconds how long a delivery is known
   */
  receive(delivery: Delivery, dedupeMilliseconds: number): Promise<Receipt> {
    return this.#turns.attempt(() => {
      this.#writeSettled();
      return this.#take(delivery, dedupeMilliseconds);
    });
  }

  #take(delivery: Delivery, dedupeMilliseconds: number): Receipt {
    const now = Date.now();
    const sequence = this.#store.insert(delivery, now) ?? this.#again(delivery, now, dedupeMilliseconds);
    if (typeof sequence !== 'number') return sequence;
    this.#pump.add(sequence, { ...delivery, sequence });
    // The first of a turn sets off; it reaches nobody before the turn is on disk.
    void this.#pump.run();
    this.#feed.wake();
    this.#alarm.by(now + LIMITS.runLeaseMilliseconds, now);
    return { sequence, duplicate: false };
  }

  /** The receipt of a duplicate; a sequence number where it is a new event after all. */
  #again(delivery: Delivery, now: number, dedupeMilliseconds: number): Receipt | number {
    const known = this.#store.find(delivery.deliveryId);
    if (known === undefined) throw new Error('the event could not be written');
    if (known < sequenceAt(now - dedupeMilliseconds)) {
      this.#store.forget(known);
      const sequence = this.#store.insert(delivery, now);
      if (sequence !== undefined) return sequence;
    }
    this.#duplicates.set(known, (this.#duplicates.get(known) ?? 0) + 1);
    this.#alarm.by(now + LIMITS.inboxMarkMilliseconds, now);
    return { sequence: known, duplicate: true };
  }

  /** Keeps deliveries that were refused, the newest of them. */
  reject(refused: readonly Refused[]): void {
    const now = Date.now();
    for (const one of refused) this.#store.reject(one, now);
    this.#alarm.by(now + LIMITS.pruneMilliseconds, now);
  }

  list(filter: EventFilter): EventPage {
    this.#writeGathered();
    return this.#store.list(filter);
  }

  async read(sequence: number): Promise<ShownEvent | null> {
    this.#writeGathered();
    const shown = this.#store.show(sequence);
    if (shown === undefined) return null;
    const { summary, content, blob } = shown;
    return { summary, content: blob === null ? content : { ...content, body: await this.#fetchBody(blob) } };
  }

  /** Runs of events that were started by hand. */
  note(started: readonly { readonly sequence: number; readonly runs: readonly EventRun[] }[]): void {
    this.#writeSettled();
    for (const { sequence, runs } of started) this.#store.note(sequence, runs);
  }

  /** Streams events from a cursor on; 429 where too many listen. */
  override async fetch(request: Request): Promise<Response> {
    const after = Number(new URL(request.url).searchParams.get('after') ?? this.#store.newest);
    return this.#feed.open(after);
  }

  /** Called each minute and at start: takes up what a lost alarm or a lost isolate left behind. */
  async sweep(): Promise<void> {
    this.#writeGathered();
    void this.#pump.run();
    const now = Date.now();
    if (!this.#pump.isIdle) this.#alarm.by(now + LIMITS.runLeaseMilliseconds, now);
    await this.#prune();
  }

  override async alarm(): Promise<void> {
    this.#alarm.fired();
    await this.sweep();
    const now = Date.now();
    if (this.#store.oldestAt() !== undefined) this.#alarm.by(now + LIMITS.pruneMilliseconds, now);
  }

  /** What is told of an event is as new as can be. */
  #writeGathered(): void {
    this.#writeSettled();
    this.#store.addDuplicates(this.#duplicates);
    this.#duplicates.clear();
  }

  /**
   * What became of events is written with the next ones that arrive, or a little later: until then a crash makes the
   * pump offer them once more, which starts nothing.
   */
  #settle(settled: readonly Settled[]): void {
    if (this.#settled.length === 0) {
      setTimeout(() => void this.#turns.do(() => this.#writeSettled()), LIMITS.inboxSettleMilliseconds);
    }
    this.#settled.push(...settled);
  }

  /** Never throws: it is tried again with the next write. */
  #writeSettled(): void {
    if (this.#settled.length === 0) return;
    try {
      for (const { sequence, state, outcome } of this.#settled) this.#store.settle(sequence, state, outcome);
      this.#settled = [];
      this.#markDone();
    } catch (thrown) {
      console.error(`the inbox ${this.#source} could not note what became of its events`, thrown);
    }
  }

  #markDone(): void {
    const now = Date.now();
    if (now - this.#markedAt < LIMITS.inboxMarkMilliseconds) return;
    this.#markedAt = now;
    this.#store.mark(this.#pump.oldest());
  }

  #load(sequence: number): StoredEvent | undefined | Promise<StoredEvent> {
    const event = this.#store.read(sequence);
    return event === undefined || event.blob === null ? event : this.#withBody(event);
  }

  async #withBody(event: StoredEvent): Promise<StoredEvent> {
    return event.blob === null ? event : { ...event, body: await this.#fetchBody(event.blob) };
  }

  async #fetchBody(key: string): Promise<Uint8Array> {
    const stored = await this.env.BLOBS?.get(key);
    return new Uint8Array((await stored?.arrayBuffer()) ?? new ArrayBuffer(0));
  }

  /** Bodies go first: a row that refers to one that is gone can be deleted later, one without a row cannot. */
  async #prune(): Promise<void> {
    const now = Date.now();
    if (now - this.#prunedAt < LIMITS.pruneMilliseconds) return;
    const { sources } = await currentConfiguration(this.env);
    const before = now - inboxSettings(sources.get(this.#source)).retentionMilliseconds;
    const expired = this.#store.expired(before);
    const blobs = expired.flatMap(({ blob }) => blob ?? []);
    if (blobs.length > 0) await this.env.BLOBS?.delete(blobs);
    this.#store.mark(this.#pump.oldest());
    this.#store.remove(expired.map(({ sequence }) => sequence));
    this.#store.pruneRejected(before);
    // A full batch is not the last one: the next minute goes on.
    if (expired.length < LIMITS.inboxPruneEvents) this.#prunedAt = now;
    else this.#alarm.by(now + 1_000, now);
  }
}
