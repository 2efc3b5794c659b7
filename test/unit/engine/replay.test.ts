import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { away, drive, failing, never, planOf, statuses } from './support.ts';
import { fault, ok, type Result } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { stop } from '../../../src/runtime/drive.ts';

const use = 'act.keyed';
const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const orders = planOf(
  {
    shape: { use: 'data.map', with: { n: '{{ input.n + 1 }}' } },
    reserve: { use, with: { n: '{{ steps.shape.n }}' } },
    pick: {
      use: 'flow.switch',
      with: { cases: [{ when: '{{ steps.reserve = "reserve" }}', then: ['charge'] }], otherwise: ['refuse'] },
    },
    charge: { use, retries: { limit: 2, delay: '10ms' } },
    refuse: { use },
    at: { use: 'data.map', with: { random: '{{ $random() }}' }, after: ['charge'] },
    ship: { use: 'act.external', with: { at: '{{ steps.at }}' }, retries: { limit: 1 } },
    note: { use, onError: 'mend', after: ['ship'] },
    mend: { use: 'act.idempotent' },
  },
  { output: { shape: '{{ steps.shape }}', charge: '{{ steps.charge }}', mended: '{{ steps.mend }}' } },
);
const world = () => ({
  charge: failing(1),
  note: failing(9, { ok: false, fault: { ...away.fault, retryable: false } }),
});

describe('replaying', () => {
  it('from every point of the journal gives the same end, and calls no committed step again', async () => {
    const first = drive(orders, { answers: world() });
    await pass(60_000);
    expect(first.run.status).toBe('succeeded');
    expect(first.rows.length).toBeGreaterThan(6);
    for (let kept = 0; kept <= first.rows.length; kept++) {
      const recorded = first.rows.slice(0, kept).flat();
      const again = drive(orders, { recorded, answers: { ...world(), charge: () => ok('charge') } });
      await pass(60_000);
      expect([kept, again.run.status, again.run.output]).toEqual([kept, 'succeeded', first.run.output]);
      expect(statuses(again.run)).toEqual(statuses(first.run));
      const committed = recorded.flatMap((event) =>
        event.type === 'succeeded' ? [orders.steps[Number(event.step)]?.id ?? ''] : [],
      );
      expect(again.called().filter((step) => committed.includes(step))).toEqual([]);
    }
  });

  it('takes what was random from the journal, not anew', async () => {
    const first = drive(orders, { answers: world() });
    await pass(60_000);
    const again = drive(orders, { recorded: first.rows.flat(), answers: {} });
    expect(again.run.scope.steps['at']).toEqual(first.run.scope.steps['at']);
  });

  it('is waited for by a stop, so that nothing is lost of what is recorded behind a step that is computed', async () => {
    const plan = planOf({
      slow: { use: 'act.pure' },
      effect: { use, after: ['slow'] },
      last: { use, after: ['effect'] },
    });
    const slow = () => new Promise<Result<unknown>>((resolve) => setTimeout(() => resolve(ok('slow')), 20));
    const first = drive(plan, { answers: { slow, last: never } });
    await pass(1_000);
    for (const kept of [1, 2]) {
      const again = drive(plan, { recorded: first.rows.slice(0, kept).flat(), answers: { slow } });
      stop(again.drive, fault('run.cancelled', 'enough'));
      expect([again.run.status, again.ends()]).toEqual(['running', 0]);
      await pass(20);
      expect([again.run.status, again.ends()]).toEqual(['cancelled', 1]);
      expect(again.called()).toEqual(['slow']);
      const [, effect] = again.run.steps;
      expect([effect?.attempts[0]?.fault?.code, effect?.status === 'succeeded']).toEqual(
        kept === 1 ? ['step.interrupted', false] : [undefined, true],
      );
    }
  });

  it('of a run that ended writes nothing more', async () => {
    const first = drive(orders, { answers: world() });
    await pass(60_000);
    expect(drive(orders, { recorded: first.rows.flat() }).rows).toEqual([]);
  });

  it('remembers a response that was given, and a condition that was random', async () => {
    const plan = planOf({
      answer: { use: 'flow.respond', with: { status: 201, body: '{{ $random() }}' } },
      maybe: { use, if: '{{ $random() > 1 }}' },
    });
    const first = drive(plan);
    await pass(0);
    expect(first.run.response?.status).toBe(201);
    const again = drive(plan, { recorded: first.rows.flat() });
    expect(again.run.response).toEqual(first.run.response);
    expect(first.rows.flat()).toContainEqual({ type: 'skipped', step: 1 });
  });

  it('waits on for an attempt whose time has not come', async () => {
    const plan = planOf({ one: { use, retries: { limit: 3, delay: '10s', jitter: false } } });
    const first = drive(plan, { answers: { one: () => away } });
    const again = drive(plan, { recorded: first.rows.flat() });
    await pass(9_999);
    expect(again.called()).toEqual([]);
    await pass(1);
    expect(again.run.status).toBe('succeeded');
  });

  it('does not forget how many attempts there were', async () => {
    const plan = planOf({ one: { use, retries: { limit: 1, delay: '1s', jitter: false } } });
    const first = drive(plan, { answers: { one: () => away } });
    const again = drive(plan, { recorded: first.rows.flat(), answers: { one: () => away } });
    await pass(60_000);
    expect([again.run.status, again.called()]).toEqual(['failed', ['one']]);
  });
});

