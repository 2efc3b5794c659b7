/** Finding the route of a request among 10, 1,000 and 10,000, in workerd: its strings and objects are not those of Node. */

import { join } from 'node:path';
import { buildBench, ROOT } from './support/build.ts';
import { makeDirectory, startBenchWorker } from './support/sides.ts';

const ROUNDS = 25;
const COUNTS = [10, 1_000, 10_000];

interface Outcome {
  readonly lookups: number;
  readonly wrong: number;
}

/** Nanoseconds a look-up, the call itself (below 1 %) included: clocks stand still inside of a Worker. */
async function round(url: string, routes: number): Promise<number> {
  const startedAt = performance.now();
  const { lookups, wrong } = (await (await fetch(`${url}/?routes=${routes}`)).json()) as Outcome;
  const milliseconds = performance.now() - startedAt;
  if (wrong > 0) throw new Error(`${wrong} requests found another route than theirs`);
  return (milliseconds / lookups) * 1e6;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

export async function routes(): Promise<void> {
  const config = join(ROOT, 'bench/hand-written/proxy.toml');
  const build = await buildBench('bench-routes', config, join(ROOT, 'bench/routes-worker.ts'));
  const worker = await startBenchWorker(build, makeDirectory(), {});
  try {
    const sides = COUNTS.map((count) => ({ count, nanoseconds: [] as number[] }));
    for (const { count } of sides) for (let warm = 0; warm < 4; warm++) await round(worker.url, count);
    for (let n = 0; n < ROUNDS; n++) {
      for (const { count, nanoseconds } of sides) nanoseconds.push(await round(worker.url, count));
    }
    const [few, ...more] = sides.map(({ count, nanoseconds }) => ({ count, nanoseconds: median(nanoseconds) }));
    if (few === undefined) return;
    for (const { count, nanoseconds } of [few, ...more]) {
      console.log(`${count} routes: ${nanoseconds.toFixed(0)} ns a look-up`);
    }
    for (const { count, nanoseconds } of more) {
      console.log(`RATIO routes ${count}/${few.count} ${(nanoseconds / few.nanoseconds).toFixed(2)}`);
    }
  } finally {
    await worker.stop();
  }
}
