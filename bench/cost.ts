/**
 * What a million runs of five effects cost, started by HTTP and awaited: counted in the running gateway, times
 * the list prices; beside it the same run elsewhere, by what is documented to be billed there.
 *
 * Counted are runs under load, whose object is always awake and archives others meanwhile, and one that comes
 * alone, whose object wakes for it and whose alarm fires behind it; each from its request to the deletion of
 * what is left of it when its retention is over.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';
import { buildBench, ROOT } from './support/build.ts';
import { load } from './support/load.ts';
import type { Usage } from './support/meter.ts';
import { billOf, rivalsOf, tellCost } from './support/bill.ts';
import { makeDirectory, measure, startBenchWorker, startUpstream, type Round } from './support/sides.ts';
import { LIMITS } from '../src/core/limits.ts';
import { call } from '../scripts/launcher/api.ts';
import { buildWorker, type Build } from '../scripts/launcher/build.ts';
import { migrate } from '../scripts/launcher/migrate.ts';
import { readBindings, type RunningWorker } from '../scripts/launcher/worker.ts';

const EFFECTS = 5;
/** Before the first is archived. */
const FIRST_RUNS = 400;
/** Until rows of archived runs are there for new ones. */
const WARM_RUNS = 2_500;
/** Enough for several of the batches in which they are archived. */
const RUNS = 3_000;
const CONNECTIONS = 32;
const PATH = '/bench/cost';
const VARIABLES = {
  TIDEGATE_ADMIN_KEY: 'bench-admin-key',
  TIDEGATE_EGRESS_ALLOW: '127.0.0.1',
  TIDEGATE_RUN_SHARDS: '1',
};
/** So short that whatever has ended is past it. */
const RETENTION_DAYS = '0.000001';
const QUIET_WITHIN_MILLISECONDS = 90_000;

const chainOf = (upstream: string): unknown => ({
  name: 'bench-cost',
  mode: 'durable',
  triggers: { api: { type: 'http', method: 'POST', path: PATH, auth: 'public', respond: 'result' } },
  steps: Object.fromEntries(
    Array.from({ length: EFFECTS }, (_, index) => [
      `s${index}`,
      {
        use: 'http.post',
        with: { url: `${upstream}/orders`, json: { order: '{{ input.order }}', step: index } },
        ...(index === 0 ? {} : { after: [`s${index - 1}`] }),
      },
    ]),
  ),
  output: { order: '{{ input.order }}' },
});

const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"order":"A-1042"}' };

