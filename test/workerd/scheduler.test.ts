/// <reference types="@cloudflare/vitest-plugin/types" />

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RunRequest } from '../../src/runtime/accept.ts';
import type { ScheduleEntry, ScheduleState, SchedulerObject } from '../../src/runtime/scheduler.ts';
import { LIMITS } from '../../src/core/limits.ts';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly SCHEDULER: DurableObjectNamespace<SchedulerObject>;
    }
  }
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Far in the future, so that the platform's own clock never fires an alarm of a test. */
const NOON = Date.parse('2126-05-05T12:00:00Z');

const nightly: ScheduleEntry = {
  chain: 'export',
  version: 1,
  trigger: 'nightly',
  cron: '0 3 * * *',
  timezone: 'UTC',
  missed: 'skip',
};
const hourly: ScheduleEntry = { ...nightly, trigger: 'hourly', cron: '0 * * * *' };
const minutely: ScheduleEntry = { ...nightly, trigger: 'minutely', cron: '* * * * *', missed: 'all' };

/** A scheduler whose clock the test moves, and whose runs the test receives. */
class Bench {
  readonly stub: DurableObjectStub<SchedulerObject>;
  now = NOON;
  /** Runs as run objects see them: a duplicate starts nothing. */
  readonly runs = new Map<string, RunRequest>();
  readonly calls: (readonly RunRequest[])[] = [];
  accept: (requests: readonly RunRequest[]) => void | Promise<void> = () => {};

  constructor(name: string) {
    this.stub = env.SCHEDULER.getByName(name);
  }

