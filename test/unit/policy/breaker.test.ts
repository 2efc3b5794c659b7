import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  admit,
  createBreaker,
  settleCall,
  type Breaker,
  type BreakerPolicy,
  type CallOutcome,
  type Pass,
} from '../../../src/core/policy/breaker.ts';

const POLICY: BreakerPolicy = {
  failuresInARow: 3,
  failureShare: 0.5,
  windowCalls: 8,
  windowMilliseconds: 1_000,
  pauseMilliseconds: 100,
  pauseLongestMilliseconds: 1_000,
  retryAfterLongestMilliseconds: 60_000,
};
const CALL_MILLISECONDS = 300;
const NOW = 1_800_000_000_000;
const FAILED: CallOutcome = { kind: 'failed' };
const SUCCEEDED: CallOutcome = { kind: 'succeeded' };
const UNKNOWN: CallOutcome = { kind: 'unknown' };

/** A call that goes through and ends at once. */
function call(breaker: Breaker, outcome: CallOutcome, now = NOW) {
  return settleCall(breaker, passOf(breaker, now), outcome, now);
}

function passOf(breaker: Breaker, now = NOW): Pass {
  const { pass } = admit(breaker, now, CALL_MILLISECONDS);
  if (pass === undefined) throw new Error('the call was not let through');
  return pass;
}

function opened(more: Partial<BreakerPolicy> = {}, last: CallOutcome = FAILED): Breaker {
  const breaker = createBreaker({ ...POLICY, ...more });
  for (let failure = 1; failure < POLICY.failuresInARow; failure++) call(breaker, FAILED);
  expect(call(breaker, last)).toBe('opened');
  return breaker;
}

describe('a closed breaker', () => {
  it('does not open before the last of the failures in a row', () => {
    const breaker = createBreaker({ ...POLICY, windowCalls: 100 });
    for (let turn = 0; turn < 3; turn++) {
      for (const outcome of [FAILED, FAILED, SUCCEEDED]) expect(call(breaker, outcome)).toBeUndefined();
    }
    expect(breaker.state).toBe('closed');
  });

  it('does not count a call that never reached the provider, nor let it end a row of failures', () => {
    const breaker = createBreaker(POLICY);
    for (const outcome of [FAILED, UNKNOWN, FAILED, UNKNOWN]) call(breaker, outcome);
    expect(call(breaker, FAILED)).toBe('opened');
  });

  it('opens on the share of failures where none are in a row', () => {
    const breaker = createBreaker({ ...POLICY, failuresInARow: 100 });
    const told = Array.from({ length: 8 }, (_, n) => call(breaker, n % 2 === 1 ? FAILED : SUCCEEDED));
    expect(told).toEqual([...Array.from({ length: 7 }, () => undefined), 'opened']);
  });

  it('does not count what is older than its window', () => {
    const breaker = createBreaker({ ...POLICY, failuresInARow: 100 });
    for (let n = 0; n < 7; n++) call(breaker, FAILED);
    expect(call(breaker, FAILED, NOW + POLICY.windowMilliseconds)).toBeUndefined();
    expect(breaker.state).toBe('closed');
  });

  it('tells once of an outage that many calls under way report', () => {
    const breaker = createBreaker(POLICY);
    const passes = Array.from({ length: 20 }, () => passOf(breaker));
    const told = passes.map((pass) => settleCall(breaker, pass, FAILED, NOW));
    expect(told.filter((each) => each !== undefined)).toEqual(['opened']);
  });
});

