/** When an isolate asks for more tokens: with the reports that leave anyway, unless these would come too late. */

import { expect, test } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { DENIED, Lease, UNKNOWN } from '../../../src/core/policy/lease.ts';

const RULE = { kind: 'window', limit: 1_000, periodMilliseconds: 10_000 } as const;
const TICK = LIMITS.limiterReportMilliseconds;

const START = 1_000_000;

/** A lease with so many tokens in store. */
function leaseWith(tokens: number): Lease {
  const lease = new Lease('key', RULE);
  lease.ask(START, 0);
  lease.learn(
    { ok: true, id: 1, tokens, lifeMilliseconds: 10_000, remaining: 0, resetMilliseconds: 0 },
    START,
    START,
    0,
  );
  return lease;
}

function spend(lease: Lease, now: number): void {
  const grant = lease.take(now, 1);
  if (grant === DENIED || grant === UNKNOWN) throw new Error(`no token, but ${grant}`);
  lease.spend(grant, now, 1);
}

test('a store that is spent slowly is filled with the reports', () => {
  const lease = leaseWith(4);
  for (const now of [START + 2_000, START + 4_000]) {
    expect(lease.isLow(now)).toBe(false);
    spend(lease, now);
    expect(lease.isUrgent(now)).toBe(false);
  }
  const now = START + 4_000;
  expect(lease.isLow(now)).toBe(true);
  expect(lease.renewal(now)).toMatchObject({ need: 0, want: 4, settle: [{ used: [2_000, 1, 0, 1] }] });
  spend(lease, now + 1);
  expect(lease.isLow(now + 1)).toBe(false);
  expect(lease.isLow(now + LIMITS.limiterAnswerMilliseconds)).toBe(true);
});

test('a store that may be empty before the next reports is filled at once', () => {
  const lease = leaseWith(50);
  for (let count = 1; count <= 24; count++) spend(lease, START + count);
  expect(lease.isUrgent(START + 24)).toBe(false);
  spend(lease, START + 25);
  expect(lease.isUrgent(START + 25)).toBe(true);
  expect(lease.renewal(START + 25)).toMatchObject({ need: 0, want: 50 });
  expect([lease.isUrgent(START + 26), lease.isLow(START + 26)]).toEqual([false, false]);
});

test('the same store, spent over ten reports, can wait for the next', () => {
  const lease = leaseWith(50);
  for (let count = 1; count <= 25; count++) spend(lease, START + count * TICK);
  expect([lease.isLow(START + 25 * TICK), lease.isUrgent(START + 25 * TICK)]).toEqual([true, false]);
});

test('who is gone is asked for no more, though the lease ends', () => {
  const lease = leaseWith(5);
  spend(lease, START + 1);
  expect(lease.isLow(START + 20_000)).toBe(false);
});
