/** A compiled chain version: what the engine runs. Immutable, shared by all runs of an isolate. */

import type { Template } from '../expression/types.ts';
import type { Json } from '../json.ts';
import type { Issue } from '../errors.ts';
import type { Strategy } from '../policy/flow.ts';
import type { Policies } from '../route/policies.ts';
import type { ActionFacts } from './catalogue.ts';
import type { ConnectionPlan, ConnectionRef } from './connection.ts';
import type { Portability } from './portable.ts';

export type Mode = 'inline' | 'durable';

export interface RetryPolicy {
  /** Attempts after the first. */
  readonly limit: number;
  readonly delayMilliseconds: number;
  readonly backoff: 'constant' | 'linear' | 'exponential';
  /** Spreads each delay over its upper half, so that failed runs do not return together. */
  readonly jitter: boolean;
  readonly capMilliseconds: number;
  /** The author wrote `retries` on the step, and so allows an `external` effect to be tried again. */
  readonly declared: boolean;
  /** Over `error` and all roots; a failure for which it is false is not tried again. */
  readonly if: Template | undefined;
}

export type OnError = { readonly kind: 'stop' | 'continue' } | { readonly kind: 'step'; readonly step: number };

export interface SwitchCase {
  readonly when: Template;
  /** Indexes of the steps that it chooses. */
  readonly then: readonly number[];
}

/** The inside of a `flow.each`. */
export interface EachPlan extends Portability {
  readonly steps: readonly StepPlan[];
  /** The root by which expressions inside call the item. */
  readonly as: string;
  /** What an item gives. Default: the output of its only step, or the outputs of all by id. */
  readonly output: Template | undefined;
}

export interface StepPlan {
  readonly id: string;
  /** Its ids from the outside in, e.g. `items.reserve`. */
  readonly path: string;
  /** Position in `Plan.steps`, which is in topological order: a step stands after all it waits for. */
  readonly index: number;
  readonly action: ActionFacts;
  readonly connection: ConnectionPlan | undefined;
  readonly if: Template | undefined;
  readonly with: Template;
  /** What the action evaluates itself, by the fields of `with` that it stands in; not in {@link with}. */
  readonly own: Readonly<Record<string, Template>>;
  /** `with` as it stands in the document. */
  readonly written: unknown;
  /** Indexes of the steps that must have settled: `after`, references, and what is in `gates`. */
  readonly after: readonly number[];
  /** Indexes of the steps waiting for this one. */
  readonly before: readonly number[];
  /**
   * Switches and error routes that may choose this step. Not empty: it runs only when chosen by one
   * of them, and is skipped otherwise.
   */
  readonly gates: readonly number[];
  readonly switch: { readonly cases: readonly SwitchCase[]; readonly otherwise: readonly number[] } | undefined;
  readonly each: EachPlan | undefined;
  /** Runs when the run fails after this step has succeeded. */
  readonly undo: StepPlan | undefined;
  readonly onError: OnError;
  readonly retries: RetryPolicy;
  readonly timeoutMilliseconds: number;
  /** Never journaled: a pure action whose expressions are deterministic is recomputed on recovery. */
  readonly pure: boolean;
}

export type TriggerPlan = { readonly name: string; readonly input: Template | undefined } & (
  | {
      readonly type: 'http';
      readonly method: string;
      readonly path: string;
      readonly policies: Policies;
      /** `result`: the caller waits for the run; `accepted`: 202 with the run's URL. */
      readonly respond: 'result' | 'accepted';
    }
  | {
      readonly type: 'webhook';
      readonly source: string;
      readonly events: readonly string[] | undefined;
      readonly filter: Template | undefined;
    }
  | {
      readonly type: 'schedule';
      readonly cron: string;
      readonly timezone: string;
      readonly missed: 'skip' | 'latest' | 'all';
    }
  | { readonly type: 'queue'; readonly queue: string; readonly filter: Template | undefined }
  | {
      readonly type: 'subscription';
      /** `connector.subscription`. */
      readonly to: string;
      readonly connection: ConnectionRef | undefined;
      readonly with: Readonly<Record<string, unknown>>;
      readonly filter: Template | undefined;
    }
  | { readonly type: 'manual' }
);

/** Flow control. A `key` that is undefined stands for all runs of the chain. */
export interface FlowPlan {
  readonly concurrency:
    { readonly limit: number; readonly strategy: Strategy; readonly key: Template | undefined } | undefined;
  readonly throttle:
    | {
        readonly limit: number;
        readonly periodMilliseconds: number;
        readonly burst: number;
        readonly key: Template | undefined;
      }
    | undefined;
  readonly debounce:
    | {
        readonly periodMilliseconds: number;
        readonly maximumMilliseconds: number | undefined;
        readonly key: Template | undefined;
      }
    | undefined;
  readonly idempotency: { readonly periodMilliseconds: number; readonly key: Template | undefined } | undefined;
  readonly order: { readonly key: Template | undefined } | undefined;
  readonly priority: Template | undefined;
  /** All keys are one expression, so that runs with different keys need not meet. */
  readonly spread: boolean;
}

export interface Plan {
  readonly name: string;
  readonly mode: Mode;
  readonly triggers: readonly TriggerPlan[];
  /** Checks an input; an empty list of issues means valid. `undefined`: any input is. */
  readonly validateInput: ((input: unknown) => readonly Issue[]) | undefined;
  readonly steps: readonly StepPlan[];
  readonly output: Template | undefined;
  /** Whether any step has an `undo`. */
  readonly undoes: boolean;
  /** The chain that is started when a run fails. */
  readonly onFailure: string | undefined;
  readonly flow: FlowPlan | undefined;
  readonly timeoutMilliseconds: number;
  /** The document that it was compiled from. */
  readonly document: Json;
}
