/** The `connect` of TCP sockets that drivers are given. */

import { ok, type Result } from '../../core/errors.ts';
import { checkSocket, type EgressPolicy, type SocketHost } from '../../core/policy/egress.ts';

/** As that of `cloudflare:sockets`, and as a `Fetcher` has it. */
export type Connect = (address: SocketHost, options?: SocketOptions) => Socket;

export type GuardedConnect = (address: SocketHost, options?: SocketOptions) => Result<Socket>;

/**
 * Guarantee: no socket is opened to an address that the policy refuses; fault `egress.refused` instead.
 * What is connected to is the host as the policy understood it, not as it was written.
 */
export const createGuardedConnect =
  (policy: EgressPolicy, base: Connect): GuardedConnect =>
  (address, options) => {
    const checked = checkSocket(policy, address);
    return checked.ok ? ok(base(checked.value, options)) : checked;
  };
