import { describe, expect, it } from 'vitest';
import { echoed, poolOf, problemOf, REFUSED, send, Upstreams } from './fixtures.ts';

const bad = (status = 503, headers: Record<string, string> = {}) => ({ kind: 'answer', status, headers }) as const;
const RETRIES = { retries: { attempts: 3, on: ['connect', 'timeout', '502', '503', '504'] } };

describe('an upstream', () => {
  it('that nobody listens at is a 502, and the caller is not told where it is', async () => {
    const response = await send(poolOf({ targets: [{ url: REFUSED }] }));
    expect(await response.clone().text()).not.toContain('127.0.0.1');
    expect(await problemOf(response)).toEqual([502, 'upstream.unreachable']);
  });

  it('that breaks the connection is a 502', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'reset' });
    expect(await problemOf(await send(upstreams.pool()))).toEqual([502, 'upstream.unreachable']);
  });

  it('that speaks no HTTP is a 502', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'raw', text: 'nonsense\r\n\r\n' });
    expect(await problemOf(await send(upstreams.pool()))).toEqual([502, 'upstream.unreachable']);
  });

  it('that does not answer in time is a 504', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'hang' });
    const pool = upstreams.pool({ timeout: { headers: '100ms' } });
    expect(await problemOf(await send(pool))).toEqual([504, 'upstream.timeout']);
  });

  it('gets the time that the route says instead of its own', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'hang' });
    const options = { headersTimeoutMilliseconds: 100 };
    expect(await problemOf(await send(upstreams.pool(), '/', { options }))).toEqual([504, 'upstream.timeout']);
  });

  it('may take longer for the body than for the headers', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'drip', everyMilliseconds: 100, count: 4 });
    const response = await send(upstreams.pool({ timeout: { headers: '200ms' } }));
    expect((await response.text()).match(/data/g)).toHaveLength(4);
  });

  it.each([
    ['is silent for too long', { idle: '100ms' }, 10_000],
    ['takes too long in all', { total: '500ms' }, 50],
  ])('whose body %s is broken off', async (_what, timeout, everyMilliseconds) => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'drip', everyMilliseconds });
    const response = await send(upstreams.pool({ timeout }));
    await expect(response.text()).rejects.toThrow('took too long');
    await expect.poll(async () => (await upstreams.seen())[0]?.abandoned).toBe(true);
  });

  it('whose body comes in time passes whole where there are timeouts', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { kind: 'drip', everyMilliseconds: 20, count: 5 });
    const response = await send(upstreams.pool({ timeout: { idle: '5s', total: '10s' } }));
    expect((await response.text()).match(/data/g)).toHaveLength(5);
  });

  it('at a private address that the owner did not list is never asked', async () => {
    const response = await send(poolOf({ targets: [{ url: 'http://10.0.0.1' }] }));
    expect(await problemOf(response)).toEqual([502, 'egress.refused']);
  });

  it('gets the base of the target in front of the path', async () => {
    const upstreams = new Upstreams();
    const pool = upstreams.pool({ targets: [{ url: `${upstreams.urls[0]}/base/` }] });
    expect((await echoed(pool, '/x?y=1')).path).toMatch(/\/base\/x\?y=1$/);
  });
});

