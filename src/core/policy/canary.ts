/**
 * Which runs a canary gets, and when it is worse than the stable version.
 *
 * Guarantee: where each version fails (or is slow) equally often, the probability that a canary is ever
 * rolled back is at most {@link FALSE_ALARM_PROBABILITY}, however often one looks and whenever one stops,
 * also while the common rate drifts: an upstream that is away hurts both alike.
 * Accepted weakness: a version that fails as often but sooner looks worse until the other's failures come in.
 *
 * The test: a run goes to the canary with probability w, whatever happens. So, of the runs that fail, a
 * share w are the canary's when both versions fail equally often, and w·r / (w·r + 1 - w) when the canary
 * fails r times as often. The evidence is the likelihood of the failures seen under a mixture of ratios,
 * over that under the greatest ratio allowed: a mixture SPRT. Where nothing is wrong it is a supermartingale
 * that begins at 1, so by Ville's inequality it ever reaches 1/a with probability a at most.
 * (Robbins 1970; Johari et al., "Always Valid Inference", 2022.)
 */

/** Of a canary over its whole life, both tests together. */
export const FALSE_ALARM_PROBABILITY = 0.01;

const TESTS = 2;

/** What the evidence of one test must reach. */
export const EVIDENCE_NEEDED = TESTS / FALSE_ALARM_PROBABILITY;

/** How many times as often as is allowed a canary may fail; the mixture finds each of these and what is between. */
const RATIOS = [1.25, 1.5, 2, 3, 5, 10, 30, 100] as const;

/** Runs of both versions since the canary began, and those of them that went wrong in one way. */
export interface Tally {
  readonly stable: { readonly runs: number; readonly bad: number };
  readonly canary: { readonly runs: number; readonly bad: number };
}

/**
 * How strongly the bad runs say that the canary is worse; 1 says nothing, {@link EVIDENCE_NEEDED} decides.
 *
 * @param weight share of the runs that the canary gets, 0 to 1; without a stable share there is no evidence
 * @param increase how much more often it may go wrong, e.g. 0.5 for one and a half times as often
 */
export function evidenceOf({ stable, canary }: Tally, weight: number, increase: number): number {
  if (weight <= 0 || weight >= 1) return 1;
  const shareAt = (ratio: number): number => (weight * ratio) / (weight * ratio + 1 - weight);
  const allowed = shareAt(1 + increase);
  const logarithms = RATIOS.map((ratio) => {
    const share = shareAt((1 + increase) * ratio);
    return canary.bad * Math.log(share / allowed) + stable.bad * Math.log((1 - share) / (1 - allowed));
  });
  const highest = Math.max(...logarithms);
  const sum = logarithms.reduce((total, logarithm) => total + Math.exp(logarithm - highest), 0);
  return (Math.exp(Math.min(highest, MOST)) * sum) / RATIOS.length;
}

/** Beyond e^600 a number overflows, and nobody doubts. */
const MOST = 600;

export interface CanarySettings {
  /** Percent of the runs. */
  readonly weight: number;
  /** Runs of the canary before it may be rolled back. */
  readonly minimumRuns: number;
  /** How much more often than the stable version it may fail: 0.5 is one and a half times as often. */
  readonly errorRateIncrease: number;
  /** How much slower than the stable version's p95 a run may be before it counts as slow; null: not judged. */
  readonly latencyIncrease: number | null;
}

export interface CanaryFigures {
  readonly errors: Tally;
  /** Bad are the runs that took longer than `slowMilliseconds`; undefined while that is not known. */
  readonly latency: Tally | undefined;
  readonly slowMilliseconds: number | undefined;
}

/** The figures, and what they say. */
export interface Judgement extends CanaryFigures {
  readonly errorEvidence: number;
  readonly latencyEvidence: number;
  /** Why the canary is to be rolled back, in words; undefined while it may go on. */
  readonly reason: string | undefined;
}

/** Decides by the figures so far. May be asked as often as one likes. */
export function judgeCanary(settings: CanarySettings, figures: CanaryFigures): Judgement {
  const { errors, latency, slowMilliseconds } = figures;
  const weight = settings.weight / 100;
  const errorEvidence = evidenceOf(errors, weight, settings.errorRateIncrease);
  // What may be slower is in the threshold; as many runs as of the stable version may be over it.
  const latencyEvidence = latency === undefined ? 1 : evidenceOf(latency, weight, 0);
  const isDecided = (evidence: number): boolean =>
    evidence >= EVIDENCE_NEEDED && errors.canary.runs >= settings.minimumRuns;
  let reason: string | undefined;
  if (isDecided(errorEvidence)) reason = `It fails more often: ${compared(errors, 'failed')}.`;
  else if (latency !== undefined && isDecided(latencyEvidence)) {
    reason = `It is slower: ${compared(latency, `took over ${slowMilliseconds ?? 0} ms`)}.`;
  }
  return { ...figures, errorEvidence, latencyEvidence, reason };
}

const compared = ({ stable, canary }: Tally, what: string): string =>
  `${canary.bad} of its ${canary.runs} runs ${what}, and ${stable.bad} of the ${stable.runs} of the stable version`;

/** Jitter of a few milliseconds is no latency, however fast the stable version is. */
const SLOWER_MILLISECONDS = 10;

/** From what time on a run is slow: over the 95th percentile of the stable version's, and by more than allowed. */
export function slowAfter(stableMilliseconds: readonly number[], increase: number): number {
  const sorted = stableMilliseconds.toSorted((a, b) => a - b);
  const p95 = sorted[Math.max(0, Math.ceil(sorted.length * 0.95) - 1)] ?? 0;
  return Math.ceil(Math.max(p95 * (1 + increase), p95 + SLOWER_MILLISECONDS));
}

/** Whether the run with that number from 0 to 1 is the canary's. A greater weight takes none away from it. */
export const isCanary = (share: number, weight: number): boolean => share * 100 < weight;

/** A number from 0 to 1, the same for the same key and evenly spread over keys. Not for secrets. */
export function shareOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  // FNV-1a leaves keys that differ in their last character close together; the finalizer of MurmurHash3 does not.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
