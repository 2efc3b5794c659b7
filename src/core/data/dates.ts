/**
 * Points in time, read and written in other forms.
 *
 * Guarantee: a date that there is not (30 February, an hour that a clock skips in spring) is refused, never moved.
 * A local time that comes twice, in autumn, is the earlier one. Time zones are those of the runtime's `Intl`.
 */

import { fail, ok, type Result } from '../errors.ts';

export interface DateForm {
  /** `iso`, `unix` (seconds), `unix-ms`, or a pattern such as `dd.MM.yyyy HH:mm`. */
  readonly form: string;
  /** An IANA name such as `Europe/Berlin`; it counts where the text itself has no offset. */
  readonly zone: string;
}

/** Tokens of a pattern with the digits that each stands for; anything else stands for itself. */
const TOKENS: Readonly<Record<string, string>> = {
  yyyy: '\\d{4}',
  MM: '\\d{2}',
  dd: '\\d{2}',
  HH: '\\d{2}',
  mm: '\\d{2}',
  ss: '\\d{2}',
  SSS: '\\d{3}',
  XXX: 'Z|[+-]\\d{2}:\\d{2}',
};
const TOKEN = /yyyy|MM|dd|HH|mm|ss|SSS|XXX/g;
const ISO = /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?([Zz]|[+-]\d{2}:\d{2})?)?$/;
const MINUTE_MILLISECONDS = 60_000;
const DAY_MILLISECONDS = 86_400_000;

type Parts = Readonly<Partial<Record<string, string>>>;

/** Milliseconds since 1970. Fault `data.malformed`, without a path. */
export function readDate(value: unknown, { form, zone }: DateForm): Result<number> {
  if (form === 'unix' || form === 'unix-ms') {
    const number = typeof value === 'string' && /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : value;
    const milliseconds = Math.round(Number(number) * (form === 'unix' ? 1_000 : 1));
    const isRight = typeof number === 'number' && Math.abs(milliseconds) <= 8.64e15;
    return isRight ? ok(milliseconds) : fail('data.malformed', 'Must be a number of seconds or milliseconds.');
  }
  const parts = typeof value === 'string' ? (form === 'iso' ? isoParts(value) : partsBy(form, value)) : undefined;
  if (parts === undefined) {
    return fail('data.malformed', `Must be a text in the form ${form === 'iso' ? '2026-01-31T23:59:00Z' : form}.`);
  }
  return instantOf(parts, zone);
}

function isoParts(text: string): Parts | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [, yyyy, MM, dd, HH, mm, ss, fraction, XXX] = match;
  return filled({ yyyy, MM, dd, HH, mm, ss, SSS: fraction?.slice(0, 3).padEnd(3, '0'), XXX: XXX?.toUpperCase() });
}

const filled = (parts: Readonly<Record<string, string | undefined>>): Parts =>
  Object.fromEntries(Object.entries(parts).filter((entry): entry is [string, string] => entry[1] !== undefined));

function partsBy(pattern: string, text: string): Parts | undefined {
  const names = pattern.match(TOKEN) ?? [];
  const quote = (literal: string): string => literal.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  const literals = pattern.split(TOKEN).map(quote);
  const source = literals.map((literal, index) => {
    const name = names[index];
    return name === undefined ? literal : `${literal}(${TOKENS[name] ?? ''})`;
  });
  const match = new RegExp(`^${source.join('')}$`, 'u').exec(text);
  return match === null ? undefined : Object.fromEntries(names.map((name, index) => [name, match[index + 1] ?? '']));
}

function instantOf(parts: Parts, zone: string): Result<number> {
  const { yyyy = '1970', MM = '01', dd = '01', HH = '00', mm = '00', ss = '00', SSS = '000' } = parts;
  const text = `${yyyy}-${MM}-${dd}T${HH}:${mm}:${ss}.${SSS}Z`;
  const local = Date.parse(text);
  if (!Number.isFinite(local) || new Date(local).toISOString() !== text) {
    return fail('data.malformed', `There is no ${text.slice(0, -1)}.`);
  }
  const offset = parts['XXX'];
  if (offset !== undefined) return ok(local - offsetOf(offset));
  // The offsets of the day before and after: one of them holds, both in autumn, none in a gap of spring.
  const found = [local - DAY_MILLISECONDS, local + DAY_MILLISECONDS]
    .map((near) => local - offsetAt(near, zone))
    .filter((instant) => instant + offsetAt(instant, zone) === local);
  if (found.length === 0) return fail('data.malformed', `There is no ${text.slice(0, -1)} in ${zone}: clocks skip it.`);
  return ok(Math.min(...found));
}

function offsetOf(text: string): number {
  if (text === 'Z') return 0;
  const [hours = 0, minutes = 0] = text.slice(1).split(':').map(Number);
  return (text.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * MINUTE_MILLISECONDS;
}

const formatters = new Map<string, Intl.DateTimeFormat>();
const FORMATTERS_IN_MEMORY = 100;

/** @throws RangeError for an unknown zone */
function formatterOf(zone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(zone);
  if (formatter === undefined) {
    const two = '2-digit';
    const fields = { year: 'numeric', month: two, day: two, hour: two, minute: two, second: two } as const;
    formatter = new Intl.DateTimeFormat('en-US', { ...fields, timeZone: zone, hourCycle: 'h23', era: 'short' });
    if (formatters.size >= FORMATTERS_IN_MEMORY) formatters.clear();
    formatters.set(zone, formatter);
  }
  return formatter;
}

export function isTimeZone(zone: string): boolean {
  try {
    return formatterOf(zone) !== undefined;
  } catch {
    return false;
  }
}

/** How far the clocks of a zone are ahead of UTC, in milliseconds. */
function offsetAt(instant: number, zone: string): number {
  if (zone === 'UTC') return 0;
  const found = Object.fromEntries(
    formatterOf(zone)
      .formatToParts(instant)
      .map(({ type, value }) => [type, value]),
  );
  const { year = '', month = '', day = '', hour = '', minute = '', second = '' } = found;
  const local = Date.parse(`${year.padStart(4, '0')}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return local - Math.floor(instant / 1_000) * 1_000;
}

/** Fault `data.malformed` for a year that has not four digits. */
export function writeDate(instant: number, { form, zone }: DateForm): Result<string | number> {
  if (form === 'unix') return ok(instant / 1_000);
  if (form === 'unix-ms') return ok(instant);
  if (!(instant >= Date.parse('0001-01-02T00:00:00Z') && instant < Date.parse('9999-12-31T00:00:00Z'))) {
    return fail('data.malformed', 'The year must have four digits.');
  }
  const offset = offsetAt(instant, zone);
  const local = new Date(instant + offset).toISOString();
  const XXX = offset === 0 && zone === 'UTC' ? 'Z' : offsetText(offset);
  if (form === 'iso') return ok(`${local.slice(0, -1)}${XXX}`);
  const [yyyy = '', MM = '', dd = '', HH = '', mm = '', ss = '', SSS = ''] = local.split(/[-T:.Z]/);
  const parts: Parts = { yyyy, MM, dd, HH, mm, ss, SSS, XXX };
  return ok(form.replaceAll(TOKEN, (token) => parts[token] ?? token));
}

function offsetText(offset: number): string {
  const minutes = Math.abs(Math.round(offset / MINUTE_MILLISECONDS));
  const two = (count: number): string => String(count).padStart(2, '0');
  return `${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
