/**
 * A run of three steps whose results are journaled, started by HTTP and awaited, against three coalesced
 * writes in a warm object by hand, and against the same steps on Cloudflare Workflows in the same runtime. The
 * steps compute: what is measured is the engine and the journal.
 */

import { compare, startSides, type Side } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';
import type { RunningWorker } from '../scripts/launcher/worker.ts';

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
    const workflows = await sides.startApart('workflows');
    const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"n":1}' };
    const sideOf = (name: string, { url, pid }: RunningWorker, path: string): Side => ({
      name,
      pid: pid(),
      request: { ...request, url: url + path },
    });
    const ours = sideOf('durable', sides.gateway.worker, '/bench/durable');
    const others = [
      sideOf('hand-written', sides.handWritten, '/bench/durable'),
      sideOf('workflows', workflows, '/bench/workflow'),
    ];
    const answers = await Promise.all(
      [ours, ...others].map(async (side) => (await fetch(side.request.url, request)).text()),
    );
    if (new Set(answers).size > 1) throw new Error(`The sides differ: ${answers.join(' | ')}`);
    await compare([ours, ...others]);
  } finally {
    await sides.stop();
  }
}
