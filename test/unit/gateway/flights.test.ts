import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Flights } from '../../../src/gateway/cache/flights.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it('those who wait get what was asked for', async () => {
  const flights = new Flights<string>();
  const flight = flights.begin('key');
  const waiting = [flight.wait(), flight.wait()];
  flight.settle({ kind: 'done', value: 'body' });
  expect(await Promise.all(waiting)).toEqual(Array.from({ length: 2 }, () => ({ kind: 'done', value: 'body' })));
  expect([flights.find('key'), vi.getTimerCount()]).toEqual([undefined, 0]);
});

it('one who asks for long is waited for as long as it lives', async () => {
  const flights = new Flights<string>();
  const flight = flights.begin('key');
  const waiting = flights.find('key')?.wait();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(flights.find('key')).toBe(flight);
  flight.settle({ kind: 'alone' });
  expect(await waiting).toEqual({ kind: 'alone' });
});

it('one whose request has ended without a word is given up, and its late word changes nothing', async () => {
  const flights = new Flights<string>();
  // The runtime cancels the timers of a request that is gone.
  vi.spyOn(globalThis, 'setInterval').mockReturnValueOnce(setTimeout(() => undefined, 0));
  const dead = flights.begin('key');
  const waiting = flights.find('key')?.wait();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await waiting).toEqual({ kind: 'lost' });
  const next = flights.begin('key');
  dead.settle({ kind: 'lost' });
  expect(flights.find('key')).toBe(next);
  next.settle({ kind: 'alone' });
});
