/** What an authorization server answers, and for how long it is good. */

import * as v from 'valibot';
import { fail, fault, ok, type Fault, type Result } from '../errors.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

export interface TokenGrant {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** As granted, where the server says so. */
  readonly scopes: readonly string[] | undefined;
  readonly lifetimeMilliseconds: number | undefined;
  /** Of the refresh token, where the server says so. */
  readonly refreshLifetimeMilliseconds?: number | undefined;
}

/** What may stand in a header (RFC 6750, section 2.1 allows less, vendors send more). */
const TOKEN = v.pipe(v.string(), v.regex(/^[\x21-\x7e]+$/), v.maxLength(LIMITS.oauthTokenCharacters));
/** Slack has `bot` and `user`; a token that is bound to a key would be of no use as a bearer's. */
const BEARER_TYPES: ReadonlySet<string> = new Set(['bearer', 'bot', 'user', 'n_a']);

const SECONDS = v.optional(
  v.nullable(v.union([v.pipe(v.number(), v.minValue(0)), v.pipe(v.string(), v.regex(/^\d+$/), v.toNumber())])),
);

const replySchema = v.object({
  access_token: TOKEN,
  refresh_token: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.oauthTokenCharacters))),
  token_type: v.optional(v.string()),
  expires_in: SECONDS,
  /** Of Keycloak, and of GitHub and Microsoft. */
  refresh_expires_in: SECONDS,
  refresh_token_expires_in: SECONDS,
  scope: v.optional(v.nullable(v.string())),
});

/**
 * The fields of a reply, also where it is a form, as GitHub's are without an `Accept` header.
 * Undefined for what is neither.
 */
export function fieldsOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return isObject(json) ? json : undefined;
  } catch {
    return /^[\w.~%+-]+=/.test(text) ? Object.fromEntries(new URLSearchParams(text)) : undefined;
  }
}

/** RFC 6749, section 5.2, also inside a 200; of Slack `ok: false`. Undefined where it is no error. */
export function errorOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { error, ok: fine } = fields;
  if (typeof error === 'string' && error !== '') return error;
  if (isObject(error)) return 'server_error';
  return fine === false ? 'server_error' : undefined;
}

/** Never quotes the reply: it may hold a token. */
export function readGrant(host: string, fields: Readonly<Record<string, unknown>>): Result<TokenGrant> {
  const parsed = v.safeParse(replySchema, fields);
  if (!parsed.success) {
    const field = parsed.issues[0].path?.[0]?.key;
    return fail('oauth.failed', `${host} answered without a usable ${typeof field === 'string' ? field : 'token'}.`);
  }
  const { access_token, refresh_token, token_type, expires_in, scope } = parsed.output;
  const refreshSeconds = parsed.output.refresh_expires_in ?? parsed.output.refresh_token_expires_in;
  if (token_type !== undefined && !BEARER_TYPES.has(token_type.toLowerCase())) {
    return fail('oauth.failed', `${host} gave a token that is not for bearers; ask it for a Bearer token.`);
  }
  const scopes = scope?.split(/[ ,]+/).filter((part) => part !== '');
  return ok({
    accessToken: access_token,
    refreshToken: refresh_token,
    scopes,
    // Some say 0 for a token that does not expire.
    lifetimeMilliseconds: expires_in ? expires_in * 1000 : undefined,
    refreshLifetimeMilliseconds: refreshSeconds ? refreshSeconds * 1000 : undefined,
  });
}

/** What of an error code may be shown: those of the specifications and vendors are such words. */
const shownError = (error: string): string => (/^[a-z0-9_.-]{1,64}$/i.test(error) ? error : 'an error');

const TEMPORARY: ReadonlySet<string> = new Set(['server_error', 'temporarily_unavailable', 'slow_down']);

/** The fault for an error of an authorization server; its description is its own, and stays in the log. */
export function errorFault(host: string, error: string, status: number, detail?: unknown): Fault {
  const extra = { data: { error: shownError(error), status }, ...(detail !== undefined && { detail }) };
  if (status === 429 || status >= 500 || TEMPORARY.has(error)) {
    return fault('oauth.unavailable', `${host} is not able to give a token now: ${shownError(error)}.`, extra);
  }
  return fault('oauth.failed', `${host} refused: ${shownError(error)}.`, extra);
}

/** Of a fault by {@link errorFault}. */
export const errorCodeOf = ({ data }: Fault): string | undefined =>
  isObject(data) && typeof data['error'] === 'string' ? data['error'] : undefined;

export interface Times {
  /** From here on a step brings about a refresh, and uses the old token meanwhile. Unix milliseconds. */
  readonly refreshAt: number;
  /** From here on it is not used. */
  readonly expiresAt: number;
}

/**
 * When a token is renewed: ahead by a fifth of its life and five minutes at most, and up to half as much again
 * or less, so that many connections of one age do not come at once.
 *
 * @param random from 0 to 1
 */
export function timesOf(now: number, lifetimeMilliseconds: number | undefined, random: number): Times {
  if (lifetimeMilliseconds === undefined) return { refreshAt: NEVER, expiresAt: NEVER };
  const ahead = Math.min(lifetimeMilliseconds / 5, LIMITS.oauthRefreshAheadMilliseconds);
  const skew = Math.min(lifetimeMilliseconds / 10, LIMITS.oauthClockSkewMilliseconds);
  return {
    refreshAt: Math.round(now + lifetimeMilliseconds - ahead * (0.75 + random / 2)),
    expiresAt: Math.round(now + lifetimeMilliseconds - skew),
  };
}

/** A server that names no lifetime: the token is good until it is refused. */
export const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * When a refresh token is used though no step needs it, so that it does not expire unused: after the idle days, or
 * ahead of the end that its server named, by a fifth of its life and a day at most.
 *
 * @param random from 0 to 1
 */
export function renewalAt(
  now: number,
  lifetimeMilliseconds: number | undefined,
  idleDays: number,
  random: number,
): number {
  const idle = idleDays * 24 * 3_600_000;
  const life = lifetimeMilliseconds ?? Infinity;
  const ahead = Math.min(life / 5, LIMITS.oauthRenewalAheadMilliseconds);
  // Spread to the early side: connections of one age do not come at once, and none comes late.
  return Math.round(now + Math.min(idle * (1 - random / 10), life - ahead * (1 + random)));
}
