/**
 * The messages of one application, and which endpoints they go to. One object for each application, so the
 * messages of another are not to be found in it, whatever id is asked for.
 *
 * Guarantee: a message whose acceptance was answered is on disk and comes to every endpoint that was enabled
 * and wanted it then. The same id twice is one message.
 * Accepted weakness: one object takes all messages of an application, some hundred a second.
 */

import { DurableObject } from 'cloudflare:workers';
import { Audience } from './audience.ts';
import { Handover } from './handover.ts';
import {
  generatedId,
  MessageStore,
  offerOf,
  withinCall,
  type StoredMessage,
  type StoredOperation,
} from './message-store.ts';
import { endpointOf, type Content, type Offer, type Operation, type Progress } from './objects.ts';
import { Alarm } from '../alarm.ts';
import { blobsOf } from '../blobs.ts';
import { retentionMilliseconds } from '../retention.ts';
import { Turns } from '../turns.ts';
import type { MessageScope } from '../../core/outbound/selection.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { fits } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Env } from '../../env.ts';
import { randomBytes, toHex } from '../../vault/bytes.ts';

export interface SentMessage {
  readonly eventType: string;
  readonly payload: unknown;
  /** The same id twice is one message. */
  readonly id?: string | undefined;
  readonly channels?: readonly string[] | undefined;
}

export interface AcceptedMessage {
  readonly id: string;
  readonly duplicate: boolean;
}

