/**
 * The address that a caller is counted by.
 *
 * Guarantee: no header that a caller can write decides. `CF-Connecting-IP` counts only where the platform,
 * which overwrites it, has received the request; `X-Forwarded-For` only as far as the owner's own proxies
 * wrote it. On one machine `request.cf` proves nothing: the runtime there takes it from a header of the caller.
 * Accepted weakness: on a machine of one's own without such a proxy the address is unknown, and all callers
 * count as one.
 */

import type { Env } from '../env.ts';

/** What says whom to believe. */
export type Trust = Pick<Env, 'TIDEGATE_LOCAL' | 'TIDEGATE_TRUSTED_PROXIES'>;

interface Received {
  readonly request: Pick<Request, 'cf'>;
  readonly headers: Headers;
  readonly env: Trust;
}

export const UNKNOWN_ADDRESS = 'unknown';

/** For counting. */
export const addressOf = (received: Received): string => networkOf(clientAddress(received) ?? '') ?? UNKNOWN_ADDRESS;

/** Where a request comes from, as somebody who is believed wrote it; undefined where nobody did. */
export function clientAddress({ request, headers, env }: Received): string | undefined {
  const proxies = Number(env.TIDEGATE_TRUSTED_PROXIES ?? 0);
  if (proxies > 0) return headers.get('x-forwarded-for')?.split(',').at(-proxies)?.trim();
  // The platform tells the data centre of each request.
  const isByPlatform = (env.TIDEGATE_LOCAL ?? '') === '' && typeof request.cf?.['colo'] === 'string';
  return isByPlatform ? (headers.get('cf-connecting-ip') ?? undefined) : undefined;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** An IPv4 address, or the /64 of an IPv6 address: who has one address there has all of them. */
export function networkOf(text: string): string | undefined {
  const address = text.trim().toLowerCase();
  if (IPV4.test(address)) return address;
  const mapped = /^(?:0*:){0,5}:?ffff:([\d.]+)$/.exec(address)?.[1];
  if (mapped !== undefined && IPV4.test(mapped)) return mapped;
  // A scope or a dotted end would not change the first half.
  const [head = '', tail, more] = address
    .replace(/%.*$/, '')
    .replace(/:[\d.]+\.[\d.]+$/, ':0:0')
    .split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = 8 - left.length - right.length;
  if (more !== undefined || (tail === undefined ? missing !== 0 : missing < 1)) return undefined;
  const groups = [...left, ...Array.from({ length: missing }, () => '0'), ...right];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  return `${groups
    .slice(0, 4)
    .map((group) => parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
