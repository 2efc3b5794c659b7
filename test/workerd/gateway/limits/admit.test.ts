/// <reference types="@cloudflare/vitest-plugin/types" />

import { evictDurableObject, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it, vi } from 'vitest';
import { admitMany, countOk, exchangeOf, gatewayEnv, headerOf, keyed, newTarget, planOf } from './fixtures.ts';
import type { Ask, Answer, QuotaRule } from '../../../../src/core/policy/limiter.ts';
import type { KeyLimits } from '../../../../src/core/route/limits.ts';
import type { Env } from '../../../../src/env.ts';
import { admit, type Admission } from '../../../../src/gateway/limits/admit.ts';
import { shardOf } from '../../../../src/runtime/limiter-calls.ts';

const five = planOf({ limits: [{ limit: 5, period: '10m', by: 'route' }] });

function faultIn(admission: Admission | undefined) {
  if (admission === undefined || admission.ok) throw new Error('admitted');
  return admission.fault;
}

describe('limits', () => {
  it('admit as many as the limit says and refuse the next with the time to wait', async () => {
    const target = newTarget();
    const admissions = await admitMany(6, five, { target });
    expect(countOk(admissions)).toBe(5);
    const refused = admissions[5];
    expect(faultIn(refused)).toMatchObject({ code: 'limit.exceeded', data: { policy: 'limit', limit: 5 } });
    const wait = faultIn(refused).retryAfterMilliseconds ?? 0;
    expect(wait).toBeGreaterThan(590_000);
    expect(wait).toBeLessThan(600_100);
  });

  it('tell what is left, and the policy, also to whom they refuse', async () => {
    const target = newTarget();
    const admissions = await admitMany(6, five, { target });
    expect(headerOf(admissions[0] ?? { ok: true }, 'ratelimit')).toMatch(/^"limit";r=4;t=\d+$/);
    expect(headerOf(admissions[4] ?? { ok: true }, 'ratelimit')).toMatch(/^"limit";r=0;t=(?:600|599)$/);
    expect(headerOf(admissions[5] ?? { ok: true }, 'ratelimit')).toMatch(/^"limit";r=0;t=(?:60[01]|599)$/);
    for (const each of admissions) expect(headerOf(each, 'ratelimit-policy')).toBe('"limit";q=5;w=600');
  });

  it('answer from memory once there is a lease, and remember a denial', async () => {
    const plan = planOf({ limits: [{ limit: 1_000, period: '10m', by: 'route' }] });
    const target = newTarget();
    expect(admit(plan, exchangeOf({ target }), undefined)).toBeInstanceOf(Promise);
    await admitMany(1, plan, { target });
    expect(admit(plan, exchangeOf({ target }), undefined)).toMatchObject({ ok: true });
    const other = newTarget();
    await admitMany(6, five, { target: other });
    expect(admit(five, exchangeOf({ target: other }), undefined)).toMatchObject({ ok: false });
  });

  it('take nothing from one limit when another refuses', async () => {
    const plan = planOf({
      limits: [
        { name: 'wide', limit: 10, period: '10m', by: 'route' },
        { name: 'narrow', limit: 2, period: '10m', by: 'key' },
      ],
    });
    const target = newTarget();
    expect(countOk(await admitMany(8, plan, { target }, keyed('a')))).toBe(2);
    for (const id of ['b', 'c', 'd', 'e']) expect(countOk(await admitMany(3, plan, { target }, keyed(id)))).toBe(2);
    expect(faultIn((await admitMany(1, plan, { target }, keyed('f')))[0]).data).toMatchObject({ policy: 'wide' });
  });

  it('count keys, identities and tenants apart, and all callers of a route together', async () => {
    for (const [by, counted] of [
      ['key', 2],
      ['identity', 2],
      ['tenant', 1],
      ['route', 1],
    ] as const) {
      const plan = planOf({ limits: [{ limit: 1, period: '10m', by }] });
      const target = newTarget();
      const first = await admitMany(2, plan, { target }, keyed('a', 'acme'));
      const second = await admitMany(2, plan, { target }, keyed('b', 'acme'));
      expect([by, countOk(first) + countOk(second)]).toEqual([by, counted]);
    }
  });

  it('spread a limit over its period where a burst is given', async () => {
    const plan = planOf({ limits: [{ limit: 100, period: '10m', burst: 10, by: 'route' }] });
    const admissions = await admitMany(20, plan, { target: newTarget() });
    expect(countOk(admissions)).toBe(10);
    expect(faultIn(admissions[10])).toMatchObject({ data: { policy: 'limit-burst', limit: 10 } });
    expect(faultIn(admissions[10]).retryAfterMilliseconds).toBeLessThan(60_100);
  });

  it('outlive the object that counts them', async () => {
    const target = newTarget();
    await admitMany(3, five, { target });
    await evictDurableObject(env.LIMITER.getByName(`limiter-${shardOf(`${target}|limit|600000|`)}`));
    expect(countOk(await admitMany(6, five, { target }))).toBe(2);
  });
});

