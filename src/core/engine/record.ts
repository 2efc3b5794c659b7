/** A run as it is shown: by the management API, in lists, later in the console. */

import type { Fault } from '../errors.ts';
import type { Mode } from '../chain/plan.ts';

export const RUN_STATUSES = ['queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled'] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

export const STEP_STATUSES = ['pending', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'ambiguous'] as const;
export type StepStatus = (typeof STEP_STATUSES)[number];

export const TRIGGER_TYPES = ['http', 'webhook', 'schedule', 'queue', 'subscription', 'manual', 'chain'] as const;
export type TriggerType = (typeof TRIGGER_TYPES)[number];

/** The public part of a fault. */
export type ShownFault = Pick<Fault, 'code' | 'message' | 'status' | 'issues' | 'data'> & { readonly step?: string };

export interface AttemptRecord {
  /** From 1. */
  readonly attempt: number;
  /** Unix time in milliseconds. */
  readonly startedAt: number;
  readonly endedAt: number | undefined;
  readonly error: ShownFault | undefined;
}

export interface StepRecord {
  readonly id: string;
  readonly use: string;
  readonly status: StepStatus;
  readonly attempts: readonly AttemptRecord[];
  readonly output: unknown;
  readonly error: ShownFault | undefined;
  /** What the step waits for, while it does. */
  readonly waitingFor?: WaitRecord;
  /** The items of a `flow.each`. */
  readonly items?: { readonly count: number; readonly done: number; readonly failed: number };
  /** Its compensation, once that has begun. */
  readonly undo?: {
    readonly status: StepStatus;
    readonly attempts: readonly AttemptRecord[];
    readonly error: ShownFault | undefined;
  };
}

export interface WaitRecord {
  /** `connection`: its provider fails, and is left alone for a while. */
  readonly kind: 'time' | 'event' | 'approval' | 'call' | 'connection';
  /** Unix time in milliseconds. */
  readonly until: number;
  readonly event?: string;
  readonly key?: string;
  readonly chain?: string;
  readonly connection?: string;
  readonly message?: string;
}

/** What lists show; kept in D1. Times are unix milliseconds. */
export interface RunSummary {
  readonly id: string;
  readonly chain: string;
  readonly version: number;
  readonly trigger: string;
  readonly triggerType: TriggerType;
  readonly mode: Mode;
  readonly status: RunStatus;
  readonly createdAt: number;
  readonly endedAt: number | undefined;
  readonly error: ShownFault | undefined;
}

export interface RunRecord extends RunSummary {
  readonly input: unknown;
  readonly output: unknown;
  readonly steps: readonly StepRecord[];
}