describe('an attempt that the stop of the gateway interrupted', () => {
  const interrupted = (step: Record<string, unknown>) => {
    const plan = planOf({ one: step });
    const first = drive(plan, { answers: { one: never } });
    expect(first.rows.flat()).toMatchObject([{ type: 'started', step: 0 }]);
    return { first, again: drive(plan, { recorded: first.rows.flat() }) };
  };

  it('of an external effect without retries is ambiguous, and not called again', () => {
    const { again } = interrupted({ use: 'act.external' });
    expect(again.called()).toEqual([]);
    expect(again.run).toMatchObject({ status: 'failed', fault: { code: 'step.ambiguous', step: 'one' } });
    expect(statuses(again.run)).toEqual({ one: 'ambiguous' });
  });

  it('of an external effect with retries is made again, with the same idempotency key', () => {
    const { first, again } = interrupted({ use: 'act.external', retries: { limit: 1 } });
    expect(again.keys()).toEqual(first.keys());
    expect(again.run.status).toBe('succeeded');
  });

  it.each(['act.keyed', 'act.idempotent'])('of %s is made again, and uses up no retry', async (action) => {
    const plan = planOf({ one: { use: action, retries: { limit: 1, delay: '1s', jitter: false } } });
    const first = drive(plan, { answers: { one: never } });
    const again = drive(plan, { recorded: first.rows.flat(), answers: { one: failing(1) } });
    await pass(1_000);
    expect(again.run.status).toBe('succeeded');
    expect(again.run.steps[0]?.attempts.map(({ fault }) => fault?.code)).toEqual([
      'step.interrupted',
      'upstream.unavailable',
      undefined,
    ]);
  });

  it('is given up in the end where each attempt brings the gateway down', () => {
    const plan = planOf({ one: { use } });
    let recorded = drive(plan, { answers: { one: never } }).rows.flat();
    let crashes = 0;
    for (; crashes < LIMITS.stepAttempts + 5; crashes++) {
      const again = drive(plan, { recorded, answers: { one: never } });
      recorded = [...recorded, ...again.rows.flat()];
      if (again.run.status === 'failed') break;
    }
    expect(crashes).toBe(LIMITS.stepAttempts - 1);
  });
});

it('the intent is on disk before the effect, and a result with the next intent costs one row', () => {
  const plan = planOf({ one: { use }, two: { use, after: ['one'] }, three: { use, after: ['two'] } });
  const { rows } = drive(plan);
  expect(rows.map((row) => row.map(({ type, step }) => `${type} ${step}`))).toEqual([
    ['started 0'],
    ['succeeded 0', 'started 1'],
    ['succeeded 1', 'started 2'],
    ['succeeded 2'],
  ]);
});

it('pure steps leave nothing in the journal', () => {
  const plan = planOf({ one: { use: 'data.map', with: { a: 1 } }, two: { use: 'act.pure', after: ['one'] } });
  expect(drive(plan).rows).toEqual([]);
});
