/** The generic cell rate algorithm: one attempt every interval, and a burst after a rest. */

export interface RateLimit {
  readonly limit: number;
  readonly periodSeconds: number;
  readonly burst: number;
}

/** Milliseconds from one attempt to the next. */
export const intervalOf = ({ limit, periodSeconds }: RateLimit): number => (periodSeconds * 1_000) / limit;

/** When the next attempt may begin, in unix milliseconds. @param arrival what {@link pass} gave last, or 0 */
export const opensAt = (rate: RateLimit, arrival: number): number =>
  Math.ceil(arrival - (rate.burst - 1) * intervalOf(rate));

/** The theoretical arrival time of the attempt after the one that begins now. */
export const pass = (rate: RateLimit, arrival: number, now: number): number =>
  Math.max(arrival, now) + intervalOf(rate);
