/**
 * One request to the origin for all who ask for the same thing at the same time.
 *
 * Guarantee: within an isolate one request is under way for a key. When it fails, or the request that made it
 * is gone, one of those who wait takes its place.
 * Accepted weakness: isolates of one data centre do not wait for each other.
 *
 * Nothing of one request is awaited by another: the runtime forbids its streams and responses to cross. Each
 * waits for a promise of its own, which whoever asked resolves with plain bytes (workerd then goes on with it in
 * the request that made it). A timer of its own tells each that the one who asks still lives.
 */

import { LIMITS } from '../../core/limits.ts';

export type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  /** It cannot be shared: each asks for itself. */
  | { readonly kind: 'alone' }
  /** It failed, or nothing is heard of it. */
  | { readonly kind: 'lost' };

const LOST = { kind: 'lost' } as const;

export class Flight<T> {
  readonly #waiting = new Set<(outcome: Outcome<T>) => void>();
  readonly #beat: ReturnType<typeof setInterval>;
  readonly #leave: (flight: Flight<T>) => void;
  #heardAt = Date.now();

  constructor(leave: (flight: Flight<T>) => void) {
    this.#leave = leave;
    this.#beat = setInterval(() => (this.#heardAt = Date.now()), LIMITS.cacheBeatMilliseconds);
  }

  /** By the request that asks, once. */
  settle(outcome: Outcome<T>): void {
    clearInterval(this.#beat);
    this.#leave(this);
    for (const resolve of this.#waiting) resolve(outcome);
    this.#waiting.clear();
  }

  /** By any other request. */
  async wait(): Promise<Outcome<T>> {
    let listening: ReturnType<typeof setInterval> | undefined;
    const outcome = await new Promise<Outcome<T>>((resolve) => {
      this.#waiting.add(resolve);
      listening = setInterval(() => {
        if (Date.now() - this.#heardAt <= LIMITS.cacheSilenceMilliseconds) return;
        this.#leave(this);
        this.#waiting.delete(resolve);
        resolve(LOST);
      }, LIMITS.cacheSilenceMilliseconds / 2);
    });
    clearInterval(listening);
    return outcome;
  }
}

/** Flights by their key. */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** The flight to wait for, or undefined: then the caller is to {@link begin} one before it waits for anything. */
  find(key: string): Flight<T> | undefined {
    return this.#flights.get(key);
  }

  begin(key: string): Flight<T> {
    const flight = new Flight<T>((left) => {
      if (this.#flights.get(key) === left) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }
}
