import { beforeEach, expect, test } from 'vitest';
import { codeOf, db, emptyDatabase, NOW, ORIGIN, runRecord, testControl } from './fixtures.ts';
import { ok } from '../../../src/core/errors.ts';
import { saveRuns } from '../../../src/store/runs.ts';

const { call } = testControl();

beforeEach(emptyDatabase);

test('a run is started, read, listed and cancelled', async () => {
  const control = testControl();
  const started = await control.call('POST', '/chains/orders/runs', { input: { orderId: 'A1' } });
  const path = '/_/api/v1/runs/run_0_1';
  expect([started.status, started.body]).toEqual([202, { id: 'run_0_1', url: ORIGIN + path }]);
  expect(started.headers.get('location')).toBe(path);

  const run = await control.call('GET', '/runs/run_0_1');
  expect(run.body).toMatchObject({ chain: 'orders', status: 'queued', input: { orderId: 'A1' }, output: null });
  expect(run.body).toMatchObject({ createdAt: '2026-05-01T12:00:00.000Z', endedAt: null, error: null });
  expect((await control.call('GET', '/runs')).body).toMatchObject({ items: [{ id: 'run_0_1' }], next: null });

  const cancelled = await control.call('POST', '/runs/run_0_1/cancel');
  expect([cancelled.status, cancelled.body['status']]).toEqual([200, 'cancelled']);
  expect(codeOf(await control.call('POST', '/runs/run_0_1/cancel'))).toBe('run.ended');
  const audit = await db.prepare('select action, subject from audit_log').all();
  expect(audit.results).toEqual([{ action: 'run.cancel', subject: 'run_0_1' }]);
});

test.each([[undefined], [{}], ['']])('a run starts with an empty object where the body is %j', async (body) => {
  const control = testControl();
  expect((await control.call('POST', '/chains/orders/runs', body)).status).toBe(202);
  expect((await control.call('GET', '/runs/run_0_1')).body['input']).toEqual({});
});

test.each([[null], [0], [''], [[1]]])('the input %j is passed on as it is', async (input) => {
  const control = testControl();
  await control.call('POST', '/chains/orders/runs', { input });
  expect((await control.call('GET', '/runs/run_0_1')).body['input']).toEqual(input);
});

test('a run of a chain that is not there is not found', async () => {
  const refused = await call('POST', '/chains/nothing/runs', {});
  expect([refused.status, codeOf(refused)]).toEqual([404, 'chain.not-found']);
});

test.each([
  ['GET', '/runs/run_0_9'],
  ['POST', '/runs/run_0_9/cancel'],
])('%s %s is 404 where there is no such run', async (method, path) => {
  expect(codeOf(await call(method, path))).toBe('run.not-found');
});

test('a run shows its steps and attempts with times in ISO 8601, and null for what is not there', async () => {
  const error = { code: 'upstream.unavailable' as const, message: 'away', data: { status: 503 } };
  const attempt = { attempt: 1, startedAt: NOW, endedAt: NOW + 5, error };
  const record = runRecord('run_0_1', {
    status: 'running',
    steps: [
      {
        id: 'find',
        use: 'crm.lookup',
        status: 'running',
        attempts: [attempt, { attempt: 2, startedAt: NOW + 9, endedAt: undefined, error: undefined }],
        output: undefined,
        error: undefined,
      },
    ],
  });
  const shown = await testControl({ getRun: async () => ok(record) }).call('GET', '/runs/run_0_1');
  expect(shown.body['steps']).toEqual([
    {
      id: 'find',
      use: 'crm.lookup',
      status: 'running',
      output: null,
      error: null,
      attempts: [
        { attempt: 1, startedAt: '2026-05-01T12:00:00.000Z', endedAt: '2026-05-01T12:00:00.005Z', error },
        { attempt: 2, startedAt: '2026-05-01T12:00:00.009Z', endedAt: null, error: null },
      ],
    },
  ]);
});

test('a list is filtered, and its pages are joined by the cursor', async () => {
  const summaries = Array.from({ length: 5 }, (_, index) => runRecord(`run_0_${index}`, { createdAt: NOW + index }));
  const other = runRecord('run_0_x', { chain: 'others', status: 'failed', endedAt: NOW });
  await saveRuns(
    db,
    [...summaries, other].map((summary) => ({ summary })),
  );
  const first = await call('GET', '/runs?chain=orders&limit=3');
  expect(first.body.items.map((item) => item['id'])).toEqual(['run_0_4', 'run_0_3', 'run_0_2']);
  const second = await call('GET', `/runs?chain=orders&limit=3&after=${String(first.body['next'])}`);
  expect(second.body.items.map((item) => item['id'])).toEqual(['run_0_1', 'run_0_0']);
  expect(second.body['next']).toBeNull();
  expect((await call('GET', '/runs?status=failed')).body.items).toMatchObject([{ id: 'run_0_x' }]);
});

test.each(['limit=0', 'limit=-1', 'limit=101', 'limit=1e2', 'limit=', 'status=done', 'after=x', 'after='])(
  'the query %s is refused',
  async (query) => {
    expect((await call('GET', `/runs?${query}`)).status).toBe(400);
  },
);
