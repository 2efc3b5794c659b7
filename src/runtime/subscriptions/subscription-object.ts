/**
 * Keeps one subscription open: that of one trigger of one chain.
 *
 * Guarantee: an event is acknowledged, and its cursor stored, only after its run is on disk; an event that comes again
 * under the same id starts nothing. What is open is what the configuration says: a change of the chain, of the
 * connection or of a switch ends it and opens it anew. It is opened again after any end, and by an alarm or the
 * minute's sweep after the object itself was lost.
 * Accepted weakness: one place listens, so what comes is as fast as one object takes it; an event without an id whose
 * run was stored just before a crash may come, and run, again.
 */

import { DurableObject } from 'cloudflare:workers';
import { deliverEvents, type Delivered } from './delivery.ts';
import { Session } from './session.ts';
import { newFacts, NO_COUNTS, SubscriptionStore, type SubscriptionFacts } from './store.ts';
import { fingerprintOf, sourceOf, targetOf, type SubscriptionPlace, type SubscriptionTarget } from './target.ts';
import { Alarm } from '../alarm.ts';
import { checkConfiguration, type Configuration } from '../configuration.ts';
import type { SubscribedEvent, SubscriptionEnd } from '../../connectors/kit/types.ts';
import { fault, faultOf, FaultError, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { reopenDelay } from '../../core/policy/reopen.ts';
import type { Env } from '../../env.ts';

/** States in which nothing is to be done until somebody says so. */
const AT_REST: ReadonlySet<SubscriptionFacts['state']> = new Set(['ended', 'stopped']);

export class SubscriptionObject extends DurableObject<Env> {
  readonly #store: SubscriptionStore;
  readonly #alarm: Alarm;
  #session: Session | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SubscriptionStore(ctx.storage.sql);
    this.#alarm = new Alarm(ctx.storage);
    void ctx.blockConcurrencyWhile(() => this.#alarm.restore());
  }

  /** Brings it to what the configuration says now. Does not wait for the other side. */
  async watch(place: SubscriptionPlace): Promise<void> {
    await this.#look(place);
  }

  status(): SubscriptionFacts | null {
    return this.#store.facts ?? null;
  }

  /** @param forget the cursor: it goes on with what comes from now on, as far as the other side allows */
  async restart(place: SubscriptionPlace, forget: boolean): Promise<void> {
    this.#note(place, {
      state: 'waiting',
      since: Date.now(),
      reopenAt: Date.now(),
      failures: 0,
      ...(forget && { cursor: null }),
    });
    this.#store.save();
    if (this.#session === undefined) await this.#look(place);
    else this.#session.replace();
  }

  override async alarm(): Promise<void> {
    this.#alarm.fired();
    const { facts } = this.#store;
    if (facts === undefined || AT_REST.has(facts.state)) return;
    this.#store.save();
    this.#alarm.by(Date.now() + LIMITS.subscriptionWatchMilliseconds, Date.now());
    // An open one goes on while the configuration cannot be read.
    await this.#look(facts).catch((thrown: unknown) =>
      console.error(`the subscription ${nameOf(facts)} could not be looked at`, faultOf(thrown).code, thrown),
    );
  }

  async #look(place: SubscriptionPlace): Promise<void> {
    const configuration = await checkConfiguration(this.env, 0);
    const target = targetOf(configuration, place);
    const now = Date.now();
    if (target === undefined) return this.#stop(place, now);
    const fingerprint = fingerprintOf(configuration, target);
    const facts = this.#store.facts ?? newFacts(place, now);
    if (facts.source !== sourceOf(target)) {
      this.#note(place, { ...newFacts(place, now), source: sourceOf(target), fingerprint });
    } else if (facts.fingerprint !== fingerprint || facts.state === 'stopped') {
      this.#note(place, { fingerprint, state: 'waiting', since: now, reopenAt: now, failures: 0 });
    }
    if (this.#session === undefined) this.#openIfDue(configuration, target, fingerprint, now);
    // Another is opened once this one is over.
    else if (this.#session.fingerprint !== fingerprint) this.#session.replace();
    this.#store.save();
  }

  #openIfDue(configuration: Configuration, target: SubscriptionTarget, fingerprint: string, now: number): void {
    const { facts } = this.#store;
    if (facts === undefined || AT_REST.has(facts.state)) return;
    // Lost with the object that had it open.
    const isLost = facts.state !== 'waiting';
    this.#alarm.by(now + LIMITS.subscriptionWatchMilliseconds, now);
    if (!isLost && facts.reopenAt > now) return this.#alarm.by(facts.reopenAt, now);
    this.#note(facts, { state: 'opening', since: now });
    const session = new Session({
      env: this.env,
      configuration,
      target,
      fingerprint,
      cursor: facts.cursor ?? undefined,
      ready: () => this.#note(facts, { state: 'open', since: Date.now() }),
      deliver: (events) => this.#deliver(session, facts, events),
    });
    this.#session = session;
    void session.run().then((end) => this.#closed(session, facts, end));
  }

  #closed(session: Session, place: SubscriptionPlace, end: Result<SubscriptionEnd | void>): void {
    this.#session = undefined;
    const { facts } = this.#store;
    if (facts === undefined || facts.state === 'stopped') return;
    const now = Date.now();
    const reason = end.ok ? undefined : end.fault;
    if (reason !== undefined) {
      console.warn(`the subscription ${nameOf(place)} ended: ${reason.code}: ${reason.message}`);
      this.#note(place, { error: { at: now, code: reason.code, message: reason.message } });
    }
    const { isReplaced } = session;
    if (reason?.code === 'subscription.ended' && !isReplaced) this.#note(place, { state: 'ended', since: now });
    else {
      const isSteady = session.hasDelivered || now - session.openedAt >= LIMITS.subscriptionSteadyMilliseconds;
      const failures = isReplaced || isSteady ? 0 : facts.failures + 1;
      const asked = end.ok ? end.value : end.fault;
      const wait = reopenDelay(failures, { fault: reason, ...asked }, Math.random());
      const reopenAt = isReplaced ? now : now + Math.ceil(wait);
      this.#note(place, { state: 'waiting', since: now, reopenAt, failures });
      this.#alarm.by(reopenAt, now);
    }
    this.#store.save();
  }

  async #deliver(session: Session, place: SubscriptionPlace, events: readonly SubscribedEvent[]): Promise<void> {
    const configuration = await checkConfiguration(this.env, LIMITS.configurationAgeMilliseconds);
    const target = targetOf(configuration, place);
    if (target === undefined || fingerprintOf(configuration, target) !== session.fingerprint) {
      session.replace();
      throw new FaultError(CHANGED);
    }
    const cursor = events.findLast((event) => event.cursor !== undefined)?.cursor;
    if ((cursor?.length ?? 0) > LIMITS.subscriptionCursorCharacters) throw new FaultError(LONG_CURSOR);
    const delivered = await deliverEvents(this.env, target, events, session.signal);
    this.#count(place, delivered, session.isStopping ? undefined : cursor);
  }

  #count(place: SubscriptionPlace, { counts, failedEvent }: Delivered, cursor: string | undefined): void {
    const { facts } = this.#store;
    if (facts === undefined) return;
    if (failedEvent !== null) {
      const { id, code, message } = failedEvent;
      console.warn(`the event ${id ?? 'without an id'} of ${nameOf(place)} started no run: ${code}: ${message}`);
    }
    const sum = { ...facts.counts };
    for (const key of Object.keys(NO_COUNTS) as (keyof typeof sum)[]) sum[key] += counts[key];
    this.#note(place, {
      counts: sum,
      lastEventAt: Date.now(),
      ...(failedEvent !== null && { failedEvent }),
      ...(cursor !== undefined && { cursor: cursor === '' ? null : cursor }),
    });
    // Without a cursor nothing depends on it: the next alarm does.
    if (cursor !== undefined) this.#store.save();
  }

  #stop(place: SubscriptionPlace, now: number): void {
    if (this.#store.facts === undefined) return;
    this.#note(place, { state: 'stopped', since: now, failures: 0 });
    this.#store.save();
    this.#session?.stop();
  }

  #note(place: SubscriptionPlace, change: Partial<SubscriptionFacts>): void {
    this.#store.note({ ...(this.#store.facts ?? newFacts(place, Date.now())), ...change });
  }
}

const CHANGED = fault('step.interrupted', 'The subscription is opened anew, since what it depends on was changed.');
const LONG_CURSOR = fault(
  'upstream.invalid',
  `The other side gave a position of more than ${LIMITS.subscriptionCursorCharacters} characters.`,
);

const nameOf = ({ chain, trigger }: SubscriptionPlace): string => `${trigger} of the chain ${chain}`;
