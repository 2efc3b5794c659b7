/**
 * Who asks, and as what.
 *
 * Guarantee: nothing of the management API is done, nor told to exist, without a credential: the admin key, a
 * management token, or the token of a person who has a role. Without a configured key and way to sign in it is
 * closed. A browser's request from another site is refused whatever it brings. Tokens and roles are looked up
 * for each request, so that taking one away is at once, everywhere.
 * Wrong credentials are limited for each address, and never slow a right one.
 * Accepted weakness: each isolate limits for itself. The admin key is an owner, so that there is a way in when all others fail; its 256 bits are
 * what makes guessing hopeless, so whoever sets it must not choose a short one.
 */

import type { ControlPorts } from './ports.ts';
import type { Principal } from './principal.ts';
import type { TokenRule } from '../core/route/auth.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { Failures } from '../core/policy/failures.ts';
import { addressOf, type Trust } from '../runtime/address.ts';
import { findPerson, managementTokenByHash } from '../store/people.ts';
import { hashKey, looksLikeManagementToken } from '../vault/api-key.ts';
import { equalSecrets } from '../vault/compare.ts';
import { knownToken, verifyToken, type VerifiedToken } from '../vault/token.ts';

type Ports = Pick<ControlPorts, 'adminKey' | 'signIn' | 'db' | 'now'>;

export const newFailures = (): Failures =>
  new Failures({
    burst: LIMITS.wrongKeysBurst,
    periodMilliseconds: LIMITS.wrongKeyMilliseconds,
    addresses: LIMITS.wrongKeyAddresses,
  });

export async function principalOf(
  request: Request,
  env: Trust,
  ports: Ports,
  failures: Failures,
): Promise<Result<Principal>> {
  const { oidc, access } = ports.signIn;
  if ((ports.adminKey ?? '') === '' && oidc === undefined && access === undefined) {
    return fail('auth.closed', 'There is no admin key. Set TIDEGATE_ADMIN_KEY to a long random text and start again.');
  }
  const { headers } = request;
  const found = await identify(headers, ports);
  if (!found.ok && found.fault.code === 'auth.invalid') {
    const retryAfterMilliseconds = failures.note(addressOf({ request, headers, env }), ports.now());
    if (retryAfterMilliseconds !== undefined) {
      return fail('auth.limited', 'Too many wrong credentials came from there.', { retryAfterMilliseconds });
    }
  }
  if (found.ok && isCrossSite(request)) {
    return fail('auth.forbidden', 'The management API takes no requests from pages of other sites.');
  }
  return found;
}

async function identify(headers: Headers, ports: Ports): Promise<Result<Principal>> {
  const { adminKey = '', signIn } = ports;
  const header = headers.get('authorization');
  const assertion = headers.get('cf-access-jwt-assertion');
  if (header === null) {
    return signIn.access !== undefined && assertion !== null
      ? personOf(assertion, 'access', signIn.access, ports)
      : fail('auth.missing', 'Send "Authorization: Bearer" with the admin key, a management token or your own token.');
  }
  const presented = /^Bearer +([^\s]+) *$/i.exec(header)?.[1];
  if (presented === undefined) return unknown;
  if (adminKey !== '' && (await equalSecrets(presented, adminKey))) return ok({ actor: 'admin', role: 'owner' });
  if (looksLikeManagementToken(presented)) return holderOf(presented, ports);
  const isToken = presented.split('.', 4).length === 3;
  return isToken && signIn.oidc !== undefined ? personOf(presented, 'oidc', signIn.oidc, ports) : unknown;
}

const unknown = fail('auth.invalid', 'This is neither the admin key of TIDEGATE_ADMIN_KEY nor a management token.');

async function holderOf(presented: string, { db, now }: Ports): Promise<Result<Principal>> {
  const row = await managementTokenByHash(db, await hashKey(presented));
  if (row === undefined) return unknown;
  if (row.expiresAt !== null && row.expiresAt <= now())
    return fail('auth.invalid', 'The management token has expired.');
  return ok({ actor: `token:${row.id}`, role: row.role });
}

async function personOf(
  token: string,
  provider: 'oidc' | 'access',
  rule: TokenRule,
  { signIn: { keys }, db }: Ports,
): Promise<Result<Principal>> {
  const known = knownToken(token, rule, keys.now());
  const verified =
    known === undefined ? await verifyToken(token, rule, { ...keys, sharedSecrets: async () => ok([]) }) : ok(known);
  if (!verified.ok) return verified;
  const subject = `${provider}|${verified.value.subject}`;
  const email = emailOf(verified.value, provider);
  const person = await findPerson(db, subject, email);
  if (person === undefined) {
    const who = email === undefined ? subject : `${subject} (${email})`;
    return fail('auth.forbidden', `${who} has no role here; an owner can give one at /_/api/v1/people.`);
  }
  return ok({ actor: `person:${email ?? subject}`, role: person.role });
}

/** Of OpenID providers some let people write any address; Access has proved it. */
function emailOf({ claims }: VerifiedToken, provider: 'oidc' | 'access'): string | undefined {
  const { email, email_verified: proved } = claims;
  return typeof email === 'string' && (provider === 'access' || proved === true) ? email : undefined;
}

/** Browsers say where a request comes from; other clients send neither header. */
function isCrossSite(request: Request): boolean {
  const site = request.headers.get('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  const origin = request.headers.get('origin');
  // Only the host: a proxy in front may have ended TLS.
  return origin !== null && URL.parse(origin)?.host !== new URL(request.url).host;
}
