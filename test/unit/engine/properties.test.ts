import fc from 'fast-check';
import { expect, it } from 'vitest';
import { planOf, runOf, statuses } from './support.ts';
import type { Plan, StepPlan } from '../../../src/core/chain/plan.ts';
import {
  begin,
  end,
  failAttempt,
  isPassedBy,
  outcome,
  skip,
  succeed,
  takeReady,
  wake,
} from '../../../src/core/engine/engine.ts';
import type { RunState } from '../../../src/core/engine/state.ts';
import { fault } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

interface Choice {
  readonly isSwitch: boolean;
  /** Bits: which earlier steps it waits for. */
  readonly after: number;
  readonly onError: 'stop' | 'continue' | 'route';
  /** A later step that it may choose, counted from it. */
  readonly target: number;
  readonly fails: boolean;
  /** Failures that are tried again before. */
  readonly retries: number;
}

const choice = (onErrors: readonly Choice['onError'][]): fc.Arbitrary<Choice> =>
  fc.record({
    isSwitch: fc.boolean(),
    after: fc.nat(255),
    onError: fc.constantFrom(...onErrors),
    target: fc.integer({ min: 1, max: 4 }),
    fails: fc.boolean(),
    retries: fc.nat(2),
  });

const chains = (...onErrors: Choice['onError'][]) => fc.array(choice(onErrors), { minLength: 1, maxLength: 9 });
/** Which of the attempts under way ends next. */
const schedule = fc.infiniteStream(fc.nat(1_000));

const name = (index: number): string => `s${index}`;

function planFrom(choices: readonly Choice[]): Plan {
  const steps = choices.map((given, index): [string, Record<string, unknown>] => {
    const after = choices.slice(0, index).flatMap((_, other) => ((given.after >> other) & 1 ? [name(other)] : []));
    const later = Math.min(index + given.target, choices.length - 1);
    const target = later > index ? name(later) : undefined;
    const route = target === undefined ? 'continue' : target;
    const onError = given.onError === 'route' ? route : given.onError;
    if (!given.isSwitch || target === undefined) return [name(index), { use: 'act.keyed', after, onError }];
    const cases = [{ when: '{{ true }}', then: [target] }];
    return [
      name(index),
      { use: 'flow.switch', with: { cases, otherwise: [name(choices.length - 1)] }, after, onError },
    ];
  });
  return planOf(Object.fromEntries(steps));
}

function finish(plan: Plan, choices: readonly Choice[], picks: Iterator<number>): RunState {
  const run = runOf(plan);
  const underWay: { step: StepPlan; attempt: number }[] = [];
  for (let now = 1; now < 10_000; now++) {
    wake(run, now);
    for (let step = takeReady(run); step !== undefined; step = takeReady(run)) {
      if (isPassedBy(run, step)) expect(skip(run, step)).toBe(true);
      else underWay.push({ step, attempt: begin(run, step, now) });
    }
    expect(underWay.length).toBe(run.active);
    expect(run.active).toBeLessThanOrEqual(LIMITS.concurrentSteps);
    const reached = outcome(run);
    if (reached !== undefined) {
      end(run, reached === 'complete' ? 'succeeded' : 'failed', now, {});
      return run;
    }
    const [ended] = underWay.splice((picks.next().value ?? 0) % Math.max(1, underWay.length), 1);
    if (ended === undefined) continue;
    const given = choices[Number(ended.step.id.slice(1))];
    const reason = fault('upstream.unavailable', 'away');
    const { step, attempt } = ended;
    if (attempt <= (given?.retries ?? 0)) failAttempt(run, step, attempt, reason, now, now + attempt);
    else if (given?.fails === true) failAttempt(run, step, attempt, reason, now, undefined);
    else succeed(run, step, attempt, { output: step.id, chosen: chosenBy(step, given) }, now);
  }
  throw new Error(`the run reached no end: ${JSON.stringify(statuses(run))}`);
}

const chosenBy = (step: StepPlan, given: Choice | undefined): readonly number[] =>
  (given !== undefined && given.after % 2 === 0 ? step.switch?.cases[0]?.then : step.switch?.otherwise) ?? [];

it('every chain reaches an end, whatever fails, and its status does not depend on who is faster', () => {
  fc.assert(
    fc.property(chains('stop', 'continue', 'route'), schedule, schedule, (choices, one, other) => {
      const plan = planFrom(choices);
      const first = finish(plan, choices, one);
      expect(finish(plan, choices, other).status).toBe(first.status);
      if (first.status === 'succeeded') expect(first.open).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it('where no failure stops the run, neither statuses nor outputs depend on who is faster', () => {
  fc.assert(
    fc.property(chains('continue', 'route'), schedule, schedule, (choices, one, other) => {
      const plan = planFrom(choices);
      const first = finish(plan, choices, one);
      const second = finish(plan, choices, other);
      expect(statuses(second)).toEqual(statuses(first));
      expect(second.scope.steps).toEqual(first.scope.steps);
      expect(Object.values(statuses(first)).every((status) => /^(succeeded|failed|skipped)$/.test(status ?? ''))).toBe(
        true,
      );
    }),
    { numRuns: 300 },
  );
});
