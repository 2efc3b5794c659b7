/**
 * Delivers what is due to one endpoint: which message next, when it may go, and what follows from its outcome.
 * There is no queue in memory: the next one is asked of the disk, so a backlog of any length costs nothing.
 */

import { deliver, type Delivered } from './delivery.ts';
import { DeliveryStore, type Delivery, type HourFigures } from './delivery-store.ts';
import { messagesOf, type Content, type Identity, type Offer, type Operation } from './objects.ts';
import { openEndpoint, type OpenEndpoint } from './opened.ts';
import { Pace, type StoredPace } from './pace.ts';
import { Alarm } from '../alarm.ts';
import { hostOf } from '../host.ts';
import { sendEvent } from '../runs.ts';
import { Turns } from '../turns.ts';
import { LIMITS } from '../../core/limits.ts';
import { afterFailure, HEALTHY, type DisabledReason, type Health } from '../../core/outbound/health.ts';
import { retryWait } from '../../core/outbound/schedule.ts';
import type { CallOutcome, Pass } from '../../core/policy/breaker.ts';
import type { Env } from '../../env.ts';
import { setDisabled } from '../../store/outbound-endpoints.ts';
import { createPayloadLinks } from '../../vault/links.ts';

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

const HOUR_MILLISECONDS = 3_600_000;

export class Courier {
  readonly store: DeliveryStore;
  readonly turns: Turns;
  readonly alarm: Alarm;
  readonly #env: Env;
  #identity: Identity | undefined;
  #opened: { readonly endpoint: OpenEndpoint; readonly at: number } | undefined;
  #opening = false;
  /** Raised by each change of the endpoint, so that what was read before it is not taken for what is. */
  #epoch = 0;
  #health: Health = HEALTHY;
  #pace = new Pace();
  #disabled: OwnDisabled | undefined;
  /** The newest that was taken in its turn. */
  #taken = 0;
  /** Deliveries under way, and whether each is its first attempt. */
  readonly #underWay = new Map<number, boolean>();
  /** Contents that came with their offers, until they are tried. */
  readonly #contents = new Map<number, Content>();
  #contentCharacters = 0;
  #hour: HourFigures | undefined;
  #savedHour: HourFigures | undefined;
  #timer: { readonly at: number; readonly id: ReturnType<typeof setTimeout> } | undefined;
  #telling: Promise<void> = Promise.resolve();

