/** Validation: RFC 9111, section 4.3, and the conditions of RFC 9110, section 13. */

import { parseHttpDate } from './directives.ts';
import { storedFields, type Fields } from './storing.ts';

const CONDITIONS = ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range'];

/** Headers of a request that would make its answer something else than the whole representation. */
export function withoutConditions(headers: Headers): Headers {
  const plain = new Headers(headers);
  for (const name of CONDITIONS) plain.delete(name);
  return plain;
}

/** Section 4.3.1. */
export function validating(headers: Headers, stored: Headers): Headers {
  const asking = withoutConditions(headers);
  const etag = stored.get('etag');
  const modified = stored.get('last-modified');
  if (etag !== null) asking.set('if-none-match', etag);
  if (modified !== null) asking.set('if-modified-since', modified);
  return asking;
}

const opaque = (etag: string): string => etag.trim().replace(/^W\//, '');

/** RFC 9110, section 13.1.2: by weak comparison, over the whole list. */
function matchesAny(list: string, etag: string): boolean {
  if (list.trim() === '*') return true;
  return (list.match(/(?:W\/)?"[^"]*"/g) ?? []).some((member) => opaque(member) === opaque(etag));
}

/** Section 4.3.2: whether the caller has what is stored already, so that a 304 answers it. */
export function isNotModified(request: Headers, stored: Headers): boolean {
  const list = request.get('if-none-match');
  const etag = stored.get('etag');
  // If-Modified-Since is ignored beside it.
  if (list !== null) return etag !== null && matchesAny(list, etag);
  const since = parseHttpDate(request.get('if-modified-since'));
  const modified = parseHttpDate(stored.get('last-modified'));
  return since !== undefined && modified !== undefined && modified <= since;
}

/** Section 4.3.3: whether a 304 speaks of the response that is stored. */
export function speaksOf(fresh: Headers, stored: Headers): boolean {
  const [ours, theirs] = [stored.get('etag'), fresh.get('etag')];
  return theirs === null || (ours !== null && opaque(ours) === opaque(theirs));
}

/** They describe the stored body, which a 304 leaves as it is (section 3.2). */
const OF_THE_BODY: ReadonlySet<string> = new Set(['content-encoding', 'content-type', 'content-range']);

/** Section 4.3.4: the stored fields, brought up to date by those of the 304. */
export function updatedFields(stored: Fields, fresh: Headers): Fields {
  const newer = storedFields(fresh).filter(([name]) => !OF_THE_BODY.has(name));
  const replaced = new Set(newer.map(([name]) => name));
  return [...stored.filter(([name]) => !replaced.has(name)), ...newer];
}

/** Headers that a 304 repeats (RFC 9110, section 15.4.5). */
export const NOT_MODIFIED_FIELDS: ReadonlySet<string> = new Set([
  ...['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary', 'last-modified'],
]);

/** First and last byte. */
export type ByteRange = readonly [first: number, last: number];

/** RFC 9110, section 14.2. Undefined: the range is to be ignored; `unsatisfiable`: a 416. */
export function rangeOf(request: Headers, stored: Headers, size: number): ByteRange | 'unsatisfiable' | undefined {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.get('range')?.trim() ?? '') ?? [];
  if ((from === '' && to === '') || !isRangeOf(request.get('if-range'), stored)) return undefined;
  if (from === '') return Number(to) === 0 || size === 0 ? 'unsatisfiable' : [Math.max(0, size - Number(to)), size - 1];
  const [first, last] = [Number(from), to === '' ? size - 1 : Math.min(Number(to), size - 1)];
  if (to !== '' && Number(to) < first) return undefined;
  return first >= size ? 'unsatisfiable' : [first, last];
}

/** RFC 9110, section 13.1.5: a strong comparison; a date only where it is the very same. */
function isRangeOf(condition: string | null, stored: Headers): boolean {
  if (condition === null) return true;
  if (condition.startsWith('"')) return condition === stored.get('etag');
  return parseHttpDate(condition) !== undefined && condition === stored.get('last-modified');
}
