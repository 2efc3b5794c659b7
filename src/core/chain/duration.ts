/** Durations in documents: a whole number and a unit. */

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 } as const;

export const DURATION = /^(0|[1-9][0-9]{0,8})(ms|s|m|h|d)$/;

const isUnit = (text: string | undefined): text is keyof typeof UNITS =>
  text !== undefined && Object.hasOwn(UNITS, text);

/** Milliseconds of e.g. `200ms`, `5s`, `2m`, `1h`, `1d`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  return isUnit(unit) ? Number(amount) * UNITS[unit] : undefined;
}

/** The shortest text for a time in milliseconds that is a whole number of some unit. */
export function formatDuration(milliseconds: number): string {
  const [unit, length] = Object.entries(UNITS).findLast(([, size]) => milliseconds % size === 0) ?? ['ms', 1];
  return `${milliseconds / length}${unit}`;
}
