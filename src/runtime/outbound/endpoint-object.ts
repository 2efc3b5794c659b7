/**
 * The deliveries of one endpoint: its queue, its log and its health. An endpoint is an object, and so an
 * invocation of its own: while it hangs, nobody else waits.
 *
 * Guarantee: what `offer` has taken is on disk and is tried until it is delivered, its schedule is used up or
 * it is past its retention, with the same `webhook-id` each time. An accepted message is known by its number,
 * so one that is handed over again is not sent again.
 * Accepted weakness: at least once; an attempt whose outcome was not noted at a crash is made again. Figures of
 * the last half minute may be lost then, and an operational event, too.
 */

import { DurableObject } from 'cloudflare:workers';
import { Courier } from './courier.ts';
import { payloadOf } from './delivery.ts';
import type { Delivery, DeliveryState, HourFigures } from './delivery-store.ts';
import type { Identity, Offer, Progress } from './objects.ts';
import { retentionMilliseconds } from '../retention.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Env } from '../../env.ts';

export interface Figures {
  readonly hours: readonly HourFigures[];
  /** Deliveries that are still to be tried. */
  readonly waiting: number;
  /** Unix milliseconds; null while it is well. */
  readonly failingSince: number | null;
  readonly circuit: 'closed' | 'open' | 'half-open';
}

export class EndpointObject extends DurableObject<Env> {
  #courier: Courier;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#courier = new Courier(ctx.storage, env);
    void ctx.blockConcurrencyWhile(() => this.#courier.alarm.restore());
  }

  /** Resolves when they are on disk; returns how many were not known before. */
  async offer(identity: Identity, offers: readonly Offer[]): Promise<number> {
    return this.#inTurn(() => offers.filter((offer) => this.#courier.add(identity, offer)).length);
  }

  /** Delivers a message whatever came of it before. */
  async resend(identity: Identity, offer: Offer): Promise<void> {
    await this.#inTurn(() => {
      if (!this.#courier.add(identity, offer)) this.#courier.store.again(offer.sequence, Date.now());
    });
  }

  /** Begins the schedule of those that failed anew. @param since @param until unix milliseconds */
  async recover(since: number, until: number): Promise<Progress> {
    let count = 0;
    for (let after = 0; count < LIMITS.outboundRowsPerCall;) {
      const from = after;
      const recovered = await this.#inTurn(() => this.#courier.store.recover(from, since, until, Date.now()));
      count += recovered.length;
      after = recovered.at(-1) ?? after;
      if (recovered.length < LIMITS.outboundRowsPerTurn) return { count, next: null };
    }
    // What is recovered has failed no more, so the same call goes on.
    return { count, next: since };
  }

  /** Does work that writes, in one turn with other such work; then delivers what is due. */
  async #inTurn<T>(work: () => T): Promise<T> {
    const done = await this.#courier.turns.attempt(work);
    this.#courier.pump();
    return done;
  }

  async delivery(sequence: number): Promise<Delivery | null> {
    return this.#courier.store.at(sequence) ?? null;
  }

  /** The newest first. */
  async list(before: number, state: DeliveryState | undefined, limit: number): Promise<readonly Delivery[]> {
    return this.#courier.store.list(before, state, limit);
  }

  async figures(since: number): Promise<Figures> {
    const { waiting, health, circuit } = this.#courier;
    return { hours: this.#courier.hours.since(since), waiting, failingSince: health.failingSince ?? null, circuit };
  }

  /** A payload that went by reference, as JSON text; null where it is not to be had any more. */
  async payload(sequence: number): Promise<string | null> {
    if (this.#courier.store.at(sequence) === undefined) return null;
    const [endpoint, content] = await Promise.all([this.#courier.endpoint(), this.#courier.content(sequence)]);
    if (endpoint === undefined || content === null) return null;
    const payload = await payloadOf(endpoint, content);
    return payload.ok ? payload.value : null;
  }

  /** The settings of the endpoint were changed. */
  async changed(): Promise<void> {
    this.#courier.changed();
  }

  /** Forgets everything; the endpoint was removed. */
  async remove(): Promise<void> {
    this.#courier.forget();
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    this.#courier = new Courier(this.ctx.storage, this.env);
  }

  override async alarm(): Promise<void> {
    const now = Date.now();
    const { store, alarm } = this.#courier;
    this.#courier.lease(now);
    const pruned = store.prune(now - retentionMilliseconds(this.env));
    await this.#courier.tellDisabled();
    this.#courier.pump();
    const oldest = store.oldestAt();
    if (oldest === undefined) return;
    const pause = pruned < LIMITS.outboundRowsPerTurn ? LIMITS.pruneMilliseconds : 0;
    alarm.by(Math.max(oldest + retentionMilliseconds(this.env), now + pause), now);
  }
}
