import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { drive, planOf, statuses } from './support.ts';
import type { StepEvent } from '../../../src/core/engine/journal.ts';
import { recordOf } from '../../../src/core/engine/view.ts';
import { fault, ok } from '../../../src/core/errors.ts';
import { stop } from '../../../src/runtime/drive.ts';
import { deliver } from '../../../src/runtime/waits.ts';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

const pass = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const waiting = (params: Record<string, unknown>, more: Record<string, unknown> = {}) =>
  planOf(
    { pause: { use: 'flow.wait', with: params, ...more }, next: { use: 'act.keyed', after: ['pause'] } },
    { mode: 'durable' },
  );
const arrived = { kind: 'succeeded', success: { output: { data: 'here' } } } as const;

describe('flow.wait', () => {
  it('for a duration goes on when it is over, not before', async () => {
    const { run } = drive(waiting({ for: '90s' }));
    await pass(89_999);
    expect(statuses(run)).toEqual({ pause: 'waiting', next: 'pending' });
    await pass(1);
    expect([run.status, run.scope.steps['pause']]).toEqual(['succeeded', { until: 90_000 }]);
  });

  it('until an instant takes ISO 8601 and milliseconds, and one that has passed is over', async () => {
    for (const until of ['1970-01-01T00:01:00Z', '{{ 60000 }}', '1969-01-01T00:00:00Z']) {
      vi.setSystemTime(0);
      const { run } = drive(waiting({ until }));
      await pass(60_000);
      expect([until, run.status]).toEqual([until, 'succeeded']);
    }
  });

  it('for an event goes on with what came', () => {
    const { run, drive: driven } = drive(waiting({ event: 'paid', key: 7, timeout: '1d' }));
    expect(run.steps[0]?.wait).toMatchObject({ kind: 'event', event: 'paid', key: '7' });
    expect(deliver(driven, 0, arrived)).toBe(true);
    expect([run.status, run.scope.steps['pause']]).toEqual(['succeeded', { data: 'here' }]);
  });

  it('takes an event once, and none that comes too late', async () => {
    const { run, drive: driven } = drive(waiting({ event: 'paid', timeout: '1h' }));
    await pass(3_600_000);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'wait.timeout', step: 'pause' } });
    expect(deliver(driven, 0, arrived)).toBe(false);
    expect(deliver(driven, 99, arrived)).toBe(false);
    expect(deliver(driven, 'nonsense', arrived)).toBe(false);
  });

  it('that times out goes on by its error route', async () => {
    const { run } = drive(waiting({ event: 'paid', timeout: '1h' }, { onError: 'continue' }));
    await pass(3_600_000);
    expect(run.status).toBe('succeeded');
  });

  it('says what is wrong with a time that cannot be read', () => {
    for (const params of [{ for: 'soon' }, { until: 'tomorrow' }, { event: 'paid', timeout: 'late' }]) {
      expect(drive(waiting(params)).run.fault?.message).toContain('write one of');
    }
  });

  it('holds no place among the requests', async () => {
    const pauses = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`p${index}`, { use: 'flow.wait', with: { for: '1s' } }]),
    );
    const { run, called } = drive(planOf({ ...pauses, work: { use: 'act.keyed' } }, { mode: 'durable' }));
    expect(called()).toEqual(['work']);
    await pass(1_000);
    expect(run.status).toBe('succeeded');
  });

  it('waits on after a restart, and takes what came before it', async () => {
    const plan = waiting({ event: 'paid', timeout: '1d' });
    const first = drive(plan);
    const recorded: StepEvent[] = first.rows.flat();
    expect(recorded).toMatchObject([{ type: 'waiting', step: 0 }]);
    const again = drive(plan, { recorded });
    expect(statuses(again.run)).toEqual({ pause: 'waiting', next: 'pending' });
    deliver(again.drive, 0, arrived);
    const last = drive(plan, { recorded: [...recorded, ...again.rows.flat()] });
    expect([last.run.status, last.called()]).toEqual(['succeeded', []]);
  });

  it('whose time passed while the gateway was down is over at once', async () => {
    const first = drive(waiting({ for: '1m' }));
    const recorded = first.rows.flat();
    vi.setSystemTime(3_600_000);
    const again = drive(waiting({ for: '1m' }), { recorded, receivedAt: 0, answers: { next: () => ok('on') } });
    expect(again.run.status).toBe('succeeded');
  });

  it('inside a fan-out waits for each item', async () => {
    const plan = planOf(
      {
        list: {
          use: 'flow.each',
          with: { in: [1, 2], steps: { pause: { use: 'flow.wait', with: { event: 'go', key: '{{ item }}' } } } },
        },
      },
      { mode: 'durable' },
    );
    const { run, drive: driven } = drive(plan);
    expect(deliver(driven, '0/1/0', arrived)).toBe(true);
    expect(run.status).toBe('running');
    expect(deliver(driven, '0/0/0', arrived)).toBe(true);
    await pass(1);
    expect(run.status).toBe('succeeded');
  });
});

it('a run that is stopped waits for nothing any more', () => {
  const plan = planOf({ nod: { use: 'flow.wait', with: { approval: {} } } }, { mode: 'durable' });
  const driven = drive(plan);
  expect(recordOf(driven.run).steps[0]?.waitingFor).toMatchObject({ kind: 'approval' });
  stop(driven.drive, fault('run.cancelled', 'enough'));
  expect(recordOf(driven.run).steps[0]).toMatchObject({ status: 'failed' });
  expect(recordOf(driven.run).steps[0]?.waitingFor).toBeUndefined();
});
