/**
 * Signed tokens (JWT, RFC 7519), held to a rule.
 *
 * Guarantee: the rule decides on algorithm, issuer, audience and key. Of the token's own header only `alg` and
 * `kid` are read, and only to choose among what the rule allows: `jwk`, `jku` and `x5u` mean nothing, and `none`
 * is no algorithm. A token expires, always.
 * Accepted weakness: a token that was verified is believed without another look at the keys for
 * `tokenMemoryMilliseconds`, or until it expires; a token cannot be revoked by itself.
 */

import {
  errors,
  jwtVerify,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  type JWTVerifyResult,
} from 'jose';
import { Generations } from './generations.ts';
import { keySetOf, newerKeySetOf, type KeyPort } from './jwks.ts';
import type { TokenRule } from '../core/route/auth.ts';
import { fail, FaultError, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

export interface VerifiedToken {
  /** `sub`, or who else the token was made for. */
  readonly subject: string;
  readonly tenant: string | undefined;
  readonly scopes: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
  /** Unix milliseconds, up to which it needs no other look. */
  readonly until: number;
}

export interface TokenPort extends KeyPort {
  /** The secrets of an API key, for rules with a shared key; a second one while it is rotated. */
  sharedSecrets(key: string): Promise<Result<readonly Uint8Array[]>>;
}

/** By rule: it goes when the configuration that it stands in goes. */
const verified = new WeakMap<TokenRule, Generations<VerifiedToken>>();

/** What is known of a token that this isolate has verified. */
export function knownToken(token: string, rule: TokenRule, now: number): VerifiedToken | undefined {
  const known = verified.get(rule)?.get(token);
  return known !== undefined && now < known.until ? known : undefined;
}

/** Faults `auth.invalid`, `auth.forbidden` (a claim that the rule demands), `auth.unavailable`. */
export async function verifyToken(token: string, rule: TokenRule, port: TokenPort): Promise<Result<VerifiedToken>> {
  if (token.length > LIMITS.tokenCharacters) {
    return fail('auth.invalid', `A token has at most ${LIMITS.tokenCharacters} characters.`);
  }
  const now = port.now();
  const checked = await check(token, rule, port, now);
  if (!checked.ok) return checked;
  const { payload } = checked.value;
  const subject = subjectOf(payload);
  if (subject === undefined) return fail('auth.invalid', 'The token names nobody: it has no "sub".');
  for (const [name, values] of rule.requiredClaims) {
    const given: readonly unknown[] = Object.hasOwn(payload, name) ? [payload[name]].flat() : [];
    const met = values === undefined ? given.length > 0 : values.some((value) => given.includes(value));
    if (!met) return fail('auth.forbidden', `The claim "${name}" of the token is not one that is let in here.`);
  }
  const tenant = rule.tenantClaim === undefined ? undefined : textOf(payload, rule.tenantClaim);
  if (rule.tenantClaim !== undefined && tenant === undefined) {
    return fail('auth.forbidden', `The token has no "${rule.tenantClaim}", which says for whom it is.`);
  }
  const expiresAt = (payload.exp ?? 0) * 1000 + rule.clockToleranceSeconds * 1000;
  const until = Math.min(expiresAt, now + LIMITS.tokenMemoryMilliseconds);
  const value: VerifiedToken = { subject, tenant, scopes: scopesOf(payload), claims: payload, until };
  // Its secret goes with an API key, which may be revoked at once; and to check it costs little.
  if (rule.sharedKey !== undefined) return ok(value);
  let memory = verified.get(rule);
  if (memory === undefined) verified.set(rule, (memory = new Generations(LIMITS.tokensInMemory)));
  memory.set(token, value);
  return ok(value);
}

async function check(token: string, rule: TokenRule, port: TokenPort, now: number): Promise<Result<JWTVerifyResult>> {
  const options = {
    algorithms: [...rule.algorithms],
    issuer: rule.issuer,
    audience: [...rule.audience],
    clockTolerance: rule.clockToleranceSeconds,
    currentDate: new Date(now),
    requiredClaims: ['exp'],
  };
  try {
    if (rule.sharedKey !== undefined) {
      const secrets = await port.sharedSecrets(rule.sharedKey);
      return secrets.ok ? ok(await verifyByAny(token, secrets.value, options)) : secrets;
    }
    return ok(await jwtVerify(token, keyOf(rule, port), options));
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    return fail('auth.invalid', reasonOf(thrown));
  }
}

async function verifyByAny(
  token: string,
  [first, second]: readonly Uint8Array[],
  options: JWTVerifyOptions,
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, first ?? new Uint8Array(), options);
  } catch (thrown) {
    if (second === undefined || !(thrown instanceof errors.JWSSignatureVerificationFailed)) throw thrown;
    return jwtVerify(token, second, options);
  }
}

const keyOf =
  (rule: TokenRule, port: TokenPort): JWTVerifyGetKey =>
  async (header, jws) => {
    const set = await keySetOf(rule, port);
    if (!set.ok) throw new FaultError(set.fault);
    try {
      return await set.value(header, jws);
    } catch (thrown) {
      if (!(thrown instanceof errors.JWKSNoMatchingKey)) throw thrown;
      // The issuer may have begun to sign with a new key.
      const newer = await newerKeySetOf(rule, port);
      if (newer === undefined || newer === set.value) throw thrown;
      return newer(header, jws);
    }
  };

/** In words of ours: a library's may quote the token. */
function reasonOf(thrown: unknown): string {
  if (thrown instanceof errors.JWTExpired) return 'The token has expired.';
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    return thrown.reason === 'missing'
      ? `The token has no "${thrown.claim}".`
      : `The claim "${thrown.claim}" of the token is not the right one.`;
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) return 'The algorithm of the token is not allowed here.';
  if (thrown instanceof errors.JWKSNoMatchingKey) return 'The token is signed by a key that its issuer does not have.';
  if (thrown instanceof errors.JWKSMultipleMatchingKeys) return 'The token does not say which key signed it.';
  if (thrown instanceof errors.JWSSignatureVerificationFailed) return 'The signature of the token is not right.';
  return 'The token cannot be read.';
}

/** A client's own token has no person; Cloudflare Access leaves `sub` empty in that of a service. */
const subjectOf = (payload: JWTPayload): string | undefined =>
  ['sub', 'common_name', 'client_id', 'azp'].map((name) => textOf(payload, name)).find((found) => found !== undefined);

function textOf(payload: JWTPayload, name: string): string | undefined {
  const value = Object.hasOwn(payload, name) ? payload[name] : undefined;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** RFC 8693, section 4.2, and the list that others call `scp`. */
function scopesOf(payload: JWTPayload): readonly string[] {
  const given = payload['scope'] ?? payload['scp'];
  if (typeof given === 'string') return given.split(' ').filter((scope) => scope !== '');
  return Array.isArray(given) ? given.filter((scope) => typeof scope === 'string') : [];
}
