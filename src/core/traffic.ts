/** Traffic as figures that add up: counts by class of status, and a histogram of latency that merges. */

/** Upper bounds of the buckets in milliseconds; one more bucket holds what is slower. */
export const LATENCY_BOUNDS_MILLISECONDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500] as const;

export interface Figures {
  requests: number;
  /** By class of status: 1xx, 2xx, 3xx, 4xx, 5xx. */
  readonly statuses: number[];
  totalMilliseconds: number;
  /** One longer than the bounds. */
  readonly buckets: number[];
}

/** What one minute brought to one target, version and caller. */
export interface Tally extends Figures {
  /** Unix milliseconds of its beginning. */
  readonly at: number;
  /** `chain:<name>` or `route:<name>`. */
  readonly target: string;
  /** Empty where it has none. */
  readonly version: string;
  /** `key:<id>`, another identity, or empty for nobody known. */
  readonly caller: string;
}

export const noFigures = (): Figures => ({
  requests: 0,
  statuses: [0, 0, 0, 0, 0],
  totalMilliseconds: 0,
  buckets: Array.from({ length: LATENCY_BOUNDS_MILLISECONDS.length + 1 }, () => 0),
});

export function count(figures: Figures, status: number, milliseconds: number): void {
  figures.requests++;
  figures.totalMilliseconds += milliseconds;
  raise(figures.statuses, Math.min(Math.max(Math.floor(status / 100), 1), 5) - 1, 1);
  let bucket = 0;
  while (bucket < LATENCY_BOUNDS_MILLISECONDS.length && milliseconds > (LATENCY_BOUNDS_MILLISECONDS[bucket] ?? 0)) {
    bucket++;
  }
  raise(figures.buckets, bucket, 1);
}

export function merge(into: Figures, from: Figures): void {
  into.requests += from.requests;
  into.totalMilliseconds += from.totalMilliseconds;
  for (const [index, value] of from.statuses.entries()) raise(into.statuses, index, value);
  for (const [index, value] of from.buckets.entries()) raise(into.buckets, index, value);
}

const raise = (counts: number[], index: number, by: number): void => void (counts[index] = (counts[index] ?? 0) + by);

/**
 * The latency that a share of the requests did not exceed, in milliseconds: interpolated inside its bucket,
 * so it is as exact as the bucket is narrow. Undefined without requests; the last bound for what is slower.
 */
export function quantile({ requests, buckets }: Figures, share: number): number | undefined {
  if (requests === 0) return undefined;
  let left = share * requests;
  for (const [index, inside] of buckets.entries()) {
    const upper = LATENCY_BOUNDS_MILLISECONDS[index];
    if (upper === undefined) break;
    if (left <= inside) {
      const lower = index === 0 ? 0 : (LATENCY_BOUNDS_MILLISECONDS[index - 1] ?? 0);
      return inside === 0 ? upper : lower + (upper - lower) * (left / inside);
    }
    left -= inside;
  }
  return LATENCY_BOUNDS_MILLISECONDS.at(-1);
}