describe('an open breaker', () => {
  it('lets nothing through until its pause is over, then one call', () => {
    const breaker = opened();
    expect(admit(breaker, NOW + 99, CALL_MILLISECONDS)).toEqual({ pass: undefined, until: NOW + 100 });
    expect(passOf(breaker, NOW + 100).probe).toBe(true);
    expect(admit(breaker, NOW + 100, CALL_MILLISECONDS)).toEqual({
      pass: undefined,
      until: NOW + 100 + CALL_MILLISECONDS,
    });
  });

  it.each([40, 5_000])('probes when the provider asked for it, in %d ms', (retryAfterMilliseconds) => {
    const breaker = opened({}, { kind: 'failed', retryAfterMilliseconds });
    expect(admit(breaker, NOW + retryAfterMilliseconds - 1, CALL_MILLISECONDS).pass).toBeUndefined();
    expect(passOf(breaker, NOW + retryAfterMilliseconds).probe).toBe(true);
  });

  it('waits no longer than the longest, whatever the provider asks for, and not for a time of zero', () => {
    const breaker = opened({}, { kind: 'failed', retryAfterMilliseconds: 1e12 });
    expect(breaker.until).toBe(NOW + POLICY.retryAfterLongestMilliseconds);
    expect(opened({}, { kind: 'failed', retryAfterMilliseconds: 0 }).until).toBe(NOW + POLICY.pauseMilliseconds);
  });

  it('is not closed by a call that began before it opened', () => {
    const breaker = createBreaker(POLICY);
    const early = passOf(breaker);
    for (let failure = 0; failure < 3; failure++) call(breaker, FAILED);
    expect(settleCall(breaker, early, SUCCEEDED, NOW + 1)).toBeUndefined();
    expect(breaker.state).toBe('open');
  });
});

describe('a probe', () => {
  it('that succeeds closes it, and failures of before no longer count', () => {
    const breaker = opened();
    expect(call(breaker, SUCCEEDED, NOW + 100)).toBe('closed');
    expect(call(breaker, FAILED, NOW + 100)).toBeUndefined();
    expect(breaker.state).toBe('closed');
  });

  it('that succeeds also empties the window, so that one more failure does not open it again', () => {
    const breaker = createBreaker({ ...POLICY, failuresInARow: 100 });
    for (let n = 0; n < POLICY.windowCalls; n++) call(breaker, FAILED);
    expect(call(breaker, SUCCEEDED, breaker.until)).toBe('closed');
    expect(call(breaker, FAILED, NOW + 101)).toBeUndefined();
  });

  it('that succeeds lets the next outage begin with the first pause again', () => {
    const breaker = opened();
    call(breaker, FAILED, breaker.until);
    const backAt = breaker.until;
    call(breaker, SUCCEEDED, backAt);
    for (let failure = 0; failure < POLICY.failuresInARow; failure++) call(breaker, FAILED, backAt);
    expect(breaker.until).toBe(backAt + POLICY.pauseMilliseconds);
  });

  it('that fails doubles the pause up to the longest, and is not told again', () => {
    const breaker = opened();
    const pauses: number[] = [];
    for (let now = breaker.until; pauses.length < 6; now = breaker.until) {
      expect(call(breaker, FAILED, now)).toBeUndefined();
      pauses.push(breaker.until - now);
    }
    expect(pauses).toEqual([200, 400, 800, 1_000, 1_000, 1_000]);
  });

  it('that never reached the provider leaves its place to the next', () => {
    const breaker = opened();
    call(breaker, UNKNOWN, NOW + 100);
    expect(passOf(breaker, NOW + 100).probe).toBe(true);
  });

  it('that is lost makes room for another, and has no say when it comes back', () => {
    const breaker = opened();
    const lost = passOf(breaker, NOW + 100);
    const next = passOf(breaker, NOW + 100 + CALL_MILLISECONDS);
    expect(settleCall(breaker, lost, SUCCEEDED, NOW + 401)).toBeUndefined();
    expect(settleCall(breaker, next, FAILED, NOW + 402)).toBeUndefined();
    expect(breaker.state).toBe('open');
  });
});

/** What happens next, and how long after what happened last. */
const move = fc.record({
  afterMilliseconds: fc.oneof(fc.nat(30), fc.nat(400), fc.nat(3_000)),
  /** Starts a call, or ends one of those under way. */
  ends: fc.option(fc.nat(1_000), { nil: undefined }),
  outcome: fc.oneof(
    fc.constantFrom(FAILED, FAILED, SUCCEEDED, UNKNOWN),
    fc.record({ kind: fc.constant('failed' as const), retryAfterMilliseconds: fc.nat(90_000) }),
  ),
});
const policies = fc.record({
  failuresInARow: fc.integer({ min: 1, max: 12 }),
  failureShare: fc.double({ min: 0.05, max: 1, noNaN: true }),
  windowCalls: fc.integer({ min: 1, max: 20 }),
  windowMilliseconds: fc.integer({ min: 10, max: 5_000 }),
  pauseMilliseconds: fc.integer({ min: 1, max: 500 }),
  pauseLongestMilliseconds: fc.integer({ min: 500, max: 5_000 }),
  retryAfterLongestMilliseconds: fc.constant(60_000),
});

