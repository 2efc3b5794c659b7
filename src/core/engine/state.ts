/**
 * The state of one run, as the engine keeps it in memory. Only `engine.ts` changes it; drivers read it.
 * It holds nothing that cannot be built again from the plan, the start and the journal.
 */

import type { Plan, StepPlan } from '../chain/plan.ts';
import type { Fault } from '../errors.ts';
import type { RANDOM } from '../expression/index.ts';
import type { StepStatus, TriggerType } from './record.ts';

/** Who started a run, once that is proved; it holds no credential. Expressions see it as `trigger.identity`. */
export interface RunIdentity {
  readonly kind: 'key' | 'jwt' | 'hmac' | 'basic' | 'mtls' | 'access';
  readonly id: string;
  /** The end customer that it acts for, where one is known. */
  readonly tenant?: string | undefined;
  readonly scopes: readonly string[];
  /** Of a token. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** What started a run. For triggers without HTTP, `params`, `query` and `headers` are empty. */
export interface TriggerEvent {
  readonly type: TriggerType;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** Unix time in milliseconds. */
  readonly receivedAt: number;
  /** Gateways that the request had passed before this one; absent for none. */
  readonly hops?: number | undefined;
  /** Absent where nobody proved who they are; a called chain has that of its caller. */
  readonly identity?: RunIdentity | undefined;
  /** That of the identity, for short. */
  readonly tenant?: string | undefined;
}

/** An event that came by no request. @param receivedAt unix milliseconds */
export const requestlessEvent = (type: TriggerType, body: unknown, receivedAt: number): TriggerEvent => ({
  type,
  params: {},
  query: {},
  headers: {},
  body,
  receivedAt,
});

export interface RunStart {
  readonly id: string;
  readonly version: number;
  /** Name of the trigger in the chain document; `manual` where it was started by hand. */
  readonly trigger: string;
  readonly event: TriggerEvent;
  readonly input: unknown;
}

/** A step that succeeded, and how it is undone. */
export interface Undoable {
  readonly frame: Frame;
  readonly step: StepPlan;
  readonly at: number;
  /** The compensation, once it has begun. */
  undo: Frame | undefined;
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
  /** Whether it waits, before its attempt, for a provider that is paused. */
  held: boolean;
  /** What a `flow.wait` or `flow.call` waits for, while `waiting`. */
  wait: Wait | undefined;
  /** The items of a `flow.each`, while it runs and after. */
  fan: Fan | undefined;
}

/** `until`: unix milliseconds; for an event, an approval or a call, when the waiting is given up. */
export type Wait =
  | { readonly kind: 'time'; readonly until: number }
  | { readonly kind: 'event'; readonly event: string; readonly key: string | undefined; readonly until: number }
  | { readonly kind: 'approval'; readonly message: string | undefined; readonly until: number }
  | {
      readonly kind: 'call';
      readonly chain: string;
      readonly input: unknown;
      /** Idempotency key: calling again with it is calling once. */
      readonly key: string;
      readonly until: number;
    };

/** The public part of what an item of a `flow.each` failed with. */
export type ItemError = Pick<Fault, 'code' | 'message' | 'data'>;

/** What came of one item of a `flow.each`. */
export type ItemResult = { readonly index: number } & ({ readonly output: unknown } | { readonly error: ItemError });

/** The work of a `flow.each`: one frame for each item that is under way. */
export interface Fan {
  readonly items: readonly unknown[];
  readonly concurrency: number;
  readonly onItemError: 'stop' | 'continue' | 'collect';
  /** The item that starts next. */
  next: number;
  active: number;
  /** By item; null where it failed or was not started. */
  readonly results: unknown[];
  readonly errors: { readonly index: number; readonly error: ItemError }[];
  /** No further item starts. */
  stopped: boolean;
  /** By item, 1 for those that other isolates have settled. */
  settled?: Uint8Array;
  /** How it ended is in the journal from before a restart. */
  recorded?: boolean;
  /** An item was given up before its end, because something else had failed. */
  cut?: boolean;
}

/** The root that expressions see. `steps` holds the outputs of settled steps. */
export interface RunScope {
  readonly trigger: TriggerEvent & { readonly name: string };
  readonly input: unknown;
  readonly steps: Record<string, unknown>;
  readonly run: { readonly id: string; readonly startedAt: number; readonly now: number };
  readonly chain: { readonly name: string; readonly version: number };
  readonly [RANDOM]?: (() => number) | undefined;
  readonly [root: string]: unknown;
}

/**
 * Steps that are executed together in one scope: those of the chain, those inside a `flow.each` for one
 * item, or one compensation.
 */
export interface Frame {
  readonly graph: readonly StepPlan[];
  readonly scope: RunScope;
  readonly steps: readonly StepState[];
  /** Indexes of steps that may start, in topological order. */
  readonly ready: number[];
  /** Attempts of the whole run that hold one of its places; shared by its frames. */
  readonly places: { taken: number };
  /** What its steps are called in the journal, in front of their index; empty for the chain's own. */
  readonly prefix: string;
  /** Where it stands among the items of its `flow.each`, e.g. `17` or `3.17`; `0` for the chain's own. */
  readonly item: string;
  /** Attempts under way. */
  active: number;
  /** Steps that have not settled. */
  open: number;
  /** Set when a step failed for good; no further step starts and the frame fails once it is quiet. */
  fault: (Fault & { readonly step?: string }) | undefined;
}

export interface RunState extends Frame {
  readonly plan: Plan;
  readonly start: RunStart;
  status: 'running' | 'succeeded' | 'failed' | 'cancelled';
  /** Steps that succeeded and can be undone. */
  readonly undoable: Undoable[];
  output: unknown;
  response: RunResponse | undefined;
  endedAt: number | undefined;
}
