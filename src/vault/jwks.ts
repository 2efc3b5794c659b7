/**
 * The public keys of token issuers, in isolate memory.
 *
 * Guarantee: an issuer is asked at most once in `jwksCooldownMilliseconds`, whatever tokens come in; while it
 * does not answer its last keys are used, for `jwksStaleLongestMilliseconds` at most. Secret keys in a key set
 * are left out, so that none can verify.
 * Accepted weakness: a key that an issuer withdrew verifies until the next look.
 */

import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import * as v from 'valibot';
import { readChunks } from '../core/bytes.ts';
import { isSafeUrl, type TokenRule } from '../core/route/auth.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

export type KeySet = ReturnType<typeof createLocalJWKSet>;

/** What reading keys needs of the world. */
export interface KeyPort {
  readonly fetch: typeof fetch;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Lets work go on after the response. */
  waitUntil(work: Promise<unknown>): void;
}

interface Issuer {
  keys: KeySet | undefined;
  readAt: number;
  /** Start of the last attempt, and when a running one is given up. */
  triedAt: number;
  loadingUntil: number;
  reason: string;
}

const issuers = new Map<string, Issuer>();
const POLL_MILLISECONDS = 10;

const issuerOf = ({ issuer, jwksUrl }: TokenRule): Issuer => {
  const id = `${issuer} ${jwksUrl ?? ''}`;
  let known = issuers.get(id);
  if (known === undefined) {
    if (issuers.size >= LIMITS.issuersInMemory) issuers.clear();
    known = { keys: undefined, readAt: 0, triedAt: 0, loadingUntil: 0, reason: 'its keys have not been read' };
    issuers.set(id, known);
  }
  return known;
};

/** Waits for the issuer only where this isolate has no usable keys of it. Fault `auth.unavailable`. */
export async function keySetOf(rule: TokenRule, port: KeyPort): Promise<Result<KeySet>> {
  const issuer = issuerOf(rule);
  const age = port.now() - issuer.readAt;
  if (issuer.keys !== undefined && age < LIMITS.jwksStaleLongestMilliseconds) {
    if (age >= LIMITS.jwksFreshMilliseconds && mayAsk(issuer, port.now())) port.waitUntil(load(issuer, rule, port));
    return ok(issuer.keys);
  }
  // Promises belong to the request that made them, so others look until it is done.
  while (port.now() < issuer.loadingUntil) await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  if (port.now() - issuer.readAt >= LIMITS.jwksStaleLongestMilliseconds && mayAsk(issuer, port.now())) {
    await load(issuer, rule, port);
  }
  const usable = port.now() - issuer.readAt < LIMITS.jwksStaleLongestMilliseconds;
  if (issuer.keys !== undefined && usable) return ok(issuer.keys);
  const retryAfterMilliseconds = Math.max(1, issuer.triedAt + LIMITS.jwksCooldownMilliseconds - port.now());
  const message = `The keys of ${rule.issuer} cannot be read at the moment.`;
  return fail('auth.unavailable', message, { retryAfterMilliseconds, detail: issuer.reason });
}

/** For a key that is not in the set: the keys after another look, where it is time for one. */
export async function newerKeySetOf(rule: TokenRule, port: KeyPort): Promise<KeySet | undefined> {
  const issuer = issuerOf(rule);
  if (mayAsk(issuer, port.now())) await load(issuer, rule, port);
  return issuer.keys;
}

const mayAsk = (issuer: Issuer, now: number): boolean => now - issuer.triedAt >= LIMITS.jwksCooldownMilliseconds;

async function load(issuer: Issuer, rule: TokenRule, port: KeyPort): Promise<void> {
  issuer.triedAt = port.now();
  issuer.loadingUntil = issuer.triedAt + 2 * LIMITS.jwksTimeoutMilliseconds;
  const reading = readKeys(rule, port);
  // Who asked may go away meanwhile; others wait for the keys.
  port.waitUntil(reading);
  const keys = await reading;
  if (keys.ok) {
    issuer.keys = keys.value;
    issuer.readAt = port.now();
  } else {
    issuer.reason = keys.fault.message;
    console.error(`keys of ${rule.issuer}`, keys.fault.message);
  }
  issuer.loadingUntil = 0;
}

const discovered = v.object({ issuer: v.string(), jwks_uri: v.string() });
const published = v.object({ keys: v.array(v.looseObject({ kty: v.string() })) });
const PUBLIC_TYPES: ReadonlySet<string> = new Set(['RSA', 'EC', 'OKP']);

async function readKeys(rule: TokenRule, port: KeyPort): Promise<Result<KeySet>> {
  const url = rule.jwksUrl === undefined ? await discover(rule.issuer, port) : ok(rule.jwksUrl);
  if (!url.ok) return url;
  const found = await readJson(url.value, port);
  if (!found.ok) return found;
  const parsed = v.safeParse(published, found.value);
  if (!parsed.success) return unreadable(`${url.value} is no key set`);
  const keys = parsed.output.keys.filter(({ kty }) => PUBLIC_TYPES.has(kty));
  return ok(createLocalJWKSet({ keys } satisfies JSONWebKeySet));
}

/** OpenID Connect Discovery 1.0, section 4. */
async function discover(issuer: string, port: KeyPort): Promise<Result<string>> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const found = await readJson(url, port);
  if (!found.ok) return found;
  const parsed = v.safeParse(discovered, found.value);
  if (!parsed.success) return unreadable(`${url} is no OpenID configuration`);
  // Section 4.3: otherwise one issuer could answer for another.
  if (parsed.output.issuer !== issuer) return unreadable(`${url} names another issuer`);
  return isSafeUrl(parsed.output.jwks_uri)
    ? ok(parsed.output.jwks_uri)
    : unreadable('its jwks_uri is no https address');
}

const unreadable = (message: string): Result<never> => fail('auth.unavailable', message);

async function readJson(url: string, port: KeyPort): Promise<Result<unknown>> {
  try {
    const signal = AbortSignal.timeout(LIMITS.jwksTimeoutMilliseconds);
    const response = await port.fetch(url, { headers: { accept: 'application/json' }, redirect: 'manual', signal });
    if (response.status !== 200) {
      await response.body?.cancel();
      return unreadable(`${url} answered ${response.status}`);
    }
    const bytes = await readChunks(response.body, LIMITS.jwksBytes);
    if (bytes === undefined) return unreadable(`${url} answered more than ${LIMITS.jwksBytes} bytes`);
    return ok(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (thrown) {
    return unreadable(`${url} did not answer with JSON (${thrown instanceof Error ? thrown.message : 'unknown'})`);
  }
}
