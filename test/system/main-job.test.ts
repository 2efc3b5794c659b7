import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { call } from '../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';
import { checkoutEvent } from '../../scripts/launcher/samples.ts';
import { sign } from '../../src/core/webhook/index.ts';

const servers = inject('servers');
const SECRET = 'whsec_main_job_secret';
const encoder = new TextEncoder();

interface Run {
  readonly id: string;
  readonly status: string;
  readonly error: unknown;
  readonly output: unknown;
}

let directory: string;
let gateway: Gateway;

const template = (name: string): unknown => JSON.parse(readFileSync(`templates/${name}.json`, 'utf8'));
const runsOf = async (chain: string): Promise<readonly Run[]> =>
  (await call<{ items: Run[] }>(gateway, 'GET', `/runs?chain=${chain}`)).items;

async function ended(id: string): Promise<Run> {
  for (let tries = 0; tries < 200; tries++) {
    const run = await call<Run>(gateway, 'GET', `/runs/${id}`);
    if (['succeeded', 'failed', 'cancelled'].includes(run.status)) return run;
    await sleep(50);
  }
  throw new Error(`the run ${id} did not end`);
}

interface StoredEvent {
  readonly status: string;
  readonly pending: boolean;
  readonly runs: readonly { readonly run: string }[];
}

/** An event of Stripe, once its runs are started. */
async function settled(id: string): Promise<StoredEvent> {
  for (let tries = 0; tries < 200; tries++) {
    const event = await call<StoredEvent>(gateway, 'GET', `/sources/stripe/events/${id}`);
    if (!event.pending) return event;
    await sleep(50);
  }
  throw new Error(`the runs of ${id} were not started`);
}

const runOf = async (event: string): Promise<string> => (await settled(event)).runs[0]?.run ?? '';

async function deliver(id: string, change: { secret?: string; ageSeconds?: number; tamper?: boolean } = {}) {
  const body = JSON.stringify(checkoutEvent(id));
  const nowMilliseconds = Date.now() - (change.ageSeconds ?? 0) * 1000;
  const headers = await sign('stripe', change.secret ?? SECRET, { body: encoder.encode(body), id, nowMilliseconds });
  const sent = change.tamper ? body.replace('4200', '1') : body;
  return fetch(`${gateway.url}/hooks/stripe`, { method: 'POST', headers, body: sent });
}

const redis = async (...command: string[]): Promise<unknown> => {
  const response = await fetch(servers.redis.url, {
    method: 'POST',
    headers: { authorization: `Bearer ${servers.redis.token}` },
    body: JSON.stringify(command),
  });
  return ((await response.json()) as { result: unknown }).result;
};

async function query(sql: string, ...values: unknown[]): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: servers.postgres.connectionString });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidegate-main-'));
  gateway = await launch({
    port: 0,
    dataDirectory: directory,
    samples: false,
    env: { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' },
  });
  await query('create schema if not exists shop');
  await query(
    'create table if not exists shop.orders (id text primary key, email text not null, amount_cents integer not null, currency text not null)',
  );
  const shop = new URL(servers.postgres.connectionString);
  const { postgres, redis: cache, s3 } = servers;
  await call(gateway, 'PUT', '/connections/shop-db', {
    connector: 'postgres',
    settings: { endpoint: postgres.endpoint },
    secrets: { connectionString: shop.href, token: postgres.token },
  });
  await call(gateway, 'PUT', '/connections/cache', {
    connector: 'redis',
    settings: { url: cache.url },
    secrets: { token: cache.token },
  });
  await call(gateway, 'PUT', '/connections/archive', {
    connector: 's3',
    settings: { endpoint: s3.endpoint, region: s3.region, bucket: s3.bucket },
    secrets: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
  });
  await call(gateway, 'PUT', '/sources/stripe', { scheme: 'stripe', secret: SECRET });
  // The tables of the driver tests live in `public`; the sample's live beside them.
  const inShop = (chain: unknown): unknown =>
    JSON.parse(
      JSON.stringify(chain).replaceAll('into orders', 'into shop.orders').replaceAll('from orders', 'from shop.orders'),
    );
  await call(gateway, 'PUT', '/chains/order-paid', inShop(template('order-paid')));
  await call(gateway, 'PUT', '/chains/nightly-export', inShop(template('nightly-export')));
});

