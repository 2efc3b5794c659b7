/**
 * Names of topics and filters (MQTT 5, section 4.7).
 *
 * Guarantee: a wildcard stands in a filter only where its author wrote it, so that no value of the input widens what
 * is read; a name to publish to has none.
 * Accepted weakness: a value may hold `/` and so name a deeper topic; the access list of the broker is what bounds it.
 */

import * as v from 'valibot';

/** Of a topic in UTF-8, which goes with its length in two bytes. */
const NAME_BYTES = 65_535;
const isSized = (text: string): boolean => new TextEncoder().encode(text).length <= NAME_BYTES;

export const topicSchema = v.pipe(
  v.string(),
  v.minLength(1),
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  v.regex(/^[^+#\u0000]*$/, 'A topic must not have "+", "#" or NUL: these are for filters.'),
  v.check(isSized, `A topic must not have more than ${NAME_BYTES} bytes.`),
);

/** Each wildcard a level of its own, `#` the last; `$share/group/` before it is one of the broker. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const FILTER = /^(?:(?:\+|[^+#/\u0000]*)\/)*(?:\+|#|[^+#/\u0000]*)$/;

export const filterSchema = v.pipe(
  v.string(),
  v.minLength(1),
  v.regex(FILTER, 'In a filter "+" is a whole level and "#" the last one, as in "devices/+/state" or "devices/#".'),
  v.check(isSized, `A filter must not have more than ${NAME_BYTES} bytes.`),
);

const countWildcards = (text: string): number => text.replace(/[^+#]/g, '').length;

/** @param written the filter as its author wrote it, expressions and all */
export const hasForeignWildcards = (filter: string, written: unknown): boolean => {
  const own = typeof written === 'string' ? written.replace(/\{\{[\s\S]*?\}\}/g, '') : filter;
  return countWildcards(filter) > countWildcards(own);
};
