/**
 * `flow.each` over 100 items in a run object, each with a journaled result, against an object that does
 * the same by hand; then 10,000 items with a request each, which go through the queue and only have to end,
 * with bounded memory.
 */

import { readFileSync } from 'node:fs';
import { compare, startSides, type Sides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';

const chain = {
  name: 'bench-fanout',
  mode: 'durable',
  triggers: { api: { type: 'http', method: 'POST', path: '/bench/fanout', auth: 'public', respond: 'result' } },
  steps: {
    items: {
      use: 'flow.each',
      with: {
        in: '{{ input.items }}',
        concurrency: 100,
        // `$random()` makes a result worth journaling.
        steps: { double: { use: 'data.map', with: { value: '{{ item * 2 }}', at: '{{ $random() }}' } } },
        output: '{{ steps.double.value }}',
      },
    },
  },
  output: { sum: '{{ $sum(steps.items.results) }}' },
};

const wideChain = (upstream: string): unknown => ({
  name: 'bench-fanout-wide',
  mode: 'durable',
  triggers: { api: { type: 'http', method: 'POST', path: '/bench/fanout-wide', auth: 'public', respond: 'result' } },
  steps: {
    items: {
      use: 'flow.each',
      with: {
        in: '{{ input.items }}',
        concurrency: 1000,
        steps: { get: { use: 'http.get', with: { url: `${upstream}/stock` } } },
        output: '{{ steps.get.body.stock + item }}',
      },
    },
  },
  output: { sum: '{{ $sum(steps.items.results) }}' },
});

const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);

export async function fanout(): Promise<void> {
  const sides = await startSides();
  try {
    await call(sides.gateway, 'PUT', '/chains/bench-fanout', chain);
    const path = '/bench/fanout';
    const request = (items: number) => ({
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ items: listOf(items) }),
    });
    const answers = await Promise.all(
      [sides.gateway.url, sides.handWritten.url].map(async (url) => (await fetch(url + path, request(100))).text()),
    );
    if (answers[0] !== answers[1]) throw new Error(`The sides differ: ${answers.join(' | ')}`);
    await compare([
      { name: 'fanout', pid: sides.gateway.worker.pid(), request: { ...request(100), url: sides.gateway.url + path } },
      {
        name: 'hand-written',
        pid: sides.handWritten.pid(),
        request: { ...request(100), url: sides.handWritten.url + path },
      },
    ]);
    await wide(sides);
  } finally {
    await sides.stop();
  }
}

/** Peak resident memory of a process in MB. */
function peakOf(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid ?? 'self'}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

async function wide({ gateway, upstream }: Sides): Promise<void> {
  await call(gateway, 'PUT', '/chains/bench-fanout-wide', wideChain(upstream));
  for (const items of [100, 1_000, 10_000]) {
    const before = peakOf(gateway.worker.pid());
    const startedAt = performance.now();
    const response = await fetch(`${gateway.url}/bench/fanout-wide`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ items: listOf(items) }),
    });
    const milliseconds = performance.now() - startedAt;
    const { sum } = (await response.json()) as { sum: number };
    const expected = (items * (items - 1)) / 2 + 7 * items;
    if (sum !== expected) throw new Error(`${items} items gave ${sum} instead of ${expected}`);
    const memory = `at most ${peakOf(gateway.worker.pid()).toFixed(0)} MB (${before.toFixed(0)} MB before)`;
    console.log(`${items} items with a request each, through the queue: ${milliseconds.toFixed(0)} ms; ${memory}`);
  }
}
