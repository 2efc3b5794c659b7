/**
 * Schedules: five-field cron in a time zone.
 *
 * Dialect: minute, hour, day of month, month, weekday; `*`, numbers, names (`JAN`, `MON`), lists, ranges
 * `a-b` and steps `*` + `/n` or `a-b/n`; Sunday is 0 or 7. Where day and weekday are both restricted, either
 * is enough, as in Vixie cron. What other crons add (`L`, `W`, `#`, `?`, `@daily`, seconds, years) is refused.
 *
 * Daylight saving: where minute and hour have no `*` and no step, they name fixed times: one that the clock
 * leaps over fires at the first instant after the gap, one that comes twice fires the first time only. Any
 * other schedule is an interval: it fires at every instant whose wall time matches, so twice in an hour that
 * comes twice, and not at all at wall times that do not exist.
 */

import { Cron } from 'croner';
import { LIMITS } from '../limits.ts';

interface Field {
  readonly name: string;
  readonly lowest: number;
  readonly highest: number;
  /** In order, the first standing for `lowest`. */
  readonly names?: readonly string[];
}

const FIELDS: readonly Field[] = [
  { name: 'minute', lowest: 0, highest: 59 },
  { name: 'hour', lowest: 0, highest: 23 },
  { name: 'day of month', lowest: 1, highest: 31 },
  {
    name: 'month',
    lowest: 1,
    highest: 12,
    names: ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'],
  },
  { name: 'weekday', lowest: 0, highest: 7, names: ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'] },
];

/** Whether a date exists at all does not depend on where the search begins. */
const ANY_INSTANT = Date.UTC(2024, 0, 1);

/** A message that names the mistake and the fix, or undefined for a schedule that can run. */
export function checkCron(cron: string, timezone: string): string | undefined {
  if (cron.length > LIMITS.cronCharacters) return `The cron is longer than ${LIMITS.cronCharacters} characters.`;
  const parts = cron.trim().split(/\s+/);
  if (parts[0]?.startsWith('@')) return `Write ${parts[0]} as five fields, e.g. \`0 3 * * *\` for every day at 03:00.`;
  if (parts.length !== FIELDS.length) {
    const count = cron.trim() === '' ? 0 : parts.length;
    return `A cron has five fields (minute, hour, day of month, month, weekday), this one has ${count}.`;
  }
  for (const [index, field] of FIELDS.entries()) {
    const mistake = checkField(field, parts[index] ?? '');
    if (mistake !== undefined) return `The ${field.name} \`${parts[index]}\`: ${mistake}.`;
  }
  if (!isTimezone(timezone)) {
    return `There is no time zone \`${timezone}\`; use a name of the IANA database, e.g. \`Europe/Berlin\` or \`UTC\`.`;
  }
  return nextTick(cron, timezone, ANY_INSTANT) === undefined ? `The date of \`${cron}\` does not exist.` : undefined;
}

function checkField(field: Field, text: string): string | undefined {
  for (const item of text.split(',')) {
    if (item === '') return 'an item of the list is empty';
    const mistake = checkItem(field, item);
    if (mistake !== undefined) return mistake;
  }
  return undefined;
}

function checkItem(field: Field, item: string): string | undefined {
  const { lowest, highest } = field;
  const parsed = /^(?:(?<any>\*)|(?<first>\w+)(?:-(?<last>\w+))?)(?:\/(?<step>\w+))?$/.exec(item)?.groups;
  if (parsed === undefined) return `\`${item}\` is not a number, range, step or \`*\``;
  const { any, first, last, step } = parsed;
  if (step !== undefined) {
    if (any === undefined && last === undefined) return `a step needs a range: write \`${first}-${highest}/${step}\``;
    if (!/^\d+$/.test(step) || Number(step) < 1 || Number(step) > highest) {
      return `the step \`${step}\` is not a number from 1 to ${highest}`;
    }
  }
  const bounds = [first, last].filter((text) => text !== undefined);
  const values = bounds.map((text) => valueOf(field, text));
  const wrong = values.findIndex((value) => value === undefined);
  if (wrong >= 0) return `\`${bounds[wrong]}\` is not ${namesOf(field)}a number from ${lowest} to ${highest}`;
  const [from = lowest, to = from] = values;
  return from > to ? `the range \`${item}\` ends before it starts` : undefined;
}

const namesOf = ({ names }: Field): string => (names === undefined ? '' : `a name such as ${names[1]} or `);

function valueOf({ lowest, highest, names = [] }: Field, text: string): number | undefined {
  const position = names.indexOf(text.toUpperCase());
  if (position >= 0) return lowest + position;
  return /^\d{1,2}$/.test(text) && Number(text) >= lowest && Number(text) <= highest ? Number(text) : undefined;
}

/** IANA names only: an offset such as `+02:00`, which Intl takes too, knows no daylight saving. */
function isTimezone(timezone: string): boolean {
  if (!/^[A-Za-z]/.test(timezone)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
    return true;
  } catch {
    return false;
  }
}

/** Compiled schedules: to compile costs about as much as to find a tick. */
const compiled = new Map<string, Cron>();

function compile(cron: string, timezone: string): Cron {
  const key = `${cron}\n${timezone}`;
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const made = new Cron(cron, { timezone, mode: '5-part', fixedTimeRule: 'no-wildcard', paused: true });
  if (compiled.size >= LIMITS.schedulesInMemory) compiled.clear();
  compiled.set(key, made);
  return made;
}

/**
 * The first tick strictly after an instant, in unix milliseconds; undefined when there is none.
 * @throws TypeError for a schedule that {@link checkCron} refuses
 */
export function nextTick(cron: string, timezone: string, afterMilliseconds: number): number | undefined {
  return compile(cron, timezone).nextRun(new Date(afterMilliseconds))?.getTime();
}

/** What happens to ticks that come too late to be on time: nothing, only the newest due tick, or every one. */
export type Missed = 'skip' | 'latest' | 'all';

export interface DueTicks {
  /** Ticks to fire now, oldest first. */
  readonly fire: readonly number[];
  /** The first tick that is not dealt with; it may be due already when the limit cut `fire` off. */
  readonly next: number | undefined;
}

/**
 * Which ticks after `lastMilliseconds` (exclusive) and up to now fire.
 *
 * A tick is on time up to `LIMITS.scheduleLateMilliseconds` after its instant: alarms may be a minute late.
 */
export function dueTicks(
  schedule: { readonly cron: string; readonly timezone: string },
  lastMilliseconds: number,
  nowMilliseconds: number,
  missed: Missed,
  limit: number,
): DueTicks {
  const after = (instant: number): number | undefined => nextTick(schedule.cron, schedule.timezone, instant);
  const lateMost = nowMilliseconds - LIMITS.scheduleLateMilliseconds - 1;
  let from = missed === 'all' ? lastMilliseconds : Math.max(lastMilliseconds, lateMost);
  if (missed === 'latest' && (after(from) ?? Infinity) > nowMilliseconds) {
    from = beforeNewest(after, lastMilliseconds, nowMilliseconds);
  }
  const fire: number[] = [];
  let next = after(from);
  while (next !== undefined && next <= nowMilliseconds && fire.length < limit) {
    fire.push(next);
    next = after(next);
  }
  return { fire, next };
}

/** An instant right before the newest tick that is due: bisects, because a year has 525,600 minutes. */
function beforeNewest(after: (instant: number) => number | undefined, last: number, now: number): number {
  let [low, high] = [last, now];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if ((after(middle) ?? Infinity) <= now) low = middle;
    else high = middle;
  }
  return low;
}
