/**
 * A run of three steps whose results are journaled, started by HTTP and awaited, against three coalesced
 * writes in a warm object by hand. The steps compute: what is measured is the engine and the journal.
 */

import { compare, startSides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';

/** `$random()` makes a step worth journaling, so that all three results are written. */
const step = (value: string): unknown => ({ use: 'data.map', with: { value, at: '{{ $random() }}' } });

const chain = {
  name: 'bench-durable',
  mode: 'durable',
  triggers: { api: { type: 'http', method: 'POST', path: '/bench/durable', auth: 'public', respond: 'result' } },
  steps: {
    a: step('{{ input.n + 1 }}'),
    b: step('{{ steps.a.value + 1 }}'),
    c: step('{{ steps.b.value + 1 }}'),
  },
  output: { a: '{{ steps.a.value }}', b: '{{ steps.b.value }}', c: '{{ steps.c.value }}' },
};

export async function durable(): Promise<void> {
  const sides = await startSides();
  try {
    await call(sides.gateway, 'PUT', '/chains/bench-durable', chain);
    const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"n":1}' };
    const path = '/bench/durable';
    const answers = await Promise.all(
      [sides.gateway.url, sides.handWritten.url].map(async (url) => (await fetch(url + path, request)).text()),
    );
    if (answers[0] !== answers[1]) throw new Error(`The sides differ: ${answers.join(' | ')}`);
    await compare([
      { name: 'durable', pid: sides.gateway.worker.pid(), request: { ...request, url: sides.gateway.url + path } },
      {
        name: 'hand-written',
        pid: sides.handWritten.pid(),
        request: { ...request, url: sides.handWritten.url + path },
      },
    ]);
  } finally {
    await sides.stop();
  }
}
