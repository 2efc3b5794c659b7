/**
 * The access log of the vault: each decryption, with who had it done, and how often steps use a connection. A
 * decrypted connection serves every step of its isolate until the configuration changes; those are its uses.
 *
 * Guarantee: nothing waits for it, nothing in it is a secret, and it is bounded in memory and in D1.
 * Accepted weakness: what an isolate has gathered dies with it, up to `accessDelayMilliseconds` of it; more than
 * `accessesInMemory` at a time are told as lost in the log of the Worker.
 */

import { waitUntil } from 'cloudflare:workers';
import { connectionPath, type ConnectionRef } from '../core/chain/connection.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { saveAccesses, type Access, type ConnectionUse } from '../store/accesses.ts';
import type { OnOpen } from '../vault/vault.ts';

let accesses: Access[] = [];
let uses = new Map<string, ConnectionUse>();
let lost = 0;
let writesAt = 0;

export const noteAccess =
  (env: Env): OnOpen =>
  ({ kind, tenant, connector, name }, reader, readable) => {
    if (accesses.length >= LIMITS.accessesInMemory) lost++;
    else accesses.push({ at: Date.now(), kind, tenant, connector, name, readable, reader });
    writeSoon(env);
  };

/** @param run the newest one is kept */
export function noteUse(env: Env, ref: ConnectionRef, chain: string, run: string): void {
  const key = `${connectionPath(ref)} ${chain}`;
  const { tenant, name } = ref;
  if (uses.size < LIMITS.accessesInMemory || uses.has(key)) {
    uses.set(key, { tenant, name, chain, run, usedAt: Date.now(), uses: (uses.get(key)?.uses ?? 0) + 1 });
  }
  writeSoon(env);
}

function writeSoon(env: Env): void {
  const now = Date.now();
  // Who was to write them may have been cut off.
  if (now < writesAt + LIMITS.accessDelayMilliseconds) return;
  writesAt = now + LIMITS.accessDelayMilliseconds;
  waitUntil(scheduler.wait(LIMITS.accessDelayMilliseconds).then(() => flushAccesses(env)));
}

/** Writes what has gathered here; who reads the log in this isolate then misses nothing of it. Never rejects. */
export async function flushAccesses(env: Env): Promise<void> {
  const [written, used] = [accesses, [...uses.values()]];
  if (lost > 0) console.error(`${lost} decryptions were too many for the access log`);
  accesses = [];
  uses = new Map();
  lost = 0;
  writesAt = 0;
  await saveAccesses(env.DB, written, used).catch((thrown: unknown) =>
    console.error(`${written.length} decryptions are not in the access log`, thrown),
  );
}
