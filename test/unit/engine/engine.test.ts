import { describe, expect, it } from 'vitest';
import { planOf, runOf, statuses, stepOf } from './support.ts';
import {
  begin,
  end,
  failAttempt,
  isPassedBy,
  outcome,
  respond,
  skip,
  succeed,
  takeReady,
  wake,
} from '../../../src/core/engine/engine.ts';
import type { RunState } from '../../../src/core/engine/state.ts';
import { fault } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const use = 'act.keyed';
const broken = fault('upstream.rejected', 'refused', { data: { status: 422 } });

/** Takes whatever may start; passed-by steps are skipped on the way, as drivers do. */
function startAll(run: RunState): string[] {
  const started: string[] = [];
  for (let step = takeReady(run); step !== undefined; step = takeReady(run)) {
    if (isPassedBy(run, step)) skip(run, step);
    else {
      begin(run, step, 0);
      started.push(step.id);
    }
  }
  return started;
}
const succeeds = (run: RunState, id: string, chosen: readonly string[] = []): boolean => {
  const success = { output: id, chosen: chosen.map((name) => stepOf(run, name).index) };
  return succeed(run, stepOf(run, id), 1, success, 1);
};
const fails = (run: RunState, id: string, retryAt?: number): boolean =>
  failAttempt(run, stepOf(run, id), 1, broken, 1, retryAt);

describe('order', () => {
  it('starts a step only after everything that it waits for', () => {
    const run = runOf(planOf({ last: { use, after: ['left', 'right'] }, right: { use }, left: { use } }));
    expect(startAll(run).toSorted()).toEqual(['left', 'right']);
    succeeds(run, 'right');
    expect(startAll(run)).toEqual([]);
    succeeds(run, 'left');
    expect(startAll(run)).toEqual(['last']);
    expect(outcome(run)).toBeUndefined();
    succeeds(run, 'last');
    expect(outcome(run)).toBe('complete');
  });

  it('waits for a step that an expression refers to, without being told', () => {
    const run = runOf(planOf({ second: { use, with: { of: '{{ steps.first }}' } }, first: { use } }));
    expect(startAll(run)).toEqual(['first']);
  });

  it('starts no more steps at a time than the platform lets wait', () => {
    const steps = Object.fromEntries(Array.from({ length: LIMITS.concurrentSteps + 3 }, (_, n) => [`s${n}`, { use }]));
    const run = runOf(planOf(steps));
    const started = startAll(run);
    expect(started).toHaveLength(LIMITS.concurrentSteps);
    succeeds(run, started[0] ?? '');
    expect(startAll(run)).toHaveLength(1);
  });

  it('gives the output of a settled step to the scope, and nothing for a step that does not exist', () => {
    const run = runOf(planOf({ one: { use } }));
    startAll(run);
    succeeds(run, 'one');
    expect(run.scope.steps['one']).toBe('one');
    expect(run.scope.steps['toString']).toBeUndefined();
  });
});

describe('a switch', () => {
  const plan = planOf({
    pick: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: ['a'] }], otherwise: ['b'] } },
    a: { use },
    b: { use },
    behindB: { use, after: ['b'] },
    join: { use, after: ['a', 'b'] },
  });

  it('lets only the chosen branch run, and what joins the branches', () => {
    const run = runOf(plan);
    startAll(run);
    succeeds(run, 'pick', ['a']);
    expect(startAll(run)).toEqual(['a']);
    succeeds(run, 'a');
    expect(startAll(run)).toEqual(['join']);
    succeeds(run, 'join');
    expect(statuses(run)).toEqual({
      pick: 'succeeded',
      a: 'succeeded',
      b: 'skipped',
      behindB: 'skipped',
      join: 'succeeded',
    });
    expect(outcome(run)).toBe('complete');
  });

  it('that chooses nothing skips both branches and their join', () => {
    const run = runOf(plan);
    startAll(run);
    succeeds(run, 'pick');
    expect(startAll(run)).toEqual([]);
    expect(Object.values(statuses(run)).filter((status) => status === 'skipped')).toHaveLength(4);
    expect(outcome(run)).toBe('complete');
  });

  it('that is skipped itself chooses nobody', () => {
    const run = runOf(plan);
    const pick = takeReady(run);
    if (pick === undefined) throw new Error('nothing is ready');
    skip(run, pick);
    expect(startAll(run)).toEqual([]);
    expect(outcome(run)).toBe('complete');
  });
});