describe('a retry', () => {
  it('goes to another target, once for each that fails', async () => {
    const upstreams = new Upstreams(3);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad())));
    const pool = upstreams.pool({ ...RETRIES, targets: weighted(upstreams, [1_000, 1_000, 1]) });
    expect((await send(pool)).status).toBe(200);
    expect((await upstreams.counts())[2]).toBe(1);
    expect(Math.max(...(await upstreams.counts()))).toBe(1);
  });

  it.each([
    ['a connection that is refused', undefined],
    ['a connection that breaks', { kind: 'reset' } as const],
    ['an answer that does not come', { kind: 'hang' } as const],
    ['a 502', bad(502)],
    ['a 503', bad(503)],
    ['a 504', bad(504)],
  ])('answers for %s', async (_what, behaviour) => {
    const upstreams = new Upstreams(2);
    if (behaviour !== undefined) await upstreams.behave(0, behaviour);
    const [first = '', second = ''] = upstreams.urls;
    const targets = [{ url: behaviour === undefined ? REFUSED : first, weight: 1_000 }, { url: second }];
    const pool = poolOf({ ...RETRIES, targets, timeout: { headers: '300ms' } });
    expect((await send(pool)).status).toBe(200);
  });

  it.each(['POST', 'PATCH'])('is never made for %s', async (method) => {
    const upstreams = new Upstreams(2);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad())));
    const response = await send(upstreams.pool(RETRIES), '/', {
      method,
      body: 'a',
      headers: { 'idempotency-key': 'k' },
    });
    expect(response.status).toBe(503);
    expect(sum(await upstreams.counts())).toBe(1);
  });

  it('of POST is made with an Idempotency-Key where the owner said so, with the same body', async () => {
    const upstreams = new Upstreams(2);
    await upstreams.behave(0, bad());
    const retries = { attempts: 2, keyed: true };
    const pool = upstreams.pool({ retries, targets: weighted(upstreams, [1_000, 1]) });
    const body = 'x'.repeat(1_000);
    const { bytes } = await echoed(pool, '/', {
      method: 'POST',
      body,
      headers: { 'idempotency-key': 'k', 'content-length': '1000' },
    });
    expect(bytes).toBe(1_000);
    expect(await upstreams.counts()).toEqual([1, 1]);
  });

  it('is not made for a body of unknown or large size, which is sent as a stream', async () => {
    const upstreams = new Upstreams(2);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad())));
    const pool = upstreams.pool(RETRIES);
    const large = new Uint8Array(64 * 1024 + 1);
    await send(pool, '/', { method: 'PUT', body: large, headers: { 'content-length': String(large.length) } });
    await send(pool, '/', { method: 'PUT', body: new Blob(['a']).stream() });
    expect(sum(await upstreams.counts())).toBe(2);
  });

  it('is not made for another status, or a reason that was not named', async () => {
    const upstreams = new Upstreams(2);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad(500))));
    expect((await send(upstreams.pool(RETRIES))).status).toBe(500);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad(503))));
    expect((await send(upstreams.pool({ retries: { attempts: 2, on: ['connect'] } }))).status).toBe(503);
    expect(sum(await upstreams.counts())).toBe(2);
  });

  it('ends with what the last target said', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, { ...bad(503, { 'x-mine': '1' }), body: btoa('sorry') });
    const response = await send(upstreams.pool(RETRIES));
    expect([response.status, response.headers.get('x-mine'), await response.text()]).toEqual([503, '1', 'sorry']);
    expect(await upstreams.counts()).toEqual([3]);
  });

  it('is left out when the budget of the pool is spent', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, bad());
    const pool = upstreams.pool({ retries: { attempts: 2 } });
    for (let request = 0; request < 40; request++) await send(pool);
    // What was saved up, a fifth of the requests, and what the seconds of this test add.
    const [requests = 0] = await upstreams.counts();
    expect(requests).toBeGreaterThanOrEqual(50);
    expect(requests).toBeLessThan(65);
  });
});

describe('the breaker of a pool', () => {
  const breaker = { failures: 3, pause: '300ms' };

  it('refuses at once with the time to come back, lets one probe through and closes', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, bad());
    const pool = upstreams.pool({ breaker });
    for (let request = 0; request < 3; request++) expect((await send(pool)).status).toBe(503);
    const refused = await send(pool);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await problemOf(refused)).toEqual([503, 'upstream.unavailable']);
    expect(await upstreams.counts()).toEqual([3]);
    await upstreams.behave(0, { kind: 'answer', delayMilliseconds: 200 });
    await scheduler.wait(310);
    const statuses = await Promise.all([1, 2, 3, 4].map(async () => (await send(pool)).status));
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 503, 503, 503]);
    expect(await upstreams.counts()).toEqual([4]);
    expect((await send(pool)).status).toBe(200);
  });

  it('does not open for what the upstream answers by intent', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, bad(500));
    const pool = upstreams.pool({ breaker });
    for (let request = 0; request < 6; request++) expect((await send(pool)).status).toBe(500);
    expect(await upstreams.counts()).toEqual([6]);
  });

  it('opens for the statuses that the owner named', async () => {
    const upstreams = new Upstreams();
    await upstreams.behave(0, bad(500));
    const pool = upstreams.pool({ breaker, failures: ['5xx'] });
    for (let request = 0; request < 6; request++) await send(pool);
    expect(await upstreams.counts()).toEqual([3]);
  });
});

