/** Errors of a call to an object, as the platform marks them. */

export const hasFlag = (thrown: unknown, flag: 'retryable' | 'overloaded'): boolean =>
  thrown instanceof Error && flag in thrown && Reflect.get(thrown, flag) === true;

/**
 * One more try after a call that failed, where the platform says that this may help. It must be safe to repeat.
 * @param call with a new stub: the one that failed stays broken
 */
export const callAgain = <T>(thrown: unknown, call: () => Promise<T>): Promise<T> =>
  hasFlag(thrown, 'retryable') ? call() : Promise.reject(thrown);
