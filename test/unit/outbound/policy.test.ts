import { describe, expect, it } from 'vitest';
import { afterFailure, HEALTHY, type Health } from '../../../src/core/outbound/health.ts';
import { retryWait } from '../../../src/core/outbound/schedule.ts';
import { compileSelection } from '../../../src/core/outbound/selection.ts';
import { intervalOf, opensAt, pass } from '../../../src/core/outbound/throttle.ts';

const HOUR = 3_600_000;

describe('the retry schedule', () => {
  it('has seven waits after the first attempt, never shorter than it says and at most a tenth longer', () => {
    const seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
    expect(seconds.map((_, index) => retryWait(index + 1, 0))).toEqual(seconds.map((wait) => wait * 1_000));
    for (const [index, wait] of seconds.entries()) {
      expect(retryWait(index + 1, 0.999_999)).toBeLessThanOrEqual(wait * 1_100);
    }
    expect(retryWait(8, 0)).toBeUndefined();
  });

  it('is lengthened by what the endpoint asks for, up to a day, and never shortened', () => {
    expect(retryWait(1, 0, 60_000)).toBe(60_000);
    expect(retryWait(2, 0, 1_000)).toBe(300_000);
    expect(retryWait(1, 0, 90 * 24 * HOUR)).toBe(24 * HOUR);
    expect(retryWait(8, 0, 60_000)).toBeUndefined();
  });
});

describe('an endpoint that fails', () => {
  /** Warnings by the hour at which they come, with a failure each so many hours. */
  function warnings(everyHours: number, hours: number): [number, number][] {
    let health: Health = HEALTHY;
    const given: [number, number][] = [];
    for (let hour = 0; hour <= hours; hour += everyHours) {
      const judged = afterFailure(health, 1_000 + hour * HOUR);
      health = judged.health;
      if (judged.percent !== undefined) given.push([hour, judged.percent]);
    }
    return given;
  }

  it('is warned of at 50, 70, 90 and 100 % of five days, once each', () => {
    expect(warnings(1, 130)).toEqual([
      [60, 50],
      [84, 70],
      [108, 90],
      [120, 100],
    ]);
  });

  it('is never disabled without a warning, however rare its failures are', () => {
    for (let every = 1; every <= 36; every++) {
      const given = warnings(every, 300);
      expect(given.length).toBeGreaterThan(1);
      expect(given.at(-1)?.[1]).toBe(100);
    }
    expect(warnings(37, 3_700)).toEqual([]);
  });
});

describe('a throttle', () => {
  it('lets a burst through after a rest, then one each interval', () => {
    const rate = { limit: 4, periodSeconds: 2, burst: 3 };
    expect(intervalOf(rate)).toBe(500);
    let arrival = 0;
    const starts: number[] = [];
    for (let n = 0; n < 6; n++) {
      const now = Math.max(10_000, opensAt(rate, arrival));
      starts.push(now - 10_000);
      arrival = pass(rate, arrival, now);
    }
    expect(starts).toEqual([0, 0, 0, 500, 1_000, 1_500]);
  });
});

describe('a selection', () => {
  const message = {
    id: 'm',
    eventType: 'a.b',
    payload: { n: 1 },
    channels: ['x'],
    createdAt: '2026-01-01T00:00:00.000Z',
  };
  const nothing = { eventTypes: null, channels: null, filter: null, transformation: null };
  const wants = async (settings: Partial<Parameters<typeof compileSelection>[0]>): Promise<boolean> => {
    const compiled = compileSelection({ ...nothing, ...settings });
    return compiled.ok && compiled.value.wants(message);
  };

  it.each([
    [true, {}],
    [true, { eventTypes: ['a.b', 'c.d'] }],
    [false, { eventTypes: ['c.d'] }],
    [true, { channels: ['x', 'y'] }],
    [false, { channels: ['y'] }],
    [true, { filter: '{{ payload.n = 1 and eventType = "a.b" }}' }],
    [false, { filter: '{{ payload.n > 1 }}' }],
    [false, { filter: '{{ payload.absent }}' }],
    [false, { filter: '{{ [] }}' }],
    [false, { eventTypes: ['a.b'], filter: '{{ false }}' }],
  ])('says %s for %j', async (expected, settings) => {
    expect(await wants(settings)).toBe(expected);
  });

  it('that fails loses no message', async () => {
    expect(await wants({ filter: '{{ $number("x") > 1 }}' })).toBe(true);
  });

  it('is refused with the field where an expression cannot be read', () => {
    const refused = compileSelection({ ...nothing, filter: '{{ ( }} {{ 1 }}', transformation: { deep: ['{{ ) }}'] } });
    expect(refused.ok ? [] : refused.fault.issues?.map(({ path }) => path)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^filter/), expect.stringMatching(/^transformation/)]),
    );
  });
});
