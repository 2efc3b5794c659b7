/** The `connect` of TCP sockets that drivers are given. */

import { fail, ok, type Result } from '../../core/errors.ts';
import { checkSocket, type EgressPolicy, type SocketHost } from '../../core/policy/egress.ts';

/** As that of `cloudflare:sockets`, and as a `Fetcher` has it. */
export type Connect = (address: SocketHost, options?: SocketOptions) => Socket;

export type GuardedConnect = (address: SocketHost, options?: SocketOptions) => Result<Socket>;

/** The Hyperdrive that the owner bound by this name: a way to one database, open because the owner opened it. */
export type HyperdriveByName = (binding: string) => Hyperdrive | undefined;

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

/** The same for one connection: its credentials go to the addresses that it names, and nowhere else. */
export const connectOnlyTo =
  (connect: GuardedConnect, allowed: readonly SocketHost[]): GuardedConnect =>
  (address, options) =>
    allowed.some(({ hostname, port }) => hostname === address.hostname && port === address.port)
      ? connect(address, options)
      : fail('egress.refused', `The connection may not be used for ${address.hostname}:${address.port}.`);
