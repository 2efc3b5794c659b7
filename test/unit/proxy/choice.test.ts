import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseByKey, chooseOfTwo, chooseWeighted, hashText } from '../../../src/core/proxy/choice.ts';

const weightsOf = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 8 });
const positions = (weights: readonly unknown[]): number[] => weights.map((_, index) => index);
const seedsOf = (count: number): number[] =>
  Array.from({ length: count }, (_, index) => hashText(`https://target-${index}.example`));

describe('a choice by weight', () => {
  it('gives each target its part, whatever the weights', () => {
    fc.assert(
      fc.property(weightsOf, (weights) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = weights.map(() => 0);
        const steps = 5_000;
        for (let step = 0; step < steps; step++) {
          const index = chooseWeighted(positions(weights), weights, step / steps);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        weights.forEach((weight, index) => expect((counts[index] ?? 0) / steps).toBeCloseTo(weight / total, 2));
      }),
    );
  });

  it('never gives a target that is no candidate', () => {
    fc.assert(
      fc.property(weightsOf, fc.double({ min: 0, max: 1, noNaN: true }), (weights, random) => {
        const candidates = positions(weights).slice(1);
        expect(candidates).toContain(chooseWeighted(candidates, weights, random));
      }),
    );
  });
});

describe('the faster of two', () => {
  it('is never the slowest of all where there are several', () => {
    fc.assert(
      fc.property(weightsOf, fc.array(fc.double({ min: 0, max: 0.999, noNaN: true })), (weights, randoms) => {
        const draws = [...randoms];
        const index = chooseOfTwo(
          positions(weights),
          weights,
          (position) => position,
          () => draws.pop() ?? 0.5,
        );
        expect(index).toBeLessThan(weights.length - 1);
      }),
    );
  });

  it('is the only one where there is one', () => {
    expect(
      chooseOfTwo(
        [3],
        [1, 1, 1, 1],
        () => 9,
        () => 0.9,
      ),
    ).toBe(3);
  });
});

describe('a choice by key', () => {
  const keys = Array.from({ length: 4_000 }, (_, index) => `customer ${index}`);

  it('is the same for the same key, whatever the order of the candidates', () => {
    fc.assert(
      fc.property(weightsOf, fc.string(), (weights, key) => {
        const seeds = seedsOf(weights.length);
        const index = chooseByKey(positions(weights), weights, seeds, key);
        expect(chooseByKey(positions(weights).toReversed(), weights, seeds, key)).toBe(index);
      }),
    );
  });

  it('moves only the keys of a target that goes, and none when it comes back', () => {
    fc.assert(
      fc.property(weightsOf, fc.nat(), (weights, nat) => {
        const gone = nat % weights.length;
        const seeds = seedsOf(weights.length);
        const rest = positions(weights).filter((index) => index !== gone);
        for (const key of keys.slice(0, 200)) {
          const before = chooseByKey(positions(weights), weights, seeds, key);
          const after = chooseByKey(rest, weights, seeds, key);
          if (before === gone) expect(after).not.toBe(gone);
          else expect(after).toBe(before);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('gives each target keys in the proportion of its weight', () => {
    const weights = [1, 3, 4];
    const counts = [0, 0, 0];
    for (const key of keys) {
      const index = chooseByKey([0, 1, 2], weights, seedsOf(3), key);
      counts[index] = (counts[index] ?? 0) + 1;
    }
    weights.forEach((weight, index) => {
      const share = (counts[index] ?? 0) / keys.length;
      expect(Math.abs(share - weight / 8)).toBeLessThan(0.03);
    });
  });
});
