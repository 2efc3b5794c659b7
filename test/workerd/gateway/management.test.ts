import { expect, it } from 'vitest';
import { answerOf, call, codeOf, manage, publish, receipts, receivedAt, upstream } from './fixtures.ts';

const manual = { triggers: {} };

it('a run that is started by hand is read with its steps, and listed', async () => {
  const { name } = await publish({
    ...manual,
    steps: { a: { use: 'data.map', with: { n: '{{ input.n }}' } } },
    output: 1,
  });
  const started = await manage(`POST /chains/${name}/runs`, { input: { n: 5 } });
  expect(started.status).toBe(202);
  const id = String(started.body['id']);
  await answerOf(id);
  expect((await manage(`GET /runs/${id}`)).body).toMatchObject({
    status: 'succeeded',
    triggerType: 'manual',
    output: 1,
    steps: [{ id: 'a', use: 'data.map', status: 'succeeded', output: { n: 5 } }],
  });
  expect((await manage(`GET /runs?chain=${name}&status=succeeded`)).body).toMatchObject({ items: [{ id }] });
});

it('a run is refused for a chain that is not there, or an input that does not fit', async () => {
  const { name } = await publish({ ...manual, input: { type: 'object', required: ['id'] }, output: 1 });
  expect(codeOf(await manage('POST /chains/nothing/runs', {}))).toEqual([404, 'chain.not-found']);
  expect(codeOf(await manage(`POST /chains/${name}/runs`, { input: {} }))).toEqual([400, 'input.invalid']);
});

it('a run under way is cancelled once, and starts no further step', async () => {
  const path = '/delay/2000?mark=cancelled';
  const after = '/echo?mark=after-cancelled';
  const { name } = await publish({
    ...manual,
    steps: {
      slow: { use: 'http.get', with: { url: upstream + path } },
      next: { use: 'http.post', with: { url: upstream + after }, after: ['slow'] },
    },
  });
  const id = String((await manage(`POST /chains/${name}/runs`)).body['id']);
  await receivedAt(path, 1);
  const cancelled = await manage(`POST /runs/${id}/cancel`);
  expect([cancelled.status, cancelled.body['status']]).toEqual([200, 'cancelled']);
  expect(cancelled.body['steps']).toMatchObject([{ status: 'failed' }, { status: 'pending' }]);
  expect(codeOf(await manage(`POST /runs/${id}/cancel`))).toEqual([409, 'run.ended']);
  expect(await receipts(after)).toEqual([]);
});

it.each(['run_0_00000000000000000000000000000000', 'run_i_00000000000000000000000000000000', 'x', 'run_zzzz_0'])(
  'the run %s is not found',
  async (id) => {
    expect(codeOf(await manage(`GET /runs/${id}`))).toEqual([404, 'run.not-found']);
    expect(codeOf(await manage(`POST /runs/${id}/cancel`))).toEqual([404, 'run.not-found']);
  },
);

it('a connection lends its secret to a step, and to no reader', async () => {
  const saved = await manage('PUT /connections/shop-api', {
    connector: 'http',
    settings: { baseUrl: upstream },
    secrets: { bearer: 'the-secret-token' },
  });
  expect(saved.status).toBe(201);
  const { route } = await publish({
    steps: { a: { use: 'http.get', connection: 'shop-api', with: { url: '/echo' } } },
    output: '{{ steps.a.body.headers.authorization }}',
  });
  expect((await call(route)).text).toBe('"Bearer the-secret-token"');
  expect((await manage('GET /connections/shop-api')).text).not.toContain('the-secret');
});

it('a connection that is not there yet fails the step by name, and works once it is', async () => {
  const { route } = await publish({
    steps: { a: { use: 'http.get', connection: 'later', with: { url: '/echo' } } },
    output: '{{ steps.a.status }}',
  });
  expect(codeOf(await call(route))).toEqual([404, 'connection.not-found']);
  await manage('PUT /connections/later', { connector: 'http', settings: { baseUrl: upstream }, secrets: {} });
  expect((await call(route)).text).toBe('200');
});

it('a new version answers at once, and a run keeps the version that it began with', async () => {
  const { name, route } = await publish({
    mode: 'durable',
    steps: { a: { use: 'http.get', with: { url: `${upstream}/delay/400` } } },
    output: 'first',
  });
  const { body } = await call(route);
  const api = { type: 'http', method: 'POST', path: `/${name}`, auth: 'public' };
  const next = await manage(`PUT /chains/${name}`, { name, triggers: { api }, steps: {}, output: 'second' });
  expect(next.body['version']).toBe(2);
  expect((await call(route)).text).toBe('"second"');
  expect(await answerOf(String(body['id']))).toMatchObject({ output: '"first"' });
});

it('nothing is managed without the admin key', async () => {
  expect(codeOf(await call('GET /_/api/v1/runs'))).toEqual([401, 'auth.missing']);
  expect(codeOf(await call('GET /_/api/v1/runs', undefined, { authorization: 'Bearer no' }))).toEqual([
    401,
    'auth.invalid',
  ]);
});
