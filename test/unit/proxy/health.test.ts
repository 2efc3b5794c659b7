import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createTargetRecord,
  isEjected,
  recordCall,
  type EjectionPolicy,
  type TargetRecord,
} from '../../../src/core/proxy/ejection.ts';
import { createVerdict, judge } from '../../../src/core/proxy/health.ts';
import { addLatency, createLatency, latencyAt } from '../../../src/core/proxy/latency.ts';

const POLICY: EjectionPolicy = {
  failuresInARow: 3,
  failureShare: 0.5,
  windowCalls: 10,
  windowMilliseconds: 1_000,
  baseMilliseconds: 500,
  longestMilliseconds: 1_200,
  largestShare: 0.5,
};
const targets = (count: number): TargetRecord[] => Array.from({ length: count }, createTargetRecord);

function failUntilEjected(records: readonly TargetRecord[], index: number, now: number): void {
  for (let call = 0; call < POLICY.failuresInARow; call++) recordCall(POLICY, records, index, true, now);
}

describe('the ejection of a target', () => {
  it('does not come before the failures in a row are complete, and a success begins them anew', () => {
    const records = targets(2);
    for (const failed of [true, true, false, true, true]) expect(recordCall(POLICY, records, 0, failed, 1)).toBe(false);
    expect(recordCall(POLICY, records, 0, true, 1)).toBe(true);
    expect(isEjected(records[0] ?? createTargetRecord(), 500)).toBe(true);
    expect(isEjected(records[0] ?? createTargetRecord(), 501)).toBe(false);
  });

  it('comes for a share of failures too, but not before the window holds enough calls', () => {
    const records = targets(2);
    const calls = [true, false, true, false, true, false, true, false, true];
    for (const failed of calls) expect(recordCall(POLICY, records, 0, failed, 1)).toBe(false);
    expect(recordCall(POLICY, records, 0, true, 1)).toBe(true);
  });

  it('forgets the share with the window', () => {
    const records = targets(2);
    for (const failed of [true, false, true, false, true, false, true, false, true]) {
      recordCall(POLICY, records, 0, failed, 1);
    }
    expect(recordCall(POLICY, records, 0, true, 1_001)).toBe(false);
  });

  it('takes longer each time, up to the longest, and shorter again after a good while', () => {
    const records = targets(2);
    const [record = createTargetRecord()] = records;
    let now = 0;
    const lengths = [1, 2, 3, 4].map(() => {
      failUntilEjected(records, 0, now);
      const length = record.ejectedUntil - now;
      now = record.ejectedUntil;
      return length;
    });
    expect(lengths).toEqual([500, 1_000, 1_200, 1_200]);
    for (let window = 1; window <= 4; window++) recordCall(POLICY, records, 0, false, now + window * 1_000);
    now += 5_000;
    failUntilEjected(records, 0, now);
    expect(record.ejectedUntil - now).toBe(500);
  });

  it('never takes out more than the part that may be, but always one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.array(fc.record({ index: fc.nat(5), failed: fc.boolean(), wait: fc.nat(300) }), { maxLength: 300 }),
        (count, calls) => {
          const records = targets(count);
          let now = 0;
          for (const { index, failed, wait } of calls) {
            now += wait;
            recordCall(POLICY, records, index % count, failed, now);
            const out = records.filter((record) => isEjected(record, now)).length;
            expect(out).toBeLessThanOrEqual(Math.max(1, Math.floor(count * POLICY.largestShare)));
          }
        },
      ),
    );
  });

  it('is not made longer by what was under way', () => {
    const records = targets(2);
    failUntilEjected(records, 0, 1);
    const until = records[0]?.ejectedUntil;
    failUntilEjected(records, 0, 2);
    expect(records[0]?.ejectedUntil).toBe(until);
  });
});

describe('the verdict of active checks', () => {
  const thresholds = { healthy: 2, unhealthy: 3 };

  it('changes only after so many results in a row that speak against it', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 100 }), (results) => {
        const verdict = createVerdict();
        let row: boolean[] = [];
        for (const passed of results) {
          const before = verdict.healthy;
          row = row.at(-1) === passed ? [...row, passed] : [passed];
          judge(verdict, passed, thresholds);
          const needed = before ? thresholds.unhealthy : thresholds.healthy;
          expect(verdict.healthy).toBe(passed !== before && row.length >= needed ? passed : before);
          if (verdict.healthy !== before) row = [];
        }
      }),
    );
  });
});

describe('the latency of a target', () => {
  it('takes a slow answer at once and a fast one slowly', () => {
    const latency = createLatency();
    addLatency(latency, 10, 1_000);
    addLatency(latency, 500, 1_100);
    expect(latencyAt(latency, 1_100)).toBe(500);
    addLatency(latency, 10, 1_200);
    expect(latencyAt(latency, 1_200)).toBeGreaterThan(400);
  });

  it('is forgotten with time, so that a target that was slow is tried again', () => {
    const latency = createLatency();
    addLatency(latency, 500, 1_000);
    expect(latencyAt(latency, 61_000)).toBeLessThan(5);
  });
});
