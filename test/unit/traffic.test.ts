import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  count,
  LATENCY_BOUNDS_MILLISECONDS,
  merge,
  noFigures,
  quantile,
  type Figures,
} from '../../src/core/traffic.ts';

const figuresOf = (samples: readonly (readonly [status: number, milliseconds: number])[]): Figures => {
  const figures = noFigures();
  for (const [status, milliseconds] of samples) count(figures, status, milliseconds);
  return figures;
};

const samples = fc.array(fc.tuple(fc.integer({ min: 100, max: 599 }), fc.integer({ min: 0, max: 10_000 })));

it('every request is counted once, in one class and one bucket', () => {
  fc.assert(
    fc.property(samples, (given) => {
      const { requests, statuses, buckets } = figuresOf(given);
      const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
      expect([requests, sum(statuses), sum(buckets)]).toEqual([given.length, given.length, given.length]);
    }),
  );
});

it('figures of parts, merged in any order, are the figures of the whole', () => {
  fc.assert(
    fc.property(samples, samples, (one, two) => {
      const merged = figuresOf(two);
      merge(merged, figuresOf(one));
      expect(merged).toEqual(figuresOf([...one, ...two]));
    }),
  );
});

it('a quantile lies in the bucket of the exact one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2_500 }), { minLength: 1 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (given, share) => {
        const exact = given.toSorted((a, b) => a - b)[Math.ceil(share * given.length) - 1] ?? 0;
        const bucket = LATENCY_BOUNDS_MILLISECONDS.findIndex((bound) => exact <= bound);
        const told = quantile(figuresOf(given.map((milliseconds) => [200, milliseconds])), share) ?? -1;
        expect(told).toBeGreaterThanOrEqual(bucket === 0 ? 0 : (LATENCY_BOUNDS_MILLISECONDS[bucket - 1] ?? 0));
        expect(told).toBeLessThanOrEqual(LATENCY_BOUNDS_MILLISECONDS[bucket] ?? 0);
      },
    ),
  );
});

it('there is no quantile of nothing', () => {
  expect(quantile(noFigures(), 0.5)).toBeUndefined();
});
