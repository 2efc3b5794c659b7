/** Steps that wait for a time, an event, an approval or another run. Meanwhile they cost nothing but a row. */

import { settleWaiting } from './attempt.ts';
import type { Drive } from './drive.ts';
import type { Outcome } from './execute.ts';
import { callParams, waitParams } from '../connectors/flow/waiting.ts';
import { parseDuration } from '../core/chain/duration.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import { park } from '../core/engine/engine.ts';
import { idempotencyKeyOf, keyOf, type StepKey } from '../core/engine/journal.ts';
import type { Frame, Wait } from '../core/engine/state.ts';
import { fault, type Fault } from '../core/errors.ts';
import { parse, type InferOutput } from 'valibot';

const failed = (value: Fault): Outcome => ({ kind: 'failed', fault: value });

export function beginWait(drive: Drive, frame: Frame, step: StepPlan, evaluated: unknown): Outcome | undefined {
  const params = parse(waitParams, evaluated);
  const until = untilOf(params, drive);
  if (until === undefined) {
    const message = `${step.path}: write one of \`for\`, \`until\`, \`event\` and \`approval\`, the times as "90s" or 2026-01-31T09:00:00Z.`;
    return failed(fault('step.params', message));
  }
  const wait: Wait =
    params.event !== undefined
      ? { kind: 'event', event: params.event, key: params.key === undefined ? undefined : String(params.key), until }
      : params.approval !== undefined
        ? { kind: 'approval', message: params.approval.message, until }
        : { kind: 'time', until };
  parkAt(drive, frame, step, wait);
  return undefined;
}

function untilOf(params: InferOutput<typeof waitParams>, drive: Drive): number | undefined {
  const now = drive.host.now();
  const chosen = [params.for, params.until, params.event, params.approval].filter((value) => value !== undefined);
  if (chosen.length !== 1) return undefined;
  if (params.until !== undefined) {
    const instant = typeof params.until === 'number' ? params.until : Date.parse(params.until);
    return Number.isFinite(instant) ? instant : undefined;
  }
  const text = params.for ?? params.timeout;
  if (text === undefined) return drive.deadline;
  const duration = parseDuration(text);
  return duration === undefined ? undefined : now + duration;
}

export function beginCall(drive: Drive, frame: Frame, step: StepPlan, evaluated: unknown): Outcome | undefined {
  const { chain, input } = parse(callParams, evaluated);
  const key = idempotencyKeyOf(drive.run, frame, step);
  parkAt(drive, frame, step, { kind: 'call', chain, input: input ?? null, key, until: drive.deadline });
  return undefined;
}

function parkAt(drive: Drive, frame: Frame, step: StepPlan, wait: Wait): void {
  park(frame, step, wait);
  const key = keyOf(frame, step);
  drive.journal?.record({ type: 'waiting', step: key, at: drive.host.now(), wait });
  drive.waiting(drive, key, wait);
}

/** Settles a step that has waited for as long as it may. */
export function timeUp(drive: Drive, frame: Frame, step: StepPlan): void {
  const wait = frame.steps[step.index]?.wait;
  if (wait !== undefined) settleWaiting(drive, frame, step, waited(step, wait));
}

/** For a plain wait the end of its time is success. */
function waited(step: StepPlan, wait: Wait): Outcome {
  if (wait.kind === 'time') return { kind: 'succeeded', success: { output: { until: wait.until } } };
  const what =
    wait.kind === 'event' ? `the event ${wait.event}` : wait.kind === 'approval' ? 'an approval' : wait.chain;
  return failed(fault('wait.timeout', `${step.path} waited for ${what} until ${new Date(wait.until).toISOString()}.`));
}

/** Gives a waiting step what it waited for. False when it does not wait any more. */
export function deliver(drive: Drive, key: StepKey, result: Outcome): boolean {
  const found = locate(drive, key);
  if (found === undefined || !settleWaiting(drive, found.frame, found.step, result)) return false;
  drive.advance();
  return true;
}

function locate(drive: Drive, key: StepKey): { readonly frame: Frame; readonly step: StepPlan } | undefined {
  const [, prefix = '', index = ''] = /^(.*\/)?(\d+)$/.exec(String(key)) ?? [];
  const frames = [drive.run, ...drive.items.keys()];
  const frame = frames.find((each) => each.prefix === prefix);
  const step = frame?.graph[Number(index)];
  return frame === undefined || step === undefined ? undefined : { frame, step };
}
