/** What a step costs as the history of its run grows: one long durable chain, timed by its own attempts. */

import { startSides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';
import { LIMITS } from '../src/core/limits.ts';

const STEPS = LIMITS.chainSteps;
const RUNS = 15;

/** Each waits for the one before and calls the upstream, so that each is an intent and a result on disk. */
const stepsOf = (upstream: string): Record<string, unknown> =>
  Object.fromEntries(
    Array.from({ length: STEPS }, (_, index) => [
      `s${index}`,
      { use: 'http.get', with: { url: `${upstream}/stock` }, ...(index === 0 ? {} : { after: [`s${index - 1}`] }) },
    ]),
  );

interface Answered {
  readonly status: string;
  readonly steps: readonly { readonly attempts: readonly { readonly startedAt: string; readonly endedAt: string }[] }[];
}

export async function history(): Promise<void> {
  const sides = await startSides();
  try {
    const triggers = {
      api: { type: 'http', method: 'POST', path: '/bench/history', auth: 'public', respond: 'result' },
    };
    const document = {
      name: 'bench-history',
      mode: 'durable',
      triggers,
      steps: stepsOf(sides.upstream),
      output: 'done',
    };
    await call(sides.gateway, 'PUT', '/chains/bench-history', document);
    const positions = [10, 100, STEPS];
    const totals = positions.map(() => [] as number[]);
    for (let run = 0; run < RUNS; run++) {
      const response = await fetch(`${sides.gateway.url}/bench/history`, { method: 'POST' });
      const id = response.headers.get('tidegate-run') ?? '';
      if (!response.ok) throw new Error(await response.text());
      const record = await call<Answered>(sides.gateway, 'GET', `/runs/${id}`);
      // Clocks here tick in milliseconds, so ten steps are timed together.
      for (const [index, position] of positions.entries()) totals[index]?.push(timeOf(record, position - 10, position));
    }
    const medians = totals.map((values) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0);
    for (const [index, position] of positions.entries()) {
      console.log(`ms a step up to ${position}`.padEnd(24), ((medians[index] ?? 0) / 10).toFixed(3));
    }
    console.log(`RATIO step-${STEPS}/step-10 ${((medians[2] ?? 0) / (medians[0] ?? 1)).toFixed(2)}`);
  } finally {
    await sides.stop();
  }
}

function timeOf(record: Answered, from: number, to: number): number {
  const started = Date.parse(record.steps[from]?.attempts[0]?.startedAt ?? '');
  const ended = Date.parse(record.steps[to - 1]?.attempts[0]?.endedAt ?? '');
  return ended - started;
}
