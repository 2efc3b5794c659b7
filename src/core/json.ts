/** A JSON value, as every document, input and output is one. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type JsonObject = { readonly [key: string]: Json };

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * `new Bare()` has no prototype, so nothing is found in it that was not put there. Unlike what
 * `Object.create(null)` gives it is no hash table, which takes ten times as long to fill and copy.
 */
export const Bare = ((): new <T = unknown>() => Record<string, T> => {
  const constructor = function (): void {};
  constructor.prototype = Object.create(null);
  return constructor as unknown as new <T>() => Record<string, T>;
})();

/** Whether a text has that few bytes in UTF-8, which has one to three for each of its units. */
export const fits = (text: string, limitBytes: number): boolean =>
  text.length * 3 <= limitBytes ||
  (text.length <= limitBytes && new TextEncoder().encode(text).byteLength <= limitBytes);