afterAll(async () => {
  await gateway.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('a webhook signed by Stripe', () => {
  it('is accepted, its row is in Postgres and its key in Redis', async () => {
    const response = await deliver('evt_one');
    expect(response.status).toBe(200);
    const { event } = (await response.json()) as { event: string };
    const run = await ended(await runOf(event));
    expect(run).toMatchObject({ status: 'succeeded', output: { order: 'cs_evt_one' } });
    expect(await query('select * from shop.orders where id = $1', 'cs_evt_one')).toEqual([
      { id: 'cs_evt_one', email: 'ada@example.com', amount_cents: 4200, currency: 'eur' },
    ]);
    expect(JSON.parse(String(await redis('GET', 'order:cs_evt_one')))).toMatchObject({ amountCents: 4200 });
  });

  it('is one run when it is delivered ten times at once', async () => {
    const before = (await runsOf('order-paid')).length;
    const responses = await Promise.all(Array.from({ length: 10 }, () => deliver('evt_ten')));
    expect(responses.map((response) => response.status)).toEqual(Array.from({ length: 10 }, () => 200));
    const bodies = (await Promise.all(responses.map((response) => response.json()))) as {
      event: string;
      duplicate: boolean;
    }[];
    expect(new Set(bodies.map((body) => body.event)).size).toBe(1);
    expect(bodies.filter((body) => !body.duplicate).length).toBe(1);
    expect((await ended(await runOf(bodies[0]?.event ?? ''))).status).toBe('succeeded');
    expect((await runsOf('order-paid')).length).toBe(before + 1);
  });

  it.each([
    ['a wrong secret', { secret: 'whsec_other' }],
    ['a changed body', { tamper: true }],
    ['a timestamp of 301 seconds ago', { ageSeconds: 301 }],
    ['a timestamp 301 seconds ahead', { ageSeconds: -301 }],
  ])('is refused with 401 for %s, and starts no run', async (_what, change) => {
    const before = (await runsOf('order-paid')).length;
    const response = await deliver('evt_refused', change);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: 'webhook.unverified' });
    expect((await runsOf('order-paid')).length).toBe(before);
  });

  it('is refused with 401 without a signature, and 404 for a source that does not exist', async () => {
    const body = JSON.stringify(checkoutEvent('evt_x'));
    expect((await fetch(`${gateway.url}/hooks/stripe`, { method: 'POST', body })).status).toBe(401);
    expect((await fetch(`${gateway.url}/hooks/strype`, { method: 'POST', body })).status).toBe(404);
  });

  it('starts nothing for an event that no chain wants', async () => {
    const body = JSON.stringify({ ...(checkoutEvent('evt_other') as object), type: 'invoice.paid' });
    const headers = await sign('stripe', SECRET, { body: encoder.encode(body), id: 'x', nowMilliseconds: Date.now() });
    const response = await fetch(`${gateway.url}/hooks/stripe`, { method: 'POST', headers, body });
    const { event } = (await response.json()) as { event: string };
    expect([response.status, await settled(event)]).toMatchObject([200, { status: 'ignored', runs: [] }]);
  });
});

describe('the nightly export', () => {
  it('puts the orders into S3', async () => {
    const { id } = await call<{ id: string }>(gateway, 'POST', '/chains/nightly-export/runs', {});
    const run = await ended(id);
    expect(run).toMatchObject({ status: 'succeeded', error: null });
    expect(run.output).toMatchObject({ orders: expect.any(Number) as number });
  });
});

describe('publishing while traffic runs', () => {
  it('never gives a 404 or a half-switched definition, and the new version answers at once', async () => {
    const version = (n: number): unknown => ({
      name: 'switching',
      triggers: { api: { type: 'http', method: 'GET', path: '/switching', auth: 'public' } },
      steps: { a: { use: 'data.map', with: { a: n } }, b: { use: 'data.map', after: ['a'], with: { b: n } } },
      output: { a: '{{ steps.a.a }}', b: '{{ steps.b.b }}' },
    });
    await call(gateway, 'PUT', '/chains/switching', version(0));
    let running = true;
    const wrong: unknown[] = [];
    let seen = 0;
    const traffic = Array.from({ length: 8 }, async () => {
      while (running) {
        const response = await fetch(`${gateway.url}/switching`);
        const body = (await response.json()) as { a?: number; b?: number };
        seen++;
        if (response.status !== 200 || body.a === undefined || body.a !== body.b) wrong.push([response.status, body]);
      }
    });
    for (let n = 1; n <= 20; n++) {
      await call(gateway, 'PUT', '/chains/switching', version(n));
      expect(await (await fetch(`${gateway.url}/switching`)).json()).toEqual({ a: n, b: n });
    }
    running = false;
    await Promise.all(traffic);
    expect(wrong).toEqual([]);
    expect(seen).toBeGreaterThan(100);
    console.log(`20 publications under ${seen} requests: none failed`);
  });

  it('answers a new path at once', async () => {
    for (let n = 0; n < 10; n++) {
      expect((await fetch(`${gateway.url}/fresh-${n}`)).status).toBe(404);
      await call(gateway, 'PUT', `/chains/fresh-${n}`, {
        name: `fresh-${n}`,
        triggers: { api: { type: 'http', method: 'GET', path: `/fresh-${n}`, auth: 'public' } },
        steps: {},
        output: n,
      });
      expect(await (await fetch(`${gateway.url}/fresh-${n}`)).json()).toBe(n);
    }
  });
});
