/**
 * How fast a target answers: a moving average that rises at once and falls slowly (peak EWMA), so that one slow
 * answer counts before many have waited. It falls with time alone, too: a target that was slow is tried again.
 *
 * It does not count requests under way, as others do: the platform drops the code of a request whose caller
 * left, and a count that is never lowered would be held against the target for good.
 */

export interface Latency {
  milliseconds: number;
  at: number;
}

/** After this time without news, a third is left of what was known. */
const DECAY_MILLISECONDS = 10_000;

export const createLatency = (): Latency => ({ milliseconds: 0, at: 0 });

export const latencyAt = ({ milliseconds, at }: Latency, now: number): number =>
  milliseconds * Math.exp(-Math.max(0, now - at) / DECAY_MILLISECONDS);

export function addLatency(latency: Latency, milliseconds: number, now: number): void {
  const rest = Math.exp(-Math.max(0, now - latency.at) / DECAY_MILLISECONDS);
  const average = latency.milliseconds * rest + milliseconds * (1 - rest);
  latency.milliseconds = milliseconds > latency.milliseconds ? milliseconds : average;
  latency.at = now;
}
