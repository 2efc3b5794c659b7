import { beforeEach, describe, expect, test } from 'vitest';
import { chainDocument, codeOf, db, emptyDatabase, testControl, type Called } from './fixtures.ts';
import { loadConfiguration } from '../../../src/store/configuration.ts';

const control = testControl();
const { call } = control;

beforeEach(emptyDatabase);

/** A version that is told apart by its output. */
const publish = (mark: string, query = '', more: Record<string, unknown> = {}): Promise<Called> =>
  call('PUT', `/chains/orders${query}`, chainDocument('orders', { output: { mark }, ...more }));

const publishAll = async (...marks: string[]): Promise<void> => {
  for (const mark of marks) await publish(mark);
};

const promote = (version: number): Promise<Called> => call('POST', '/chains/orders/promote', { version });
const rollBack = (): Promise<Called> => call('POST', '/chains/orders/rollback');
const setCanary = (version: number, weight = 10, more: object = {}): Promise<Called> =>
  call('PUT', '/chains/orders/canary', { version, weight, ...more });

const activeVersion = async (): Promise<unknown> => (await call('GET', '/chains/orders')).body['version'];
const weights = async (): Promise<unknown> =>
  (await call('GET', '/chains/orders/versions')).body.items.map(({ version, weight }) => [version, weight]);

const otherRoute = { triggers: { api: { type: 'http', method: 'POST', path: '/elsewhere' } } };

describe('the history', () => {
  test('lists the newest first, with who published it, which is active and what part of the runs it gets', async () => {
    await publishAll('a', 'b');
    await publish('c', '?canary=25');
    const { items } = (await call('GET', '/chains/orders/versions')).body;
    expect(items).toMatchObject([
      { version: 3, active: false, weight: 25, publishedBy: 'admin', publishedAt: '2026-05-01T12:00:00.000Z' },
      { version: 2, active: true, weight: 75 },
      { version: 1, active: false, weight: 0 },
    ]);
  });

  test('tells what differs between two versions', async () => {
    await publishAll('a', 'b');
    const { body } = await call('GET', '/chains/orders/diff?from=1&to=2');
    expect(body.items).toEqual([{ op: 'change', path: 'output.mark', from: 'a', to: 'b' }]);
    expect((await call('GET', '/chains/orders/diff?from=2&to=2')).body.items).toEqual([]);
  });

  test.each(['from=1&to=9', 'from=9&to=1'])('refuses to compare %s, of which one is not there', async (query) => {
    await publishAll('a');
    expect(codeOf(await call('GET', `/chains/orders/diff?${query}`))).toBe('chain.version-not-found');
  });

  test.each(['from=1', 'from=0&to=1', 'from=x&to=1', 'from=1&to=1&all=1'])('refuses the query %s', async (query) => {
    await publishAll('a');
    expect(codeOf(await call('GET', `/chains/orders/diff?${query}`))).toBe('request.invalid');
  });
});

describe('promoting', () => {
  test('makes a version the active one at once, with its routes', async () => {
    await publishAll('a');
    await publish('b', '', otherRoute);
    const before = control.changes();
    expect((await promote(1)).body).toEqual({ name: 'orders', version: 1, before: 2 });
    expect([await activeVersion(), control.changes()]).toEqual([1, before + 1]);
    const { results } = await db.prepare('select shape from chain_routes').all();
    expect(results).toEqual([{ shape: '/orders/{}' }]);
  });

  test('refuses a version that is not there, and one whose route another chain has taken', async () => {
    await publish('a', '', otherRoute);
    await publish('b');
    await call('PUT', '/chains/thief', chainDocument('thief', otherRoute));
    expect(codeOf(await promote(9))).toBe('chain.version-not-found');
    expect(codeOf(await promote(1))).toBe('chain.route-taken');
    expect(await activeVersion()).toBe(2);
  });

  test('of the active version changes nothing', async () => {
    await publishAll('a', 'b');
    await promote(2);
    expect((await rollBack()).body['version']).toBe(1);
  });

  test('makes a chain live that was only published', async () => {
    expect((await publish('a', '?activate=false')).status).toBe(201);
    expect(codeOf(await call('GET', '/chains/orders'))).toBe('chain.not-found');
    await promote(1);
    expect(await activeVersion()).toBe(1);
  });

  test('by two at once leaves one version with its own routes', async () => {
    await publishAll('a');
    await publish('b', '', otherRoute);
    await publish('c');
    const results = await Promise.all([promote(1), promote(2), rollBack()]);
    const done = results.filter(({ status }) => status === 200);
    expect(done.length).toBeGreaterThan(0);
    for (const refused of results) if (refused.status !== 200) expect(codeOf(refused)).toBe('storage.unavailable');
    const { results: routes } = await db.prepare('select shape from chain_routes').all();
    expect(routes).toEqual([{ shape: (await activeVersion()) === 2 ? '/elsewhere' : '/orders/{}' }]);
  });
});

