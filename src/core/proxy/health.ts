/** Active checks: a verdict changes only after several results in a row, so that one lost packet ejects nobody. */

export interface Thresholds {
  /** Results in a row that change the verdict. */
  readonly healthy: number;
  readonly unhealthy: number;
}

export interface Verdict {
  healthy: boolean;
  /** Results in a row that speak against the verdict. */
  against: number;
}

/** A target is healthy until checks say otherwise. */
export const createVerdict = (healthy = true): Verdict => ({ healthy, against: 0 });

/** Notes one result; true where the verdict changed. */
export function judge(verdict: Verdict, passed: boolean, thresholds: Thresholds): boolean {
  if (passed === verdict.healthy) {
    verdict.against = 0;
    return false;
  }
  verdict.against++;
  if (verdict.against < (verdict.healthy ? thresholds.unhealthy : thresholds.healthy)) return false;
  verdict.healthy = passed;
  verdict.against = 0;
  return true;
}