  constructor(storage: DurableObjectStorage, env: Env) {
    this.#env = env;
    this.store = new DeliveryStore(storage.sql);
    this.turns = new Turns(() => storage.sync());
    this.alarm = new Alarm(storage);
    const text = this.store.state();
    if (text === undefined) return;
    const { application, endpoint, triedUntil, health, disabled, ...pace } = JSON.parse(text) as StoredState;
    this.#identity = { application, endpoint };
    this.#taken = triedUntil;
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
    return this.store.waiting(this.#triedUntil());
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
    const { payload } = offer;
    if (payload !== null && this.#contentCharacters + payload.length <= LIMITS.outboundBatchCharacters) {
      this.#contents.set(offer.sequence, { ...offer, payload });
      this.#contentCharacters += payload.length;
    }
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
    while (this.#underWay.size < (ordered ? 1 : LIMITS.deliveriesAtOnce)) {
      const next = ordered ? this.#nextInOrder() : this.#next(now);
      if (next === undefined) return;
      if (next.nextAt !== null && next.nextAt > now) return this.#wakeAt(next.nextAt, now);
      const pass = this.#pace.enter(rateLimit, now, timeoutMilliseconds);
      if ('until' in pass) return this.#wakeAt(pass.until, now);
      if (next.state === 'new') this.#taken = next.sequence;
      this.#underWay.set(next.sequence, next.state === 'new');
      void this.#run(endpoint, next, pass);
    }
  }

  #next(now: number): Delivery | undefined {
    const retry = this.store.nextRetries(this.#underWay.size + 1).find(({ sequence }) => !this.#underWay.has(sequence));
    return retry !== undefined && (retry.nextAt ?? 0) <= now ? retry : (this.store.nextNew(this.#taken) ?? retry);
  }

  #nextInOrder(): Delivery | undefined {
    const retry = this.store.oldestRetry();
    const fresh = this.store.nextNew(this.#taken);
    return retry !== undefined && (fresh === undefined || retry.sequence < fresh.sequence) ? retry : fresh;
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
    let delivered: Delivered | undefined;
    try {
      const content = await this.content(delivery.sequence);
      delivered =
        content === null
          ? { kind: 'refused', attempt: GONE(Date.now()), retryAfterMilliseconds: undefined }
          : await deliver(endpoint, content, {
              fetch: hostOf(this.#env).fetch,
              now: Date.now,
              link: (sequence) => this.#link(sequence),
            });
    } catch (thrown) {
      console.error(`message ${delivery.message} could not be prepared`, thrown);
    }
    try {
      await this.turns.attempt(() => this.#settle(endpoint, delivery, pass, delivered));
    } catch (thrown) {
      console.error(`an attempt for message ${delivery.message} could not be noted`, thrown);
    }
    this.pump();
  }

  /** The content of a message, from memory or from its application. Null for one that is not kept any more. */
  async content(sequence: number): Promise<Content | null> {
    const held = this.#contents.get(sequence);
    if (held === undefined) return messagesOf(this.#env, this.#identity?.application ?? '').content(sequence);
    this.#contents.delete(sequence);
    this.#contentCharacters -= held.payload.length;
    return held;
  }

  #settle(endpoint: OpenEndpoint, delivery: Delivery, pass: Pass, delivered: Delivered | undefined): void {
    const { sequence } = delivery;
    const now = Date.now();
    this.#underWay.delete(sequence);
    this.#pace.settle(pass, outcomeOf(delivered), now);
    // It was the gateway that failed: no attempt is used up.
    if (delivered === undefined) return this.store.retryAt(sequence, now + LIMITS.outboundPostponeMilliseconds);
    const { kind, attempt, retryAfterMilliseconds } = delivered;
    const attempts = [...delivery.attempts, attempt];
    const tries = delivery.tries + 1;
    if (kind === 'delivered') {
      this.store.settle(sequence, 'delivered', null, tries, attempts);
      this.#count(attempt.milliseconds, { delivered: 1 });
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
    this.#count(attempt.milliseconds, { failed: wait === undefined ? 1 : 0 });
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

  /** One after the other, behind the work that they tell of. */
  #tell(type: Operation['type'], at: number, data: Readonly<Record<string, unknown>>): void {
    const identity = this.#identity;
    if (identity === undefined) return;
    const { application, endpoint } = identity;
    this.#telling = this.#telling.then(async () => {
      try {
        await messagesOf(this.#env, application).note({ type, at, endpoint, data });
        await sendEvent(this.#env, type, endpoint, { ...data, application, endpoint, at: new Date(at).toISOString() });
      } catch (thrown) {
        console.error(`${type} of endpoint ${endpoint} could not be told`, thrown);
      }
    });
  }

  async #link(sequence: number): Promise<{ readonly url: string; readonly expiresAt: number } | undefined> {
    const { TIDEGATE_URL: base, TIDEGATE_MASTER_KEY: masterKey } = this.#env;
    const links = createPayloadLinks(masterKey);
    if (base === undefined || !links.ok || this.#identity === undefined) return undefined;
    const expiresAt = Date.now() + LIMITS.payloadLinkMilliseconds;
    const token = await links.value.sign({ endpoint: this.#identity.endpoint, sequence, expiresAt });
    return { url: `${base}/_/payloads/${token}`, expiresAt };
  }

  /** The endpoint as it is now, for who has waited for nothing. Undefined for one that is gone. */
  async endpoint(): Promise<OpenEndpoint | undefined> {
    const identity = this.#identity;
    return this.#opened?.endpoint ?? (identity && openEndpoint(this.#env, identity.application, identity.endpoint));
  }

  /** What is only now and then worth a row. */
  lease(now: number): void {
    this.alarm.fired();
    if (this.#hour !== this.#savedHour && this.#hour !== undefined) this.store.saveHour((this.#savedHour = this.#hour));
    this.#save();
    if (this.#underWay.size > 0) this.alarm.by(now + LIMITS.outboundLeaseMilliseconds, now);
  }

  #count(milliseconds: number, { delivered = 0, failed = 0 }: { delivered?: number; failed?: number }): void {
    const hour = Math.floor(Date.now() / HOUR_MILLISECONDS) * HOUR_MILLISECONDS;
    if (this.#hour?.hour !== hour) {
      if (this.#hour !== undefined && this.#hour !== this.#savedHour) this.store.saveHour(this.#hour);
      this.#hour = this.#savedHour = this.store.hour(hour) ?? {
        hour,
        attempts: 0,
        delivered: 0,
        failed: 0,
        milliseconds: 0,
      };
    }
    const { attempts, delivered: before, failed: failedBefore, milliseconds: spent } = this.#hour;
    this.#hour = {
      hour,
      attempts: attempts + 1,
      delivered: before + delivered,
      failed: failedBefore + failed,
      milliseconds: spent + milliseconds,
    };
  }

  /** By hour, the one under way included. */
  hours(since: number): HourFigures[] {
    const current = this.#hour;
    const stored = this.store.hours(since).filter(({ hour }) => hour !== current?.hour);
    return current === undefined || current.hour < since ? stored : [...stored, current];
  }

  #triedUntil(): number {
    let until = this.#taken;
    for (const [sequence, isFirst] of this.#underWay) if (isFirst) until = Math.min(until, sequence - 1);
    return until;
  }

  #save(): void {
    if (this.#identity === undefined) return;
    const state: StoredState = {
      ...this.#identity,
      ...this.#pace.stored(this.#opened?.endpoint.settings.rateLimit ?? null),
      triedUntil: this.#triedUntil(),
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

const GONE = (at: number) => ({ at, milliseconds: 0, error: 'The message is not kept any more.' });

/** What an attempt says of the endpoint as a whole: one that refuses a message is there. */
function outcomeOf(delivered: Delivered | undefined): CallOutcome {
  if (delivered === undefined) return { kind: 'unknown' };
  const { kind, attempt, retryAfterMilliseconds } = delivered;
  if (kind === 'unavailable') return { kind: 'failed', retryAfterMilliseconds };
  return attempt.status === undefined ? { kind: 'unknown' } : { kind: 'succeeded' };
}
