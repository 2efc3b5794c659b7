import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullest, leastAtDenial, Simulation } from './limiter-world.ts';
import { storeOf, type Counter, type WindowRule } from '../../../src/core/policy/limiter.ts';
import { WindowCounter } from '../../../src/core/policy/window.ts';

interface Load {
  readonly limit: number;
  readonly periodMilliseconds: number;
  readonly isolates: number;
  /** Bursts: when, how long, how many requests. */
  readonly bursts: readonly { readonly at: number; readonly length: number; readonly requests: number }[];
  readonly delay: number;
  readonly seed: number;
}

const load = (limits: fc.Arbitrary<number>): fc.Arbitrary<Load> =>
  fc.record({
    limit: limits,
    periodMilliseconds: fc.constantFrom(1_000, 2_000, 10_000, 60_000),
    isolates: fc.integer({ min: 1, max: 8 }),
    bursts: fc.array(
      fc.record({
        at: fc.integer({ min: 0, max: 3_000 }),
        length: fc.integer({ min: 10, max: 3_000 }),
        requests: fc.integer({ min: 1, max: 2_000 }),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    delay: fc.integer({ min: 0, max: 40 }),
    seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
  });

function randomOf(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

interface Faults {
  readonly loss: number;
  readonly isolateCrashes: number;
  readonly objectCrashes: number;
}

const NONE: Faults = { loss: 0, isolateCrashes: 0, objectCrashes: 0 };

/** Bursts are placed in units of a thousandth of the period, so that they meet its boundaries. */
function play(given: Load, faults: Faults): Simulation {
  const random = randomOf(given.seed);
  const rule: WindowRule = { kind: 'window', limit: given.limit, periodMilliseconds: given.periodMilliseconds };
  const simulation = new Simulation({
    rule,
    delay: () => Math.round(random() * given.delay),
    lost: () => random() < faults.loss,
    counter: (before: Counter | undefined) =>
      new WindowCounter(rule, before instanceof WindowCounter ? before.record : []),
  });
  const isolates = Array.from({ length: given.isolates }, () => simulation.isolate(Math.round(random() * 5_000)));
  const pick = () => isolates[Math.floor(random() * isolates.length)];
  const unit = given.periodMilliseconds / 1_000;
  const end = 4_000 * unit;
  for (const { at, length, requests } of given.bursts) {
    for (let index = 0; index < requests; index++) {
      simulation.at(Math.round((at + random() * length) * unit), () => pick()?.request());
    }
  }
  for (let index = 0; index < faults.isolateCrashes; index++) {
    simulation.at(Math.round(random() * end), () => pick()?.crash());
  }
  for (let index = 0; index < faults.objectCrashes; index++) {
    simulation.at(Math.round(random() * end), () => simulation.crashObject());
  }
  simulation.run();
  return simulation;
}

describe('a limit that many isolates share', () => {
  it('never admits more than the limit and a twentieth in any window, whatever is lost or crashes', () => {
    fc.assert(
      fc.property(load(fc.integer({ min: 1, max: 1_500 })), (given) => {
        const { outcomes } = play(given, { loss: 0.1, isolateCrashes: 5, objectCrashes: 3 });
        expect(fullest(outcomes, given.periodMilliseconds)).toBeLessThanOrEqual(given.limit + storeOf(given.limit));
      }),
      { numRuns: 150 },
    );
  });

  it('never refuses while less than 95 % of the limit was admitted in the last period', () => {
    fc.assert(
      fc.property(load(fc.integer({ min: 1, max: 1_500 })), (given) => {
        const { delay } = given;
        const { outcomes } = play(given, NONE);
        const least = leastAtDenial(outcomes, given.periodMilliseconds, 2 * delay + 2);
        expect(least).toBeGreaterThanOrEqual(0.95 * given.limit);
      }),
      { numRuns: 150 },
    );
  });

  it('is exact below 20, with a call for each request that is admitted', () => {
    fc.assert(
      fc.property(load(fc.integer({ min: 1, max: 19 })), (given) => {
        const { outcomes } = play(given, { loss: 0.05, isolateCrashes: 2, objectCrashes: 2 });
        expect(fullest(outcomes, given.periodMilliseconds)).toBeLessThanOrEqual(given.limit);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses nobody who stays below the limit', () => {
    const bursts = [{ at: 0, length: 4_000, requests: 380 }];
    const given = { limit: 100, periodMilliseconds: 10_000, isolates: 4, bursts, delay: 20, seed: 7 };
    const { outcomes } = play(given, NONE);
    expect(fullest(outcomes, 10_000)).toBeGreaterThan(80);
    expect(leastAtDenial(outcomes, 10_000, 42)).toBeGreaterThanOrEqual(95);
  });

  it('asks the object for a small part of the requests', () => {
    const bursts = [{ at: 0, length: 3_000, requests: 90_000 }];
    const given = { limit: 10_000, periodMilliseconds: 10_000, isolates: 4, bursts, delay: 5, seed: 11 };
    const { calls, outcomes } = play(given, NONE);
    expect(outcomes).toHaveLength(90_000);
    expect(calls / 90_000).toBeLessThan(0.05);
  });

  it('gives the tokens of a quiet isolate to the others', () => {
    const rule: WindowRule = { kind: 'window', limit: 1_000, periodMilliseconds: 1_000 };
    const simulation = new Simulation({
      rule,
      delay: () => 1,
      lost: () => false,
      counter: () => new WindowCounter(rule),
    });
    const [quiet, busy] = [simulation.isolate(0), simulation.isolate(0)];
    simulation.at(0, () => quiet.request());
    for (let index = 0; index < 3_900; index++) simulation.at(Math.ceil(index * 1.02), () => busy.request());
    simulation.run();
    expect(simulation.outcomes.filter(({ kind }) => kind !== 'admitted')).toEqual([]);
  });
});

describe('the account of a limiter object', () => {
  const rule: WindowRule = { kind: 'window', limit: 10, periodMilliseconds: 1_000 };
  let id = 0;
  const nextId = () => ++id;

  it('does not give back what was spent before the report of it was lost', () => {
    const counter = new WindowCounter(rule);
    const granted = counter.ask(0, 10, 0, nextId);
    counter.settle(10, { id: granted.id, used: [0, 4], returned: undefined });
    // A report of four more got lost; two are given back.
    counter.settle(20, { id: granted.id, used: [], returned: 2 });
    expect(counter.ask(20, 3, 0, nextId).ok).toBe(false);
    expect(counter.ask(20, 2, 0, nextId).ok).toBe(true);
  });

  it('does not make room for who reports or returns more than was granted', () => {
    const counter = new WindowCounter(rule);
    const granted = counter.ask(0, 10, 0, nextId);
    counter.settle(1, { id: granted.id, used: [0, 500, 0, -500], returned: 500 });
    expect(counter.ask(2, 1, 0, nextId).ok).toBe(false);
  });

  it('tells a refused request when a token is free, rather too early than too late', () => {
    const counter = new WindowCounter(rule);
    const granted = counter.ask(0, 10, 0, nextId);
    counter.settle(100, { id: granted.id, used: [60, 1, 20, 9], returned: 0 });
    const denied = counter.ask(100, 1, 0, nextId);
    expect(denied).toMatchObject({ ok: false, resetMilliseconds: 941 });
    expect(counter.ask(1_040, 1, 0, nextId).ok).toBe(false);
    expect(counter.ask(1_041, 1, 0, nextId).ok).toBe(true);
  });

  it('is forgotten only when nothing is counted', () => {
    const counter = new WindowCounter(rule);
    const granted = counter.ask(0, 1, 0, nextId);
    expect(counter.isIdle(100)).toBe(false);
    counter.settle(100, { id: granted.id, used: [100, 1], returned: 0 });
    expect(counter.isIdle(1_000)).toBe(false);
    expect(counter.isIdle(1_001)).toBe(true);
  });
});
