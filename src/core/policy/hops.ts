/**
 * Ends loops: a request that leaves says how many gateways it has passed, and one that has passed too many
 * is not let in (the way of RFC 8586, in a header of its own, because platforms write `CDN-Loop` themselves).
 *
 * Guarantee: chains and routes that call this gateway over HTTP, in whatever circle, end after
 * `LIMITS.hops` rounds. Accepted weakness: whatever lies between and drops the header starts the count anew.
 */

import { fault, type Fault } from '../errors.ts';
import { LIMITS } from '../limits.ts';

export const HOPS_HEADER = 'tidegate-hops';

/** Fault `request.loop` for a request that may not come in by its header, also where its count is none. */
export function loopFault(header: string | null): Fault | undefined {
  if (header === null || (/^\d{1,3}$/.test(header) && Number(header) < LIMITS.hops)) return undefined;
  const message = `The request has passed ${LIMITS.hops} gateways; look for a chain or route that calls itself.`;
  return fault('request.loop', message);
}

/** Gateways that a request which was let in had passed before this one, by its header; undefined for none. */
export const hopsOf = (header: string | null): number | undefined => (header === null ? undefined : Number(header));
