/** Plays many seeds on several threads. */

import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Mode } from './faults.ts';
import type { Mutant } from './mutants.ts';
import type { Verdict } from './scenario.ts';
import type { Progress, Share } from './worker.ts';

export interface SeedsOptions {
  readonly mode: Mode;
  readonly first: number;
  readonly count: number;
  readonly threads: number;
  readonly mutant?: Mutant;
  readonly traced?: boolean;
  /** Stops at the first violation. */
  readonly stopAtViolation?: boolean;
  readonly progress?: (seeds: number, violations: number) => void;
}

export interface SeedsReport {
  readonly seeds: number;
  readonly runs: number;
  readonly seconds: number;
  readonly digest: number;
  readonly counts: Readonly<Record<string, number>>;
  /** Violations, by seed; every verdict where all are traced. */
  readonly verdicts: readonly Verdict[];
}

/** Rejects when production code or a mutant cannot be loaded, or leaves a rejection unhandled. */
export async function playSeeds(options: SeedsOptions): Promise<SeedsReport> {
  const { mode, first, count, mutant, traced = false, stopAtViolation = false, progress } = options;
  const threads = Math.max(1, Math.min(options.threads, count));
  const startedAt = performance.now();
  const counts: Record<string, number> = {};
  const verdicts: Verdict[] = [];
  let [seeds, runs, digest] = [0, 0, 0];
  const workers: Worker[] = [];
  const add = (part: Progress): void => {
    seeds += part.seeds;
    runs += part.runs;
    digest = (digest + part.digest) | 0;
    for (const [what, times] of Object.entries(part.counts)) counts[what] = (counts[what] ?? 0) + times;
    verdicts.push(...part.verdicts);
    const violations = verdicts.filter((verdict) => verdict.violation !== undefined).length;
    progress?.(seeds, violations);
    if (stopAtViolation && violations > 0) for (const worker of workers) void worker.terminate();
  };
  const ended = Array.from({ length: threads }, (_, index) => {
    const share: Share = { mode, first: first + index, count: count - index, stride: threads, mutant, traced };
    const worker = new Worker(fileURLToPath(new URL('./worker.ts', import.meta.url).href), {
      workerData: share,
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    workers.push(worker);
    worker.on('message', add);
    return new Promise<void>((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
  });
  try {
    await Promise.all(ended);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  verdicts.sort((a, b) => a.seed - b.seed);
  return { seeds, runs, digest, counts, verdicts, seconds: (performance.now() - startedAt) / 1000 };
}
