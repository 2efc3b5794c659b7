/**
 * Outlier ejection: a target that fails gets no requests for a while, judged by what comes of requests. A state
 * machine without a clock; instants are unix milliseconds.
 */

export interface EjectionPolicy {
  /** Failures in a row that eject. */
  readonly failuresInARow: number;
  /** Or their share in a window of at least so many calls. */
  readonly failureShare: number;
  readonly windowCalls: number;
  readonly windowMilliseconds: number;
  /** The first ejection; each further one is longer by as much, up to the longest. */
  readonly baseMilliseconds: number;
  readonly longestMilliseconds: number;
  /** Part of the targets that may be out at a time, 0 to 1; one may always be. */
  readonly largestShare: number;
}

export interface TargetRecord {
  failuresInARow: number;
  windowStartedAt: number;
  calls: number;
  failures: number;
  ejectedUntil: number;
  /** How often it was ejected, less one for each window that it stood well since. */
  ejections: number;
  lowerAt: number;
}

export const createTargetRecord = (): TargetRecord => ({
  failuresInARow: 0,
  windowStartedAt: 0,
  calls: 0,
  failures: 0,
  ejectedUntil: 0,
  ejections: 0,
  lowerAt: 0,
});

export const isEjected = (record: TargetRecord, now: number): boolean => record.ejectedUntil > now;

/** Notes what came of a call; true where the target is ejected by it. */
export function recordCall(
  policy: EjectionPolicy,
  records: readonly TargetRecord[],
  index: number,
  failed: boolean,
  now: number,
): boolean {
  const record = records[index];
  // What was under way when it was ejected is no news.
  if (record === undefined || isEjected(record, now)) return false;
  if (now - record.windowStartedAt >= policy.windowMilliseconds) startWindow(record, now);
  record.calls++;
  if (!failed) {
    record.failuresInARow = 0;
    if (record.ejections > 0 && now >= record.lowerAt) {
      record.ejections--;
      record.lowerAt = now + policy.windowMilliseconds;
    }
    return false;
  }
  record.failures++;
  record.failuresInARow++;
  const { failuresInARow, calls, failures } = record;
  const share = calls >= policy.windowCalls && failures >= policy.failureShare * calls;
  if (!share && failuresInARow < policy.failuresInARow) return false;
  const out = records.filter((other) => isEjected(other, now)).length;
  if (out > 0 && out + 1 > policy.largestShare * records.length) return false;
  record.ejections++;
  record.ejectedUntil = now + Math.min(policy.baseMilliseconds * record.ejections, policy.longestMilliseconds);
  record.lowerAt = record.ejectedUntil + policy.windowMilliseconds;
  startWindow(record, record.ejectedUntil);
  return true;
}

function startWindow(record: TargetRecord, now: number): void {
  record.windowStartedAt = now;
  record.calls = 0;
  record.failures = 0;
  // Failures in a row end with an ejection, not with a window.
  if (record.ejectedUntil === now) record.failuresInARow = 0;
}
