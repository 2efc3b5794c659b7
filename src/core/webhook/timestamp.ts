/** When a delivery was signed, and whether that is near enough. */

import { unverified } from './proof.ts';
import { nameOf, textAt, type Reading } from './request.ts';
import type { TimestampPlace } from './scheme.ts';
import { ok, type Result } from '../errors.ts';

const SECONDS = /^\d{10}$/;
const MILLISECONDS = /^\d{13}$/;
/** RFC 3339, section 5.6: with a zone, without which it would be local time. */
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;
/** RFC 9110, section 5.6.7. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** Unix milliseconds. Digits only: `Number` would also take signs, spaces, exponents and `Infinity`. */
const UNITS = {
  seconds: (text: string) => (SECONDS.test(text) ? Number(text) * 1000 : Number.NaN),
  milliseconds: (text: string) => (MILLISECONDS.test(text) ? Number(text) : Number.NaN),
  iso: (text: string) => (ISO.test(text) ? Date.parse(text) : Number.NaN),
  any: (text: string) =>
    SECONDS.test(text)
      ? Number(text) * 1000
      : MILLISECONDS.test(text)
        ? Number(text)
        : ISO.test(text) || HTTP_DATE.test(text)
          ? Date.parse(text)
          : Number.NaN,
} as const;

/** The text as it is signed, after its age has been checked. */
export function readTimestamp(place: TimestampPlace, entries: readonly string[], reading: Reading): Result<string> {
  const { from, unit, toleranceSeconds } = place;
  let text: string | undefined;
  if ('entry' in from) {
    const found = entries.filter((entry) => entry.startsWith(from.entry));
    if (found.length > 1) return unverified(`${whereOf(from)} is malformed: it stands there more than once.`);
    text = found[0]?.slice(from.entry.length);
  } else text = textAt(from, reading);
  if (text === undefined) return place.optional === true ? ok('') : unverified(`${whereOf(from)} is missing.`);
  const milliseconds = UNITS[unit](text);
  if (Number.isNaN(milliseconds)) return unverified(`${whereOf(from)} is malformed.`);
  if (toleranceSeconds !== undefined && !isNear(milliseconds, reading.request.nowMilliseconds, toleranceSeconds)) {
    return unverified(`The timestamp is outside the tolerance of ${toleranceSeconds} s.`);
  }
  return ok(text);
}

const whereOf = (from: TimestampPlace['from']): string =>
  'entry' in from ? `The timestamp (${from.entry}…) of the signature header` : nameOf(from);

/** In whole seconds, and written so that a NaN on either side refuses. */
export function isNear(milliseconds: number, nowMilliseconds: number, toleranceSeconds: number): boolean {
  const ageSeconds = Math.floor(nowMilliseconds / 1000) - Math.floor(milliseconds / 1000);
  return Math.abs(ageSeconds) <= toleranceSeconds;
}
