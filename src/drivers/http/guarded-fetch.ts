/** The `fetch` that everything above the drivers is given. */

import { FaultError } from '../../core/errors.ts';
import { checkUrl, type EgressPolicy } from '../../core/policy/egress.ts';

/**
 * Guarantee: no request leaves for an address that the policy refuses; it rejects with a FaultError
 * `egress.refused` instead. Redirects are never followed here, because the next address would not be
 * checked; `request` follows them by calling this again.
 */
export function createGuardedFetch(policy: EgressPolicy, base: typeof fetch): typeof fetch {
  return (input, init) => {
    const manual = init?.redirect === 'manual' ? init : { ...init, redirect: 'manual' as const };
    const isRequest = typeof input === 'object' && !(input instanceof URL);
    const checked = checkUrl(policy, isRequest ? input.url : input);
    if (!checked.ok) return Promise.reject(new FaultError(checked.fault));
    return base(isRequest ? input : checked.value, manual);
  };
}
