import { abortAllDurableObjects, evictAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { answerOf, call, codeOf, manage, ORIGIN, publish, receipts, runsOf, upstream } from '../gateway/fixtures.ts';
import { objectOf } from '../../../src/runtime/shards.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { sweepRuns } from '../../../src/runtime/runs.ts';

const durable = (steps: object, more: object = {}) => publish({ mode: 'durable', triggers: {}, steps, ...more });
const post = (path: string, more: object = {}) => ({ use: 'http.post', with: { url: upstream + path }, ...more });

async function start(steps: object, input: unknown = {}, more: object = {}): Promise<string> {
  const { name } = await durable(steps, more);
  const { body } = await manage(`POST /chains/${name}/runs`, { input });
  return String(body['id']);
}
const record = async (id: string) => (await manage(`GET /runs/${id}`)).body;
const stepsOf = async (id: string) => (await record(id))['steps'] as Record<string, unknown>[];
const isWaiting = (id: string) => expect.poll(async () => (await record(id))['status']).toBe('waiting');

function inside<T>(id: string, work: (object: RunObject, sql: SqlStorage) => T) {
  const stub = objectOf(env, id);
  if (stub === undefined) throw new Error(`${id} is not the id of a durable run`);
  return runInDurableObject(stub, (object: RunObject, state) => work(object, state.storage.sql));
}
const writtenRow = (id: string) =>
  inside(id, (_object, sql) => sql.exec('select events, wake_at, paused from runs where id = ?', id).one());

describe('a run that waits', () => {
  it('costs nothing but its row, survives the death of its object, and goes on with its event', async () => {
    const mark = '/echo?mark=waited';
    const id = await start(
      {
        pause: { use: 'flow.wait', with: { event: 'parcel.delivered', key: '{{ input.parcel }}', timeout: '3d' } },
        tell: post(mark, { after: ['pause'], with: { url: upstream + mark, json: '{{ steps.pause.data }}' } }),
      },
      { parcel: 'p-1' },
    );
    await isWaiting(id);
    expect(Number((await writtenRow(id))['wake_at'])).toBeGreaterThan(Date.now() + 2 * 86_400_000);
    await abortAllDurableObjects();
    await sweepRuns(env);
    await isWaiting(id);
    expect((await stepsOf(id))[0]).toMatchObject({
      status: 'waiting',
      waitingFor: { kind: 'event', event: 'parcel.delivered', key: 'p-1' },
    });
    for (const other of [
      { name: 'parcel.lost', key: 'p-1' },
      { name: 'parcel.delivered', key: 'p-2' },
      { name: 'parcel.delivered' },
    ]) {
      expect((await manage('POST /events', other)).body).toEqual({ delivered: 0 });
    }
    const event = { name: 'parcel.delivered', key: 'p-1', data: { by: 'courier' } };
    expect((await manage('POST /events', event)).body).toEqual({ delivered: 1 });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect(await receipts(mark)).toMatchObject([{ body: '{"by":"courier"}' }]);
    expect((await manage('POST /events', event)).body).toEqual({ delivered: 0 });
  });

  it('for any key takes any', async () => {
    const id = await start({ pause: { use: 'flow.wait', with: { event: 'any.key' } } });
    await isWaiting(id);
    expect((await manage('POST /events', { name: 'any.key', key: 7 })).body).toEqual({ delivered: 1 });
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  });

  it('for a time goes on by itself, also in a new object', async () => {
    const id = await start({ pause: { use: 'flow.wait', with: { for: '1500ms' } } });
    await isWaiting(id);
    await abortAllDurableObjects();
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  });

  it('can be looked at and cancelled, and is not written again for being looked at', async () => {
    const id = await start({ pause: { use: 'flow.wait', with: { for: '5d' } } });
    await isWaiting(id);
    const before = await writtenRow(id);
    await record(id);
    expect(await writtenRow(id)).toEqual(before);
    expect((await manage(`POST /runs/${id}/cancel`)).body).toMatchObject({ status: 'cancelled' });
    expect((await record(id))['status']).toBe('cancelled');
  });
});

describe('an approval', () => {
  const chain = {
    ok: { use: 'flow.wait', with: { approval: { message: 'Pay <b>900</b> EUR?' }, timeout: '1d' } },
    link: { use: 'flow.approval-link', with: { step: 'ok', to: 'ada@example.com' } },
    tell: post('/echo?mark=link', { with: { url: `${upstream}/echo?mark=link`, json: '{{ steps.link }}' } }),
  };
  async function waiting(mark: string): Promise<{ id: string; path: string }> {
    const url = `${upstream}/echo?mark=${mark}`;
    const id = await start({ ...chain, tell: post('', { with: { url, json: '{{ steps.link }}' } }) });
    await isWaiting(id);
    await expect.poll(() => receipts(`/echo?mark=${mark}`)).toHaveLength(1);
    const [receipt] = await receipts(`/echo?mark=${mark}`);
    return { id, path: String(JSON.parse(receipt?.body ?? '{}').url).replace(ORIGIN, '') };
  }
  const form = { 'content-type': 'application/x-www-form-urlencoded' };

  it('is given by its link, once, by whom the link was for', async () => {
    const { id, path } = await waiting('approve');
    const asked = await call(`GET ${path}`);
    expect([asked.status, asked.headers.get('content-security-policy')]).toEqual([
      200,
      expect.stringContaining("default-src 'none'"),
    ]);
    expect(asked.text).toContain('Pay &lt;b&gt;900&lt;/b&gt; EUR?');
    expect((await record(id))['status']).toBe('waiting');
    const given = await call(`POST ${path}`, 'decision=approve&by=eve&comment=fine', form);
    expect([given.status, given.text]).toEqual([200, expect.stringContaining('Approved')]);
    await answerOf(id);
    expect((await stepsOf(id))[0]).toMatchObject({
      output: { approved: true, by: 'ada@example.com', comment: 'fine', at: expect.any(Number) },
    });
    expect((await call(`POST ${path}`, 'decision=reject', form)).status).toBe(410);
    expect((await call(`GET ${path}`)).status).toBe(410);
  });

  it('may be a rejection, on which the chain decides', async () => {
    const { id, path } = await waiting('reject');
    await abortAllDurableObjects();
    expect((await call(`POST ${path}`, 'decision=reject', form)).status).toBe(200);
    await answerOf(id);
    expect((await stepsOf(id))[0]).toMatchObject({ output: { approved: false } });
  });

  it('by a link that was changed, or without a decision, is refused', async () => {
    const { id, path } = await waiting('forged');
    const forged = path.replace(/\.(.)/, (_, first: string) => `.${first === 'A' ? 'B' : 'A'}`);
    for (const wrong of [forged, path.slice(0, -5), '/_/approvals/', '/_/approvals/a.b', '/_/approvals/..']) {
      expect((await call(`POST ${wrong}`, 'decision=approve', form)).status).not.toBe(200);
    }
    expect(codeOf(await call(`POST ${path}`, 'decision=maybe', form))).toEqual([400, 'request.invalid']);
    expect((await call(`DELETE ${path}`)).status).toBe(405);
    expect((await record(id))['status']).toBe('waiting');
  });
});

describe('a chain that calls another', () => {
  it('waits for it and gives its output', async () => {
    const { name: inner } = await durable(
      { twice: { use: 'data.map', with: { n: '{{ input.n * 2 }}' } } },
      { output: '{{ steps.twice.n }}' },
    );
    const id = await start(
      { call: { use: 'flow.call', with: { chain: inner, input: { n: 21 } } } },
      {},
      { output: '{{ steps.call }}' },
    );
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded', output: '42' });
    expect(await runsOf(inner)).toBe(1);
  });

  it('starts it once, though the caller died meanwhile', async () => {
    const path = '/delay/800?mark=called-once';
    const { name: inner } = await durable({ slow: post(path) }, { output: 'done' });
    const id = await start({ call: { use: 'flow.call', with: { chain: inner } } }, {}, { output: '{{ steps.call }}' });
    await expect.poll(() => receipts(path)).toHaveLength(1);
    await evictAllDurableObjects().catch(() => {});
    await sweepRuns(env);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded', output: '"done"' });
    expect(await runsOf(inner)).toBe(1);
  });

  it('fails by name where that fails, or does not exist, or goes in a circle', async () => {
    const { name: failing } = await durable({ no: { use: 'flow.fail', with: { message: 'Sold out.', code: 'sold' } } });
    const id = await start({ call: { use: 'flow.call', with: { chain: failing } } });
    expect(await answerOf(id)).toMatchObject({
      status: 'failed',
      fault: { code: 'call.failed', message: expect.stringContaining('Sold out.') },
    });
    const unknown = await start({ call: { use: 'flow.call', with: { chain: 'nobody' } } });
    expect(await answerOf(unknown)).toMatchObject({ status: 'failed', fault: { code: 'call.failed' } });
    const { name: circle } = await publish({
      mode: 'durable',
      triggers: {},
      steps: { again: { use: 'flow.call', with: { chain: '{{ chain.name }}' } } },
    });
    const { body } = await manage(`POST /chains/${circle}/runs`, {});
    expect(await answerOf(String(body['id']))).toMatchObject({ status: 'failed', fault: { code: 'call.failed' } });
    expect(await runsOf(circle)).toBe(9);
  });
});

it('a run that fails starts its failure chain, once, with what went wrong', async () => {
  const mark = '/echo?mark=on-failure';
  const { name: handler } = await durable({
    tell: post(mark, { with: { url: upstream + mark, json: '{{ input }}' } }),
    fail: { use: 'flow.fail', with: { message: 'also' } },
  });
  const id = await start(
    { no: { use: 'flow.fail', with: { message: 'Sold out.' } } },
    { n: 1 },
    { onFailure: handler },
  );
  await expect.poll(() => receipts(mark)).toHaveLength(1);
  const [receipt] = await receipts(mark);
  expect(JSON.parse(receipt?.body ?? '')).toMatchObject({ run: id, error: { message: 'Sold out.' }, input: { n: 1 } });
  const inline = await publish({
    steps: { no: { use: 'flow.fail', with: { message: 'Inline.' } } },
    onFailure: handler,
  });
  expect((await call(inline.route, {})).status).toBe(500);
  await expect.poll(() => receipts(mark)).toHaveLength(2);
});

describe('control', () => {
  it('pauses a run, which starts nothing until it is resumed, also after a restart', async () => {
    const [first, second] = ['/delay/300?mark=pause-1', '/echo?mark=pause-2'];
    const id = await start({ a: post(first), b: post(second, { after: ['a'] }) });
    await expect.poll(() => receipts(first)).toHaveLength(1);
    expect((await manage(`POST /runs/${id}/pause`)).status).toBe(200);
    await expect.poll(async () => (await stepsOf(id))[0]?.['status']).toBe('succeeded');
    await abortAllDurableObjects();
    await sweepRuns(env);
    await scheduler.wait(300);
    expect(await receipts(second)).toEqual([]);
    expect((await manage(`POST /runs/${id}/resume`)).status).toBe(200);
    expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
    expect(await receipts(first)).toHaveLength(1);
    expect(codeOf(await manage(`POST /runs/${id}/pause`))).toEqual([409, 'run.ended']);
  });

  it('retries from the failed step, without making again what had succeeded', async () => {
    const [good, bad] = ['/echo?mark=retry-good', '/fail-first/1/retry-bad'];
    const retries = { limit: 0 };
    const id = await start(
      { a: post(good), b: post(bad, { after: ['a'], retries, with: { url: upstream + bad } }) },
      { n: 1 },
      { output: '{{ steps.a.status }}' },
    );
    expect(await answerOf(id)).toMatchObject({ status: 'failed' });
    const retried = await manage(`POST /runs/${id}/retry`);
    expect(retried.status).toBe(202);
    expect(await answerOf(String(retried.body['id']))).toMatchObject({ status: 'succeeded', output: '200' });
    expect(await receipts(good)).toHaveLength(1);
    expect(await receipts(bad)).toHaveLength(2);
    expect((await record(id))['status']).toBe('failed');
    expect(codeOf(await manage(`POST /runs/${String(retried.body['id'])}/retry`))).toEqual([409, 'run.not-failed']);
  });

  it('retries on the newest version, by the ids of the steps', async () => {
    const good = '/echo?mark=newest-good';
    const { name } = await durable({ a: post(good), b: { use: 'flow.fail', with: { message: 'old' }, after: ['a'] } });
    const { body } = await manage(`POST /chains/${name}/runs`, {});
    await answerOf(String(body['id']));
    const mended = {
      name,
      mode: 'durable',
      triggers: {},
      steps: { first: { use: 'data.map', with: { x: 1 } }, a: post(good) },
      output: '{{ steps.a.status }}',
    };
    expect((await manage(`PUT /chains/${name}`, mended)).body).toMatchObject({ version: 2 });
    const retried = await manage(`POST /runs/${String(body['id'])}/retry`, { version: 'newest' });
    expect(await answerOf(String(retried.body['id']))).toMatchObject({ status: 'succeeded', output: '200' });
    expect(await receipts(good)).toHaveLength(1);
  });

  it('replays with an edited input, and acts on many runs', async () => {
    const { name } = await durable(
      {},
      { output: '{{ input.n }}', input: { type: 'object', properties: { n: { type: 'number' } } } },
    );
    const { body } = await manage(`POST /chains/${name}/runs`, { input: { n: 1 } });
    await answerOf(String(body['id']));
    const replayed = await manage(`POST /runs/${String(body['id'])}/replay`, { input: { n: 2 } });
    expect(await answerOf(String(replayed.body['id']))).toMatchObject({ output: '2' });
    expect(codeOf(await manage(`POST /runs/${String(body['id'])}/replay`, { input: { n: 'x' } }))).toEqual([
      400,
      'input.invalid',
    ]);
    const many = await manage('POST /runs/bulk', { action: 'replay', chain: name, status: 'succeeded' });
    expect(many.body).toMatchObject({ items: [{ done: true }, { done: true }], next: null });
    await expect.poll(() => runsOf(name)).toBe(4);
    const none = await manage('POST /runs/bulk', { action: 'cancel', chain: name, status: 'succeeded' });
    expect(none.body['items']).toMatchObject([{ done: false, error: expect.stringContaining('ended') }, {}, {}, {}]);
  });
});