describe('whatever happens, in whatever order', () => {
  it('at most one probe is out, nothing else passes meanwhile, and outages are told in turn', () => {
    fc.assert(
      fc.property(policies, fc.array(move, { maxLength: 200 }), (policy, moves) => {
        const breaker = createBreaker(policy);
        const underWay: Pass[] = [];
        const told: string[] = [];
        /** The probe that is out, with the instant until which it alone may be. */
        let probe: { readonly pass: Pass; readonly until: number } | undefined;
        let now = NOW;
        for (const { afterMilliseconds, ends, outcome } of moves) {
          now += afterMilliseconds;
          const [ending] = ends === undefined ? [] : underWay.splice(ends % Math.max(1, underWay.length), 1);
          if (ending === undefined) {
            const { state, until } = breaker;
            const admission = admit(breaker, now, CALL_MILLISECONDS);
            if (admission.pass === undefined) {
              expect(admission.until).toBeGreaterThan(now);
              continue;
            }
            underWay.push(admission.pass);
            expect(admission.pass.probe).toBe(state !== 'closed');
            if (!admission.pass.probe) continue;
            expect(now).toBeGreaterThanOrEqual(until);
            if (probe !== undefined) expect(now).toBeGreaterThanOrEqual(probe.until);
            probe = { pass: admission.pass, until: now + CALL_MILLISECONDS };
            continue;
          }
          const { state, epoch } = breaker;
          const news = settleCall(breaker, ending, outcome, now);
          if (ending.epoch !== epoch) expect([breaker.state, breaker.epoch, news]).toEqual([state, epoch, undefined]);
          if (probe?.pass === ending) probe = undefined;
          if (news !== undefined) told.push(news);
          if (news === 'opened') expect([state, outcome.kind]).toEqual(['closed', 'failed']);
          if (news === 'closed') expect([state, outcome.kind]).toEqual(['half-open', 'succeeded']);
        }
        expect(told).toEqual(told.map((_, index) => (index % 2 === 0 ? 'opened' : 'closed')));
      }),
    );
  });

  it('it lets a call through again, at the latest when it said so, and a success then closes it', () => {
    fc.assert(
      fc.property(policies, fc.array(move, { maxLength: 60 }), (policy, moves) => {
        const breaker = createBreaker(policy);
        let now = NOW;
        for (const { afterMilliseconds, ends, outcome } of moves) {
          now += afterMilliseconds;
          const { pass } = admit(breaker, now, CALL_MILLISECONDS);
          if (pass !== undefined && ends !== undefined) settleCall(breaker, pass, outcome, now);
        }
        const asked = admit(breaker, now, CALL_MILLISECONDS);
        if (asked.pass === undefined) {
          const longest = Math.max(policy.pauseLongestMilliseconds, policy.retryAfterLongestMilliseconds);
          expect(asked.until - now).toBeLessThanOrEqual(longest);
          now = asked.until;
        } else if (asked.pass.probe) now = breaker.until;
        call(breaker, SUCCEEDED, now);
        expect(breaker.state).toBe('closed');
      }),
    );
  });

  it('it opens exactly when a count over all calls says so', () => {
    fc.assert(
      fc.property(
        policies,
        fc.array(fc.record({ afterMilliseconds: fc.nat(300), failed: fc.boolean() }), { maxLength: 100 }),
        (policy, calls) => {
          const breaker = createBreaker(policy);
          const past: { readonly at: number; readonly failed: boolean }[] = [];
          let now = NOW;
          for (const { afterMilliseconds, failed } of calls) {
            now += afterMilliseconds;
            past.push({ at: now, failed });
            const slice = (at: number): number => Math.floor((at * 10) / policy.windowMilliseconds);
            const recent = past.filter(({ at }) => slice(at) > slice(now) - 10);
            const failures = recent.filter((each) => each.failed).length;
            const row = past.length - 1 - past.findLastIndex((each) => !each.failed);
            const byShare = recent.length >= policy.windowCalls && failures >= policy.failureShare * recent.length;
            const opens = failed && (row >= policy.failuresInARow || byShare);
            expect(call(breaker, failed ? FAILED : SUCCEEDED, now)).toBe(opens ? 'opened' : undefined);
            if (opens) return;
          }
        },
      ),
    );
  });
});
