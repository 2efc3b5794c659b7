/**
 * Bounds how often an address may fail, by the generic cell rate algorithm: a burst at once, then one each
 * period. In the memory of an isolate, so an attacker has that much in each isolate that it reaches.
 */

export interface FailurePolicy {
  /** Failures at once, after a rest. */
  readonly burst: number;
  readonly periodMilliseconds: number;
  /** Addresses that are remembered; of more, those that have rested are forgotten first. */
  readonly addresses: number;
}

export class Failures {
  readonly #policy: FailurePolicy;
  /** The theoretical arrival time of each address, unix milliseconds; the one that failed last stands last. */
  readonly #arrivals = new Map<string, number>();

  constructor(policy: FailurePolicy) {
    this.#policy = policy;
  }

  /** Notes one. Milliseconds until the next may come where this was one too many, else undefined. */
  note(address: string, now: number): number | undefined {
    const { burst, periodMilliseconds, addresses } = this.#policy;
    const arrival = Math.max(this.#arrivals.get(address) ?? now, now);
    const wait = arrival - now - (burst - 1) * periodMilliseconds;
    if (wait > 0) return wait;
    this.#arrivals.delete(address);
    if (this.#arrivals.size >= addresses) {
      const [oldest] = this.#arrivals.keys();
      if (oldest !== undefined) this.#arrivals.delete(oldest);
    }
    this.#arrivals.set(address, arrival + periodMilliseconds);
    return undefined;
  }
}
