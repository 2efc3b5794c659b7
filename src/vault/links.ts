/**
 * Signed links: to a decision, of which whoever has one may decide that step of that run, once; to a payload; to a
 * page that connects an account, once; and the way back from there.
 *
 * Guarantee: a link cannot be made or changed without a master key, opens only what it is for, and names the
 * step, the run and, where it was made for somebody, whom. Accepted weakness: it is a bearer link; who forwards
 * it, forwards the right.
 */

import { fromBase64, toBase64Url, utf8 } from './bytes.ts';
import { fail, ok, type Result } from '../core/errors.ts';

export interface Decidable {
  readonly run: string;
  /** The step in the journal of the run. */
  readonly step: number | string;
  /** For whom the link was made. */
  readonly to?: string;
}

/** A payload as an endpoint gets it. */
export interface LinkedPayload {
  readonly endpoint: string;
  /** The number of the message within its application. */
  readonly sequence: number;
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

export interface Links<What> {
  /** The token of a link: base64url of what it is for, a dot, its MAC. */
  sign(what: What): Promise<string>;
  verify(token: string): Promise<Result<What>>;
}

/** @param masterKeys as `TIDEGATE_MASTER_KEY`; the first signs, each verifies */
export const createLinks = (masterKeys: string | undefined): Result<Links<Decidable>> =>
  linksFor(masterKeys, 'tidegate approval link 1\n');

/** As {@link createLinks}; whether a link has expired is for the caller to see. */
export const createPayloadLinks = (masterKeys: string | undefined): Result<Links<LinkedPayload>> =>
  linksFor(masterKeys, 'tidegate payload link 1\n');

/** The `state` of an authorization (RFC 6749, section 10.12): it names what is under way, and says nothing of it. */
export interface AuthorizationState {
  readonly tenant: string;
  readonly connection: string;
  /** Of the authorization; known once, then forgotten. */
  readonly id: string;
}

/** What opens a connect page. */
export interface ConnectSession {
  readonly tenant: string;
  readonly connection: string;
  /** It starts one authorization. */
  readonly id: string;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  /** Scheme and host of the gateway: where the authorization server sends people back to. */
  readonly origin: string;
  /** Where people may go when it is done. */
  readonly returnUrl?: string;
  /** Who made the link, for the audit log. */
  readonly actor: string;
}

export const createStateLinks = (masterKeys: string | undefined): Result<Links<AuthorizationState>> =>
  linksFor(masterKeys, 'tidegate authorization state 1\n');

/** As {@link createLinks}; whether a session has expired is for the caller to see. */
export const createConnectLinks = (masterKeys: string | undefined): Result<Links<ConnectSession>> =>
  linksFor(masterKeys, 'tidegate connect session 1\n');

/** @param purpose what keeps a link of one kind from being taken for one of another */
function linksFor<What>(masterKeys: string | undefined, purpose: string): Result<Links<What>> {
  const secrets = (masterKeys ?? '')
    .split(',')
    .map((entry) => entry.trim().split(':')[1] ?? '')
    .filter((secret) => secret !== '')
    .reverse();
  const [newest] = secrets;
  if (newest === undefined) return fail('vault.closed', 'TIDEGATE_MASTER_KEY is not set, so no link can be signed.');
  return ok({
    async sign(what) {
      const text = toBase64Url(utf8(JSON.stringify(what)));
      const mac = await crypto.subtle.sign('HMAC', await keyOf(newest), utf8(purpose + text));
      return `${text}.${toBase64Url(new Uint8Array(mac))}`;
    },
    async verify(token) {
      const [text = '', mac = '', ...rest] = token.split('.');
      const bytes = fromBase64(mac, 'base64url');
      if (bytes !== undefined && rest.length === 0) {
        for (const secret of secrets) {
          if (await crypto.subtle.verify('HMAC', await keyOf(secret), bytes, utf8(purpose + text))) {
            return ok(JSON.parse(new TextDecoder().decode(fromBase64(text, 'base64url'))) as What);
          }
        }
      }
      return fail('auth.invalid', 'This link is not valid.');
    },
  });
}

const keyOf = (secret: string): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', utf8(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
