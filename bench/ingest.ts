/**
 * A webhook of 2 KB signed as GitHub signs, accepted durably and deduplicated, against a Worker by hand that
 * verifies the HMAC and does one insert in a warm object: by itself, and with group commit.
 *
 * `ingest` keeps the event, which is what the others do; `ingest-and-run` also runs a chain for each.
 */

import { createHmac } from 'node:crypto';
import { bytesOf, type LoadOptions } from './support/load.ts';
import { compare, startSides, type Side } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';
import type { RunningWorker } from '../scripts/launcher/worker.ts';

const SECRET = 'bench-secret-of-the-hooks';
/** Made ahead, and anew when they are used up, between two answers. */
const AHEAD = 20_000;
const PADDING = 'x'.repeat(1_900);

let counter = 0;

function delivery(url: string): Pick<LoadOptions, 'url' | 'method' | 'headers'> & { readonly body: string } {
  const number = ++counter;
  const body = JSON.stringify({ action: 'opened', number, repository: { full_name: 'a/b' }, padding: PADDING });
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'GitHub-Hookshot/bench',
    'x-github-event': 'pull_request',
    'x-github-delivery': `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`,
    'x-hub-signature-256': `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`,
  };
  return { url, method: 'POST', headers, body };
}

function* deliveries(url: string): Generator<Buffer, undefined> {
  const make = (): Buffer[] => Array.from({ length: AHEAD }, () => bytesOf(delivery(url)));
  for (let made = make(); ; made = make()) yield* made;
}

export async function ingest(): Promise<void> {
  const sides = await startSides({ HOOK_SECRET: SECRET });
  try {
    const { gateway } = sides;
    for (const source of ['ingest', 'inbox']) {
      await call(gateway, 'PUT', `/sources/${source}`, { scheme: 'github', secret: SECRET });
    }
    await call(gateway, 'PUT', '/chains/bench-ingest', {
      name: 'bench-ingest',
      triggers: { hook: { type: 'webhook', source: 'ingest' } },
      steps: {},
      output: '{{ input.number }}',
    });
    const grouped = await sides.startApart('grouped');
    const sideOf = (name: string, { url, pid }: RunningWorker, path: string): Side => {
      const target = url + path;
      return { name, pid: pid(), request: { url: target, method: 'POST', requests: deliveries(target) } };
    };
    const runs = sideOf('ingest-and-run', gateway.worker, '/hooks/ingest');
    const events = sideOf('ingest', gateway.worker, '/hooks/inbox');
    const single = sideOf('hand-written', sides.handWritten, '/hooks/single');
    const all = [runs, events, single, sideOf('grouped', grouped, '/hooks/grouped')] as const;
    for (const { name, request } of all) {
      const { url, method, headers = {}, body } = delivery(request.url);
      for (const duplicate of [false, true]) {
        const answer = (await (await fetch(url, { method, headers, body })).json()) as Record<string, unknown>;
        if (answer['accepted'] !== true || answer['duplicate'] !== duplicate) {
          throw new Error(`${name} answered ${JSON.stringify(answer)}`);
        }
      }
    }
    await compare([events, ...all.slice(2)]);
    await compare([runs, single]);
  } finally {
    await sides.stop();
  }
}
