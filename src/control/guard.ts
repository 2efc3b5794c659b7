/**
 * Guarantee: nothing of the management API is done, nor told to exist, without the admin key; without a
 * configured key it is closed. A browser's request from another site is refused even with the key.
 * Wrong keys are limited for each address, and never slow a right one.
 * Accepted weakness: one key opens everything. Each isolate limits for itself, and a guess that is right is let
 * in: its 256 bits are what makes guessing hopeless, so the owner must not choose a short one.
 */

import { fault, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { Failures, networkOf } from '../core/policy/failures.ts';
import { equalSecrets } from '../vault/compare.ts';

export const newFailures = (): Failures =>
  new Failures({
    burst: LIMITS.wrongKeysBurst,
    periodMilliseconds: LIMITS.wrongKeyMilliseconds,
    addresses: LIMITS.wrongKeyAddresses,
  });

/**
 * The reason to refuse, or undefined.
 * @param now unix milliseconds
 */
export async function refusal(
  request: Request,
  adminKey: string | undefined,
  failures: Failures,
  now: number,
): Promise<Fault | undefined> {
  if (adminKey === undefined || adminKey === '') {
    return fault('auth.closed', 'There is no admin key. Set TIDEGATE_ADMIN_KEY to a long random text and start again.');
  }
  const header = request.headers.get('authorization');
  if (header === null) return fault('auth.missing', 'Send the admin key: "Authorization: Bearer <admin key>".');
  const [, presented] = /^Bearer +([^\s]+) *$/i.exec(header) ?? [];
  if (presented === undefined || !(await equalSecrets(presented, adminKey))) {
    const retryAfterMilliseconds = failures.note(addressOf(request), now);
    if (retryAfterMilliseconds === undefined) {
      return fault('auth.invalid', 'The admin key is not the one of TIDEGATE_ADMIN_KEY.');
    }
    return fault('auth.limited', 'Too many wrong admin keys came from there.', { retryAfterMilliseconds });
  }
  if (isCrossSite(request)) {
    return fault('auth.forbidden', 'The management API takes no requests from pages of other sites.');
  }
  return undefined;
}

/** Only the platform's own front says where a request comes from; without it all share one limit. */
const addressOf = ({ cf, headers }: Request): string =>
  cf === undefined ? '' : networkOf(headers.get('cf-connecting-ip') ?? '');

/** Browsers say where a request comes from; other clients send neither header. */
function isCrossSite(request: Request): boolean {
  const site = request.headers.get('sec-fetch-site');
  if (site !== null) return site !== 'same-origin' && site !== 'none';
  const origin = request.headers.get('origin');
  // Only the host: a proxy in front may have ended TLS.
  return origin !== null && URL.parse(origin)?.host !== new URL(request.url).host;
}
