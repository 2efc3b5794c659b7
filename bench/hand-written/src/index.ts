/**
 * What a good engineer would write by hand for the same work, on Hono. No telemetry, no run ids, no
 * limits, no retries: the other side of `npm run bench -- inline`, `-- durable`, `-- fanout` and `-- ingest`.
 */

import { DurableObject, WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers';
import { Hono } from 'hono';

interface Env {
  readonly RUNS: DurableObjectNamespace<Runs>;
  readonly STEPS: Workflow<StepsInput>;
  readonly WAITING: DurableObjectNamespace<Waiting>;
  readonly EGRESS: Fetcher;
  readonly UPSTREAM: string;
  readonly KEY_HASH: string;
  readonly INGEST: DurableObjectNamespace<Ingest>;
  readonly GROUPED: DurableObjectNamespace<GroupedIngest>;
  readonly HOOK_SECRET: string;
}

interface Order {
  readonly customer: string;
  readonly items: readonly { readonly sku: string; readonly quantity: number }[];
}

interface Results {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

interface StepsInput {
  readonly n: number;
  /** Under which the caller waits. */
  readonly ticket: string;
}

const app = new Hono<{ Bindings: Env }>();
const verified = new Set<string>();

async function isKnown(key: string, hash: string): Promise<boolean> {
  if (verified.has(key)) return true;
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(key));
  const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  if (hex !== hash) return false;
  verified.add(key);
  return true;
}

function isOrder(body: unknown): body is Order {
  if (typeof body !== 'object' || body === null) return false;
  const { customer, items } = body as Partial<Order>;
  return (
    typeof customer === 'string' &&
    customer.length > 0 &&
    Array.isArray(items) &&
    items.length > 0 &&
    items.every((item) => typeof item.sku === 'string' && Number.isInteger(item.quantity))
  );
}

app.post('/bench/orders/:id', async (c) => {
  const key = c.req.header('authorization')?.slice('Bearer '.length) ?? '';
  if (!(await isKnown(key, c.env.KEY_HASH))) return c.json({ error: 'key' }, 401);
  const body: unknown = await c.req.json();
  if (!isOrder(body)) return c.json({ error: 'input' }, 400);
  const order = { sku: body.items[0]?.sku, quantity: body.items[0]?.quantity, customer: body.customer };
  const response = await c.env.EGRESS.fetch(`${c.env.UPSTREAM}/stock?sku=${order.sku}`);
  if (!response.ok) return c.json({ error: 'upstream' }, 502);
  const stock = await response.json<{ stock: number; price: number }>();
  return c.json({
    id: c.req.param('id'),
    customer: order.customer,
    available: stock.stock >= (order.quantity ?? 0),
    total: stock.price * (order.quantity ?? 0),
  });
});

app.post('/bench/durable', async (c) => {
  const input = await c.req.json<{ n: number }>();
  return c.json(await c.env.RUNS.getByName('runs').run(crypto.randomUUID(), input.n));
});

app.post('/bench/fanout', async (c) => {
  const input = await c.req.json<{ items: number[] }>();
  return c.json(await c.env.RUNS.getByName('runs').each(crypto.randomUUID(), input.items));
});

app.post('/bench/workflow', async (c) => {
  const { n } = await c.req.json<{ n: number }>();
  const ticket = crypto.randomUUID();
  const told = c.env.WAITING.getByName('waiting').wait(ticket);
  // No id of our own: an instance that is given one is looked for first.
  await c.env.STEPS.create({ params: { n, ticket } });
  return c.json(await told);
});

let hookKey: CryptoKey | undefined;

async function isSigned(header: string, body: ArrayBuffer, secret: string): Promise<boolean> {
  hookKey ??= await crypto.subtle.importKey(
    'raw',
    new TextEncoder().encode(secret),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['verify'],
  );
  return crypto.subtle.verify('HMAC', hookKey, Buffer.from(header.slice('sha256='.length), 'hex'), body);
}

/** Verify the HMAC, then one insert in a warm object, by the id that the sender gives. */
for (const [path, objects] of [
  ['/hooks/single', (env: Env) => env.INGEST],
  ['/hooks/grouped', (env: Env) => env.GROUPED],
] as const) {
  app.post(path, async (c) => {
    const body = await c.req.arrayBuffer();
    const header = c.req.header('x-hub-signature-256') ?? '';
    if (!(await isSigned(header, body, c.env.HOOK_SECRET))) return c.json({ error: 'signature' }, 401);
    const id = c.req.header('x-github-delivery') ?? '';
    const duplicate = await objects(c.env).getByName('ingest').insert(id, body);
    return c.json({ accepted: true, duplicate });
  });
}

const EVENTS = 'create table if not exists events (id text primary key, at integer, body blob) without rowid';
const INSERT = 'insert into events values (?, ?, ?) on conflict do nothing';

export class Ingest extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(EVENTS);
  }

  insert(id: string, body: ArrayBuffer): boolean {
    return this.ctx.storage.sql.exec(INSERT, id, Date.now(), body).rowsWritten === 0;
  }
}