describe('accounts by expression', () => {
  const byAccount = planOf({ limits: [{ limit: 1, period: '10m', by: '{{ request.headers.account }}' }] });

  it('are counted apart, and a type is part of them', async () => {
    const target = newTarget();
    for (const account of ['a', 'b']) {
      expect(countOk(await admitMany(2, byAccount, { target, headers: { account } }))).toBe(1);
    }
  });

  it('fall back on the address where the expression gives nothing', async () => {
    const target = newTarget();
    expect(countOk(await admitMany(2, byAccount, { target }))).toBe(1);
    expect(countOk(await admitMany(1, byAccount, { target, headers: { account: 'a' } }))).toBe(1);
  });

  it('may be long, and long ones that differ at the end are told apart', async () => {
    const target = newTarget();
    for (const end of ['1', '2']) {
      const headers = { account: 'x'.repeat(2_000) + end };
      expect(countOk(await admitMany(2, byAccount, { target, headers }))).toBe(1);
    }
  });

  it('never see a credential', async () => {
    const plan = planOf({ limits: [{ limit: 1, period: '10m', by: '{{ request.headers.authorization }}' }] });
    const target = newTarget();
    expect(countOk(await admitMany(1, plan, { target, headers: { authorization: 'Bearer 1' } }))).toBe(1);
    expect(countOk(await admitMany(1, plan, { target, headers: { authorization: 'Bearer 2' } }))).toBe(0);
  });
});

describe('costs', () => {
  const costly = planOf({
    limits: [{ limit: 10, period: '10m', by: 'route', cost: '{{ $number(request.query.n) }}' }],
  });
  const url = (n: string): string => `https://gate.example/orders?n=${n}`;

  it('are what the expression gives, and a request of no cost is free', async () => {
    const target = newTarget();
    expect(countOk(await admitMany(2, costly, { target, url: url('4') }))).toBe(2);
    expect(countOk(await admitMany(1, costly, { target, url: url('3') }))).toBe(0);
    expect(countOk(await admitMany(1, costly, { target, url: url('2') }))).toBe(1);
    expect(countOk(await admitMany(3, costly, { target, url: url('0') }))).toBe(3);
    expect(countOk(await admitMany(1, costly, { target, url: url('1') }))).toBe(0);
  });

  it.each(['-1', '0.5', '1e3'])('refuse the cost %s, which no limit can count', async (n) => {
    const [admission] = await admitMany(1, costly, { target: newTarget(), url: url(n) });
    expect(['expression.failed', 'limit.exceeded']).toContain(faultIn(admission).code);
  });
});

describe('limits of a key', () => {
  const rate: KeyLimits = { rate: { limit: 3, period: '10m' } };
  const daily: KeyLimits = { quota: { day: 4, month: 6, timezone: 'UTC' } };

  it('hold on all targets together', async () => {
    const admissions: Admission[] = [];
    for (let index = 0; index < 4; index++) {
      admissions.push(await admit(undefined, exchangeOf({ target: newTarget() }), keyed('everywhere'), rate));
    }
    expect(countOk(admissions)).toBe(3);
    expect(headerOf(admissions[0] ?? { ok: true }, 'ratelimit-policy')).toBe('"key";q=3;w=600');
  });

  it('stand beside those of the target', async () => {
    const target = newTarget();
    const admission = await admit(five, exchangeOf({ target }), keyed('both'), rate);
    expect(headerOf(admission, 'ratelimit-policy')).toBe('"limit";q=5;w=600, "key";q=3;w=600');
    expect(headerOf(admission, 'ratelimit')).toMatch(/^"limit";r=4;t=\d+, "key";r=2;t=\d+$/);
  });

  it('refuse what is beyond a quota until the day ends', async () => {
    const admissions: Admission[] = [];
    for (let index = 0; index < 6; index++) {
      admissions.push(await admit(undefined, exchangeOf({ target: newTarget() }), keyed('daily'), daily));
    }
    expect(countOk(admissions)).toBe(4);
    expect(faultIn(admissions[5])).toMatchObject({ code: 'quota.exceeded', data: { policy: 'key-day', limit: 4 } });
    expect(faultIn(admissions[5]).retryAfterMilliseconds).toBeLessThanOrEqual(86_400_000);
  });
});

