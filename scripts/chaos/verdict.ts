/** What a campaign has seen, held against what the gateway promises. */

/** A request that came in. Instants are monotonic milliseconds of the campaign's own process. */
export interface Receipt {
  readonly run: string;
  readonly step: string;
  readonly key: string | undefined;
  readonly at: number;
}

/** What the receiver did once for a key; `token` is its reply. */
export interface Effect {
  readonly run: string;
  readonly step: string;
  readonly key: string | undefined;
  readonly token: number;
}

/** What the management API says of a run. */
export interface RunView {
  readonly id: string;
  readonly status: string;
  readonly output: unknown;
  readonly createdAt: string;
  readonly endedAt: string | null;
  readonly steps: readonly {
    readonly id: string;
    readonly status: string;
    readonly output: unknown;
    readonly attempts: readonly unknown[];
  }[];
}

export interface Evidence {
  /** The effects of the chain, in order; its output are their tokens. */
  readonly steps: readonly string[];
  /** Runs whose 202 was received. */
  readonly accepted: readonly string[];
  /** Accepted runs as they were in the end; one that is missing was not found. */
  readonly records: ReadonlyMap<string, RunView>;
  readonly receipts: readonly Receipt[];
  readonly effects: readonly Effect[];
  /** By {@link stepKey}, when the API had first shown the result of a step. */
  readonly committed: ReadonlyMap<string, number>;
}

export interface Violation {
  readonly promise: keyof typeof PROMISES;
  readonly run: string;
  readonly detail: string;
}

export const stepKey = (run: string, step: string): string => `${run}/${step}`;

type Finding = readonly [run: string, detail: string];

const PROMISES = {
  'every accepted run succeeds': ({ accepted, records }: Evidence) =>
    accepted.flatMap((run): Finding[] => {
      const status = records.get(run)?.status ?? 'lost';
      return status === 'succeeded' ? [] : [[run, status]];
    }),

  'no committed step is computed again': ({ receipts, committed }: Evidence) =>
    receipts.flatMap(({ run, step, at }): Finding[] => {
      const shownAt = committed.get(stepKey(run, step));
      if (shownAt === undefined || at <= shownAt) return [];
      return [[run, `${step}: a request ${(at - shownAt).toFixed(0)} ms after its result was shown`]];
    }),

  'no effect happens twice': ({ effects }: Evidence) =>
    [...grouped(effects)].flatMap(([, [first, ...more]]): Finding[] =>
      first === undefined || more.length === 0
        ? []
        : [[first.run, `${first.step}: ${more.length + 1} effects, keys ${[first, ...more].map(({ key }) => key)}`]],
    ),

  'every request was noted before it was sent': ({ receipts, records }: Evidence) => {
    const requests = grouped(receipts);
    return [...records.values()].flatMap((record) =>
      record.steps.flatMap((step): Finding[] => {
        const count = requests.get(stepKey(record.id, step.id))?.length ?? 0;
        const noted = step.attempts.length;
        return count <= noted ? [] : [[record.id, `${step.id}: ${count} requests, ${noted} attempts`]];
      }),
    );
  },

  'a run gives the replies that its own effects had': ({ steps, effects, records }: Evidence) => {
    const tokens = new Map(effects.map(({ run, step, token }) => [stepKey(run, step), token]));
    return [...records.values()].flatMap(({ id, status, output }): Finding[] => {
      const right = JSON.stringify(steps.map((step) => tokens.get(stepKey(id, step)) ?? null));
      const given = JSON.stringify(output);
      return status !== 'succeeded' || given === right ? [] : [[id, `${given} instead of ${right}`]];
    });
  },
} as const satisfies Record<string, (evidence: Evidence) => readonly Finding[]>;

export function judge(evidence: Evidence): readonly Violation[] {
  return (Object.keys(PROMISES) as (keyof typeof PROMISES)[]).flatMap((promise) =>
    PROMISES[promise](evidence).map(([run, detail]) => ({ promise, run, detail })),
  );
}

/** By {@link stepKey}. */
export function grouped<T extends { readonly run: string; readonly step: string }>(
  items: readonly T[],
): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = stepKey(item.run, item.step);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