/** The same, but all that arrives in one turn of the loop is one write. */
export class GroupedIngest extends DurableObject<Env> {
  readonly #buffer: { id: string; body: ArrayBuffer; resolve(duplicate: boolean): void }[] = [];

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(EVENTS);
  }

  insert(id: string, body: ArrayBuffer): Promise<boolean> {
    return new Promise((resolve) => {
      this.#buffer.push({ id, body, resolve });
      if (this.#buffer.length === 1) void scheduler.wait(0).then(() => this.#write());
    });
  }

  #write(): void {
    const now = Date.now();
    const { sql } = this.ctx.storage;
    for (const { id, body, resolve } of this.#buffer.splice(0)) {
      resolve(sql.exec(INSERT, id, now, body).rowsWritten === 0);
    }
  }
}

/** Three steps in a warm object: the run, its intents and its results on disk, as few writes as it takes. */
export class Runs extends DurableObject<Env> {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(
      'create table if not exists runs (id text primary key, input text, ended integer, output text) without rowid; ' +
        'create table if not exists journal (run text, step integer, result text, primary key (run, step)) without rowid',
    );
  }

  async run(id: string, n: number): Promise<Results> {
    const { sql } = this.ctx.storage;
    sql.exec('insert into runs (id, input) values (?, ?)', id, JSON.stringify({ n }));
    let value = n;
    const results: number[] = [];
    for (const step of [0, 1, 2]) {
      value = await Promise.resolve(value + 1);
      results.push(value);
      sql.exec('insert into journal values (?, ?, ?)', id, step, JSON.stringify(value));
    }
    const [a = 0, b = 0, c = 0] = results;
    sql.exec('update runs set ended = ?, output = ? where id = ?', Date.now(), JSON.stringify({ a, b, c }), id);
    return { a, b, c };
  }

  /** Each item a result on disk, one row for each. */
  async each(id: string, items: readonly number[]): Promise<{ sum: number }> {
    const { sql } = this.ctx.storage;
    sql.exec('insert into runs (id, input) values (?, ?)', id, JSON.stringify({ items }));
    const results = await Promise.all(
      items.map(async (item, index) => {
        const value = await Promise.resolve(item * 2);
        sql.exec('insert into journal values (?, ?, ?)', id, index, JSON.stringify(value));
        return value;
      }),
    );
    const sum = results.reduce((total, value) => total + value, 0);
    sql.exec('update runs set ended = ?, output = ? where id = ?', Date.now(), JSON.stringify({ sum }), id);
    return { sum };
  }
}

/**
 * The same three steps on Cloudflare Workflows. It tells its result as soon as the last step is stored: of the
 * ways to await an instance (asking `status()` in a loop, `subscribe()`, this) the fastest at 32 connections.
 */
export class Steps extends WorkflowEntrypoint<Env, StepsInput> {
  override async run({ payload }: Readonly<WorkflowEvent<StepsInput>>, step: WorkflowStep): Promise<Results> {
    const a = await step.do('a', () => Promise.resolve(payload.n + 1));
    const b = await step.do('b', () => Promise.resolve(a + 1));
    const c = await step.do('c', () => Promise.resolve(b + 1));
    await this.env.WAITING.getByName('waiting').tell(payload.ticket, { a, b, c });
    return { a, b, c };
  }
}

/** Where the request that created an instance meets its result. */
export class Waiting extends DurableObject<Env> {
  readonly #tickets = new Map<string, (results: Results) => void>();

  wait(ticket: string): Promise<Results> {
    return new Promise((resolve) => this.#tickets.set(ticket, resolve));
  }

  tell(ticket: string, results: Results): void {
    this.#tickets.get(ticket)?.(results);
    this.#tickets.delete(ticket);
  }
}

export default app;
