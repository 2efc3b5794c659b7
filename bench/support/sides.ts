/** Starts both sides of a bench on the same runtime, and measures them in alternating rounds. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createHash } from 'node:crypto';
import { unstable_getMiniflareWorkerOptions } from 'wrangler';
import { load, type LoadOptions, type LoadResult } from './load.ts';
import { call } from '../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';
import { startWorker, type RunningWorker } from '../../scripts/launcher/worker.ts';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Sides {
  readonly upstream: string;
  readonly gateway: Gateway;
  readonly handWritten: RunningWorker;
  /** An API key of the gateway; the hand-written side knows it too. */
  readonly key: string;
  stop(): Promise<void>;
}

export async function startSides(): Promise<Sides> {
  // BENCH_DIRECTORY puts the data elsewhere, e.g. on tmpfs: the disk decides durable figures.
  const directory = mkdtempSync(join(process.env['BENCH_DIRECTORY'] ?? tmpdir(), 'tidegate-bench-'));
  const upstreamProcess = spawn(process.execPath, [join(import.meta.dirname, 'upstream.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(upstreamProcess.stdout, 'data')) as [Buffer];
  const upstream = `http://127.0.0.1:${port.toString().trim()}`;
  const gateway = await launch({
    port: 0,
    dataDirectory: join(directory, 'gateway'),
    samples: false,
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
    log: (line) => console.error(line),
  });
  const { key } = await call<{ key: string }>(gateway, 'POST', '/keys', { name: 'bench' });
  const handWritten = await startHandWritten(join(directory, 'hand-written'), {
    UPSTREAM: upstream,
    KEY_HASH: createHash('sha256').update(key).digest('hex'),
  });
  return {
    upstream,
    gateway,
    handWritten,
    key,
    stop: async () => {
      upstreamProcess.kill();
      await gateway.stop();
      await handWritten.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function startHandWritten(directory: string, variables: Record<string, string>): Promise<RunningWorker> {
  const source = join(ROOT, 'bench/hand-written');
  const configPath = join(source, 'wrangler.toml');
  const outDirectory = join(ROOT, 'dist/bench');
  mkdirSync(join(directory, 'state'), { recursive: true });
  mkdirSync(outDirectory, { recursive: true });
  const built = spawnSync(
    process.execPath,
    [
      join(ROOT, 'node_modules/wrangler/bin/wrangler.js'),
      'deploy',
      '--dry-run',
      '--config',
      configPath,
      '--outdir',
      outDirectory,
    ],
    { encoding: 'utf8', env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' } },
  );
  if (built.status !== 0) throw new Error(`${built.stdout}${built.stderr}`);
  const { modulesRules: _rules, ...bindings } = unstable_getMiniflareWorkerOptions(configPath).workerOptions;
  const bindingsPath = join(outDirectory, 'bindings.json');
  writeFileSync(bindingsPath, JSON.stringify(bindings));
  return startWorker({
    build: { scriptPath: join(outDirectory, 'index.js'), bindingsPath },
    directory,
    stateDirectory: join(directory, 'state'),
    host: '127.0.0.1',
    port: 0,
    variables,
    networks: ['public', '127.0.0.1/32'],
    log: (line) => console.error(line),
  });
}

export interface Side {
  readonly name: string;
  readonly pid: number | undefined;
  readonly request: Omit<LoadOptions, 'connections' | 'milliseconds'>;
}

interface Round {
  readonly many: LoadResult;
  readonly one: LoadResult;
  readonly cpuMicroseconds: number;
}

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 7);
const MANY_MILLISECONDS = 2_000;
const ONE_MILLISECONDS = 1_000;

/** Processor time of a process so far, in microseconds (Linux counts in ticks of 10 ms). */
function cpuOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid ?? 'self'}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

async function measure({ request, pid }: Side): Promise<Round> {
  const before = cpuOf(pid);
  const many = await load({ ...request, connections: 32, milliseconds: MANY_MILLISECONDS });
  const cpuMicroseconds = (cpuOf(pid) - before) / many.requests;
  const one = await load({ ...request, connections: 1, milliseconds: ONE_MILLISECONDS });
  return { many, one, cpuMicroseconds };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const show = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(3));

/** Alternates the sides; prints a table of medians with their spread, and returns the ratios by round. */
export async function compare(sides: readonly [Side, Side]): Promise<void> {
  const rounds: [Round[], Round[]] = [[], []];
  for (const side of sides) await load({ ...side.request, connections: 32, milliseconds: 2_000 });
  for (let round = 0; round < ROUNDS; round++) {
    const order: readonly (0 | 1)[] = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const index of order) rounds[index].push(await measure(sides[index]));
  }
  const figures: readonly [string, (round: Round) => number][] = [
    ['per second, 32 connections', (round) => round.many.perSecond],
    ['p50 ms, 32 connections', (round) => round.many.p50Milliseconds],
    ['p99 ms, 32 connections', (round) => round.many.p99Milliseconds],
    ['p50 ms, 1 connection', (round) => round.one.p50Milliseconds],
    ['p99 ms, 1 connection', (round) => round.one.p99Milliseconds],
    ['CPU µs a request', (round) => round.cpuMicroseconds],
  ];
  const [ours, theirs] = sides;
  for (const [label, pick] of figures) {
    const line = rounds.map((each) => {
      const values = each.map(pick);
      return `${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`;
    });
    console.log(`${label.padEnd(28)} ${ours.name} ${line[0]?.padEnd(26)} ${theirs.name} ${line[1]}`);
  }
  const pairs = rounds[0].map((round, index) => [round, rounds[1][index] ?? round] as const);
  const ratio = median(pairs.map(([a, b]) => a.many.perSecond / b.many.perSecond));
  const added = median(pairs.map(([a, b]) => a.one.p50Milliseconds - b.one.p50Milliseconds));
  const p50 = median(pairs.map(([a, b]) => a.one.p50Milliseconds / b.one.p50Milliseconds));
  const cpu = median(pairs.map(([a, b]) => a.cpuMicroseconds - b.cpuMicroseconds));
  const name = `${ours.name}/${theirs.name}`;
  console.log(`ADDED ${name} p50 at 1 connection ${added.toFixed(3)} ms; CPU ${cpu.toFixed(0)} µs a request`);
  console.log(`RATIO ${name} p50 at 1 connection ${p50.toFixed(2)}`);
  console.log(`RATIO ${name} ${ratio.toFixed(2)}`);
}
