/**
 * Which addresses the Worker may connect to. The guard in the Worker sees names; this one sees the address
 * that a name has at the moment of the connection, so that a public name which points to a private address
 * (DNS rebinding) gets nowhere.
 * Accepted weakness: it knows no ports, and an owner's private host opens its address to every name.
 */

import { lookup } from 'node:dns/promises';

/** For workerd's `network` service: everything public, and the addresses of the hosts that the owner lists. */
export async function allowedNetworks(allowList: string, log: (line: string) => void): Promise<string[]> {
  const entries = allowList.split(',').map((entry) => entry.trim());
  const networks = await Promise.all(entries.filter((entry) => entry !== '').map((entry) => networksOf(entry, log)));
  return ['public', ...new Set(networks.flat())];
}

async function networksOf(entry: string, log: (line: string) => void): Promise<string[]> {
  const host = entry.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  try {
    const addresses = await lookup(host, { all: true });
    return addresses.map(({ address, family }) => `${address}/${family === 6 ? 128 : 32}`);
  } catch {
    log(`TIDEGATE_EGRESS_ALLOW: ${host} has no address at the moment, so the Worker cannot reach it if it is private.`);
    return [];
  }
}
