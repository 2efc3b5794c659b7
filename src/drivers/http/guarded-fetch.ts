/** The `fetch` that everything above the drivers is given. */

import { fault, FaultError, type Fault } from '../../core/errors.ts';
import { checkUrl, type EgressPolicy } from '../../core/policy/egress.ts';
import { HOPS_HEADER } from '../../core/policy/hops.ts';
import { plainOrigin } from '../../core/url.ts';

/** On whose behalf a request leaves. */
export interface Sender {
  /** Gateways that the request behind it has passed before this one. */
  readonly hops?: number | undefined;
  /** Where it may go with the credentials that it has: origins, also as `https://*.host`. Undefined: anywhere. */
  readonly origins?: readonly string[] | undefined;
}

export type GuardedFetch = (input: RequestInfo | URL, init?: RequestInit, sender?: Sender) => Promise<Response>;

const NOBODY: Sender = {};

/**
 * Guarantee: no request leaves for an address that the policy or its sender refuses; it rejects with a
 * FaultError `egress.refused` instead. Each request says how many gateways it has passed, so that a loop
 * ends. Redirects are never followed here, because the next address would not be checked; `request`
 * follows them by calling this again. Options whose headers are `Headers` are written into: copying those costs
 * more than all else here.
 */
export function createGuardedFetch(policy: EgressPolicy, base: typeof fetch): GuardedFetch {
  return (input, init, { hops = 0, origins } = NOBODY) => {
    const given = typeof input === 'string' || input instanceof URL ? undefined : input;
    const checked = checkUrl(policy, given?.url ?? (input as string | URL));
    if (!checked.ok) return Promise.reject(new FaultError(checked.fault));
    const { value } = checked;
    if (origins !== undefined && !isAmong(origins, value))
      return Promise.reject(new FaultError(foreign(value, origins)));
    const count = String(hops + 1);
    // The members of a request that stands in place of options are not its own, so nothing could be spread.
    const options = init instanceof Request ? undefined : init;
    if (given === undefined && options?.headers instanceof Headers) {
      options.headers.set(HOPS_HEADER, count);
      options.redirect = 'manual';
      return base(value, options);
    }
    const whole = init instanceof Request ? new Request(value, init) : given;
    // Those of a request may not be written into.
    const headers = options?.headers ?? (whole && new Headers(whole.headers));
    return base(whole ?? value, { ...options, headers: withHops(headers, count), redirect: 'manual' });
  };
}

function withHops(headers: HeadersInit | undefined, hops: string): HeadersInit {
  if (headers === undefined || !(Symbol.iterator in headers)) return { ...headers, [HOPS_HEADER]: hops };
  const own = new Headers(headers);
  own.set(HOPS_HEADER, hops);
  return own;
}

function isAmong(origins: readonly string[], url: string | URL): boolean {
  if (typeof url === 'string' && origins.includes(plainOrigin(url) ?? '')) return true;
  const { protocol, host, origin } = new URL(url);
  return origins.some((allowed) => {
    const [scheme = '', parent] = allowed.split('//*');
    return parent === undefined ? allowed === origin : scheme === protocol && host.endsWith(parent);
  });
}

const foreign = (url: string | URL, origins: readonly string[]): Fault =>
  fault('egress.refused', `The connection may be used for ${origins.join(', ')} only, not for ${new URL(url).origin}.`);
