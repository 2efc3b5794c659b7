/** Many durable runs at once: until all have ended, none lost, and what memory that takes. */

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSides, type Sides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';

const CONNECTIONS = 64;

const chainOf = (upstream: string): unknown => {
  const get = (after: string[]): unknown => ({ use: 'http.get', with: { url: `${upstream}/stock` }, after });
  return {
    name: 'bench-burst',
    mode: 'durable',
    triggers: { api: { type: 'http', method: 'POST', path: '/bench/burst', auth: 'public', respond: 'accepted' } },
    steps: { a: get([]), b: get(['a']), c: get(['b']) },
    output: 'done',
  };
};

/** Resident memory of a process now and at its highest, in MB. */
function memoryOf(pid: number | undefined): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid ?? 'self'}/status`, 'utf8');
  const read = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024;
  return { now: read('VmRSS'), peak: read('VmHWM') };
}

export async function burst(): Promise<void> {
  const sides = await startSides();
  try {
    await call(sides.gateway, 'PUT', '/chains/bench-burst', chainOf(sides.upstream));
    await once(sides, 200, false);
    for (const runs of [1_000, 10_000]) await once(sides, runs, true);
  } finally {
    await sides.stop();
  }
}

async function once(sides: Sides, runs: number, told: boolean): Promise<void> {
  const startedAt = performance.now();
  const ids = new Set<string>();
  let left = runs;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) {
        const response = await fetch(`${sides.gateway.url}/bench/burst`, { method: 'POST' });
        if (response.status !== 202) throw new Error(`answered ${response.status}: ${await response.text()}`);
        ids.add(((await response.json()) as { id: string }).id);
      }
    }),
  );
  const acceptedAt = performance.now();
  await untilEnded(sides, ids);
  if (!told) return;
  const endedAt = performance.now();
  const { now, peak } = memoryOf(sides.gateway.worker.pid());
  const times = `accepted in ${(acceptedAt - startedAt).toFixed(0)} ms, all ended after ${(endedAt - startedAt).toFixed(0)} ms`;
  console.log(`${runs} runs of three requests: ${times}; ${now.toFixed(0)} MB, at most ${peak.toFixed(0)} MB`);
}

/** Reads the list until every run is in it as succeeded. @throws where one ended otherwise */
async function untilEnded(sides: Sides, ids: ReadonlySet<string>): Promise<void> {
  interface Page {
    readonly items: readonly { readonly id: string; readonly status: string }[];
    readonly next: string | null;
  }
  const open = new Set(ids);
  for (let look = 0; open.size > 0; look++) {
    if (look > 240) throw new Error(`${open.size} runs have not ended`);
    // The oldest ended first, so a run that is under way now tells how far it has come.
    const running = await call<Page>(sides.gateway, 'GET', '/runs?chain=bench-burst&status=running&limit=1');
    const queued = await call<Page>(sides.gateway, 'GET', '/runs?chain=bench-burst&status=queued&limit=1');
    if (running.items.length + queued.items.length > 0) {
      // Not more often: a list brings D1 up to date with every run that is open.
      await sleep(500);
      continue;
    }
    for (let after = ''; open.size > 0;) {
      const page = await call<Page>(sides.gateway, 'GET', `/runs?chain=bench-burst&limit=100${after}`);
      for (const { id, status } of page.items) {
        if (open.delete(id) && status !== 'succeeded') throw new Error(`${id} is ${status}`);
      }
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    if (open.size > 0) await sleep(100);
  }
}
