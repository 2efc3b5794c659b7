/** Values that are often there already: a promise for each of them would be a large part of what a request costs. */

export type MaybePromise<T> = T | Promise<T>;

/** Continues with a value now where it is there, later where it is a promise. (A module that exports `then` is taken for a promise.) */
export function andThen<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
