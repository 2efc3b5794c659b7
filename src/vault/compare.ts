/**
 * Guarantee: the time of a comparison tells nothing of where two texts differ, nor of their lengths
 * beyond what hashing a text takes.
 */

import { sha256 } from './bytes.ts';

/** Compares digests, so that every pair of texts is compared over the same 32 bytes. */
export async function equalSecrets(left: string, right: string): Promise<boolean> {
  const [a, b] = await Promise.all([sha256(left), sha256(right)]);
  let difference = 0;
  for (const [index, byte] of a.entries()) difference |= byte ^ (b[index] ?? 0xff);
  return difference === 0;
}
