import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { away, drive, failing, never, planOf, refused, statuses } from './support.ts';
import { recordOf } from '../../../src/core/engine/view.ts';
import { fault, FaultError, ok } from '../../../src/core/errors.ts';
import { stop } from '../../../src/runtime/drive.ts';

const use = 'act.keyed';
const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
const later = (milliseconds: number) => () =>
  new Promise<ReturnType<typeof ok>>((resolve) => setTimeout(resolve, milliseconds, ok('late')));
const quick = { limit: 2, delay: '100ms', backoff: 'constant', jitter: false };

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

describe('a run', () => {
  it('of steps that need not wait ends before the call returns', () => {
    const plan = planOf({ one: { use }, two: { use, with: { of: '{{ steps.one }}' } } }, { output: '{{ steps.two }}' });
    expect(drive(plan, { journal: false }).run).toMatchObject({ status: 'succeeded', output: 'two' });
  });

  it('skips a step whose condition is false, and what waits for it alone', () => {
    const plan = planOf({ no: { use, if: '{{ input.n > 1 }}' }, behind: { use, after: ['no'] }, yes: { use } });
    const { run, called } = drive(plan);
    expect(statuses(run)).toEqual({ no: 'skipped', behind: 'skipped', yes: 'succeeded' });
    expect(called()).toEqual(['yes']);
  });

  it.each([
    [1, ['one']],
    [2, ['two']],
    [3, ['other']],
  ])('takes the branch of a switch where n is %j', (n, expected) => {
    const cases = [
      { when: `{{ input.n + ${n} - 1 = 1 }}`, then: ['one'] },
      { when: `{{ input.n + ${n} - 1 = 2 }}`, then: ['two'] },
    ];
    const pick = { use: 'flow.switch', with: { cases, otherwise: ['other'] } };
    const { called } = drive(planOf({ pick, one: { use }, two: { use }, other: { use } }));
    expect(called()).toEqual(expected);
  });

  it('tells a step that throws from a bug of its author only by the code', async () => {
    const thrower = () => Promise.reject(new Error('secret detail'));
    const { run } = drive(planOf({ one: { use, retries: { limit: 0 } } }), { answers: { one: thrower } });
    await pass(0);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'internal.unexpected', step: 'one' } });
    expect(JSON.stringify(recordOf(run))).not.toContain('secret detail');
  });

  it('fails where its output does', async () => {
    const { run } = drive(planOf({ one: { use } }, { output: '{{ $error("no output") }}' }));
    await pass(0);
    expect(run.status).toBe('failed');
    expect(run.fault?.code).toMatch(/^expression\./);
  });

  it('fails by name where an output cannot be stored', () => {
    const unfit = (output: unknown) => (output === 'huge' ? fault('step.output-too-large', 'too large') : undefined);
    const { run } = drive(planOf({ big: { use }, next: { use, after: ['big'] } }), {
      unfit,
      answers: { big: () => ok('huge') },
    });
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'step.output-too-large', step: 'big' } });
    expect(statuses(run)['next']).toBe('pending');
  });
});

describe('retries', () => {
  it('try a passing failure again, with the same idempotency key', async () => {
    const { run, keys } = drive(planOf({ one: { use, retries: quick } }), { answers: { one: failing(2) } });
    expect(run.status).toBe('running');
    await pass(99);
    expect(keys()).toHaveLength(1);
    await pass(101);
    expect(run.status).toBe('succeeded');
    expect(keys()).toEqual(Array(3).fill('run_1:one:0'));
  });

  it('end with the limit', async () => {
    const { run, called } = drive(planOf({ one: { use, retries: quick } }), { answers: { one: () => away } });
    await pass(10_000);
    expect(called()).toHaveLength(3);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'upstream.unavailable' } });
  });

  it('are not spent on what cannot pass', () => {
    const { run, called } = drive(planOf({ one: { use, retries: quick } }), { answers: { one: () => refused } });
    expect([run.status, called()]).toEqual(['failed', ['one']]);
  });

  it('of one step do not wait for a slow step beside it', async () => {
    const plan = planOf({ slow: { use }, one: { use, retries: quick } });
    const { called } = drive(plan, { answers: { slow: later(20_000), one: failing(1) } });
    await pass(150);
    expect(called().filter((step) => step === 'one')).toHaveLength(2);
  });
});

