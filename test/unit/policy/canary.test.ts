import { describe, expect, test } from 'vitest';
import {
  EVIDENCE_NEEDED,
  evidenceOf,
  FALSE_ALARM_PROBABILITY,
  isCanary,
  judgeCanary,
  shareOf,
  slowAfter,
  type CanarySettings,
} from '../../../src/core/policy/canary.ts';

const SETTINGS: CanarySettings = { weight: 20, minimumRuns: 10, errorRateIncrease: 0, latencyIncrease: null };

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface World {
  /** Probability that the run with this number fails. */
  readonly stable: (run: number) => number;
  readonly canary: (run: number) => number;
  readonly settings?: Partial<CanarySettings>;
}

/** Looks after every failure; gives the number of the run at which the canary is rolled back, if it ever is. */
function rolledBackAt(seed: number, runs: number, { stable, canary, settings }: World): number | undefined {
  const random = randomOf(seed);
  const used = { ...SETTINGS, ...settings };
  const counts = { stable: { runs: 0, bad: 0 }, canary: { runs: 0, bad: 0 } };
  for (let run = 0; run < runs; run++) {
    const chosen = isCanary(random(), used.weight) ? 'canary' : 'stable';
    const arm = counts[chosen];
    arm.runs++;
    if (random() >= (chosen === 'canary' ? canary : stable)(run)) continue;
    arm.bad++;
    const verdict = judgeCanary(used, { errors: counts, latency: undefined, slowMilliseconds: undefined });
    if (verdict.reason !== undefined) return run + 1;
  }
  return undefined;
}

const EXPERIMENTS = 1_000;

const alarmsIn = (world: World, runs = 10_000): number =>
  Array.from({ length: EXPERIMENTS }, (_, seed) => rolledBackAt(seed, runs, world)).filter((at) => at !== undefined)
    .length;

/** Three standard deviations above what the bound allows. */
const ALLOWED = EXPERIMENTS * FALSE_ALARM_PROBABILITY + 3 * Math.sqrt(EXPERIMENTS * FALSE_ALARM_PROBABILITY);

const steady = (rate: number) => () => rate;
const outage = (run: number): number => (run % 3_000 < 300 ? 0.6 : 0.01);

describe('where the canary is as good as the stable version, 10,000 runs looked at each time roll it back too rarely to matter', () => {
  test.each<[string, World]>([
    ['at a rate of 5%', { stable: steady(0.05), canary: steady(0.05) }],
    ['at a weight of 1%', { stable: steady(0.05), canary: steady(0.05), settings: { weight: 1 } }],
    ['at a weight of 90%', { stable: steady(0.05), canary: steady(0.05), settings: { weight: 90 } }],
    ['through outages that hit both', { stable: outage, canary: outage }],
    ['where it is better', { stable: steady(0.06), canary: steady(0.03) }],
    ['where it is as much worse as is allowed', allowed()],
  ])('%s', (_where, world) => {
    expect(alarmsIn(world)).toBeLessThanOrEqual(ALLOWED);
  });

  function allowed(): World {
    return { stable: steady(0.04), canary: steady(0.06), settings: { errorRateIncrease: 0.5 } };
  }
});

describe('a canary that is worse is found', () => {
  test.each<[what: string, world: World, within: number]>([
    [
      'twice the failures of 5%, at a weight of 20%, within 6,000 runs',
      { stable: steady(0.05), canary: steady(0.1) },
      6_000,
    ],
    [
      'twice the failures of 5%, at a weight of 50%, within 4,000 runs',
      { stable: steady(0.05), canary: steady(0.1), settings: { weight: 50 } },
      4_000,
    ],
    ['always failing, at a weight of 20%, within 150 runs', { stable: steady(0.01), canary: steady(1) }, 150],
    [
      'always failing beside one that never fails, at a weight of 1%, within 1,000 runs',
      { stable: steady(0), canary: steady(1), settings: { weight: 1, minimumRuns: 1 } },
      1_000,
    ],
  ])('%s, in 95 of 100 cases', (_what, world, runs) => {
    const found = Array.from({ length: 200 }, (_, seed) => rolledBackAt(seed, runs, world));
    expect(found.filter((at) => at !== undefined).length).toBeGreaterThanOrEqual(190);
  });
});

const tally = (stable: number, canary: number, runs = 1_000) => ({
  stable: { runs, bad: stable },
  canary: { runs, bad: canary },
});

test('without failures, without a stable share, and without a canary there is no evidence', () => {
  expect(evidenceOf(tally(0, 0), 0.2, 0)).toBe(1);
  expect(evidenceOf(tally(0, 500), 1, 0)).toBe(1);
  expect(evidenceOf(tally(500, 0), 0, 0)).toBe(1);
});

test('evidence stays a number however many runs there are', () => {
  expect(evidenceOf(tally(0, 1e7), 0.01, 0)).toBeLessThan(Infinity);
  expect(evidenceOf(tally(1e7, 0), 0.01, 0)).toBeGreaterThanOrEqual(0);
});

test('a canary is not rolled back before it has had its least number of runs, nor for being slow where that is not judged', () => {
  const errors = { stable: { runs: 80, bad: 0 }, canary: { runs: 9, bad: 9 } };
  const figures = { errors, latency: undefined, slowMilliseconds: undefined };
  expect(judgeCanary(SETTINGS, figures).errorEvidence).toBeGreaterThan(EVIDENCE_NEEDED);
  expect(judgeCanary(SETTINGS, figures).reason).toBeUndefined();
  expect(judgeCanary({ ...SETTINGS, minimumRuns: 9 }, figures).reason).toContain('9 of its 9 runs failed');
});

test('a canary that is slower is rolled back for that, and the reason says by how much', () => {
  const figures = { errors: tally(5, 5), latency: tally(40, 400), slowMilliseconds: 250 };
  expect(judgeCanary({ ...SETTINGS, weight: 50 }, figures).reason).toBe(
    'It is slower: 400 of its 1000 runs took over 250 ms, and 40 of the 1000 of the stable version.',
  );
});

test('a run is slow over the 95th percentile, by what is allowed, and never for a few milliseconds', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 1_000 - index * 10);
  expect(slowAfter(hundred, 0)).toBe(960);
  expect(slowAfter(hundred, 0.2)).toBe(1_140);
  expect(slowAfter([1, 1, 1], 0.2)).toBe(11);
});

test('a key has its share for good, and a greater weight takes no run away from the canary', () => {
  const keys = Array.from({ length: 2_000 }, (_, index) => `orders:evt_${index}`);
  const canaryAt = (weight: number): string[] => keys.filter((key) => isCanary(shareOf(key), weight));
  expect(canaryAt(0)).toEqual([]);
  expect(canaryAt(100)).toEqual(keys);
  const few = canaryAt(10);
  expect(canaryAt(30)).toEqual(expect.arrayContaining(few));
  expect(few.length).toBeGreaterThan(140);
  expect(few.length).toBeLessThan(260);
});

test('the choice for one chain says nothing of that for another', () => {
  const both = Array.from({ length: 2_000 }, (_, index) => index).filter(
    (index) => isCanary(shareOf(`a:${index}`), 50) && isCanary(shareOf(`b:${index}`), 50),
  );
  expect(both.length).toBeGreaterThan(400);
  expect(both.length).toBeLessThan(600);
});
