/** The simulator is held to its purpose: defects put into production code on purpose must be found. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mutate } from './loader.ts';
import { MUTANTS } from './mutants.ts';
import { playSeeds } from './seeds.ts';

/** Most are found within a hundred. */
const SEEDS = 10_000;

test.concurrent.each(MUTANTS)('finds that $name', { timeout: 120_000 }, async (mutant) => {
  const options = { mode: 'liveness', first: 1, count: SEEDS, threads: 1, mutant, stopAtViolation: true } as const;
  const { verdicts } = await playSeeds(options);
  expect(verdicts[0]?.violation).toBeDefined();
});

test.each(MUTANTS)('the mutant "$name" still has its place in the source', (mutant) => {
  const source = readFileSync(mutant.file, 'utf8');
  expect(mutate(mutant, source)).not.toBe(source);
});

test('a mutant whose place is gone fails loudly and proves nothing', async () => {
  const mutant = { name: 'of old code', file: 'src/runtime/drive.ts', text: 'no such text', replacement: '' };
  const played = playSeeds({ mode: 'safety', first: 1, count: 1, threads: 1, mutant });
  await expect(played).rejects.toThrow(/no longer fits: its text stands 0 times in src\/runtime\/drive\.ts/);
});