  async inside<T>(call: (scheduler: SchedulerObject, state: DurableObjectState) => Promise<T> | T): Promise<T> {
    return runInDurableObject(this.stub, (scheduler: SchedulerObject, state) => {
      Object.defineProperty(scheduler, 'now', { configurable: true, value: () => this.now });
      Object.defineProperty(scheduler, 'start', { configurable: true, value: this.#start });
      return call(scheduler, state);
    });
  }

  readonly #start = async (_shardKey: string, requests: readonly RunRequest[]): Promise<void> => {
    this.calls.push(requests);
    await this.accept(requests);
    for (const request of requests) {
      if (!this.runs.has(request.dedupeKey ?? '')) this.runs.set(request.dedupeKey ?? '', request);
    }
  };

  reconcile(...schedules: ScheduleEntry[]): Promise<void> {
    return this.inside((scheduler) => scheduler.reconcile(schedules));
  }

  sweepAt(now: number): Promise<void> {
    this.now = now;
    return this.inside((scheduler) => scheduler.sweep());
  }

  /** Lets the alarm fire at an instant; false where none is set. */
  async alarmAt(now: number): Promise<boolean> {
    this.now = now;
    await this.inside(() => undefined);
    return runDurableObjectAlarm(this.stub);
  }

  alarm(): Promise<number | null> {
    return this.inside((_, state) => state.storage.getAlarm());
  }

  list(): Promise<ScheduleState[]> {
    return this.inside((scheduler) => scheduler.list());
  }

  /** The instants of all runs that were started, in order. */
  get fired(): string[] {
    return [...this.runs.values()].map(({ event }) => JSON.stringify(event.body).slice(16, 32));
  }
}

let count = 0;
let bench: Bench;
beforeEach(() => {
  bench = new Bench(`scheduler-test-${count++}`);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('reconciling', () => {
  it('sets one alarm, for the earliest of all schedules', async () => {
    await bench.reconcile(nightly, hourly);
    expect(await bench.alarm()).toBe(NOON + HOUR);
    expect((await bench.list()).map(({ trigger, nextAt }) => [trigger, nextAt])).toEqual([
      ['hourly', NOON + HOUR],
      ['nightly', NOON + 15 * HOUR],
    ]);
  });

  it('does not move the next tick of a schedule that is unchanged, not even one that is overdue', async () => {
    await bench.reconcile(hourly);
    bench.now += 5 * HOUR;
    await bench.reconcile(hourly, nightly);
    await bench.reconcile({ ...hourly, version: 2, missed: 'latest' }, nightly);
    expect(await bench.list()).toMatchObject([{ version: 2, missed: 'latest', nextAt: NOON + HOUR }, {}]);
  });

  it('begins anew where cron or time zone changed, without firing what the old one missed', async () => {
    await bench.reconcile(hourly);
    bench.now += 5 * HOUR;
    await bench.reconcile({ ...hourly, timezone: 'Asia/Kathmandu' });
    expect(await bench.list()).toMatchObject([{ nextAt: NOON + 5 * HOUR + 15 * MINUTE }]);
    await bench.sweepAt(bench.now);
    expect(bench.fired).toEqual([]);
  });

  it('deletes what is gone, and the alarm with the last of them', async () => {
    await bench.reconcile(nightly, hourly);
    await bench.reconcile(nightly);
    expect(await bench.alarm()).toBe(NOON + 15 * HOUR);
    await bench.reconcile();
    expect(await bench.list()).toEqual([]);
    expect(await bench.alarm()).toBeNull();
  });

  it('keeps triggers of the same name in two chains apart', async () => {
    await bench.reconcile(nightly, { ...nightly, chain: 'import', cron: '0 4 * * *' });
    expect((await bench.list()).map(({ nextAt }) => nextAt)).toEqual([NOON + 15 * HOUR, NOON + 16 * HOUR]);
  });

  it('is not stopped by a cron that cannot be read', async () => {
    const log = vi.spyOn(console, 'error').mockReturnValue();
    await bench.reconcile({ ...nightly, cron: 'soon' }, hourly);
    expect(await bench.list()).toMatchObject([{ trigger: 'hourly', nextAt: NOON + HOUR }, { nextAt: null }]);
    expect(log).toHaveBeenCalledOnce();
  });
});

describe('the alarm', () => {
  it('fires the tick as a run of the version that is current, and moves on', async () => {
    await bench.reconcile({ ...hourly, version: 7 });
    expect(await bench.alarmAt(NOON + HOUR + 4)).toBe(true);
    expect([...bench.runs]).toEqual([
      [
        `schedule:export:hourly:${NOON + HOUR}`,
        {
          chain: 'export',
          version: 7,
          trigger: 'hourly',
          dedupeKey: `schedule:export:hourly:${NOON + HOUR}`,
          event: {
            type: 'schedule',
            receivedAt: NOON + HOUR + 4,
            body: { scheduledAt: '2126-05-05T13:00:00.000Z' },
            params: {},
            query: {},
            headers: {},
          },
        },
      ],
    ]);
    expect(await bench.list()).toMatchObject([{ nextAt: NOON + 2 * HOUR, lastAt: NOON + HOUR }]);
    expect(await bench.alarm()).toBe(NOON + 2 * HOUR);
  });

  it('that comes twice or too early starts nothing', async () => {
    await bench.reconcile(hourly);
    await bench.alarmAt(NOON + HOUR - 1);
    expect(bench.calls).toEqual([]);
    await bench.alarmAt(NOON + HOUR);
    await bench.sweepAt(NOON + HOUR);
    expect(bench.calls).toHaveLength(1);
  });

  it('that coincides with a sweep shares its turn', async () => {
    await bench.reconcile(hourly);
    bench.now = NOON + HOUR;
    await bench.inside((scheduler) => Promise.all([scheduler.alarm(), scheduler.sweep(), scheduler.alarm()]));
    expect(bench.calls).toHaveLength(1);
  });

  it('survives the eviction of the object', async () => {
    await bench.reconcile(hourly);
    await evictDurableObject(bench.stub);
    await bench.alarmAt(NOON + HOUR);
    expect(bench.fired).toEqual(['2126-05-05T13:00']);
  });

  it('that the platform lost is set again by the sweep', async () => {
    await bench.reconcile(hourly);
    await bench.inside((_, state) => state.storage.deleteAlarm());
    await bench.sweepAt(NOON + MINUTE);
    expect(await bench.alarm()).toBe(NOON + HOUR);
  });

  it('is never set to the present inside its own handler, where it would be lost', async () => {
    await bench.reconcile(minutely);
    bench.accept = () => {
      throw new Error('run object away');
    };
    vi.spyOn(console, 'error').mockReturnValue();
    await bench.alarmAt(NOON + MINUTE);
    expect(await bench.alarm()).toBeGreaterThan(bench.now);
  });
});

describe('a failure', () => {
  it('between acceptance and the update of the row starts no second run', async () => {
    await bench.reconcile(hourly);
    bench.now = NOON + HOUR;
    await bench.inside(async (scheduler, state) => {
      await scheduler.sweep();
      // What a crash leaves behind: the run is accepted, the row as it was.
      state.storage.sql.exec('UPDATE schedules SET nextAt = ?1, wakeAt = ?1, lastAt = NULL', NOON + HOUR);
    });
    await bench.sweepAt(NOON + HOUR + 1_000);
    expect(bench.calls).toHaveLength(2);
    expect(bench.runs.size).toBe(1);
  });

  it('of one schedule holds up no other', async () => {
    const log = vi.spyOn(console, 'error').mockReturnValue();
    bench.accept = ([request]) => {
      if (request?.trigger === 'broken') throw new Error('chain not found');
    };
    await bench.reconcile({ ...hourly, trigger: 'broken' }, hourly);
    await bench.alarmAt(NOON + HOUR);
    expect(bench.fired).toEqual(['2126-05-05T13:00']);
    expect(await bench.list()).toMatchObject([{ nextAt: NOON + HOUR, failures: 1 }, { failures: 0 }]);
    expect(log).toHaveBeenCalledOnce();
  });

  it('is retried after 2, 4, 8 … seconds, and its tick is not lost', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    bench.accept = () => Promise.reject(new Error('run object away'));
    await bench.reconcile(hourly);
    const waits: number[] = [];
    bench.now = NOON + HOUR;
    for (let failure = 0; failure < 5; failure++) {
      await bench.alarmAt(bench.now);
      const alarm = (await bench.alarm()) ?? 0;
      waits.push(alarm - bench.now);
      bench.now = alarm;
    }
    expect(waits).toEqual([2_000, 4_000, 8_000, 16_000, 32_000]);
    bench.accept = () => {};
    await bench.alarmAt(bench.now);
    expect(bench.fired).toEqual(['2126-05-05T13:00']);
    expect(await bench.list()).toMatchObject([{ failures: 0, nextAt: NOON + 2 * HOUR }]);
  });

  it('does not bring back a schedule that was changed or deleted meanwhile', async () => {
    await bench.reconcile(hourly, nightly);
    bench.now = NOON + HOUR;
    await bench.inside(async (scheduler) => {
      bench.accept = () => scheduler.reconcile([{ ...hourly, cron: '30 * * * *' }]);
      await scheduler.sweep();
    });
    expect(await bench.list()).toMatchObject([{ cron: '30 * * * *', nextAt: NOON + HOUR + 30 * MINUTE, lastAt: null }]);
  });
});

describe('after an outage', () => {
  const back = NOON + 30 * HOUR;

  it('missed ticks are skipped, made up for by the newest, or all fired, as each schedule says', async () => {
    await bench.reconcile(
      { ...hourly, trigger: 'skip', missed: 'skip' },
      { ...hourly, trigger: 'latest', missed: 'latest' },
      { ...hourly, trigger: 'all', missed: 'all' },
    );
    await bench.sweepAt(back + 10 * MINUTE);
    const triggers = [...bench.runs.values()].map(({ trigger }) => trigger);
    expect(Object.groupBy(triggers, (trigger) => trigger)).toEqual({ latest: ['latest'], all: Array(30).fill('all') });
    expect((await bench.list()).map(({ nextAt }) => nextAt)).toEqual(Array(3).fill(back + HOUR));
  });

  it('a thousand missed ticks come in turns, in order, each once', async () => {
    await bench.reconcile(minutely);
    bench.now = NOON + 1_000 * MINUTE;
    for (let turn = 0; turn < 10; turn++) {
      await bench.alarmAt(bench.now);
      bench.now = (await bench.alarm()) ?? 0;
    }
    expect(bench.calls.map(({ length }) => length)).toEqual(Array(10).fill(LIMITS.ticksPerSchedule));
    expect([...bench.runs.keys()]).toEqual(
      Array.from({ length: 1_000 }, (_, index) => `schedule:export:minutely:${NOON + (index + 1) * MINUTE}`),
    );
  });

  it('thousands of overdue schedules are spread over turns, and one that is on time goes first', async () => {
    const overdue = Array.from({ length: 2_500 }, (_, index): ScheduleEntry => ({
      ...hourly,
      trigger: `t${index}`,
      missed: 'latest',
    }));
    await bench.reconcile(...overdue, { ...nightly, cron: '10 18 6 5 *' });
    bench.now = back + 10 * MINUTE;
    const sizes: number[] = [];
    for (let before = 0; bench.calls.length < 2_501; before = bench.calls.length) {
      await bench.alarmAt(bench.now);
      sizes.push(bench.calls.length - before);
      if (sizes.length === 1) expect(bench.calls[0]?.[0]?.trigger).toBe('nightly');
      bench.now = (await bench.alarm()) ?? 0;
    }
    expect(sizes).toEqual([1_000, 1_000, 501]);
    expect(bench.runs.size).toBe(2_501);
  });

  it('a schedule with endless arrears does not starve the others', async () => {
    await bench.reconcile(minutely, { ...hourly, missed: 'latest' });
    bench.now = NOON + 30 * 24 * HOUR + 10 * MINUTE;
    await bench.alarmAt(bench.now);
    expect(bench.calls.map((requests) => String(requests[0]?.trigger)).toSorted()).toEqual(['hourly', 'minutely']);
    expect(await bench.alarm()).toBeLessThanOrEqual(bench.now + 1_000);
  });
});

it('a clock that jumps five minutes to and fro neither drops nor doubles a tick', async () => {
  await bench.reconcile(minutely);
  const skews = [0, 5, -5, 3, -3, 0, 4, -4, 0, 0, 5, 0, -5, 0];
  for (const [index, skew] of skews.entries()) await bench.sweepAt(NOON + (index + 1 + skew) * MINUTE);
  await bench.sweepAt(NOON + 20 * MINUTE);
  expect(bench.calls.flat()).toHaveLength(20);
  expect([...bench.runs.keys()].map((key) => Number(key.split(':')[3]))).toEqual(
    Array.from({ length: 20 }, (_, index) => NOON + (index + 1) * MINUTE),
  );
});