describe('time', () => {
  it('that a step has is over: the attempt is aborted, and its late result refused', async () => {
    let aborted = false;
    const slow = ({ signal }: { readonly signal: AbortSignal | undefined }) => {
      signal?.addEventListener('abort', () => (aborted = true));
      return later(500)();
    };
    const plan = planOf({ one: { use, timeout: '200ms', retries: { limit: 0 } } });
    const { run } = drive(plan, { answers: { one: slow } });
    await pass(200);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'step.timeout', step: 'one' } });
    expect(aborted).toBe(true);
    await pass(500);
    expect(statuses(run)).toEqual({ one: 'failed' });
    expect(run.scope.steps['one']).toHaveProperty('error.code', 'step.timeout');
  });

  it('that a run has is over while a step runs', async () => {
    const { run, ends } = drive(planOf({ one: { use } }, { timeout: '1s' }), { answers: { one: never } });
    await pass(999);
    expect(run.status).toBe('running');
    await pass(1);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'run.timeout' }, endedAt: 1_001_000 });
    expect(ends()).toBe(1);
  });

  it('that a run has is over while it waits for an attempt', async () => {
    const slowly = { limit: 5, delay: '1h', jitter: false, cap: '2h' };
    const { run, called } = drive(planOf({ one: { use, retries: slowly } }, { timeout: '1s' }), {
      answers: { one: () => away },
    });
    await pass(1_000);
    expect(run).toMatchObject({ status: 'failed', fault: { code: 'run.timeout' } });
    expect(called()).toHaveLength(1);
  });

  it('that a run has was over before it was taken up', () => {
    const { run, called } = drive(planOf({ one: { use } }, { timeout: '1s' }), { receivedAt: Date.now() - 1_000 });
    expect([run.fault?.code, called()]).toEqual(['run.timeout', []]);
  });
});

describe('cancelling', () => {
  const cancelled = fault('run.cancelled', 'The run was cancelled.');

  it('ends the run at once, aborts what is under way, and starts nothing more', async () => {
    let aborted = false;
    const slow = ({ signal }: { readonly signal: AbortSignal | undefined }) => {
      signal?.addEventListener('abort', () => (aborted = true));
      return never();
    };
    const plan = planOf({ one: { use }, two: { use, after: ['one'] } });
    const { drive: driven, run, called, ends } = drive(plan, { answers: { one: slow } });
    stop(driven, cancelled);
    expect(run).toMatchObject({ status: 'cancelled', fault: { code: 'run.cancelled' } });
    expect(aborted).toBe(true);
    await pass(100_000);
    expect([called(), ends()]).toEqual([['one'], 1]);
  });

  it('leaves no step of the record under way', () => {
    const plan = planOf({ one: { use } });
    const { drive: driven, run } = drive(plan, { answers: { one: never } });
    stop(driven, cancelled);
    expect(recordOf(run).steps).toMatchObject([{ status: 'failed', attempts: [{ error: { code: 'run.cancelled' } }] }]);
  });

  it('after the end changes nothing', () => {
    const { drive: driven, run, ends } = drive(planOf({ one: { use } }));
    stop(driven, cancelled);
    expect([run.status, run.fault, ends()]).toEqual(['succeeded', undefined, 1]);
  });
});

it('a fault that an expression throws is the step’s own', () => {
  const thrower = () => {
    throw new FaultError(fault('egress.refused', 'not allowed'));
  };
  const { run } = drive(planOf({ one: { use } }), { answers: { one: thrower } });
  expect(run.fault).toMatchObject({ code: 'egress.refused', step: 'one' });
});
