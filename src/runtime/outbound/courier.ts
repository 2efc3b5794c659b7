/**
 * Delivers what is due to one endpoint: begins what is next as soon as it may go, and draws the conclusions from
 * its outcome.
 */

import { Carrier } from './carrier.ts';
import { outcomeOf, type Delivered } from './delivery.ts';
import { DeliveryStore, type Delivery } from './delivery-store.ts';
import { Hours } from './hours.ts';
import { News } from './news.ts';
import { messagesOf, type Content, type Identity, type Offer, type Operation } from './objects.ts';
import { openEndpoint, type OpenEndpoint } from './opened.ts';
import { Pace, type StoredPace } from './pace.ts';
import { Queue } from './queue.ts';
import { Alarm } from '../alarm.ts';
import { Turns } from '../turns.ts';
import { LIMITS } from '../../core/limits.ts';
import { afterFailure, HEALTHY, type DisabledReason, type Health } from '../../core/outbound/health.ts';
import { retryWait } from '../../core/outbound/schedule.ts';
import type { Pass } from '../../core/policy/breaker.ts';
import type { Env } from '../../env.ts';
import { setDisabled } from '../../store/outbound-endpoints.ts';

/** Set by the gateway itself; `told`: D1 knows it. */
interface OwnDisabled {
  readonly reason: DisabledReason;
  readonly at: number;
  readonly told: boolean;
}

interface StoredState extends Identity, StoredPace {
  /** Up to here every message was tried at least once. */
  readonly triedUntil: number;
  readonly health: Health;
  readonly disabled?: OwnDisabled;
}

export class Courier {
  readonly store: DeliveryStore;
  readonly turns: Turns;
  readonly alarm: Alarm;
  readonly hours: Hours;
  readonly #env: Env;
  readonly #carrier: Carrier;
  readonly #news: News;
  readonly #queue: Queue;
  #identity: Identity | undefined;
  #opened: { readonly endpoint: OpenEndpoint; readonly at: number } | undefined;
  #opening = false;
  /** Raised by each change of the endpoint, so that what was read before it is not taken for what is. */
  #epoch = 0;
  #health: Health = HEALTHY;
  #pace = new Pace();
  #disabled: OwnDisabled | undefined;
  #timer: { readonly at: number; readonly id: ReturnType<typeof setTimeout> } | undefined;

  constructor(storage: DurableObjectStorage, env: Env) {
    this.#env = env;
    this.#carrier = new Carrier(env);
    this.#news = new News(env);
    this.store = new DeliveryStore(storage.sql);
    this.hours = new Hours(this.store);
    this.#queue = new Queue(this.store, 0);
    this.turns = new Turns(() => storage.sync());
    this.alarm = new Alarm(storage);
    const text = this.store.state();
    if (text === undefined) return;
    const { application, endpoint, triedUntil, health, disabled, ...pace } = JSON.parse(text) as StoredState;
    this.#identity = { application, endpoint };
    this.#queue = new Queue(this.store, triedUntil);
    this.#health = health;
    this.#disabled = disabled;
    this.#pace = new Pace(pace);
  }

  get health(): Health {
    return this.#health;
  }

  get circuit(): Pace['circuit'] {
    return this.#pace.circuit;
  }

