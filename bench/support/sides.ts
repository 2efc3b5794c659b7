/** Starts both sides of a bench on the same runtime, and measures them in alternating rounds. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { buildBench, ROOT } from './build.ts';
import { load, type LoadOptions, type LoadResult } from './load.ts';
import { call } from '../../scripts/launcher/api.ts';
import type { Build } from '../../scripts/launcher/build.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';
import { startWorker, type RunningWorker } from '../../scripts/launcher/worker.ts';

export interface Sides {
  /** For the data of Workers that a bench starts by itself. */
  readonly directory: string;
  readonly upstream: string;
  readonly gateway: Gateway;
  readonly handWritten: RunningWorker;
  /** Starts the hand-written Worker once more: what one process has in memory does not slow the other. */
  startApart(name: string): Promise<RunningWorker>;
  /** An API key of the gateway; the hand-written side knows it too. */
  readonly key: string;
  stop(): Promise<void>;
}

/** @param more variables of the hand-written Worker */
export async function startSides(more: Readonly<Record<string, string>> = {}): Promise<Sides> {
  const directory = makeDirectory();
  const upstream = await startUpstream();
  const gateway = await launch({
    port: 0,
    dataDirectory: join(directory, 'gateway'),
    samples: false,
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
    log: (line) => console.error(line),
  });
  const { key } = await call<{ key: string }>(gateway, 'POST', '/keys', { name: 'bench' });
  const build = await buildBench('bench', join(ROOT, 'bench/hand-written/wrangler.toml'));
  const variables = { ...more, UPSTREAM: upstream.url, KEY_HASH: createHash('sha256').update(key).digest('hex') };
  const workers: RunningWorker[] = [];
  const startApart = async (name: string): Promise<RunningWorker> => {
    const worker = await startBenchWorker(build, join(directory, name), variables);
    workers.push(worker);
    return worker;
  };
  return {
    directory,
    upstream: upstream.url,
    gateway,
    handWritten: await startApart('hand-written'),
    startApart,
    key,
    stop: async () => {
      upstream.stop();
      await gateway.stop();
      for (const worker of workers) await worker.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** BENCH_DIRECTORY puts the data elsewhere, e.g. on tmpfs: the disk decides durable figures. */
export const makeDirectory = (): string =>
  mkdtempSync(join(process.env['BENCH_DIRECTORY'] ?? tmpdir(), 'tidegate-bench-'));

export async function startUpstream(): Promise<{ readonly url: string; stop(): void }> {
  const upstream = spawn(process.execPath, [join(import.meta.dirname, 'upstream.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [port] = (await once(upstream.stdout, 'data')) as [Buffer];
  return { url: `http://127.0.0.1:${port.toString().trim()}`, stop: () => void upstream.kill() };
}

export function startBenchWorker(
  build: Build,
  directory: string,
  variables: Readonly<Record<string, string>>,
): Promise<RunningWorker> {
  const stateDirectory = join(directory, 'state');
  mkdirSync(stateDirectory, { recursive: true });
  return startWorker({
    build,
    directory,
    stateDirectory,
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

export interface Round {
  readonly many: LoadResult;
  readonly one: LoadResult;
  readonly cpuMicroseconds: number;
}

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 7);
const MANY_MILLISECONDS = 2_000;
const ONE_MILLISECONDS = 1_000;
/** Until the heap of workerd has grown to what it needs: fresh memory costs each request some microseconds. */
const WARM_MILLISECONDS = 8_000;

/** Processor time of a process so far, in microseconds (Linux counts in ticks of 10 ms). */
function cpuOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid ?? 'self'}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

export async function measure({ request, pid }: Side): Promise<Round> {
  const before = cpuOf(pid);
  const many = await load({ ...request, connections: 32, milliseconds: MANY_MILLISECONDS });
  const cpuMicroseconds = (cpuOf(pid) - before) / many.requests;
  const one = await load({ ...request, connections: 1, milliseconds: ONE_MILLISECONDS });
  return { many, one, cpuMicroseconds };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const show = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(3));

/**
 * Measures the sides in alternating rounds; prints a table of medians with their spread, and the ratios, by
 * round, of the first side to each of the others.
 */
export async function compare(sides: readonly [Side, ...Side[]]): Promise<void> {
  const measured = sides.map((side) => ({ side, rounds: [] as Round[] }));
  for (const side of sides) await load({ ...side.request, connections: 32, milliseconds: WARM_MILLISECONDS });
  for (let round = 0; round < ROUNDS; round++) {
    const first = round % measured.length;
    for (const { side, rounds } of [...measured.slice(first), ...measured.slice(0, first)]) {
      rounds.push(await measure(side));
    }
  }
  const figures: readonly [string, (round: Round) => number][] = [
    ['per second, 32 connections', (round) => round.many.perSecond],
    ['p50 ms, 32 connections', (round) => round.many.p50Milliseconds],
    ['p99 ms, 32 connections', (round) => round.many.p99Milliseconds],
    ['p50 ms, 1 connection', (round) => round.one.p50Milliseconds],
    ['p99 ms, 1 connection', (round) => round.one.p99Milliseconds],
    ['CPU µs a request', (round) => round.cpuMicroseconds],
  ];
  for (const [label, pick] of figures) {
    const cells = measured.map(({ side, rounds }) => {
      const values = rounds.map(pick);
      return `${side.name} ${`${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`.padEnd(26)}`;
    });
    console.log(`${label.padEnd(28)} ${cells.join(' ')}`.trimEnd());
  }
  const [ours, ...others] = measured;
  for (const theirs of others) if (ours !== undefined) tellRatios(ours, theirs);
}

interface Measured {
  readonly side: Side;
  readonly rounds: readonly Round[];
}

function tellRatios(ours: Measured, theirs: Measured): void {
  const pairs = ours.rounds.map((round, index) => [round, theirs.rounds[index] ?? round] as const);
  const ratio = median(pairs.map(([a, b]) => a.many.perSecond / b.many.perSecond));
  const added = median(pairs.map(([a, b]) => a.one.p50Milliseconds - b.one.p50Milliseconds));
  const p50 = median(pairs.map(([a, b]) => a.one.p50Milliseconds / b.one.p50Milliseconds));
  const cpu = median(pairs.map(([a, b]) => a.cpuMicroseconds - b.cpuMicroseconds));
  const name = `${ours.side.name}/${theirs.side.name}`;
  console.log(`ADDED ${name} p50 at 1 connection ${added.toFixed(3)} ms; CPU ${cpu.toFixed(0)} µs a request`);
  console.log(`RATIO ${name} p50 at 1 connection ${p50.toFixed(2)}`);
  console.log(`RATIO ${name} ${ratio.toFixed(2)}`);
}