export class MessagesObject extends DurableObject<Env> {
  readonly #turns: Turns;
  readonly #audience: Audience;
  readonly #alarm: Alarm;
  /** Ids that were given, of messages on their way to the disk. */
  readonly #arriving = new Set<string>();
  #store: MessageStore;
  #handover: Handover;
  #application = '';
  #last: number;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#turns = new Turns(() => ctx.storage.sync());
    this.#audience = new Audience(env.DB, Date.now);
    this.#alarm = new Alarm(ctx.storage);
    this.#store = new MessageStore(ctx.storage.sql);
    this.#handover = this.#newHandover();
    this.#last = this.#store.last();
    void ctx.blockConcurrencyWhile(async () => {
      this.#application = (await ctx.storage.get<string>('application')) ?? '';
      await this.#alarm.restore();
      this.#takeUp();
    });
  }

  #newHandover(): Handover {
    return new Handover(this.#store, async (endpoint, offers) => {
      await endpointOf(this.env, endpoint).offer({ application: this.#application, endpoint }, offers);
    });
  }

  /**
   * Resolves when the message is on disk. What is not known by type crosses the call as JSON text.
   * @param sent a {@link SentMessage}
   */
  async accept(application: string, sent: string): Promise<AcceptedMessage | { readonly fault: string }> {
    const accepted = await this.#accept(application, JSON.parse(sent) as SentMessage);
    return accepted.ok ? accepted.value : { fault: JSON.stringify(accepted.fault) };
  }

  async #accept(application: string, sent: SentMessage): Promise<Result<AcceptedMessage>> {
    const { id: given, eventType, payload, channels = [] } = sent;
    const repeated = await this.#known(given);
    if (repeated !== undefined) return ok(repeated);
    const members = await this.#audience.members(application);
    if (!members.ok) return members;
    const checked = await this.#audience.checkPayload(eventType, payload);
    if (!checked.ok) return checked;
    const createdAt = Date.now();
    const random = toHex(randomBytes(8));
    const text = JSON.stringify(payload);
    const stored = await this.#storePayload(application, random, text);
    if (!stored.ok) return stored;
    // The id of a message that has none yet is not for filters.
    const scope = { id: given ?? '', eventType, payload, channels, createdAt: new Date(createdAt).toISOString() };
    const targets = await this.#audience.targets(members.value, scope);
    await this.#own(application);
    // Another with this id may have come meanwhile.
    const overtaken = await this.#known(given);
    if (overtaken !== undefined) return ok(overtaken);
    const sequence = ++this.#last;
    const id = given ?? generatedId(sequence, random);
    const message = { sequence, id, eventType, channels, targets, createdAt, ...stored.value };
    if (given !== undefined) this.#arriving.add(given);
    try {
      await this.#turns.attempt(() => {
        this.#arriving.delete(id);
        this.#store.insert(message, given !== undefined);
        this.#send(message);
      });
      return ok({ id, duplicate: false });
    } catch (thrown) {
      return fail('storage.unavailable', 'The message could not be stored; send it again.', { detail: String(thrown) });
    }
  }

  /** Nobody is told of a message that is not written, neither by its first sending nor by its second. */
  async #known(id: string | undefined): Promise<AcceptedMessage | undefined> {
    if (id === undefined) return undefined;
    if (this.#arriving.has(id)) await this.#turns.do(() => {});
    return this.#store.read(id) === undefined ? undefined : { id, duplicate: true };
  }

  async #own(application: string): Promise<void> {
    if (this.#application === application) return;
    this.#application = application;
    await this.ctx.storage.put('application', application);
  }

  async #storePayload(
    application: string,
    name: string,
    text: string,
  ): Promise<Result<Pick<StoredMessage, 'payload' | 'blob'>>> {
    if (fits(text, LIMITS.blobFromBytes)) return ok({ payload: text, blob: undefined });
    const blobs = blobsOf(this.env);
    if (blobs !== undefined) {
      return ok({ payload: null, blob: await blobs.put(`messages/${application}/${name}`, text) });
    }
    if (fits(text, LIMITS.messageRowPayloadBytes)) return ok({ payload: text, blob: undefined });
    const fix = 'Bind an R2 bucket as BLOBS (docs/deployment.md), or send less.';
    return fail('request.too-large', `payload: Has at most ${LIMITS.messageRowPayloadBytes} bytes here. ${fix}`);
  }

  #send({ sequence, targets }: StoredMessage): void {
    if (targets.length > 0) this.#alarm.by(Date.now() + LIMITS.outboundLeaseMilliseconds, Date.now());
    else if (sequence === 1) this.#armPruning();
    for (const endpoint of targets) this.#handover.add(endpoint, sequence);
  }

  /** What another instance may not have handed over. */
  #takeUp(): void {
    for (let after = this.#store.handedOver(); ;) {
      const messages = this.#store.after(after, LIMITS.outboundRowsPerTurn);
      for (const { sequence, targets } of messages) {
        for (const endpoint of targets) this.#handover.add(endpoint, sequence);
      }
      if (messages.length < LIMITS.outboundRowsPerTurn) return;
      after = messages.at(-1)?.sequence ?? after;
    }
  }

  /** Endpoints were changed. */
  async changed(): Promise<void> {
    this.#audience.changed();
  }

  /** A message with its payload, for its delivery; null for one that is gone. */
  async content(sequence: number): Promise<Content | null> {
    const message = this.#store.at(sequence);
    return message === undefined ? null : this.#contentOf(message);
  }

  /** Null where the bucket has it no more. Rejects where it does not answer. */
  async #contentOf(message: StoredMessage): Promise<Content | null> {
    const { payload, blob, targets: _targets, ...content } = message;
    if (payload !== null) return { ...content, payload };
    const blobs = blobsOf(this.env);
    if (blob === undefined || blobs === undefined) return null;
    const loaded = (await blobs.load([blob], NOT_KEPT)).get(blob.key);
    return loaded === NOT_KEPT ? null : { ...content, payload: JSON.stringify(loaded) };
  }

  async read(id: string): Promise<{ readonly content: Content; readonly targets: readonly string[] } | null> {
    const message = this.#store.read(id);
    const content = message && (await this.#contentOf(message));
    return content ? { content, targets: message.targets } : null;
  }

  /** The number of a message, by which endpoints know it; null for an id that is not of this application. */
  async sequenceOf(id: string): Promise<number | null> {
    return this.#store.read(id)?.sequence ?? null;
  }

  /** The newest first, without payloads. */
  async list(before: number, limit: number): Promise<readonly Omit<StoredMessage, 'payload'>[]> {
    return this.#store.before(before, limit).map(({ payload: _payload, ...message }) => message);
  }

  /** Offers an endpoint a message once more; it is delivered whatever came of it before. */
  async resend(application: string, id: string, endpoint: string): Promise<boolean> {
    const message = this.#store.read(id);
    if (message === undefined) return false;
    await endpointOf(this.env, endpoint).resend({ application, endpoint }, offerOf(message));
    return true;
  }

  /**
   * Gives an endpoint the messages since a time that it would get today and never got.
   * @param since @param until unix milliseconds
   */
  async replayMissing(application: string, endpoint: string, since: number, until: number): Promise<Progress> {
    const members = await this.#audience.members(application);
    const member = members.ok ? members.value.find(({ id }) => id === endpoint) : undefined;
    let count = 0;
    let after = this.#store.firstSince(since) - 1;
    for (let looked = 0; looked < LIMITS.outboundRowsPerCall;) {
      const messages = withinCall(this.#store.after(after, LIMITS.outboundBatchMessages)).filter(
        ({ createdAt }) => createdAt < until,
      );
      const last = messages.at(-1);
      if (last === undefined || member === undefined) return { count, next: null };
      const offers: Offer[] = [];
      for (const message of messages) {
        const content = await this.#contentOf(message);
        if (content !== null && (await member.selection.wants(scopeOf(content)))) offers.push(offerOf(message));
      }
      if (offers.length > 0) count += await endpointOf(this.env, endpoint).offer({ application, endpoint }, offers);
      looked += messages.length;
      after = last.sequence;
    }
    const [following] = this.#store.after(after, 1);
    return { count, next: following === undefined || following.createdAt >= until ? null : following.createdAt };
  }

  /** Notes an operational event. */
  async note(operation: Operation): Promise<void> {
    this.#store.note(operation);
  }

  async operations(before: number, limit: number): Promise<readonly StoredOperation[]> {
    return this.#store.operations(before, limit);
  }

  /** Forgets everything; the application was removed. */
  async remove(): Promise<void> {
    const keys = this.#store.blobs();
    for (let from = 0; from < keys.length; from += BUCKET_KEYS) {
      await this.env.BLOBS?.delete(keys.slice(from, from + BUCKET_KEYS));
    }
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    this.#alarm.fired();
    this.#audience.changed();
    this.#application = '';
    this.#store = new MessageStore(this.ctx.storage.sql);
    this.#handover = this.#newHandover();
    this.#last = 0;
  }

  override async alarm(): Promise<void> {
    this.#alarm.fired();
    const now = Date.now();
    this.#handover.resume();
    const until = this.#handover.confirmedUntil(this.#last);
    if (until > this.#store.handedOver()) this.#store.setHandedOver(until);
    if (until < this.#last) this.#alarm.by(now + LIMITS.outboundLeaseMilliseconds, now);
    const pruned = this.#store.prune(now - retentionMilliseconds(this.env));
    const keys = pruned.flatMap(({ blob }) => blob?.key ?? []);
    if (keys.length > 0) await this.env.BLOBS?.delete(keys);
    this.#armPruning(pruned.length < LIMITS.outboundRowsPerTurn ? LIMITS.pruneMilliseconds : 0);
  }

  /** Wakes when the oldest message is past its retention, though not before a pause. */
  #armPruning(pauseMilliseconds = 0): void {
    const oldest = this.#store.oldestAt();
    const now = Date.now();
    if (oldest === undefined) return;
    this.#alarm.by(Math.max(oldest + retentionMilliseconds(this.env), now + pauseMilliseconds), now);
  }
}

/** Stands for a payload that the bucket has no more; those that it has are longer. */
const NOT_KEPT = '\u0000';

/** Keys that one call of the bucket deletes at most. */
const BUCKET_KEYS = 1_000;

const scopeOf = ({ payload, createdAt, ...content }: Content): MessageScope => ({
  ...content,
  payload: JSON.parse(payload) as unknown,
  createdAt: new Date(createdAt).toISOString(),
});
