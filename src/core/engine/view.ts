/** A run's state as the record that is shown. */

import type { Fault } from '../errors.ts';
import type { AttemptRecord, RunRecord, RunStatus, RunSummary, ShownFault, StepRecord } from './record.ts';
import type { RunState } from './state.ts';

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
    const attempts = (state?.attempts ?? []).map((attempt): AttemptRecord => ({
      attempt: attempt.attempt,
      startedAt: attempt.startedAt,
      endedAt: attempt.endedAt,
      error: shown(attempt.fault),
    }));
    const output = state?.status === 'succeeded' ? run.scope.steps[plan.id] : undefined;
    const use = plan.action.name;
    return { id: plan.id, use, status: state?.status ?? 'pending', attempts, output, error: shown(state?.fault) };
  });
  return { ...summaryOf(run), input: run.start.input, output: run.output, steps };
}
