/**
 * Guarantee: a value inside a {@link Secret} does not reach a log, a reply or an error by accident;
 * every way of printing gives `[secret]`.
 * Accepted weakness: whoever calls `reveal()` holds the plain value, and JavaScript cannot erase it.
 */

const SHOWN = '[secret]';

export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The plain value: for encryption and for the one reply that shows a new key. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  /** `console.log` in workerd and Node. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return SHOWN;
  }
}
