/** Random ids without a call into the runtime for each: it would cost more than a step does. */

import { Buffer } from 'node:buffer';

const CHARACTERS = 32;
let pool = '';
let used = 0;

/** 128 bits from the platform's generator, as 32 characters of hex; never the same twice. */
export function randomId(): string {
  if (used === pool.length) {
    pool = Buffer.from(crypto.getRandomValues(new Uint8Array(4096))).toString('hex');
    used = 0;
  }
  return pool.slice(used, (used += CHARACTERS));
}
