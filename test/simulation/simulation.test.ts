/** A slice of what `npm run simulate` plays; `SEEDS` and `SEED` choose another. */

import { describe, expect, test } from 'vitest';
import { playSeeds, type SeedsReport } from './seeds.ts';

const SEEDS = Number(process.env['SEEDS'] ?? 1_000);
const SEED = Number(process.env['SEED'] ?? 1);
const TIMEOUT_MILLISECONDS = 60_000 + SEEDS * 20;

/** What must have happened in any slice worth its name; a fault that never happens proves nothing. */
const FAULTS = [
  'death before its writes were durable',
  'death after its writes were durable, before anything was told',
  'death after the effect',
  'death after the response, before its writes were durable',
  'death in its alarm',
  'death evicted',
  'death it wrote after another had taken over',
  'alarm lost',
  'alarm late',
  'alarm doubled',
  'clock jump',
  'D1 down',
  'client disconnect',
  'decision',
  'decision refused',
  'event for nobody',
  'event taken',
  'provider down',
  'retry',
  'upstream error',
  'upstream limited',
  'upstream lost',
  'upstream hang',
  'upstream drip',
  'upstream slow',
  'upstream reset',
];

function expectNoViolation({ verdicts }: SeedsReport): void {
  const [first] = verdicts;
  const { seed, violation, trace = [] } = first ?? {};
  const message = `Seed ${seed} violates ${violation?.invariant}: ${violation?.message}\n${trace.join('\n')}`;
  expect(verdicts, message).toHaveLength(0);
}

describe('the durable engine, whatever fails around it', { timeout: TIMEOUT_MILLISECONDS }, () => {
  test('loses nothing, repeats nothing that is recorded, and never changes an end', async () => {
    const report = await playSeeds({ mode: 'safety', first: SEED, count: SEEDS, threads: 2 });
    expectNoViolation(report);
    expect(report.runs).toBeGreaterThan(SEEDS);
  });

  test('ends every run soon once the faults stop, and tells the lists of it', async () => {
    const report = await playSeeds({ mode: 'liveness', first: SEED, count: SEEDS, threads: 2 });
    expectNoViolation(report);
    if (SEEDS >= 1_000) expect(Object.keys(report.counts)).toEqual(expect.arrayContaining(FAULTS));
  });

  test('a seed plays the same again, whatever was played before it', async () => {
    const options = { mode: 'safety', first: SEED, count: 60 } as const;
    const [together, apart] = await Promise.all([
      playSeeds({ ...options, threads: 1 }),
      playSeeds({ ...options, threads: 3 }),
    ]);
    expect(apart.digest).toBe(together.digest);
    expect(apart.counts).toEqual(together.counts);
  });
});
