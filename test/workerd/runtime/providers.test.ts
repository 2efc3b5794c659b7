import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { answerOf, manage, publish, receipts, upstream } from '../gateway/fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { connect } from '../../../src/store/database.ts';
import { auditLog } from '../../../src/store/schema.ts';

/** Run objects of the tests; each finds out by itself. */
const SHARDS = 2;
const NO_DELAY = { limit: 20, delay: '1ms', backoff: 'constant', jitter: false };

let count = 0;

async function connection(): Promise<string> {
  const name = `provider-${++count}`;
  const saved = await manage(`PUT /connections/${name}`, {
    connector: 'http',
    settings: { baseUrl: upstream },
    secrets: {},
  });
  expect(saved.status).toBe(201);
  return name;
}

const over = (name: string, url: string, more: object = {}) => ({
  use: 'http.post',
  connection: name,
  with: { url },
  retries: NO_DELAY,
  ...more,
});

async function begin(steps: object, runs = 1): Promise<string[]> {
  const { name } = await publish({ triggers: {}, mode: 'durable', steps });
  const started = await Promise.all(Array.from({ length: runs }, () => manage(`POST /chains/${name}/runs`)));
  return started.map(({ body }) => String(body['id']));
}

const stepOf = async (id: string): Promise<Record<string, unknown>> => {
  const { steps } = (await manage(`GET /runs/${id}`)).body as { steps: Record<string, unknown>[] };
  return steps[0] ?? {};
};

/** Runs of `steps` until one shows that it waits for its connection. */
async function untilPaused(steps: object): Promise<string> {
  const [id = ''] = await begin(steps);
  await expect.poll(async () => (await stepOf(id))['waitingFor'], { timeout: 4_000 }).toBeDefined();
  return id;
}

const audit = async (name: string): Promise<string[]> =>
  (await connect(env.DB).select().from(auditLog))
    .filter(({ subject, actor }) => subject === name && actor === 'gateway')
    .map(({ action }) => action);

describe('a connection whose calls fail', () => {
  it('is left alone: its steps wait and say so, uncalled, with retries unspent', async () => {
    const name = await connection();
    const path = `/status/503?mark=${name}`;
    const id = await untilPaused({ a: over(name, path) });
    const failed = (await receipts(path)).length;
    expect(failed).toBeGreaterThanOrEqual(LIMITS.breakerFailuresInARow);
    expect(await stepOf(id)).toMatchObject({
      status: 'waiting',
      waitingFor: { kind: 'connection', connection: name, message: expect.stringContaining('failed') },
    });
    expect((await manage(`GET /runs/${id}`)).body['status']).toBe('waiting');
    // Others come to wait without a call of their own, but for the first in each of the two objects.
    const others = await begin({ a: over(name, path) }, 10);
    const probes = 2;
    await expect
      .poll(async () => Promise.all(others.map(async (other) => (await stepOf(other))['waitingFor'] !== undefined)), {
        timeout: 4_000,
      })
      .toEqual(others.map(() => true));
    const calls = (await receipts(path)).length;
    expect(calls).toBeLessThanOrEqual(SHARDS * (LIMITS.breakerFailuresInARow + probes) + 10);
    for (const run of [id, ...others]) await manage(`POST /runs/${run}/cancel`);
  });

  it('holds up neither steps beside it nor runs over other connections', async () => {
    const [broken, sound] = [await connection(), await connection()];
    const path = `/status/503?mark=${broken}`;
    const id = await untilPaused({ a: over(broken, path), beside: over(sound, '/echo') });
    const { body } = await manage(`GET /runs/${id}`);
    expect(body['steps']).toMatchObject([{ status: 'waiting' }, { id: 'beside', status: 'succeeded' }]);
    const [other = ''] = await begin({ a: over(sound, '/echo') });
    expect(await answerOf(other)).toMatchObject({ status: 'succeeded' });
    await manage(`POST /runs/${id}/cancel`);
  });

  it('is called again by one probe at a time, and when that succeeds all its runs go on', async () => {
    const name = await connection();
    const failures = SHARDS * LIMITS.breakerFailuresInARow + 2;
    const path = `/fail-first/${failures}/${name}`;
    const ids = await begin({ a: over(name, path) }, 12);
    const answers = await Promise.all(ids.map((id) => answerOf(id)));
    expect(answers.map((answer) => answer?.status)).toEqual(ids.map(() => 'succeeded'));
    expect(await receipts(path)).toHaveLength(failures + ids.length);
  }, 30_000);

  it('is told of once for each outage and object, and once when it is back', async () => {
    const name = await connection();
    const [id = ''] = await begin({ a: over(name, `/fail-first/7/${name}`) });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    // Two probes failed on the way, which is no news.
    await expect.poll(() => audit(name)).toEqual(['connection.pause', 'connection.resume']);
  }, 30_000);

  it('does not keep a run that is cancelled', async () => {
    const name = await connection();
    const id = await untilPaused({ a: over(name, `/status/503?mark=${name}`) });
    await manage(`POST /runs/${id}/cancel`);
    expect((await manage(`GET /runs/${id}`)).body).toMatchObject({
      status: 'cancelled',
      steps: [{ status: 'failed', error: { code: 'run.cancelled' } }],
    });
    expect(await stepOf(id)).not.toHaveProperty('waitingFor');
  });
});

describe('a connection is not paused', () => {
  it('by answers that refuse', async () => {
    const name = await connection();
    const runs = await begin({ a: over(name, `/status/422?mark=${name}`) }, 3 * LIMITS.breakerFailuresInARow);
    const answers = await Promise.all(runs.map((id) => answerOf(id)));
    expect(answers.map((answer) => answer?.fault?.code)).toEqual(runs.map(() => 'upstream.rejected'));
    expect(await audit(name)).toEqual([]);
  });

  it('by steps that fail before they call', async () => {
    const name = await connection();
    const runs = await begin({ a: over(name, '{{ input.missing }}') }, 3 * LIMITS.breakerFailuresInARow);
    await Promise.all(runs.map((id) => answerOf(id)));
    expect(await audit(name)).toEqual([]);
  });

  it('for steps that name none, which may go anywhere', async () => {
    const path = '/status/503?mark=nowhere';
    const steps = { a: { use: 'http.post', with: { url: upstream + path }, retries: { ...NO_DELAY, limit: 8 } } };
    const [id = ''] = await begin(steps);
    expect(await answerOf(id)).toMatchObject({ status: 'failed' });
    expect(await receipts(path)).toHaveLength(9);
  });
});

describe('an object store that a step opens by name', () => {
  it('is paused by what fails there, as by the steps of its connection', async () => {
    const store = `store-${++count}`;
    const saved = await manage(`PUT /connections/${store}`, {
      connector: 's3',
      settings: { endpoint: `${upstream}/status/503`, region: 'r', bucket: 'bucket' },
      secrets: { accessKeyId: 'a', secretAccessKey: 's' },
    });
    expect(saved.status).toBe(201);
    const between = { from: { connection: store, key: 'a' }, to: { connection: store, key: 'b' } };
    // Of two objects one has the half of them, which is as many failures as it takes.
    const runs = SHARDS * LIMITS.breakerFailuresInARow;
    const ids = await begin({ a: { use: 'objects.copy', with: between, retries: { limit: 0 } } }, runs);
    const answers = await Promise.all(ids.map((id) => answerOf(id)));
    expect(answers.map((answer) => answer?.status)).toEqual(ids.map(() => 'failed'));
    await expect.poll(() => audit(store)).toContain('connection.pause');
  });
});
