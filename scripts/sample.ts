/** `npm run sample -- <price|order-paid|nightly-export>`: one real request to a sample chain, and what became of it. */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { sign } from '../src/core/webhook/index.ts';
import { call } from './launcher/api.ts';
import { checkoutEvent } from './launcher/samples.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8787' },
    data: { type: 'string', default: '.tidegate' },
  },
});

const secret = async (name: string): Promise<string> => (await readFile(join(values.data, name), 'utf8')).trim();
const api = async () => ({
  url: values.url,
  adminKey: process.env['TIDEGATE_ADMIN_KEY'] ?? (await secret('admin-key')),
});

async function show(response: Response): Promise<unknown> {
  const text = await response.text();
  console.log(`${response.status} ${text}`);
  return response.ok ? JSON.parse(text) : undefined;
}

const ENDED = new Set(['succeeded', 'failed', 'cancelled']);

async function follow(id: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const run = await call<{ status: string; steps: { id: string; status: string }[] }>(
      await api(),
      'GET',
      `/runs/${id}`,
    );
    if (ENDED.has(run.status)) {
      console.log(JSON.stringify(run, undefined, 2));
      return;
    }
    await setTimeout(100);
  }
  console.log(`${id} is still under way: GET ${values.url}/_/api/v1/runs/${id}`);
}

const samples: Readonly<Record<string, () => Promise<void>>> = {
  price: async () => void (await show(await fetch(`${values.url}/prices/tea`))),
  'order-paid': async () => {
    const id = `evt_${randomUUID()}`;
    const body = new TextEncoder().encode(JSON.stringify(checkoutEvent(id)));
    const headers = await sign('stripe', await secret('stripe-secret'), { body, id, nowMilliseconds: Date.now() });
    const received = await show(
      await fetch(`${values.url}/hooks/stripe`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body,
      }),
    );
    for (const run of (received as { runs?: string[] } | undefined)?.runs ?? []) await follow(run);
  },
  'nightly-export': async () => {
    const { id } = await call<{ id: string }>(await api(), 'POST', '/chains/nightly-export/runs', {});
    await follow(id);
  },
};

const chosen = samples[positionals[0] ?? ''];
if (chosen === undefined) {
  console.error(`Which sample? npm run sample -- ${Object.keys(samples).join(' | ')}`);
  process.exit(1);
}
await chosen();
