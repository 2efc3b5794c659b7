/**
 * The state of one run, as the engine keeps it in memory. Only `engine.ts` changes it; drivers read it.
 * It holds nothing that cannot be built again from the plan, the start and the journal.
 */

import type { Plan } from '../chain/plan.ts';
import type { Fault } from '../errors.ts';
import type { StepStatus, TriggerType } from './record.ts';

/** What started a run. For triggers without HTTP, `params`, `query` and `headers` are empty. */
export interface TriggerEvent {
  readonly type: TriggerType;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** Unix time in milliseconds. */
  readonly receivedAt: number;
}

export interface RunStart {
  readonly id: string;
  readonly version: number;
  /** Name of the trigger in the chain document; `manual` where it was started by hand. */
  readonly trigger: string;
  readonly event: TriggerEvent;
  readonly input: unknown;
}

/** What `flow.respond` asks for. */
export interface RunResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export interface Attempt {
  readonly attempt: number;
  readonly startedAt: number;
  endedAt: number | undefined;
  fault: Fault | undefined;
}

export interface StepState {
  status: StepStatus;
  attempts: Attempt[];
  /** When the next attempt may start, while `waiting`. */
  retryAt: number;
  fault: Fault | undefined;
  /** Steps that it waits for and that have not settled. */
  unsettled: number;
  /** Of the settled ones, whether any was not skipped. */
  reached: boolean;
  /** A switch or an error route chose it. */
  chosen: boolean;
}

/** The root that expressions see. `steps` holds the outputs of settled steps. */
export interface RunScope {
  readonly trigger: TriggerEvent & { readonly name: string };
  readonly input: unknown;
  readonly steps: Record<string, unknown>;
  readonly run: { readonly id: string; readonly startedAt: number; readonly now: number };
  readonly chain: { readonly name: string; readonly version: number };
  readonly [root: string]: unknown;
}

export interface RunState {
  readonly plan: Plan;
  readonly start: RunStart;
  readonly scope: RunScope;
  readonly steps: readonly StepState[];
  /** Indexes of steps that may start, in topological order. */
  readonly ready: number[];
  status: 'running' | 'succeeded' | 'failed' | 'cancelled';
  /** Attempts under way. */
  active: number;
  /** Steps that have not settled. */
  open: number;
  /** Set when a step failed for good; no further step starts and the run fails once it is quiet. */
  fault: (Fault & { readonly step?: string }) | undefined;
  output: unknown;
  response: RunResponse | undefined;
  endedAt: number | undefined;
}
