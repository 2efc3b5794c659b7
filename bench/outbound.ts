/**
 * Webhooks out: from the request that sends a message to its arrival at a healthy endpoint, alone and beside an
 * endpoint of the same application that takes every connection and never answers.
 */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeDirectory } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';
import { launch, type Gateway } from '../scripts/launcher/launch.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const MESSAGES = 100;
const PAUSE_MILLISECONDS = 20;
const WARM_UP_MESSAGES = 100;

/** When each message arrived, by its number. */
const arrivals = new Map<number, number>();
let sent = 0;

export async function outbound(): Promise<void> {
  const directory = makeDirectory();
  const healthy = await listen(
    createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        arrivals.set((JSON.parse(body) as { n: number }).n, performance.now());
        response.end();
      });
    }),
  );
  const other = await listen(createServer((request, response) => request.resume().on('end', () => response.end())));
  const dead = await listen(createServer(() => {}));
  const gateway = await launch({
    port: 0,
    dataDirectory: directory,
    samples: false,
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
    log: (line) => console.error(line),
  });
  try {
    await call(gateway, 'PUT', '/event-types/bench.sent', {});
    const alone = await application(gateway, [healthy.url]);
    const sides = [
      { name: 'alone', id: alone, latencies: [] as number[] },
      // What the second endpoint costs by itself is not what its silence costs.
      { name: 'beside a healthy one', id: await application(gateway, [healthy.url, other.url]), latencies: [] },
      { name: 'beside a dead one', id: await application(gateway, [healthy.url, dead.url]), latencies: [] },
    ];
    for (const { id } of sides) await round(gateway, id, WARM_UP_MESSAGES);
    for (let n = 0; n < ROUNDS; n++) {
      for (const { id, latencies } of sides) latencies.push(...(await round(gateway, id, MESSAGES)));
    }
    tell(sides);
  } finally {
    await gateway.stop();
    for (const { server } of [healthy, other, dead]) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

async function listen(server: Server): Promise<{ readonly server: Server; readonly url: string }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

async function application(gateway: Gateway, urls: readonly string[]): Promise<string> {
  const { id } = await call<{ id: string }>(gateway, 'POST', '/applications', { name: 'bench' });
  for (const url of urls) await call(gateway, 'POST', `/applications/${id}/endpoints`, { url });
  return id;
}

/** Sends messages at an even pace; returns what each took to arrive, in milliseconds. @throws where one does not */
async function round(gateway: Gateway, id: string, messages: number): Promise<number[]> {
  const sentAt = new Map<number, number>();
  for (let index = 0; index < messages; index++) {
    const n = ++sent;
    sentAt.set(n, performance.now());
    await call(gateway, 'POST', `/applications/${id}/messages`, { eventType: 'bench.sent', payload: { n } });
    await sleep(PAUSE_MILLISECONDS);
  }
  for (let waits = 0; [...sentAt.keys()].some((n) => !arrivals.has(n)); waits++) {
    if (waits > 100) throw new Error('a message has not arrived within ten seconds');
    await sleep(100);
  }
  return [...sentAt].map(([n, at]) => (arrivals.get(n) ?? Infinity) - at);
}

function tell(sides: readonly { readonly name: string; readonly latencies: number[] }[]): void {
  const told = sides.map(({ name, latencies }) => ({ name, ...figures(latencies) }));
  for (const { name, p50, p99 } of told) {
    console.log(`${name.padEnd(22)} p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
  }
  const dead = told.at(-1);
  for (const { name, p50, p99 } of told.slice(0, -1)) {
    const ratios = [(dead?.p50 ?? 0) / p50, (dead?.p99 ?? 0) / p99].map((ratio) => ratio.toFixed(2));
    console.log(`RATIO outbound ${dead?.name}/${name} p50 ${ratios[0]}, p99 ${ratios[1]}`);
  }
}

function figures(values: number[]): { readonly p50: number; readonly p99: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