  get waiting(): number {
    return this.store.waiting(this.#queue.triedUntil);
  }

  /** To be called in a turn. False for one that is there already. */
  add(identity: Identity, offer: Offer): boolean {
    if (this.#identity === undefined) {
      this.#identity = identity;
      this.#save();
    }
    const now = Date.now();
    const isInTurn = offer.sequence > this.store.last();
    if (!this.store.add(offer, isInTurn ? null : now)) return false;
    this.#carrier.hold(offer);
    this.alarm.by(now + LIMITS.outboundLeaseMilliseconds, now);
    return true;
  }

  /** The settings of the endpoint were changed. It may have been enabled again, and is then well again. */
  changed(): void {
    this.#epoch++;
    this.#opened = undefined;
    this.pump();
  }

  /** The endpoint was removed: what is still under way is noted nowhere. */
  forget(): void {
    this.#identity = undefined;
    this.#epoch++;
    this.#opened = undefined;
    if (this.#timer !== undefined) clearTimeout(this.#timer.id);
  }

  /** Begins whatever is due and may go; where nothing may, it wakes when something will. */
  pump(): void {
    const now = Date.now();
    const { endpoint, at } = this.#opened ?? {};
    if (endpoint === undefined || at === undefined || now - at > LIMITS.outboundSettingsAgeMilliseconds)
      void this.#open();
    if (endpoint === undefined || this.#disabled !== undefined || endpoint.disabled !== null) return;
    const { ordered, rateLimit, timeoutMilliseconds } = endpoint.settings;
    while (this.#queue.underWay < (ordered ? 1 : LIMITS.deliveriesAtOnce)) {
      const next = ordered ? this.#queue.nextInOrder() : this.#queue.next(now);
      if (next === undefined) return;
      if (next.nextAt !== null && next.nextAt > now) return this.#wakeAt(next.nextAt, now);
      const pass = this.#pace.enter(rateLimit, now, timeoutMilliseconds);
      if ('until' in pass) return this.#wakeAt(pass.until, now);
      this.#queue.begin(next);
      void this.#run(endpoint, next, pass);
    }
  }

  async #open(): Promise<void> {
    const identity = this.#identity;
    if (this.#opening || identity === undefined) return;
    this.#opening = true;
    const epoch = this.#epoch;
    const at = Date.now();
    const had = this.#opened;
    try {
      const endpoint = await openEndpoint(this.#env, identity.application, identity.endpoint);
      // Nothing is tried for an endpoint that is gone; its object is told to forget all.
      if (epoch === this.#epoch && endpoint !== undefined) this.#use(endpoint, at);
    } catch (thrown) {
      console.error(`the endpoint ${identity.endpoint} could not be read`, thrown);
      this.alarm.by(at + LIMITS.outboundPostponeMilliseconds, at);
    } finally {
      this.#opening = false;
    }
    if (epoch !== this.#epoch || (had === undefined && this.#opened !== undefined)) this.pump();
  }

  #use(endpoint: OpenEndpoint, at: number): void {
    this.#opened = { endpoint, at };
    if (this.#disabled?.told !== true || endpoint.disabled !== null) return;
    this.#disabled = undefined;
    this.#health = HEALTHY;
    this.#pace = new Pace();
    this.#save();
  }

  async #run(endpoint: OpenEndpoint, delivery: Delivery, pass: Pass): Promise<void> {
    const delivered = this.#identity && (await this.#carrier.attempt(this.#identity, endpoint, delivery));
    try {
      await this.turns.attempt(() => this.#settle(endpoint, delivery, pass, delivered));
    } catch (thrown) {
      console.error(`an attempt for message ${delivery.message} could not be noted`, thrown);
    }
    this.pump();
  }

  /** The content of a message. Null for one that is not kept any more. */
  content(sequence: number): Promise<Content | null> {
    return this.#carrier.content(this.#identity?.application ?? '', sequence);
  }

  #settle(endpoint: OpenEndpoint, delivery: Delivery, pass: Pass, delivered: Delivered | undefined): void {
    const { sequence } = delivery;
    const now = Date.now();
    this.#queue.end(sequence);
    this.#pace.settle(pass, outcomeOf(delivered), now);
    // It was the gateway that failed: no attempt is used up.
    if (delivered === undefined) return this.store.retryAt(sequence, now + LIMITS.outboundPostponeMilliseconds);
    const { kind, attempt, retryAfterMilliseconds } = delivered;
    const attempts = [...delivery.attempts, attempt];
    const tries = delivery.tries + 1;
    if (kind === 'delivered') {
      this.store.settle(sequence, 'delivered', null, tries, attempts);
      this.hours.count(now, attempt.milliseconds, { delivered: 1 });
      const wasWell = this.#health.failingSince === undefined;
      this.#health = HEALTHY;
      if (!wasWell || this.#pace.isSlow(endpoint.settings.rateLimit)) this.#save();
      return;
    }
    const wait = kind === 'gone' ? undefined : retryWait(tries, Math.random(), retryAfterMilliseconds);
    this.store.settle(
      sequence,
      wait === undefined ? 'failed' : 'retry',
      wait === undefined ? null : now + wait,
      tries,
      attempts,
    );
    this.hours.count(now, attempt.milliseconds, { failed: wait === undefined ? 1 : 0 });
    if (kind === 'unavailable' && retryAfterMilliseconds !== undefined) this.#pace.pause(retryAfterMilliseconds, now);
    if (wait === undefined) {
      const { message, eventType } = delivery;
      this.#tell('message.exhausted', now, { message, eventType, attempts: tries, error: attempt.error ?? '' });
    }
    const { health, percent } = afterFailure(this.#health, now);
    this.#health = health;
    if (kind === 'gone') this.#disable('gone', now);
    else if (percent === 100) this.#disable('failing', now);
    else if (percent !== undefined) this.#tell('endpoint.failing', now, { percent, failingSince: health.failingSince });
    this.#save();
  }

  #disable(reason: DisabledReason, at: number): void {
    this.#disabled = { reason, at, told: false };
    this.#tell('endpoint.disabled', at, { reason, failingSince: this.#health.failingSince });
    void this.tellDisabled();
  }

  /** Lets D1, and so everybody else, know that the endpoint was disabled here. Never rejects. */
  async tellDisabled(): Promise<void> {
    if (this.#disabled === undefined || this.#disabled.told || this.#identity === undefined) return;
    const { reason, at } = this.#disabled;
    const { application, endpoint } = this.#identity;
    try {
      await setDisabled(this.#env.DB, application, endpoint, { reason, at }, ACTOR, at);
      await messagesOf(this.#env, application).changed();
      this.#epoch++;
      this.#opened = undefined;
      this.#disabled = { reason, at, told: true };
      await this.turns.attempt(() => this.#save());
    } catch (thrown) {
      console.error(`the endpoint ${endpoint} is disabled here, and the database could not be told`, thrown);
      const now = Date.now();
      this.alarm.by(now + LIMITS.outboundPostponeMilliseconds, now);
    }
  }

  #tell(type: Operation['type'], at: number, data: Operation['data']): void {
    if (this.#identity !== undefined) this.#news.tell(this.#identity, { type, at, data });
  }

  /** The endpoint as it is now, for who has waited for nothing. Undefined for one that is gone. */
  async endpoint(): Promise<OpenEndpoint | undefined> {
    const identity = this.#identity;
    return this.#opened?.endpoint ?? (identity && openEndpoint(this.#env, identity.application, identity.endpoint));
  }

  /** What is only now and then worth a row. */
  lease(now: number): void {
    this.alarm.fired();
    this.hours.save();
    this.#save();
    if (this.#queue.underWay > 0) this.alarm.by(now + LIMITS.outboundLeaseMilliseconds, now);
  }

  #save(): void {
    if (this.#identity === undefined) return;
    const state: StoredState = {
      ...this.#identity,
      ...this.#pace.stored(this.#opened?.endpoint.settings.rateLimit ?? null),
      triedUntil: this.#queue.triedUntil,
      health: this.#health,
      ...(this.#disabled && { disabled: this.#disabled }),
    };
    const text = JSON.stringify(state);
    if (text !== this.store.state()) this.store.saveState(text);
  }

  /** A short wait is a timer, with the lease behind it. */
  #wakeAt(at: number, now: number): void {
    if (at - now > LIMITS.outboundTimerMilliseconds) return this.alarm.by(at, now);
    this.alarm.by(now + LIMITS.outboundLeaseMilliseconds, now);
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer.id);
    const id = setTimeout(() => {
      this.#timer = undefined;
      this.pump();
    }, at - now);
    this.#timer = { at, id };
  }
}

/** Who disables an endpoint that fails, in the audit log. */
const ACTOR = 'gateway';