describe('a quota in its object', () => {
  const rule: QuotaRule = { kind: 'quota', limit: 1_000, unit: 'month', timezone: 'UTC' };
  const ask = (key: string, need: number, want = 0): Ask => ({ key, rule, need, want, settle: [] });

  it('counts what was granted after the object is gone, and takes back what it did not know to be granted', async () => {
    const object = env.LIMITER.getByName('limiter-quota-test');
    const [granted] = await object.limit([ask('a', 990)]);
    await evictDurableObject(object);
    expect(await object.limit([ask('a', 11)])).toMatchObject([{ ok: false, remaining: 10 }]);
    await object.limit([{ ...ask('a', 0), settle: [{ id: granted?.id ?? 0, used: [], returned: 990 }] }]);
    expect(await object.limit([ask('a', 11)])).toMatchObject([{ ok: false, remaining: 10 }]);
  });

  it('has what came back before the object was gone', async () => {
    const object = env.LIMITER.getByName('limiter-quota-test');
    const [granted] = await object.limit([ask('b', 1, 50)]);
    expect(granted?.tokens).toBe(11);
    await object.limit([{ ...ask('b', 0), settle: [{ id: granted?.id ?? 0, used: [1, 1], returned: 10 }] }]);
    await evictDurableObject(object);
    expect(await object.limit([ask('b', 0)])).toMatchObject([{ ok: true, remaining: 999 }]);
  });
});

describe('while the limiter object cannot be reached', () => {
  const broken = (limit: () => Promise<Answer[]>): Env =>
    ({ ...gatewayEnv, LIMITER: { getByName: () => ({ limit }) } }) as unknown as Env;
  const failing = broken(() => Promise.reject(new Error('gone')));

  it('an isolate admits a twentieth of the limit, and refuses the rest as unavailable', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    const plan = planOf({ limits: [{ limit: 100, period: '10m', by: 'route' }] });
    const admissions = await admitMany(8, plan, { target: newTarget(), env: failing });
    expect(countOk(admissions)).toBe(5);
    expect(faultIn(admissions[7])).toMatchObject({ code: 'limit.unavailable', retryable: true });
  });

  it('a small limit and a quota admit nobody', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    expect(countOk(await admitMany(3, five, { target: newTarget(), env: failing }))).toBe(0);
    const quota: KeyLimits = { quota: { day: 1_000, timezone: 'UTC' } };
    const call = exchangeOf({ target: newTarget(), env: failing });
    expect(await admit(undefined, call, keyed('broken'), quota)).toMatchObject({ ok: false });
  });

  it('a limit that says so admits all', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    const plan = planOf({ limits: [{ limit: 1, period: '10m', by: 'route', onError: 'allow' }] });
    expect(countOk(await admitMany(3, plan, { target: newTarget(), env: failing }))).toBe(3);
  });

  it('an object that hangs holds up one request and not those after it', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    let calls = 0;
    const hanging = broken(() => {
      calls++;
      return new Promise(() => undefined);
    });
    const target = newTarget();
    const startedAt = Date.now();
    await admitMany(5, five, { target, env: hanging });
    expect(Date.now() - startedAt).toBeLessThan(1_900);
    expect(calls).toBe(1);
  });
});

describe('concurrency', () => {
  const two = planOf({ concurrency: { limit: 2, by: 'route' } });

  it('admits a request when another has ended, and refuses while as many are under way', async () => {
    const target = newTarget();
    const calls = Array.from({ length: 4 }, () => exchangeOf({ target }));
    const [a, b, c, d] = calls;
    if (a === undefined || b === undefined || c === undefined || d === undefined) throw new Error();
    const first = await admit(two, a, undefined);
    expect(await admit(two, b, undefined)).toMatchObject({ ok: true });
    const refused = await admit(two, c, undefined);
    expect(faultIn(refused)).toMatchObject({ code: 'concurrency.exceeded', retryAfterMilliseconds: 1_000 });
    if (first.ok) first.release?.();
    await waitOnExecutionContext(a.ctx);
    expect(await admit(two, d, undefined)).toMatchObject({ ok: true });
    expect(headerOf(first, 'ratelimit-policy')).toBe('"concurrency";q=2;qu="concurrent-requests"');
  });

  it('gives back once what is released twice', async () => {
    const target = newTarget();
    const exchange = exchangeOf({ target });
    const first = await admit(two, exchange, undefined);
    await admit(two, exchangeOf({ target }), undefined);
    if (first.ok) {
      first.release?.();
      first.release?.();
    }
    await waitOnExecutionContext(exchange.ctx);
    expect(countOk(await admitMany(2, two, { target }))).toBe(1);
  });

  it('takes no token of a limit for a request that it refuses', async () => {
    const plan = planOf({
      limits: [{ limit: 3, period: '10m', by: 'route' }],
      concurrency: { limit: 1, by: 'route' },
    });
    const target = newTarget();
    const exchange = exchangeOf({ target });
    const first = await admit(plan, exchange, undefined);
    expect(countOk(await admitMany(5, plan, { target }))).toBe(0);
    if (first.ok) first.release?.();
    await waitOnExecutionContext(exchange.ctx);
    const last = await admit(plan, exchangeOf({ target }), undefined);
    expect(headerOf(last, 'ratelimit')).toMatch(/^"limit";r=1;/);
  });
});
