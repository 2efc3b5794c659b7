/** What a chain declares of its flow, for one run: its keys are evaluated, its periods are milliseconds. */

export type Strategy = 'queue' | 'drop' | 'cancel-oldest';

export interface Flow {
  readonly chain: string;
  readonly concurrency?: { readonly key: string; readonly limit: number; readonly strategy: Strategy };
  readonly throttle?: {
    readonly key: string;
    readonly limit: number;
    readonly periodMilliseconds: number;
    readonly burst: number;
  };
  readonly debounce?: {
    readonly key: string;
    readonly periodMilliseconds: number;
    readonly maximumMilliseconds?: number | undefined;
  };
  readonly idempotency?: { readonly key: string; readonly periodMilliseconds: number };
  readonly order?: { readonly key: string };
  /** Larger first. */
  readonly priority: number;
}

/** A flow with what must be known of its run after a restart. */
export interface HeldFlow extends Flow {
  /** Rises in the order of acceptance. */
  readonly sequence: number;
  /** Of a debounced run: when its burst began, and when it may run. Unix milliseconds. */
  readonly burst?: { readonly since: number; readonly until: number };
  /** Unix milliseconds; missing while the run waits for its turn. */
  readonly startedAt?: number;
}

/** Why a run ends without having had its turn, or in favour of a newer one. */
export type Verdict = 'dropped' | 'superseded';
