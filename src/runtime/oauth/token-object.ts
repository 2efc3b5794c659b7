/**
 * The tokens of one connection. All steps, wherever they run, get theirs from here.
 *
 * Guarantee: one request for a token is under way at a time, however many steps wait for it. A token is on disk,
 * sealed, before anybody gets it, and takes the place of the old one in the same write; so whenever the object dies,
 * one of the two is there. A refresh is noted before it is sent: where its answer was lost, the same refresh token
 * is sent again, which servers with a grace period, or that do not rotate, answer as the first time.
 * Accepted weakness: a server that rotates without a grace period takes the repetition for a theft and withdraws
 * the grant. No client can close that gap; it is as wide as the way of one answer from the socket to the disk, the
 * object then says that it was interrupted, and somebody has to authorize again.
 */

import { DurableObject } from 'cloudflare:workers';
import * as v from 'valibot';
import {
  Authorizations,
  type Begun,
  type Begin,
  type Callback,
  type Completed,
  type DeviceCode,
} from './authorizations.ts';
import { loadClient, READER, type LoadedClient, type Place } from './place.ts';
import { TokenStore, type HeldTokens, type TokenFacts } from './token-store.ts';
import { vaultOf } from '../configuration.ts';
import { wayOutOf } from '../way-out.ts';
import { fail, faultOf, ok, type ErrorCode, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { isInteractive } from '../../core/oauth/settings.ts';
import { errorCodeOf, NEVER, renewalAt, timesOf, type TokenGrant } from '../../core/oauth/tokens.ts';
import { refreshGrant, requestByGrant, revokeToken } from '../../drivers/oauth/client.ts';
import { findServer, type OAuthPort, type Server } from '../../drivers/oauth/server.ts';
import type { Env } from '../../env.ts';
import { recordAction } from '../../store/audit.ts';
import { randomBytes, toBase64Url } from '../../vault/bytes.ts';
import { tokenContext } from '../../vault/vault.ts';

/** A fault on its way to another isolate; what is for the log stays here. */
export interface Refused {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterMilliseconds?: number;
}

export type Reply<T> = { readonly ok: true; readonly value: T } | Refused;

export interface GivenToken {
  readonly token: string;
  readonly generation: number;
  /** How long it may be used without asking again. Unix milliseconds. */
  readonly until: number;
}

export interface TokenStatus {
  readonly state: 'none' | 'pending' | 'authorized' | 'expired' | 'refused';
  readonly facts: TokenFacts | undefined;
}

const secretsSchema = v.object({ accessToken: v.string(), refreshToken: v.optional(v.string()) });
type TokenSecrets = v.InferOutput<typeof secretsSchema>;

export class TokenObject extends DurableObject<Env> {
  readonly #store: TokenStore;
  readonly #authorizations: Authorizations;
  readonly #port: OAuthPort;
  #client: LoadedClient | undefined;
  #server: { readonly fingerprint: string; readonly until: number; readonly server: Server } | undefined;
  /** By generation, so that a token is decrypted once. */
  #opened: { readonly generation: number; readonly secrets: TokenSecrets } | undefined;
  #flight: Promise<Result<void>> | undefined;
  #failure: { readonly fault: Fault; readonly until: number } | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new TokenStore(ctx.storage.sql);
    this.#port = {
      fetch: (input, init) => wayOutOf(env).fetch(input, init),
      now: Date.now,
      randomId: () => toBase64Url(randomBytes(32)),
    };
    this.#authorizations = new Authorizations(env, ctx.storage, this.#store, this.#port, {
      load: (place) => this.#load(place, NEVER),
      server: (client) => this.#serverOf(client),
      save: (place, client, grant, actor) => this.#authorized(place, client, grant, actor),
    });
  }

  /**
   * @param seenAt when the connection was last changed, as far as the caller knows
   * @param refused the generation that was answered with 401
   */
  async token(place: Place, seenAt: number, refused?: number): Promise<Reply<GivenToken>> {
    return replyOf(await this.#token(place, seenAt, refused));
  }

  async #token(place: Place, seenAt: number, refused?: number): Promise<Result<GivenToken>> {
    const client = await this.#load(place, seenAt);
    if (!client.ok) return client;
    const held = this.#heldBy(client.value);
    const now = Date.now();
    if (held !== undefined && now < held.facts.expiresAt) {
      const { facts } = held;
      if (refused !== facts.generation) {
        // Whoever comes next in line gets the new one; this step need not wait for it.
        if (now >= facts.refreshAt && facts.problem === null) {
          this.ctx.waitUntil(this.#refresh(place, client.value, false));
        }
        return this.#give(place, held);
      }
      const settled = facts.forcedAt !== null && now - facts.forcedAt < LIMITS.oauthForcedRefreshMilliseconds;
      const renewable = facts.refreshable || !isInteractive(client.value.settings.grant);
      if (settled || !renewable || facts.problem !== null) return this.#give(place, held);
    }
    if (held !== undefined && held.facts.problem !== null) {
      return fail('connection.unauthorized', held.facts.problem);
    }
    const renewed = await this.#refresh(place, client.value, refused !== undefined);
    if (!renewed.ok) return renewed;
    const fresh = this.#heldBy(client.value);
    if (fresh === undefined) return fail('connection.unauthorized', `Authorize the connection ${place.name}.`);
    return this.#give(place, fresh);
  }

  async #give(place: Place, held: HeldTokens): Promise<Result<GivenToken>> {
    const secrets = await this.#open(place, held);
    if (!secrets.ok) return secrets;
    const { generation, refreshAt } = held.facts;
    const until = Math.min(refreshAt, Date.now() + LIMITS.oauthTokenMemoryMilliseconds);
    return ok({ token: secrets.value.accessToken, generation, until });
  }

  async #load(place: Place, seenAt: number): Promise<Result<LoadedClient>> {
    if (this.#client !== undefined && this.#client.updatedAt >= seenAt) return ok(this.#client);
    const loaded = await loadClient(this.env, place);
    this.#client = loaded.ok ? loaded.value : undefined;
    this.#failure = undefined;
    return loaded;
  }

  async #serverOf(client: LoadedClient): Promise<Result<Server>> {
    const known = this.#server;
    if (known?.fingerprint === client.fingerprint && Date.now() < known.until) return ok(known.server);
    const server = await findServer(client.settings, this.#port);
    if (server.ok) {
      const until = Date.now() + LIMITS.oauthMetadataMilliseconds;
      this.#server = { fingerprint: client.fingerprint, until, server: server.value };
    }
    return server;
  }

  #heldBy({ fingerprint }: LoadedClient): HeldTokens | undefined {
    const held = this.#store.tokens();
    return held?.facts.fingerprint === fingerprint ? held : undefined;
  }

  async #open(place: Place, { facts, sealed }: HeldTokens): Promise<Result<TokenSecrets>> {
    if (this.#opened?.generation === facts.generation) return ok(this.#opened.secrets);
    const vault = vaultOf(this.env);
    if (!vault.ok) return vault;
    const opened = await vault.value.open(tokenContext(place.tenant, place.name), sealed, READER);
    if (!opened.ok) return opened;
    const secrets = v.parse(secretsSchema, opened.value);
    this.#opened = { generation: facts.generation, secrets };
    return ok(secrets);
  }

  /** The one flight: whoever comes while it is under way waits for its end. */
  #refresh(place: Place, client: LoadedClient, forced: boolean): Promise<Result<void>> {
    if (this.#failure !== undefined && Date.now() < this.#failure.until) {
      return Promise.resolve({ ok: false, fault: this.#failure.fault });
    }
    this.#flight ??= this.#renew(place, client, forced)
      .catch((thrown: unknown): Result<void> => ({ ok: false, fault: faultOf(thrown) }))
      .then((result) => {
        this.#flight = undefined;
        this.#failure = !result.ok
          ? { fault: result.fault, until: Date.now() + LIMITS.oauthRetryMilliseconds }
          : undefined;
        return result;
      });
    return this.#flight;
  }

  async #renew(place: Place, client: LoadedClient, forced: boolean): Promise<Result<void>> {
    const before = this.#store.tokens()?.facts.generation;
    const held = this.#heldBy(client);
    const secrets = held === undefined ? ok(undefined) : await this.#open(place, held);
    if (!secrets.ok) return secrets;
    const refreshToken = secrets.value?.refreshToken;
    if (refreshToken === undefined && isInteractive(client.settings.grant)) {
      const why = held === undefined ? 'is not authorized yet' : 'has a token that expired and cannot be refreshed';
      return fail('connection.unauthorized', `The connection ${place.name} ${why}; authorize it.`);
    }
    const server = await this.#serverOf(client);
    if (!server.ok) return server;
    if (held !== undefined && refreshToken !== undefined) {
      this.#store.saveTokens({ ...held, facts: { ...held.facts, attemptAt: Date.now() } });
      // A reply must never be lost without a note that there may have been one.
      await this.ctx.storage.sync();
    }
    const granted = await this.#request(client, server.value, refreshToken);
    // Somebody may have authorized anew, or revoked, meanwhile; what this brought is of an older grant.
    if (this.#store.tokens()?.facts.generation !== before) return ok(undefined);
    if (granted.ok) return this.#save(place, client, granted.value, { held, refreshToken, forced });
    return held === undefined ? granted : this.#refused(place, client, held, granted.fault);
  }

  async #request(client: LoadedClient, server: Server, refreshToken: string | undefined): Promise<Result<TokenGrant>> {
    if (refreshToken === undefined) return requestByGrant(client, server, this.#port);
    const granted = await refreshGrant(client, server, this.#port, refreshToken);
    const isOver = !granted.ok && errorCodeOf(granted.fault) === 'invalid_grant';
    return isOver && !isInteractive(client.settings.grant) ? requestByGrant(client, server, this.#port) : granted;
  }

  /** In one write, on disk when it resolves. */
  async #save(
    place: Place,
    client: LoadedClient,
    grant: TokenGrant,
    from: {
      readonly held?: HeldTokens | undefined;
      readonly refreshToken?: string | undefined;
      readonly forced: boolean;
    },
  ): Promise<Result<void>> {
    const vault = vaultOf(this.env);
    if (!vault.ok) return vault;
    const before = this.#store.tokens();
    const refreshToken = grant.refreshToken ?? from.refreshToken;
    const secrets: TokenSecrets = {
      accessToken: grant.accessToken,
      ...(refreshToken !== undefined && { refreshToken }),
    };
    const sealed = await vault.value.seal(tokenContext(place.tenant, place.name), secrets);
    if (this.#store.tokens()?.facts.generation !== before?.facts.generation) return ok(undefined);
    const now = Date.now();
    const rotated = from.refreshToken !== undefined && refreshToken !== from.refreshToken ? 1 : 0;
    // Also after a revocation no number comes twice: isolates tell tokens by it.
    const generation = Math.max((before?.facts.generation ?? 0) + 1, now);
    const facts: TokenFacts = {
      generation,
      fingerprint: client.fingerprint,
      obtainedAt: now,
      ...timesOf(now, grant.lifetimeMilliseconds, Math.random()),
      scopes: grant.scopes === undefined ? (from.held?.facts.scopes ?? null) : [...grant.scopes],
      refreshable: refreshToken !== undefined,
      rotations: (from.held?.facts.rotations ?? 0) + rotated,
      attemptAt: null,
      forcedAt: from.forced ? now : null,
      problem: null,
      ...(refreshToken !== undefined && { renewal: renewalOf(place, client, grant, now) }),
    };
    this.#store.saveTokens({ facts, sealed });
    await this.#schedule();
    this.#opened = { generation, secrets };
    await this.ctx.storage.sync();
    return ok(undefined);
  }

  /** What the server's refusal of a refresh means for what is held. */
  async #refused(place: Place, client: LoadedClient, held: HeldTokens, why: Fault): Promise<Result<void>> {
    const isOver = errorCodeOf(why) === 'invalid_grant' && isInteractive(client.settings.grant);
    // Without a reply the server may have rotated the token: the note of the attempt stays.
    const attemptAt = why.code === 'oauth.unavailable' ? (held.facts.attemptAt ?? Date.now()) : null;
    if (!isOver) {
      if (held.facts.refreshable) this.#store.saveTokens({ ...held, facts: { ...held.facts, attemptAt } });
      return { ok: false, fault: why };
    }
    const interrupted = held.facts.attemptAt !== null;
    const reason = interrupted
      ? 'an earlier refresh was interrupted, and the server takes its repetition for a reuse'
      : held.facts.rotations > 0
        ? 'it expired, was revoked, or somebody else has used it'
        : 'it expired or was revoked';
    const problem = `The refresh token of ${place.name} was refused: ${reason}. Authorize the connection again.`;
    this.#store.saveTokens({ ...held, facts: { ...held.facts, attemptAt: null, problem } });
    await this.#audit(place, 'connection.refresh-refused', 'gateway', { interrupted });
    return fail('connection.unauthorized', problem);
  }

  async #authorized(place: Place, client: LoadedClient, grant: TokenGrant, actor: string): Promise<Result<void>> {
    const saved = await this.#save(place, client, grant, { forced: false });
    this.#failure = undefined;
    if (saved.ok) await this.#audit(place, 'connection.authorize', actor, { scopes: grant.scopes ?? [] });
    return saved;
  }

  /** The connection is authorized all the same where its line cannot be written. */
  async #audit(place: Place, action: string, actor: string, detail: Record<string, unknown>): Promise<void> {
    const audit = { at: Date.now(), actor, action, subject: place.name, detail: { tenant: place.tenant, ...detail } };
    await recordAction(this.env.DB, audit).catch((thrown: unknown) => {
      console.error(`audit ${action}`, thrown instanceof Error ? thrown.message : 'unknown');
    });
  }

  /** Never the token. */
  async status(place: Place): Promise<Reply<TokenStatus>> {
    const client = await this.#load(place, NEVER);
    if (!client.ok) return replyOf(client);
    const facts = this.#heldBy(client.value)?.facts;
    if (facts === undefined) {
      const state = this.#store.device() === undefined ? 'none' : 'pending';
      return { ok: true, value: { state, facts: undefined } };
    }
    const expired = Date.now() >= facts.expiresAt;
    const isOver = expired && !facts.refreshable && isInteractive(client.value.settings.grant);
    return {
      ok: true,
      value: { state: facts.problem !== null ? 'refused' : isOver ? 'expired' : 'authorized', facts },
    };
  }

  /** Forgets the tokens, whatever the server says; true where it was told and agreed. */
  async revoke(place: Place): Promise<Reply<{ readonly atServer: boolean }>> {
    await this.#flight;
    const atServer = await this.#revokeAtServer(place).catch(() => false);
    this.#store.removeTokens();
    this.#opened = undefined;
    await this.ctx.storage.deleteAlarm();
    return { ok: true, value: { atServer } };
  }

  async #revokeAtServer(place: Place): Promise<boolean> {
    const client = await this.#load(place, NEVER);
    const held = client.ok ? this.#heldBy(client.value) : undefined;
    if (!client.ok || held === undefined) return false;
    const [secrets, server] = await Promise.all([this.#open(place, held), this.#serverOf(client.value)]);
    if (!secrets.ok || !server.ok) return false;
    const { accessToken, refreshToken } = secrets.value;
    const kind = refreshToken === undefined ? 'access_token' : 'refresh_token';
    const revoked = await revokeToken(client.value, server.value, this.#port, refreshToken ?? accessToken, kind);
    return revoked.ok && revoked.value;
  }

  /** Wraps anew by the newest master key. False where there is nothing. */
  async rewrap(place: Place): Promise<Reply<boolean>> {
    const held = this.#store.tokens();
    const vault = vaultOf(this.env);
    if (!vault.ok) return replyOf(vault);
    if (held === undefined) return { ok: true, value: false };
    const sealed = await vault.value.rewrap(tokenContext(place.tenant, place.name), held.sealed);
    if (!sealed.ok) return replyOf(sealed);
    const now = this.#store.tokens();
    // What was written meanwhile was sealed by the newest key as well.
    if (now?.facts.generation === held.facts.generation) {
      this.#store.saveTokens({ facts: now.facts, sealed: sealed.value });
    }
    return { ok: true, value: true };
  }

  async begin(place: Place, request: Begin): Promise<Reply<Begun>> {
    return replyOf(await this.#authorizations.begin(place, request));
  }

  async complete(place: Place, callback: Callback): Promise<Reply<Completed>> {
    return replyOf(await this.#authorizations.complete(place, callback));
  }

  async startDevice(place: Place, actor: string): Promise<Reply<DeviceCode>> {
    return replyOf(await this.#authorizations.startDevice(place, actor));
  }

  isUsed(session: string): boolean {
    return this.#store.isUsed(session);
  }

  override async alarm(): Promise<void> {
    await this.#authorizations.pollDevice();
    await this.#renewIdle();
    await this.#schedule();
  }

  /** The questions about a device come more often, and schedule this when they end. */
  async #schedule(): Promise<void> {
    const { renewal, problem } = this.#store.tokens()?.facts ?? {};
    if (renewal === undefined || problem !== null || this.#store.device() !== undefined) return;
    await this.ctx.storage.setAlarm(Math.max(renewal.at, Date.now() + 1));
  }

  /** Uses a refresh token that no step has used for long. Any refresh moves the time on. */
  async #renewIdle(): Promise<void> {
    const { renewal } = this.#store.tokens()?.facts ?? {};
    if (renewal === undefined || Date.now() < renewal.at) return;
    const client = await this.#load(renewal, NEVER);
    const isTheirs = client.ok && this.#heldBy(client.value) !== undefined;
    const renewed = isTheirs ? await this.#refresh(renewal, client.value, false) : client;
    const now = this.#store.tokens();
    if (now?.facts.renewal === undefined || Date.now() < now.facts.renewal.at) return;
    // What is left failed: for now, or for good, as where the connection is gone or was changed.
    const mayPass = !renewed.ok && renewed.fault.retryable;
    const { renewal: _, ...facts } = now.facts;
    const later = { ...renewal, at: Date.now() + LIMITS.oauthRenewalRetryMilliseconds };
    this.#store.saveTokens({ ...now, facts: mayPass ? { ...facts, renewal: later } : facts });
  }
}

/** Only for what somebody would have to consent to again. */
function renewalOf(place: Place, client: LoadedClient, grant: TokenGrant, now: number): TokenFacts['renewal'] {
  const { grant: kind, renewIdleDays = LIMITS.oauthIdleDays } = client.settings;
  if (!isInteractive(kind)) return undefined;
  const at = renewalAt(now, grant.refreshLifetimeMilliseconds, renewIdleDays, Math.random());
  return { at, tenant: place.tenant, name: place.name };
}

function replyOf<T>(result: Result<T>): Reply<T> {
  if (result.ok) return { ok: true, value: result.value };
  const { code, message, detail, retryAfterMilliseconds } = result.fault;
  if (detail !== undefined) console.error(`oauth: ${code}`, message);
  return { ok: false, code, message, ...(retryAfterMilliseconds !== undefined && { retryAfterMilliseconds }) };
}
