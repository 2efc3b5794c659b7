import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { admit, createBreaker, settleCall, type Pass } from '../../../src/core/policy/breaker.ts';
import { createBudget, isRepeatable, noteRequest, takeRetry } from '../../../src/core/proxy/retries.ts';
import { traceOf, traceparentOf } from '../../../src/core/proxy/trace.ts';

describe('a request', () => {
  const plan = { attempts: 2, on: new Set(['connect'] as const), keyed: false };

  it.each(['POST', 'PATCH', 'PROPFIND', 'get', 'CONNECT'])('of %s is not sent twice, also with a key', (method) => {
    expect(isRepeatable(plan, method, () => true)).toBe(false);
  });

  it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])('of %s may be sent twice', (method) => {
    expect(isRepeatable(plan, method, () => false)).toBe(true);
  });

  it('of POST may be sent twice only where the owner said so and it has a key', () => {
    expect(isRepeatable({ ...plan, keyed: true }, 'POST', () => false)).toBe(false);
    expect(isRepeatable({ ...plan, keyed: true }, 'POST', () => true)).toBe(true);
  });
});

describe('the budget of retries', () => {
  it('never gives more than its part of the requests, what time adds and what was saved up', () => {
    const policy = { share: 0.2, perSecond: 1, largest: 10 };
    fc.assert(
      fc.property(fc.array(fc.record({ wait: fc.nat(500), retries: fc.nat(4) }), { maxLength: 400 }), (requests) => {
        const budget = createBudget(policy, 0);
        let now = 0;
        let taken = 0;
        requests.forEach(({ wait, retries }, index) => {
          now += wait;
          noteRequest(budget, policy, now);
          for (let retry = 0; retry < retries; retry++) if (takeRetry(budget)) taken++;
          expect(taken).toBeLessThanOrEqual(policy.largest + 0.2 * (index + 1) + now / 1000 + 1e-6);
        });
      }),
    );
  });

  it('is not refilled by a clock that is set back', () => {
    const policy = { share: 0, perSecond: 1, largest: 1 };
    const budget = createBudget(policy, 10_000);
    expect(takeRetry(budget)).toBe(true);
    noteRequest(budget, policy, 5_000);
    expect(takeRetry(budget)).toBe(false);
  });
});

describe('the breaker of a pool', () => {
  it('never has two probes under way, whatever comes of calls and in which order', () => {
    const policy = {
      failuresInARow: 2,
      failureShare: 1,
      windowCalls: 100,
      windowMilliseconds: 10_000,
      pauseMilliseconds: 100,
      pauseLongestMilliseconds: 1_000,
      retryAfterLongestMilliseconds: 1_000,
    };
    const step = fc.record({ wait: fc.nat(150), settle: fc.boolean(), pick: fc.nat(), failed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const breaker = createBreaker(policy);
        const underWay: Pass[] = [];
        let now = 0;
        for (const { wait, settle, pick, failed } of steps) {
          now += wait;
          if (settle && underWay.length > 0) {
            const [pass] = underWay.splice(pick % underWay.length, 1);
            if (pass !== undefined) settleCall(breaker, pass, { kind: failed ? 'failed' : 'succeeded' }, now);
          } else {
            // A call that takes longer than this test is never given up for lost.
            const { pass } = admit(breaker, now, 1_000_000);
            if (pass !== undefined) underWay.push(pass);
          }
          expect(underWay.filter(({ probe, epoch }) => probe && epoch === breaker.epoch).length).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe('a trace', () => {
  const random = (): string => 'a'.repeat(32);
  const parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00';

  it('goes on with a span of its own, and keeps whether it is sampled', () => {
    expect(traceparentOf(traceOf(parent, random))).toBe(`00-4bf92f3577b34da6a3ce929d0e0e4736-${'a'.repeat(16)}-00`);
    expect(traceOf(parent, random).parentId).toBe('00f067aa0ba902b7');
  });

  it('of a later version is read as far as it is known', () => {
    expect(traceOf(`cc${parent.slice(2, -2)}01-more`, random)).toMatchObject({
      sampled: true,
      parentId: '00f067aa0ba902b7',
    });
  });

  it.each([
    null,
    '',
    'x',
    parent.toUpperCase(),
    `ff${parent.slice(2)}`,
    `${parent}-more`,
    `${parent} `,
    parent.replace('4bf92f3577b34da6a3ce929d0e0e4736', '0'.repeat(32)),
    parent.replace('00f067aa0ba902b7', '0'.repeat(16)),
    parent.slice(0, -1),
  ])('is begun where the caller sent %j', (header) => {
    expect(traceOf(header, random)).toMatchObject({ traceId: random(), parentId: undefined });
  });
});