describe('rolling back', () => {
  test('goes back one version each time, past a promotion too, and not beyond the first', async () => {
    await publishAll('a', 'b', 'c');
    await promote(1);
    const seen: unknown[] = [];
    for (let time = 0; time < 3; time++) seen.push((await rollBack()).body['version']);
    expect(seen).toEqual([3, 2, 1]);
    expect(codeOf(await rollBack())).toBe('chain.no-previous');
    expect(await activeVersion()).toBe(1);
  });

  test('is refused for a chain that is not there or was removed', async () => {
    expect(codeOf(await rollBack())).toBe('chain.not-found');
    await publishAll('a', 'b');
    await call('DELETE', '/chains/orders');
    expect(codeOf(await rollBack())).toBe('chain.not-found');
  });

  test('writes its line in the audit log', async () => {
    await publishAll('a', 'b');
    await rollBack();
    const { results } = await db.prepare('select action, subject, detail from audit_log order by id').all();
    expect(results.at(-1)).toEqual({ action: 'chain.rollback', subject: 'orders', detail: '{"version":1}' });
  });
});

describe('publishing without activating', () => {
  test('gives a version that no run takes, the same one again for the same document', async () => {
    await publishAll('a');
    const first = await publish('b', '?activate=false');
    const again = await publish('b', '?activate=false');
    expect([first.status, again.status, again.body['version']]).toEqual([201, 200, 2]);
    expect(await activeVersion()).toBe(1);
  });

  test.each(['?activate=no', '?canary=101', '?canary=-1', '?canary=', '?weight=1'])('refuses %s', async (query) => {
    await publishAll('a');
    expect(codeOf(await publish('b', query))).toBe('request.invalid');
    expect(await weights()).toEqual([[1, 100]]);
  });
});

describe('a canary', () => {
  test('gets its part, is shown with its figures, and gives it back when it is ended', async () => {
    await publishAll('a');
    await publish('b', '?activate=false');
    const set = await setCanary(2, 12.5, { minimumRuns: 50, latencyIncrease: null });
    expect(set.body).toMatchObject({
      ...{ chain: 'orders', version: 2, stable: 1, state: 'running', weight: 12.5, reason: null, startedBy: 'admin' },
      ...{ minimumRuns: 50, errorRateIncrease: 0, latencyIncrease: null, latency: null, evidenceNeeded: 200 },
      errors: { stable: { runs: 0, bad: 0, rate: null }, evidence: 1 },
    });
    expect((await call('GET', '/chains/orders/canary')).body).toEqual(set.body);
    expect((await loadConfiguration(db)).canaries).toMatchObject([{ chain: 'orders', version: 2, weight: 12.5 }]);
    expect((await call('DELETE', '/chains/orders/canary')).status).toBe(204);
    expect(codeOf(await call('GET', '/chains/orders/canary'))).toBe('canary.not-found');
    expect(codeOf(await call('DELETE', '/chains/orders/canary'))).toBe('canary.not-found');
    expect(await weights()).toEqual([
      [2, 0],
      [1, 100],
    ]);
  });

  test.each([
    ['triggers', otherRoute],
    ['input', { input: { type: 'object' } }],
  ])('whose %s differ is refused, and nothing is published', async (field, more) => {
    await publishAll('a');
    const refused = await publish('b', '?canary=10', more);
    expect([refused.status, codeOf(refused)]).toEqual([409, 'canary.refused']);
    expect(refused.body['errors']).toEqual([{ path: field, message: expect.stringContaining('Promote the version') }]);
    expect(await weights()).toEqual([[1, 100]]);
    await publish('b', '?activate=false', more);
    expect(codeOf(await setCanary(2))).toBe('canary.refused');
  });

  test('of a chain that is not there, of a version that is not there, and of the active version is refused', async () => {
    expect(codeOf(await publish('a', '?canary=10'))).toBe('chain.not-found');
    await publishAll('a');
    expect(codeOf(await setCanary(9))).toBe('chain.version-not-found');
    expect(codeOf(await setCanary(1))).toBe('canary.refused');
  });

  test.each([{ weight: -1 }, { weight: 101 }, { minimumRuns: 0 }, { errorRateIncrease: -1 }, { latencyIncrease: 'x' }])(
    'with %j is refused',
    async (more) => {
      await publishAll('a', 'b');
      await promote(1);
      expect(codeOf(await setCanary(2, 10, more))).toBe('request.invalid');
    },
  );

  test.each<[string, () => Promise<unknown>]>([
    ['is promoted', () => promote(3)],
    ['has another version published over it', () => publish('c')],
    ['loses its chain', () => call('DELETE', '/chains/orders')],
    ['sees the active version rolled back', () => rollBack()],
  ])('ends when it %s', async (_what, act) => {
    await publishAll('a', 'a2');
    await publish('b', '?canary=10');
    await act();
    expect(codeOf(await call('GET', '/chains/orders/canary'))).toBe('canary.not-found');
    expect((await loadConfiguration(db)).canaries).toEqual([]);
  });
});
