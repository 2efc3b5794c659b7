/**
 * `flow.each` over 100 items in a run object, each with a journaled result, against an object that does
 * the same by hand; then 10,000 items, which only have to end.
 */

import { compare, startSides } from './support/sides.ts';
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
    const startedAt = performance.now();
    const large = await fetch(sides.gateway.url + path, request(10_000));
    const { sum } = (await large.json()) as { sum: number };
    if (sum !== 99_990_000) throw new Error(`10,000 items gave ${sum}`);
    console.log(`10,000 items in ${(performance.now() - startedAt).toFixed(0)} ms`);
  } finally {
    await sides.stop();
  }
}
