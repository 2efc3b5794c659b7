/** Which of several targets gets a request. Pure; targets are positions in the pool. */

/** At random, in the proportion of the weights. `candidates` must not be empty. */
export function chooseWeighted(candidates: readonly number[], weights: readonly number[], random: number): number {
  let left = random * candidates.reduce((sum, index) => sum + (weights[index] ?? 0), 0);
  for (const index of candidates) {
    left -= weights[index] ?? 0;
    if (left < 0) return index;
  }
  return candidates[0] ?? 0;
}

/**
 * The cheaper of two that are drawn by weight (power of two choices): nearly as good as the cheapest of all,
 * without everybody running to the same one.
 */
export function chooseOfTwo(
  candidates: readonly number[],
  weights: readonly number[],
  costOf: (index: number) => number,
  random: () => number,
): number {
  const one = chooseWeighted(candidates, weights, random());
  if (candidates.length === 1) return one;
  const others = candidates.filter((index) => index !== one);
  const other = chooseWeighted(others, weights, random());
  return costOf(other) < costOf(one) ? other : one;
}

/**
 * Rendezvous hashing with weights: each key has an order of preference of its own, so that the keys of a target
 * that goes spread over the rest and all others stay. `seeds` holds the hash of each target's address.
 */
export function chooseByKey(
  candidates: readonly number[],
  weights: readonly number[],
  seeds: readonly number[],
  key: string,
): number {
  const hash = hashText(key);
  let best = candidates[0] ?? 0;
  let bestScore = -Infinity;
  for (const index of candidates) {
    const share = (mix(hash ^ (seeds[index] ?? 0)) + 0.5) / 2 ** 32;
    const score = (weights[index] ?? 0) / -Math.log(share);
    if (score > bestScore) {
      best = index;
      bestScore = score;
    }
  }
  return best;
}

/** 32 bits of a text (FNV-1a with the finalizer of MurmurHash3); not for secrets. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
