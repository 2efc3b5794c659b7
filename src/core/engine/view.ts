/** A run's state as the record that is shown. */

import type { Fault } from '../errors.ts';
import type { StepPlan } from '../chain/plan.ts';
import type { AttemptRecord, RunRecord, RunStatus, RunSummary, ShownFault, StepRecord, WaitRecord } from './record.ts';
import type { Fan, RunState, StepState, Wait } from './state.ts';

/** The part of a fault that may leave the gateway. */
export function shownFault(fault: Fault & { readonly step?: string }): ShownFault {
  return {
    code: fault.code,
    message: fault.message,
    ...(fault.step === undefined ? {} : { step: fault.step }),
    ...(fault.status === undefined ? {} : { status: fault.status }),
    ...(fault.issues === undefined ? {} : { issues: fault.issues }),
    ...(fault.data === undefined ? {} : { data: fault.data }),
  };
}

const shown = (fault: (Fault & { readonly step?: string }) | undefined): ShownFault | undefined =>
  fault === undefined ? undefined : shownFault(fault);

/** `waiting` while nothing runs and a step waits for its next attempt. */
function statusOf(run: RunState): RunStatus {
  if (run.status !== 'running') return run.status;
  const idle = run.active === 0 && run.steps.some((step) => step.status === 'waiting');
  return idle ? 'waiting' : 'running';
}

export function summaryOf(run: RunState): RunSummary {
  const { start, plan } = run;
  return {
    id: start.id,
    chain: plan.name,
    version: start.version,
    trigger: start.trigger,
    triggerType: start.event.type,
    mode: plan.mode,
    status: statusOf(run),
    createdAt: start.event.receivedAt,
    endedAt: run.endedAt,
    error: shown(run.fault),
  };
}

export function recordOf(run: RunState): RunRecord {
  const steps = run.plan.steps.map((plan, index): StepRecord => {
    const state = run.steps[index];
    const output = state?.status === 'succeeded' ? run.scope.steps[plan.id] : undefined;
    return {
      id: plan.id,
      use: plan.action.name,
      status: state?.status ?? 'pending',
      attempts: attemptsOf(state),
      output,
      error: shown(state?.fault),
      ...(state?.wait && { waitingFor: waitOf(state.wait) }),
      ...(state?.held && state.status === 'waiting' && { waitingFor: holdOf(plan, state) }),
      ...(state?.fan && { items: progressOf(state.fan) }),
      ...undoOf(run, plan),
    };
  });
  return { ...summaryOf(run), input: run.start.input, output: run.output, steps };
}

const attemptsOf = (state: StepState | undefined): AttemptRecord[] =>
  (state?.attempts ?? []).map((attempt) => ({
    attempt: attempt.attempt,
    startedAt: attempt.startedAt,
    endedAt: attempt.endedAt,
    error: shown(attempt.fault),
  }));

const waitOf = (wait: Wait): WaitRecord => ({
  kind: wait.kind,
  until: wait.until,
  ...(wait.kind === 'event' && { event: wait.event, ...(wait.key !== undefined && { key: wait.key }) }),
  ...(wait.kind === 'call' && { chain: wait.chain }),
  ...(wait.kind === 'approval' && wait.message !== undefined && { message: wait.message }),
});

const holdOf = ({ connection }: StepPlan, { retryAt }: StepState): WaitRecord => ({
  kind: 'connection',
  until: retryAt,
  ...(connection !== undefined && { connection: connection.written }),
  message: 'Its calls failed one after the other; until then none is made, and then one to try.',
});

const progressOf = (fan: Fan): StepRecord['items'] & object => ({
  count: fan.items.length,
  done: fan.next - fan.active,
  failed: fan.errors.length,
});

function undoOf(run: RunState, plan: StepPlan): Pick<StepRecord, 'undo'> {
  const undone = run.undoable.find(({ frame, step }) => frame.prefix === '' && step === plan);
  const state = undone?.undo?.steps[0];
  return state === undefined
    ? {}
    : { undo: { status: state.status, attempts: attemptsOf(state), error: shown(state.fault) } };
}