describe('a failed step', () => {
  it('fails the run and starts nothing more, but lets what is under way end', () => {
    const run = runOf(planOf({ bad: { use }, slow: { use }, next: { use, after: ['slow'] } }));
    startAll(run);
    fails(run, 'bad');
    expect(outcome(run)).toBeUndefined();
    succeeds(run, 'slow');
    expect(startAll(run)).toEqual([]);
    expect(outcome(run)).toBe('failed');
    expect(run.fault).toMatchObject({ code: 'upstream.rejected', step: 'bad' });
    expect(statuses(run)).toMatchObject({ slow: 'succeeded', next: 'pending' });
  });

  it('keeps the first fault where two fail', () => {
    const run = runOf(planOf({ one: { use }, two: { use } }));
    startAll(run);
    fails(run, 'two');
    fails(run, 'one');
    expect(run.fault?.step).toBe('two');
  });

  it('with `continue` goes on, and its error can be read', () => {
    const run = runOf(planOf({ bad: { use, onError: 'continue' }, next: { use, after: ['bad'] } }));
    startAll(run);
    fails(run, 'bad');
    expect(run.scope.steps['bad']).toEqual({
      error: { code: 'upstream.rejected', message: 'refused', data: { status: 422 } },
    });
    expect(startAll(run)).toEqual(['next']);
  });

  it('with an error route runs that route, and skips what waited for its success', () => {
    const run = runOf(planOf({ bad: { use, onError: 'mend' }, mend: { use }, next: { use, after: ['bad'] } }));
    startAll(run);
    fails(run, 'bad');
    expect(startAll(run)).toEqual(['mend']);
    expect(statuses(run)).toMatchObject({ bad: 'failed', next: 'skipped' });
  });

  it('that succeeds passes by its error route', () => {
    const run = runOf(planOf({ good: { use, onError: 'mend' }, mend: { use }, next: { use, after: ['good'] } }));
    startAll(run);
    succeeds(run, 'good');
    expect(startAll(run)).toEqual(['next']);
    expect(statuses(run)['mend']).toBe('skipped');
  });

  it('whose effect is unknown is called ambiguous', () => {
    const run = runOf(planOf({ one: { use } }));
    startAll(run);
    failAttempt(run, stepOf(run, 'one'), 1, fault('step.ambiguous', 'who knows'), 1, undefined);
    expect(statuses(run)).toEqual({ one: 'ambiguous' });
  });
});

describe('waiting for another attempt', () => {
  it('ends when the delay is over, not before', () => {
    const run = runOf(planOf({ one: { use } }));
    startAll(run);
    fails(run, 'one', 500);
    expect(wake(run, 499)).toBe(500);
    expect(startAll(run)).toEqual([]);
    expect(wake(run, 500)).toBeUndefined();
    expect(startAll(run)).toEqual(['one']);
    expect(run.steps[0]?.attempts).toMatchObject([
      { attempt: 1, fault: broken },
      { attempt: 2, fault: undefined },
    ]);
  });

  it('tells the earliest of several instants', () => {
    const run = runOf(planOf({ one: { use }, two: { use } }));
    startAll(run);
    fails(run, 'one', 900);
    fails(run, 'two', 400);
    expect(wake(run, 0)).toBe(400);
  });
});

describe('monotonic', () => {
  it('a settled step never changes, whatever comes', () => {
    const run = runOf(planOf({ one: { use } }));
    startAll(run);
    expect(succeeds(run, 'one')).toBe(true);
    expect(succeed(run, stepOf(run, 'one'), 1, { output: 'other' }, 2)).toBe(false);
    expect(fails(run, 'one')).toBe(false);
    expect(skip(run, stepOf(run, 'one'))).toBe(false);
    expect(run.scope.steps['one']).toBe('one');
    expect([run.active, run.open, run.fault]).toEqual([0, 0, undefined]);
  });

  it('a late result of an attempt that was given up is refused, also while the next one runs', () => {
    const run = runOf(planOf({ one: { use } }));
    startAll(run);
    fails(run, 'one', 0);
    expect(succeeds(run, 'one')).toBe(false);
    wake(run, 0);
    startAll(run);
    expect(succeeds(run, 'one')).toBe(false);
    expect(succeed(run, stepOf(run, 'one'), 2, { output: 'second' }, 2)).toBe(true);
    expect(run.scope.steps['one']).toBe('second');
  });

  it('a result of an attempt that never began is refused', () => {
    const run = runOf(planOf({ one: { use } }));
    for (const attempt of [0, 1, 2, -1]) {
      expect(succeed(run, stepOf(run, 'one'), attempt, { output: 1 }, 1)).toBe(false);
    }
  });

  it('the first response counts', () => {
    const run = runOf(planOf({ one: { use }, two: { use } }));
    for (const status of [201, 202]) respond(run, { status, headers: {}, body: status });
    expect(run.response?.status).toBe(201);
  });

  it('a second end is refused', () => {
    const run = runOf(planOf({ one: { use } }));
    expect(end(run, 'succeeded', 5, { output: 'first' })).toBe(true);
    expect(end(run, 'cancelled', 6, { fault: fault('run.cancelled', 'late') })).toBe(false);
    expect(run).toMatchObject({ status: 'succeeded', endedAt: 5, output: 'first', fault: undefined });
    expect(takeReady(run)).toBeUndefined();
  });
});
