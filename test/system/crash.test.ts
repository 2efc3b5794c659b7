import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { call, type Api } from '../../scripts/launcher/api.ts';
import { sign } from '../../src/core/webhook/index.ts';
import { freePort } from '../../scripts/servers/process.ts';

interface Receipt {
  readonly path: string;
  readonly idempotencyKey?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly at: number;
}

interface Run {
  readonly id: string;
  readonly status: string;
  readonly steps: readonly { readonly id: string; readonly output: unknown }[];
}

const upstream = inject('servers').upstream.url;
const RUNS = 50;
const ENDED = ['succeeded', 'failed', 'cancelled'];

/** Five effects, each slow enough that a kill falls into the middle. */
const chain = {
  name: 'five-effects',
  mode: 'durable',
  steps: Object.fromEntries(
    [1, 2, 3, 4, 5].map((number) => [
      `s${number}`,
      {
        use: 'http.post',
        ...(number === 1 ? {} : { after: [`s${number - 1}`] }),
        with: { url: `${upstream}/delay/60?run={{ run.id }}&step=${number}`, json: { n: '{{ input.n }}' } },
      },
    ]),
  ),
  output: '{{ input.n }}',
};

/** Items of one request each, which other isolates make. */
const ITEMS = 1_000;
const fanOut = {
  name: 'wide',
  mode: 'durable',
  steps: {
    list: {
      use: 'flow.each',
      with: {
        in: '{{ [1..input.items] }}',
        concurrency: 60,
        steps: { act: { use: 'http.post', with: { url: `${upstream}/delay/20?run={{ run.id }}&item={{ item }}` } } },
        output: '{{ item }}',
      },
    },
  },
  output: '{{ $sum(steps.list.results) }}',
};

let directory: string;
let port: number;
let gateway: ChildProcess | undefined;

