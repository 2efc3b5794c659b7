import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Permits } from '../../../src/gateway/limits/permits.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import type { Ask } from '../../../src/core/policy/limiter.ts';
import { PermitCounter } from '../../../src/core/policy/permits.ts';
import type { Exchange } from '../../../src/gateway/exchange.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const rule = { kind: 'permits', limit: 1 } as const;

/** An isolate and its limiter object. */
function world() {
  let id = 0;
  const counter = new PermitCounter(rule);
  const limit = (asks: readonly Ask[]) =>
    Promise.resolve(
      asks.map(({ need, want, settle }) => {
        for (const settlement of settle) counter.settle(Date.now(), settlement);
        return counter.ask(Date.now(), need, want, () => ++id);
      }),
    );
  const kept: Promise<unknown>[] = [];
  const place = {
    env: { LIMITER: { getByName: () => ({ limit }) } },
    ctx: { waitUntil: (promise: Promise<unknown>) => void kept.push(promise) },
  } as unknown as Pick<Exchange, 'env' | 'ctx'>;
  const permits = new Permits('key', rule);
  const hold = () => {
    const grant = permits.learn(
      counter.ask(Date.now(), 1, 0, () => ++id),
      Date.now(),
    );
    if (grant === undefined) throw new Error('refused');
    return permits.hold(grant, place);
  };
  const isFree = () => counter.isIdle(Date.now());
  return { hold, isFree, kept };
}

it('a request of many minutes holds its permit, without any other request', async () => {
  const { hold, isFree, kept } = world();
  const release = hold();
  for (let minute = 0; minute < 5; minute++) {
    await vi.advanceTimersByTimeAsync(60_000);
    expect(isFree()).toBe(false);
  }
  release();
  await Promise.all(kept);
  expect(isFree()).toBe(true);
});

it('a permit whose isolate is gone is free when it has been silent for long enough', () => {
  const { hold, isFree } = world();
  hold();
  vi.setSystemTime(Date.now() + LIMITS.limiterPermitMilliseconds - 1);
  expect(isFree()).toBe(false);
  vi.setSystemTime(Date.now() + 1);
  expect(isFree()).toBe(true);
});

it('a released permit leaves no timer behind', async () => {
  const { hold, kept } = world();
  hold()();
  await Promise.all(kept);
  expect(vi.getTimerCount()).toBe(0);
});
