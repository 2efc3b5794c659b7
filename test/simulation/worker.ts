/** A thread that plays its share of the seeds, with the production code as it is or with one mutant. */

import { parentPort, workerData } from 'node:worker_threads';
import type { Mode } from './faults.ts';
import { registerLoader } from './loader.ts';
import type { Mutant } from './mutants.ts';
import type { Verdict } from './scenario.ts';

export interface Share {
  readonly mode: Mode;
  readonly first: number;
  readonly count: number;
  /** From one seed to the next; the others are another thread's. */
  readonly stride: number;
  readonly mutant: Mutant | undefined;
  /** Traces every seed, not only those that violate. */
  readonly traced: boolean;
}

export interface Progress {
  readonly seeds: number;
  readonly runs: number;
  /** Of all verdicts, in any order. */
  readonly digest: number;
  readonly counts: Record<string, number>;
  readonly verdicts: readonly Verdict[];
}

const SEEDS_PER_MESSAGE = 50;

async function play({ mode, first, count, stride, mutant, traced }: Share): Promise<void> {
  registerLoader(mutant);
  const { install } = await import('./globals.ts');
  const { simulate } = await import('./scenario.ts');
  const restore = install();
  let seed = first;
  process.on('unhandledRejection', (thrown) => {
    throw new Error(`Seed ${seed} leaves a rejection unhandled: ${String(thrown)}`, { cause: thrown });
  });
  for (let begin = first; begin < first + count; begin = seed) {
    const counts: Record<string, number> = {};
    const verdicts: Verdict[] = [];
    let [seeds, runs, digest] = [0, 0, 0];
    for (; seeds < SEEDS_PER_MESSAGE && seed < first + count; seed += stride) {
      const verdict = await simulate(seed, mode, traced);
      seeds++;
      runs += verdict.runs;
      digest = (digest + Math.imul(verdict.digest, 2 * seed + 1)) | 0;
      for (const [what, times] of Object.entries(verdict.counts)) counts[what] = (counts[what] ?? 0) + times;
      // The same again, for the trace: it costs too much to be kept of every seed.
      if (verdict.violation !== undefined) verdicts.push(await simulate(seed, mode, true));
      else if (traced) verdicts.push(verdict);
    }
    parentPort?.postMessage({ seeds, runs, digest, counts, verdicts } satisfies Progress);
  }
  restore();
}

await play(workerData as Share);
