import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { answerOf, call, codeOf, manage, publish, QUICK, receipts, receivedAt, upstream } from './fixtures.ts';
import worker from '../../../src/index.ts';
import { objectOf } from '../../../src/runtime/shards.ts';

const durable = { mode: 'durable' };
const slow = (milliseconds: number, mark: string) => ({
  use: 'http.get',
  with: { url: `${upstream}/delay/${milliseconds}?mark=${mark}` },
});

describe('a durable chain', () => {
  it('answers 202 with the address of the run, which ends by itself', async () => {
    const { route } = await publish({ ...durable, output: '{{ input.n + 1 }}' });
    const accepted = await call(route, { n: 1 });
    const { id, url } = accepted.body;
    expect([accepted.status, accepted.headers.get('location')]).toEqual([202, url]);
    expect(await answerOf(String(id))).toMatchObject({ status: 'succeeded', output: '2' });
    const run = await call(`GET ${new URL(String(url)).pathname}`, undefined, {
      authorization: 'Bearer test-admin-key',
    });
    expect(run.body).toMatchObject({ id, status: 'succeeded', output: 2, input: { n: 1 }, mode: 'durable' });
  });

  it('answers with the result where the caller waits long enough', async () => {
    const { route } = await publish({ ...durable, steps: { a: slow(100, 'waits') }, output: '{{ steps.a.status }}' });
    expect(await call(route, {}, { prefer: 'wait=5' })).toMatchObject({ status: 200, text: '200' });
  });

  it('answers 202 where it takes longer than the caller waits', async () => {
    const { route } = await publish({ ...durable, steps: { a: slow(3_000, 'longer') } });
    const { status, body } = await call(route, {}, { prefer: 'wait=1' });
    expect(status).toBe(202);
    expect((await manage(`GET /runs/${String(body['id'])}`)).body['status']).toBe('running');
    await manage(`POST /runs/${String(body['id'])}/cancel`);
  });

  it.each([
    ['of pure steps', {}],
    ['that waited before', { before: slow(20, 'respond') }],
  ])('%s answers with what flow.respond says', async (_what, before) => {
    const answer = { use: 'flow.respond', with: { status: 201, headers: { 'x-mine': 'yes' }, body: { a: 1 } } };
    const { route } = await publish(
      { ...durable, steps: { ...before, answer: { ...answer, after: Object.keys(before) } } },
      { respond: 'result' },
    );
    for (let time = 0; time < 2; time++) {
      const { status, body, headers } = await call(route);
      expect([status, body, headers.get('x-mine')]).toEqual([201, { a: 1 }, 'yes']);
    }
  });

  it('that fails answers with its status, message and step', async () => {
    const stop = { use: 'flow.fail', with: { message: 'Gone.', status: 410 } };
    const { route } = await publish({ ...durable, steps: { stop } }, { respond: 'result' });
    for (let time = 0; time < 2; time++) {
      const failed = await call(route);
      expect(codeOf(failed)).toEqual([410, 'run.failed']);
      expect(failed.body).toMatchObject({ detail: 'Gone.', step: 'stop' });
    }
  });

  it('takes a large body on a route with a parameter', async () => {
    await publish({ ...durable, output: '{{ $length(input.text) }}' }, { path: '/large/{id}', respond: 'result' });
    const { status, text } = await call('POST /large/1', { text: 'x'.repeat(LIMITS.requestBodyBytes - 50) });
    expect([status, text]).toEqual([200, String(LIMITS.requestBodyBytes - 50)]);
  });
});

it('an inline chain runs durably where the caller prefers not to wait', async () => {
  const { route } = await publish({ steps: { a: slow(50, 'async') }, output: 'done' });
  const { status, body } = await call(route, {}, { prefer: 'respond-async' });
  expect(status).toBe(202);
  expect(await answerOf(String(body['id']))).toMatchObject({ status: 'succeeded', output: '"done"' });
});

it('the scheduled handler takes up a run whose object died and whose alarm was lost', async () => {
  const path = '/fail-first/1/swept';
  const retries = { ...QUICK, delay: '700ms' };
  const { route } = await publish({
    ...durable,
    steps: { a: { use: 'http.get', with: { url: upstream + path }, retries } },
  });
  const { body } = await call(route);
  const id = String(body['id']);
  const object = objectOf(env, id);
  if (object === undefined) throw new Error(`${id} is not durable`);
  await receivedAt(path, 1);
  await expect.poll(async () => JSON.parse((await object.read(id)) ?? '{}')).toMatchObject({ status: 'waiting' });
  await runInDurableObject(object, (_instance, state) => state.storage.deleteAlarm());
  await abortAllDurableObjects();
  await scheduler.wait(800);
  expect(await receipts(path)).toHaveLength(1);
  await worker.scheduled({ scheduledTime: Date.now(), cron: '* * * * *', noRetry: () => {} }, env);
  expect(await answerOf(id)).toMatchObject({ status: 'succeeded' });
  expect(await receipts(path)).toHaveLength(2);
});
