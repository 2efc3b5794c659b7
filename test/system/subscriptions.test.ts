import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, inject, it } from 'vitest';
import { call, type Api } from '../../scripts/launcher/api.ts';
import { freePort } from '../../scripts/servers/process.ts';

const upstream = inject('servers').upstream.url;
const EVENTS = 400;

let directory: string;
let port: number;
let gateway: ChildProcess | undefined;

async function start(): Promise<Api> {
  gateway = spawn(process.execPath, ['scripts/start.ts', '--no-samples', '--port', String(port), '--data', directory], {
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
    stdio: 'ignore',
    detached: true,
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 600; tries++) {
    const answered = await fetch(`${url}/_/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) return { url, adminKey: readFileSync(join(directory, 'admin-key'), 'utf8').trim() };
    await sleep(100);
  }
  throw new Error('the gateway did not start');
}

/** The whole process group, as `kill -9` of a machine would. */
async function kill(): Promise<void> {
  const { pid } = gateway ?? {};
  const ended = new Promise((resolve) => gateway?.once('exit', resolve));
  if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  await ended;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidegate-subscriptions-'));
  port = await freePort();
});

afterEach(async () => {
  if (gateway?.exitCode === null && gateway.signalCode === null) await kill();
  rmSync(directory, { recursive: true, force: true });
});

/** By the number of the event, the runs that told of it. */
async function runsByEvent(test: string): Promise<Map<string, Set<string>>> {
  const receipts = (await (await fetch(`${upstream}/receipts`)).json()) as { readonly path: string }[];
  const runs = new Map<string, Set<string>>();
  for (const { path } of receipts) {
    const { pathname, searchParams } = new URL(path, upstream);
    if (pathname !== '/echo' || searchParams.get('test') !== test) continue;
    const [event, run] = [searchParams.get('event') ?? '', searchParams.get('run') ?? ''];
    runs.set(event, (runs.get(event) ?? new Set()).add(run));
  }
  return runs;
}

it('a gateway that is killed amid a stream goes on at its cursor, and runs each event once', async () => {
  const test = crypto.randomUUID();
  const topic = `${upstream}/events/${test}`;
  const api = await start();
  await call(api, 'PUT', '/chains/follower', {
    triggers: { feed: { type: 'subscription', to: 'http.events', with: { url: topic } } },
    steps: {
      tell: {
        use: 'http.get',
        with: { url: `${upstream}/echo?test=${test}&event={{ trigger.body }}&run={{ run.id }}` },
        retries: { limit: 3 },
      },
    },
  });
  let sent = 0;
  const sending = (async () => {
    while (sent < EVENTS) {
      const next = Array.from({ length: 4 }, () => ++sent);
      await fetch(topic, { method: 'POST', body: next.join('\n') });
      await sleep(20);
    }
  })();
  for (let tries = 0; tries < 600 && (await runsByEvent(test)).size < EVENTS / 8; tries++) await sleep(20);
  await kill();
  const before = (await runsByEvent(test)).size;
  expect(before).toBeLessThan(EVENTS);
  await sending;

  // Nobody asks; the sweep at start opens it again.
  const again = await start();
  for (let tries = 0; tries < 600 && (await runsByEvent(test)).size < EVENTS; tries++) await sleep(100);
  const runs = await runsByEvent(test);
  expect([...runs.keys()].map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: EVENTS }, (_, n) => n + 1));
  expect([...runs].filter(([, own]) => own.size !== 1)).toEqual([]);
  const { cursor, counts } = await call<{ cursor: string; counts: Record<string, number> }>(
    again,
    'GET',
    '/subscriptions/follower/feed',
  );
  expect(cursor).toBe(String(EVENTS));
  const requests = (await (
    await fetch(`${upstream}/receipts?path=${encodeURIComponent(`/events/${test}`)}`)
  ).json()) as { readonly method: string; readonly headers: Readonly<Record<string, string>> }[];
  const [, reopened] = requests.filter(({ method }) => method === 'GET');
  const from = Number(reopened?.headers['last-event-id']);
  expect(from).toBeGreaterThan(0);
  console.log(
    `kill -9 amid ${EVENTS} events: ${before} had told of themselves, it went on after ${from}; none lost, none twice (${counts['duplicates']} came again)`,
  );
});