async function start(): Promise<Api> {
  gateway = spawn(process.execPath, ['scripts/start.ts', '--no-samples', '--port', String(port), '--data', directory], {
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
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
  await sleep(300);
}

const receiptsOf = async (id: string): Promise<readonly Receipt[]> => {
  const all = (await (await fetch(`${upstream}/receipts`)).json()) as Receipt[];
  return all.filter((receipt) => receipt.path.includes(`run=${id}`));
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidegate-crash-'));
  port = await freePort();
});

afterEach(async () => {
  if (gateway?.exitCode === null) await kill();
  rmSync(directory, { recursive: true, force: true });
});

describe('a gateway that is killed', () => {
  it('ends every accepted run after a restart, computes no committed step again, and needs no request for it', async () => {
    let api = await start();
    await call(api, 'PUT', '/chains/five-effects', chain);
    const started = await Promise.all(
      Array.from({ length: RUNS }, (_, n) =>
        call<{ id: string }>(api, 'POST', '/chains/five-effects/runs', { input: { n } }),
      ),
    );
    await sleep(150);
    const before = await Promise.all(started.map(({ id }) => call<Run>(api, 'GET', `/runs/${id}`)));
    await kill();
    const killedAt = Date.now();
    const committed = new Map(
      before.map((run) => [run.id, run.steps.filter((step) => step.output !== null).map((step) => step.id)]),
    );
    expect(before.filter((run) => !ENDED.includes(run.status)).length).toBeGreaterThan(RUNS / 2);

    api = await start();
    // Nobody asks; the sweep at start is what takes the runs up.
    for (let tries = 0; tries < 300; tries++) {
      const receipts = (await (await fetch(`${upstream}/receipts`)).json()) as Receipt[];
      const last = new Set(
        receipts.filter((receipt) => receipt.path.includes('step=5')).map((receipt) => receipt.path),
      );
      if (started.every(({ id }) => [...last].some((path) => path.includes(id)))) break;
      await sleep(100);
    }
    await sleep(500);
    const after = await Promise.all(started.map(({ id }) => call<Run>(api, 'GET', `/runs/${id}`)));
    expect(after.map((run) => run.status)).toEqual(after.map(() => 'succeeded'));

    let repeated = 0;
    for (const { id } of started) {
      const receipts = await receiptsOf(id);
      for (const step of [1, 2, 3, 4, 5]) {
        const calls = receipts.filter((receipt) => receipt.path.includes(`step=${step}`));
        // At least once, always with the same key; a second time only where the first was cut off.
        expect(calls.length).toBeGreaterThan(0);
        expect(calls.length).toBeLessThanOrEqual(2);
        expect(new Set(calls.map((receipt) => receipt.idempotencyKey)).size).toBe(1);
        if (calls.length === 2) repeated++;
        if (committed.get(id)?.includes(`s${step}`)) {
          expect(calls.filter((receipt) => receipt.at > killedAt)).toEqual([]);
        }
      }
    }
    const recorded = [...committed.values()].reduce((total, steps) => total + steps.length, 0);
    console.log(
      `kill -9 in ${RUNS} runs: ${recorded} steps seen committed before, ${repeated} cut-off effects repeated, all runs ended`,
    );
    expect(repeated).toBeLessThanOrEqual(RUNS);
  });

  it('has a run for each webhook that it answered with 2xx, and one for each that came again', async () => {
    const DELIVERIES = 300;
    let api = await start();
    await call(api, 'PUT', '/sources/shop', { scheme: 'github', secret: 'a secret' });
    await call(api, 'PUT', '/chains/hooked', {
      name: 'hooked',
      triggers: { hook: { type: 'webhook', source: 'shop' } },
      steps: { act: { use: 'http.post', with: { url: `${upstream}/echo?run={{ run.id }}&n={{ input.n }}` } } },
    });
    const deliver = async (n: number): Promise<boolean> => {
      const body = JSON.stringify({ n });
      const options = { body: new TextEncoder().encode(body), id: '', nowMilliseconds: Date.now() };
      const headers = await sign('github', 'a secret', options);
      const answer = await fetch(`${api.url}/hooks/shop`, { method: 'POST', headers, body }).catch(() => undefined);
      return answer?.ok === true;
    };
    const answered = new Set<number>();
    const sending = Array.from({ length: 16 }, async (_, lane) => {
      for (let n = lane; n < DELIVERIES; n += 16) if (await deliver(n)) answered.add(n);
    });
    while (answered.size < DELIVERIES / 3) await sleep(1);
    await kill();
    await Promise.all(sending);
    expect(answered.size).toBeLessThan(DELIVERIES);

    api = await start();
    // Those that were answered need no second delivery; senders repeat the others.
    for (let n = 0; n < DELIVERIES; n++) if (!answered.has(n)) expect(await deliver(n)).toBe(true);
    const calls = async (): Promise<Receipt[]> => {
      const receipts = (await (await fetch(`${upstream}/receipts`)).json()) as Receipt[];
      return receipts.filter(({ path }) => /^\/echo\?run=.*&n=\d+$/.test(path));
    };
    const numbers = (receipts: readonly Receipt[]) => new Set(receipts.map(({ path }) => path.split('&n=')[1]));
    for (let tries = 0; tries < 300 && numbers(await calls()).size < DELIVERIES; tries++) await sleep(100);
    const receipts = await calls();
    expect(numbers(receipts).size).toBe(DELIVERIES);
    // One run of each, which may have called twice where the kill cut it off.
    expect(new Set(receipts.map(({ path }) => path)).size).toBe(DELIVERIES);
    console.log(`kill -9 in ${DELIVERIES} webhooks: ${answered.size} were answered before, none was lost or run twice`);
  });

  it('delivers each message that it accepted to every endpoint, with one id, and needs no request for it', async () => {
    const MESSAGES = 200;
    let api = await start();
    await call(api, 'PUT', '/event-types/order.paid', {});
    const { id } = await call<{ id: string }>(api, 'POST', '/applications', { name: 'Customer' });
    const test = crypto.randomUUID();
    const paths = ['a', 'b'].map((endpoint) => `/delay/20?test=${test}&endpoint=${endpoint}`);
    for (const path of paths) await call(api, 'POST', `/applications/${id}/endpoints`, { url: upstream + path });
    const accepted = new Set<string>();
    const sending = Array.from({ length: 16 }, async (_, lane) => {
      for (let n = lane; n < MESSAGES; n += 16) {
        const message = { eventType: 'order.paid', payload: { n }, id: `order-${n}` };
        const sent = call<{ id: string }>(api, 'POST', `/applications/${id}/messages`, message);
        await sent.then(
          () => accepted.add(`order-${n}`),
          () => undefined,
        );
      }
    });
    while (accepted.size < MESSAGES / 2) await sleep(1);
    await kill();
    await Promise.all(sending);
    expect(accepted.size).toBeLessThan(MESSAGES);

    const receiptsAt = async (path: string): Promise<Receipt[]> =>
      (await (await fetch(`${upstream}/receipts?path=${encodeURIComponent(path)}`)).json()) as Receipt[];
    const idsAt = async (path: string): Promise<string[]> =>
      (await receiptsAt(path)).map(({ headers }) => headers['webhook-id'] ?? '');
    const missing = async (): Promise<number> => {
      const ids = (await Promise.all(paths.map(idsAt))).map((each) => new Set(each));
      return [...accepted].filter((message) => ids.some((seen) => !seen.has(message))).length;
    };
    const lost = await missing();
    expect(lost).toBeGreaterThan(0);
    api = await start();
    for (let tries = 0; tries < 900 && (await missing()) > 0; tries++) await sleep(100);
    expect(await missing()).toBe(0);
    const deliveries = (await Promise.all(paths.map(idsAt))).flat();
    const repeated =
      deliveries.length - new Set(await idsAt(paths[0] ?? '')).size - new Set(await idsAt(paths[1] ?? '')).size;
    console.log(
      `kill -9 amid ${MESSAGES} messages: ${accepted.size} were accepted, ${lost} of them not delivered yet; all are, ${repeated} twice`,
    );
    // What was on its way to an endpoint when the gateway died.
    expect(repeated).toBeLessThanOrEqual(100);
  });

  it('sends the items again that were on their way to other isolates', async () => {
    let api = await start();
    await call(api, 'PUT', '/chains/wide', fanOut);
    const { id } = await call<{ id: string }>(api, 'POST', '/chains/wide/runs', { input: { items: ITEMS } });
    for (let tries = 0; tries < 500 && (await receiptsOf(id)).length < ITEMS / 4; tries++) await sleep(10);
    await kill();
    const before = (await receiptsOf(id)).length;
    expect(before).toBeLessThan(ITEMS);

    api = await start();
    let run = await call<Run & { output: unknown }>(api, 'GET', `/runs/${id}`);
    for (let tries = 0; tries < 300 && !ENDED.includes(run.status); tries++) {
      await sleep(100);
      run = await call(api, 'GET', `/runs/${id}`);
    }
    expect(run).toMatchObject({ status: 'succeeded', output: (ITEMS * (ITEMS + 1)) / 2 });
    const receipts = await receiptsOf(id);
    const keys = new Map(receipts.map(({ path, idempotencyKey }) => [path, idempotencyKey]));
    expect([keys.size, new Set(keys.values()).size]).toEqual([ITEMS, ITEMS]);
    expect(receipts.every(({ path, idempotencyKey }) => keys.get(path) === idempotencyKey)).toBe(true);
    console.log(`kill -9 in a fan-out of ${ITEMS}: after ${before} effects, ${receipts.length - ITEMS} were repeated`);
    // At most the ranges that were out.
    expect(receipts.length - ITEMS).toBeLessThanOrEqual((60 / 6) * 48);
  });
});
