/** What a caller who waits for a durable run is told. */

import { wholeRecord, type Blobs } from './blobs.ts';
import type { RunRecord } from '../core/engine/record.ts';
import type { RunResponse, RunState } from '../core/engine/state.ts';
import { fault, type Fault } from '../core/errors.ts';

/** The output is JSON text, so that it crosses the call unchanged. */
export interface RunAnswer {
  readonly status: 'running' | 'succeeded' | 'failed' | 'cancelled';
  readonly output: string | undefined;
  readonly fault: (Omit<Fault, 'detail' | 'data'> & { readonly step?: string }) | undefined;
  /** What `flow.fail` has for the caller, as JSON text. */
  readonly failure: string | undefined;
  readonly response: (Omit<RunResponse, 'body'> & { readonly body: string | undefined }) | undefined;
}

export const hasAnswer = (run: RunState): boolean => run.status !== 'running' || run.response !== undefined;

export function answerOf(run: RunState): RunAnswer {
  const { response, output } = run;
  return {
    status: run.status,
    output: textOf(output),
    fault: run.status === 'failed' || run.status === 'cancelled' ? withoutPrivate(run.fault) : undefined,
    failure: failureOf(run.fault),
    response: response && {
      ...response,
      body: response.body === undefined ? undefined : JSON.stringify(response.body),
    },
  };
}

/** An upstream's reply is for the author, the data of `flow.fail` for the caller. */
const failureOf = (value: Pick<Fault, 'code' | 'data'> | undefined): string | undefined =>
  value?.code === 'run.failed' ? textOf(value.data) : undefined;

function withoutPrivate(value: Fault | undefined): RunAnswer['fault'] {
  if (value === undefined) return undefined;
  const { detail: _detail, data: _data, ...rest } = value;
  return rest;
}

/** For a caller that comes back after the end, from the record as its row holds it. Rejects with `storage.unavailable`. */
export const storedAnswer = async (blobs: Blobs | undefined, record: string): Promise<RunAnswer> =>
  recordedAnswer(await wholeRecord(blobs, record));

function recordedAnswer({ steps, output, status, error }: RunRecord): RunAnswer {
  const responded = steps.find((step) => step.use === 'flow.respond' && step.status === 'succeeded');
  const response = responded && (responded.output as RunResponse);
  return {
    status: status === 'succeeded' || status === 'cancelled' ? status : 'failed',
    output: textOf(output),
    fault: error && {
      ...fault(error.code, error.message),
      ...(error.issues && { issues: error.issues }),
      ...(error.step && { step: error.step }),
      ...(error.status && { status: error.status }),
    },
    failure: failureOf(error),
    response: response && { ...response, body: textOf(response.body) },
  };
}

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));
