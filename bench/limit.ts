/**
 * The stage of the limits against a call of an object for each request, and against none; and how exact it is
 * when eight clients press on one key through several isolates.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Agent, request as httpRequest } from 'node:http';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { buildBench, ROOT } from './support/build.ts';
import { compare, makeDirectory, startBenchWorker, type Side } from './support/sides.ts';
import type { Build } from '../scripts/launcher/build.ts';
import { readBindings } from '../scripts/launcher/worker.ts';

/** `BENCH_LIMIT=exact` runs the second part alone, `BENCH_LIMIT=speed` the first. */
export async function limit(): Promise<void> {
  const part = process.env['BENCH_LIMIT'];
  const directory = makeDirectory();
  const ours = await build('bench-limit', 'limit/wrangler.toml', 'limit/worker.ts');
  try {
    if (part !== 'exact') await speed(ours, directory);
    if (part !== 'speed') await exactness(ours, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const build = (name: string, configPath: string, entry: string): Promise<Build> =>
  buildBench(name, join(ROOT, 'bench', configPath), join(ROOT, 'bench', entry));

async function speed(ours: Build, directory: string): Promise<void> {
  const theirs = await build('bench-limit-hand-written', 'hand-written/limiter.toml', 'hand-written/src/limiter.ts');
  const limited = await startBenchWorker(ours, join(directory, 'limited'), {});
  const free = await startBenchWorker(ours, join(directory, 'free'), {});
  const handWritten = await startBenchWorker(theirs, join(directory, 'hand-written'), {});
  try {
    for (const path of ['/hot', '/many']) {
      const sideOf = (name: string, worker: typeof limited, at: string): Side => ({
        name,
        pid: worker.pid(),
        request: { method: 'GET', url: worker.url + at },
      });
      console.log(path === '/hot' ? '\none hot key' : '\n10,000 keys');
      await compare([
        sideOf('limit', limited, path),
        sideOf('hand-written', handWritten, path),
        sideOf('none', free, '/none'),
      ]);
    }
  } finally {
    // One after the other, the newest last: what miniflare starts in place of a stopped one is the script of the newest.
    for (const worker of [limited, free, handWritten]) await worker.stop();
  }
}

const ISOLATES = 4;
const CLIENTS = 8;
const REQUESTS = 100_000;
const LIMIT = 1_000;
const PERIOD_MILLISECONDS = 10_000;
const STORE = LIMIT / 20;

interface Decision {
  readonly at: number;
  readonly ok: boolean;
}

/** Each isolate is a Worker of its own with its own modules; one of them has the objects. */
async function exactness(ours: Build, directory: string): Promise<void> {
  const stateDirectory = join(directory, 'exact');
  mkdirSync(stateDirectory, { recursive: true });
  const names = Array.from({ length: ISOLATES }, (_, index) => `isolate-${index}`);
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.ERROR),
      resourcePersistencePath: stateDirectory,
      workers: names.map((name) => ({
        ...readBindings(ours),
        name,
        rootPath: dirname(ours.scriptPath),
        scriptPath: ours.scriptPath,
        modules: true,
        durableObjects: {
          LIMITER: { className: 'LimiterObject', useSQLite: true, scriptName: names[0] ?? '' },
        },
        unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
      })),
    }),
  );
  try {
    await miniflare.ready;
    const urls = await Promise.all(names.map((name) => miniflare.unsafeGetDirectURL(name)));
    const startedAt = Date.now();
    const decisions = await press(urls.map(({ origin }) => `${origin}/strict`));
    tellWindows(decisions, (Date.now() - startedAt) / 1_000);
  } finally {
    await miniflare.dispose();
  }
}

async function press(urls: readonly string[]): Promise<readonly Decision[]> {
  const decisions: Decision[] = [];
  let sent = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (; sent < REQUESTS;) {
        const url = urls[(sent++ + client) % urls.length] ?? '';
        decisions.push(await decide(url, agent));
      }
      agent.destroy();
    }),
  );
  return decisions.sort((a, b) => a.at - b.at);
}

function decide(url: string, agent: Agent): Promise<Decision> {
  return new Promise((resolve, reject) => {
    const sending = httpRequest(url, { agent }, (response) => {
      const { statusCode, headers } = response;
      response.resume();
      response.on('end', () => {
        if (statusCode !== 200 && statusCode !== 429) reject(new Error(`answered ${statusCode}`));
        else resolve({ at: Number(headers['x-decided-at']), ok: statusCode === 200 });
      });
    });
    sending.on('error', reject);
    sending.end();
  });
}

/** Counts in fixed windows from the first request on, and in every sliding one. */
function tellWindows(decisions: readonly Decision[], seconds: number): void {
  const admitted = decisions.filter(({ ok }) => ok).map(({ at }) => at);
  const first = decisions[0]?.at ?? 0;
  const windows: number[] = [];
  for (const at of admitted) {
    const index = Math.floor((at - first) / PERIOD_MILLISECONDS);
    windows[index] = (windows[index] ?? 0) + 1;
  }
  let from = 0;
  let fullest = 0;
  for (const [index, at] of admitted.entries()) {
    while ((admitted[from] ?? 0) <= at - PERIOD_MILLISECONDS) from++;
    fullest = Math.max(fullest, index - from + 1);
  }
  let least = Infinity;
  let firstFill: number | undefined;
  let [start, end] = [0, 0];
  for (const { at, ok } of decisions) {
    if (ok) continue;
    while ((admitted[start] ?? Infinity) <= at - PERIOD_MILLISECONDS) start++;
    while ((admitted[end] ?? Infinity) <= at) end++;
    firstFill ??= end - start;
    least = Math.min(least, end - start);
  }
  console.log(
    `\n${decisions.length} requests of ${CLIENTS} clients to ${ISOLATES} isolates in ${seconds.toFixed(1)} s`,
  );
  console.log(`admitted ${admitted.length}, by fixed window: ${windows.join(', ')}`);
  console.log(`fullest sliding window ${fullest}, bound ${LIMIT + STORE}`);
  console.log(
    `admitted in the period before the first denial ${firstFill}, before the earliest denial of all ${least}`,
  );
  if (fullest > LIMIT + STORE) throw new Error('more than the bound was admitted');
  if (least < 0.95 * LIMIT) throw new Error('a request was refused below 95 % of the limit');
}
