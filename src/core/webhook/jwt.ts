/**
 * Proof by a JSON Web Token.
 *
 * Guarantee: the token is signed by one of the allowed algorithms with a key of the named key set, for
 * this audience, by this issuer, and is in its time. `none` and algorithms of another kind are refused.
 * Accepted weakness: the body is proven only where a claim holds its hash.
 */

import { decodeProtectedHeader, errors, importJWK, jwtVerify, type JWTPayload } from 'jose';
import * as v from 'valibot';
import { decodeExactly, equalInConstantTime, hash, utf8 } from './encoding.ts';
import { queryContent } from './form.ts';
import { unverified, type Prover } from './proof.ts';
import { remote } from './remote.ts';
import { nameOf, textAt, valuesAt, type Reading } from './request.ts';
import type { JwtKeys, JwtScheme } from './scheme.ts';
import { isNear } from './timestamp.ts';
import { ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { parseKeySet, type KeySet } from '../public-keys.ts';

/** The claims of a token whose signature and registered claims are right; undefined for any other. */
type Verify = (token: string, reading: Reading) => Promise<Result<JWTPayload | undefined>>;
type KeyInput = Parameters<typeof jwtVerify>[1] | KeySet;

export function prepareJwt(scheme: JwtScheme, secrets: readonly string[]): Result<Prover> {
  const { token: place, prefix } = scheme;
  const verify = verifierOf(scheme, scheme.keys, secrets);
  return ok(async (reading) => {
    const text = textAt(place, reading);
    if (text === undefined) return unverified(`${nameOf(place)} is missing.`);
    const token = text.slice(prefix.length);
    if (!text.startsWith(prefix) || !isExact(token)) {
      return unverified(`${nameOf(place)} is malformed; it must hold "${prefix}<token>".`);
    }
    const verified = await verify(token, reading);
    if (!verified.ok) return verified;
    const claims = verified.value;
    if (claims === undefined) return unverified('The token is not valid: its signature, issuer, audience or time.');
    const reason = await mistakeIn(claims, scheme, reading);
    if (reason !== undefined) return unverified(reason);
    // Without the signature, of which ECDSA has two that are right.
    return ok({ id: '', content: utf8(token.slice(0, token.lastIndexOf('.'))), key: undefined });
  });
}

/** Three parts in their one spelling: a changed spare bit is a changed token. */
function isExact(token: string): boolean {
  if (token.length > LIMITS.webhookTokenCharacters) return false;
  const parts = token.split('.', 4);
  return parts.length === 3 && parts.every((part) => decodeExactly(part, 'base64url') !== undefined);
}

async function mistakeIn(claims: JWTPayload, scheme: JwtScheme, reading: Reading): Promise<string | undefined> {
  const { request } = reading;
  for (const [name, value] of Object.entries(scheme.claims ?? {})) {
    if (claims[name] !== value) return `The claim ${name} of the token is another.`;
  }
  if (scheme.maximumAgeSeconds !== undefined) {
    const issued = (claims.iat ?? Number.NaN) * 1000;
    if (!isNear(issued, request.nowMilliseconds, scheme.maximumAgeSeconds)) {
      return `The token is outside the tolerance of ${scheme.maximumAgeSeconds} s.`;
    }
  }
  const says = (name: string, expected: string): boolean => {
    const claim = claims[name];
    return typeof claim === 'string' && equalInConstantTime(expected, claim);
  };
  if (scheme.bodyHashClaim !== undefined && !says(scheme.bodyHashClaim, await hash(request.body))) {
    return `The claim ${scheme.bodyHashClaim} of the token is not the hash of the body.`;
  }
  if (scheme.requestHash !== undefined) {
    const { claim, basePath } = scheme.requestHash;
    const canonical = atlassianRequest(request.method, request.url, basePath);
    if (canonical === undefined || !says(claim, await hash(utf8(canonical)))) {
      return `The claim ${claim} of the token is not the hash of method, path and query.`;
    }
  }
  return undefined;
}

/** https://developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps/, "query string hash" */
function atlassianRequest(method: string, url: string, basePath: string): string | undefined {
  const path = URL.parse(url)?.pathname;
  const query = queryContent(url, 'jwt', 'atlassian');
  if (path === undefined || query === undefined || !path.startsWith(basePath)) return undefined;
  const relative = path.slice(basePath.length).replace(/\/+$/, '');
  return `${method.toUpperCase()}&${relative === '' ? '/' : relative.replaceAll('&', '%26')}&${query}`;
}

function verifierOf(scheme: JwtScheme, keys: JwtKeys, secrets: readonly string[]): Verify {
  if (keys.from === 'secret') return bySecrets(scheme, secrets);
  return keys.from === 'jwks' ? byKeySet(scheme, keys.url) : byLookup(scheme, keys, secrets);
}

const bySecrets =
  (scheme: JwtScheme, secrets: readonly string[]): Verify =>
  async (token, reading) => {
    for (const secret of secrets) {
      const claims = await claimsOf(scheme, token, utf8(secret), reading);
      if (claims !== undefined) return ok(claims);
    }
    return ok(undefined);
  };

/** A key that is not in the set that is kept may be in a newer one. */
function byKeySet(scheme: JwtScheme, url: string): Verify {
  const sets = remote(async (text) => parseKeySet(text));
  return async (token, reading) => {
    for (const anew of [false, true]) {
      const set = await sets.get(url, url, reading, undefined, anew);
      if (!set.ok) return set;
      try {
        return ok(await claimsOf(scheme, token, set.value, reading));
      } catch {
        continue;
      }
    }
    return ok(undefined);
  };
}

const KEY_ID = /^[A-Za-z0-9_-]{1,128}$/;
const jwk = v.looseObject({ kty: v.string(), expired_at: v.optional(v.null()) });

function byLookup(scheme: JwtScheme, keys: Extract<JwtKeys, { from: 'lookup' }>, secrets: readonly string[]): Verify {
  const found = remote(async (text) => {
    const json = v.safeParse(v.pipe(v.string(), v.parseJson()), text);
    const parsed = v.safeParse(jwk, json.success ? valuesAt(json.output, keys.member)[0] : undefined);
    return parsed.success ? importJWK(parsed.output, scheme.algorithms[0]).catch(() => undefined) : undefined;
  });
  const fill = (text: string, kid: string, secret: string): string =>
    text === '{kid}' ? kid : text === '{secret}' ? secret : text;
  return async (token, reading) => {
    const kid = keyIdOf(token);
    if (kid === undefined) return ok(undefined);
    let last: Result<undefined> = ok(undefined);
    for (const secret of secrets) {
      const body = Object.fromEntries(Object.entries(keys.body).map(([name, text]) => [name, fill(text, kid, secret)]));
      const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
      const key = await found.get(kid, keys.url, reading, init);
      if (key.ok) return ok(await claimsOf(scheme, token, key.value, reading));
      last = key;
    }
    return last;
  };
}

function keyIdOf(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token);
    return kid !== undefined && KEY_ID.test(kid) ? kid : undefined;
  } catch {
    return undefined;
  }
}

/** @throws JWKSNoMatchingKey where the set has no such key */
async function claimsOf(
  scheme: JwtScheme,
  token: string,
  key: KeyInput,
  reading: Reading,
): Promise<JWTPayload | undefined> {
  const options = {
    algorithms: [...scheme.algorithms],
    currentDate: new Date(reading.request.nowMilliseconds),
    clockTolerance: LIMITS.webhookClockSkewSeconds,
    requiredClaims: [scheme.maximumAgeSeconds === undefined ? 'exp' : 'iat'],
    ...(scheme.issuers !== undefined && { issuer: [...scheme.issuers] }),
    ...(scheme.audiences !== undefined && { audience: [...scheme.audiences] }),
  };
  try {
    // The two overloads take a key and a function that finds one.
    const { payload } =
      typeof key === 'function' ? await jwtVerify(token, key, options) : await jwtVerify(token, key, options);
    return payload;
  } catch (thrown) {
    if (thrown instanceof errors.JWKSNoMatchingKey) throw thrown;
    return undefined;
  }
}