export async function cost(): Promise<void> {
  const directory = makeDirectory();
  const upstream = await startUpstream();
  try {
    const production = await buildWorker(ROOT, (line) => console.error(line));
    const metered = await buildBench('cost', join(ROOT, 'wrangler.toml'), join(ROOT, 'bench/cost-worker.ts'));
    const start = (build: Build, variables: Readonly<Record<string, string>> = {}): Promise<RunningWorker> =>
      startBenchWorker(build, directory, { ...VARIABLES, ...variables });
    const stateDirectory = join(directory, 'state');
    mkdirSync(stateDirectory);
    await migrate(stateDirectory, databaseId(production), join(ROOT, 'migrations'));
    const { alone, bytes, loaded } = await using(start(metered), async (worker) => {
      await call(apiOf(worker), 'PUT', '/chains/bench-cost', chainOf(upstream.url));
      // Gives the object its tables, so that the first run is one as any other.
      await worker.runScheduled();
      const alone = await countAlone(worker);
      const bytes = await countDuring(worker, FIRST_RUNS, () => runMany(worker, FIRST_RUNS));
      await runMany(worker, WARM_RUNS);
      return { alone, bytes, loaded: await countDuring(worker, RUNS, () => runMany(worker, RUNS)) };
    });
    const deleted = await using(start(metered, { TIDEGATE_RETENTION_DAYS: RETENTION_DAYS }), countDeleted);
    const speed = await using(start(production), measureSpeed);
    const common = {
      deleted,
      bytes,
      archived: loaded,
      objectMilliseconds: LIMITS.archiveMilliseconds,
      cpuMilliseconds: speed.cpuMicroseconds / 1000,
    };
    // An object that never sleeps is awake so long for each.
    const awakeMilliseconds = 1000 / speed.many.perSecond;
    tellCost(
      'five-effect runs',
      {
        [`at ${speed.many.perSecond.toFixed(0)}/s`]: billOf({ ...common, used: { ...loaded, awakeMilliseconds } }),
        alone: billOf({ ...common, used: alone }),
      },
      rivalsOf(EFFECTS, common.cpuMilliseconds, speed.one.p50Milliseconds),
    );
  } finally {
    upstream.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function using<T>(started: Promise<RunningWorker>, work: (worker: RunningWorker) => Promise<T>): Promise<T> {
  const worker = await started;
  try {
    return await work(worker);
  } finally {
    await worker.stop();
  }
}

const apiOf = ({ url }: RunningWorker) => ({ url, adminKey: VARIABLES.TIDEGATE_ADMIN_KEY });

const bindingsSchema = v.object({ d1Databases: v.object({ DB: v.object({ id: v.string() }) }) });
const databaseId = (build: Build): string => v.parse(bindingsSchema, readBindings(build)).d1Databases.DB.id;

async function runOnce({ url }: RunningWorker): Promise<void> {
  const response = await fetch(url + PATH, request);
  if (!response.ok) throw new Error(`answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}

async function runMany(worker: RunningWorker, runs: number): Promise<void> {
  let left = runs;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) await runOnce(worker);
    }),
  );
}

const readUsage = async ({ url }: RunningWorker): Promise<Usage> =>
  (await (await fetch(`${url}/bench/usage`)).json()) as Usage;

/** What was used until nothing is under way any more and `isOver`, for each of so many runs. */
async function countDuring(
  worker: RunningWorker,
  runs: number,
  work: () => Promise<void>,
  isOver: (used: Usage) => boolean = () => true,
): Promise<Usage> {
  const before = await readUsage(worker);
  await work();
  for (const giveUpAt = performance.now() + QUIET_WITHIN_MILLISECONDS; performance.now() < giveUpAt; await sleep(50)) {
    const after = await readUsage(worker);
    const used = mapUsage(after, (value, name) => value - before[name]);
    if (after.underWay === 0 && isOver(used)) return mapUsage(used, (value) => value / runs);
  }
  throw new Error('The gateway did not come to rest.');
}

/** Its alarm is the last that comes of a run. */
const countAlone = (worker: RunningWorker): Promise<Usage> => {
  console.error('Waiting for the alarm behind a run that came alone');
  const alarmRan = (used: Usage): boolean => used.alarmsSet === 0 || used.alarmsRun > 0;
  return countDuring(worker, 1, () => runOnce(worker), alarmRan);
};

/** What is done when the retention of all runs is over, for each of them. */
async function countDeleted(worker: RunningWorker): Promise<Usage> {
  const list = async (): Promise<number> =>
    (await call<{ items: unknown[] }>(apiOf(worker), 'GET', '/runs?chain=bench-cost&limit=1')).items.length;
  // Brings D1 up to date first, so that nothing is told of a run that is gone.
  if ((await list()) === 0) throw new Error('There is no run to delete.');
  const runs = 1 + FIRST_RUNS + WARM_RUNS + RUNS;
  return countDuring(worker, runs, async () => {
    for (let sweep = 0; (await list()) > 0; sweep++) {
      if (sweep > runs) throw new Error('The runs are not deleted.');
      await worker.runScheduled();
    }
  });
}

async function measureSpeed(worker: RunningWorker): Promise<Round> {
  const target = { ...request, url: worker.url + PATH };
  await load({ ...target, connections: CONNECTIONS, milliseconds: 1_000 });
  return measure({ name: 'cost', pid: worker.pid(), request: target });
}

const mapUsage = (usage: Usage, map: (value: number, name: keyof Usage) => number): Usage =>
  Object.fromEntries(Object.entries(usage).map(([name, value]) => [name, map(value, name as keyof Usage)])) as Usage;