describe('a target', () => {
  it('that fails again and again gets no requests for a while', async () => {
    const upstreams = new Upstreams(2);
    await upstreams.behave(0, bad());
    const pool = upstreams.pool({ health: { passive: { failures: 2, ejection: '1m' } } });
    for (let request = 0; request < 40; request++) await send(pool);
    expect((await upstreams.counts())[0]).toBe(2);
  });

  it('gets requests though it fails where no other is well', async () => {
    const upstreams = new Upstreams(2);
    await Promise.all([0, 1].map((index) => upstreams.behave(index, bad())));
    const pool = upstreams.pool({ health: { passive: { failures: 1, ejection: '1m', ejected: 100 } } });
    for (let request = 0; request < 10; request++) expect((await send(pool)).status).toBe(503);
    expect(sum(await upstreams.counts())).toBe(10);
  });

  it('that is slow gets fewer requests where the faster is chosen', async () => {
    const upstreams = new Upstreams(2);
    await upstreams.behave(0, { kind: 'answer', delayMilliseconds: 150 });
    const pool = upstreams.pool({ balance: 'least-latency' });
    for (let request = 0; request < 20; request++) await send(pool);
    expect((await upstreams.counts())[0]).toBeLessThanOrEqual(3);
  });

  it('gets its part of the requests by its weight', async () => {
    const upstreams = new Upstreams(2);
    const pool = upstreams.pool({ targets: weighted(upstreams, [9, 1]) });
    await Promise.all(Array.from({ length: 100 }, () => send(pool)));
    expect((await upstreams.counts())[0]).toBeGreaterThan(70);
    expect((await upstreams.counts())[1]).toBeGreaterThan(0);
  });
});

describe('a sticky pool', () => {
  it.each([
    ['ip', { headers: { 'cf-connecting-ip': '192.0.2.7' }, cf: { colo: 'AMS' } }],
    ['header:x-tenant', { headers: { 'X-Tenant': 'acme' } }],
    ['cookie:session', { headers: { cookie: 'other=session; session=abc' } }],
    ['identity', { options: { identity: { kind: 'key', id: 'key:1', tenant: undefined, scopes: [] } } }],
    ['{{ request.params.id }}', { options: { scope: () => ({ request: { params: { id: 'a' } } }) } }],
  ] as const)('keeps requests together by %s', async (by, sent) => {
    const upstreams = new Upstreams(3);
    const pool = upstreams.pool({ balance: 'sticky', by });
    for (let request = 0; request < 12; request++) await send(pool, '/', sent);
    expect((await upstreams.counts()).toSorted((a, b) => a - b)).toEqual([0, 0, 12]);
  });

  it('spreads keys, and requests without one', async () => {
    const upstreams = new Upstreams(3);
    const pool = upstreams.pool({ balance: 'sticky', by: 'header:x-tenant' });
    for (let tenant = 0; tenant < 30; tenant++) await send(pool, '/', { headers: { 'x-tenant': `tenant ${tenant}` } });
    expect(Math.min(...(await upstreams.counts()))).toBeGreaterThan(0);
    const others = new Upstreams(3);
    const anonymous = others.pool({ balance: 'sticky', by: 'header:x-tenant' });
    for (let request = 0; request < 30; request++) await send(anonymous);
    expect(Math.min(...(await others.counts()))).toBeGreaterThan(0);
  });
});

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const weighted = ({ urls }: Upstreams, weights: readonly number[]) =>
  urls.map((url, index) => ({ url, weight: weights[index] ?? 1 }));
