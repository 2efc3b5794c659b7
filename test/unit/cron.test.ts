import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { checkCron, dueTicks, nextTick } from '../../src/core/policy/cron.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { isObject } from '../../src/core/json.ts';
import { readShared, sharedMissing } from '../support/shared.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const at = (text: string): number => Date.parse(text);
const shown = (ticks: readonly number[]): string[] => ticks.map((tick) => new Date(tick).toISOString());

/** The ticks after one instant and up to another. */
function ticksBetween(cron: string, timezone: string, from: number, to: number): number[] {
  const ticks: number[] = [];
  for (let tick = nextTick(cron, timezone, from); tick !== undefined && tick <= to;) {
    ticks.push(tick);
    tick = nextTick(cron, timezone, tick);
  }
  return ticks;
}

describe('a cron is refused with the field and the fix', () => {
  test.each([
    ['', 'has five fields (minute, hour, day of month, month, weekday), this one has 0'],
    ['* * * *', 'this one has 4'],
    ['0 * * * * *', 'this one has 6'],
    ['0 0 3 * * * 2027', 'this one has 7'],
    ['@daily', 'Write @daily as five fields'],
    ['60 * * * *', 'The minute `60`: `60` is not a number from 0 to 59'],
    ['* 24 * * *', 'The hour `24`'],
    ['* * 0 * *', 'The day of month `0`'],
    ['* * * 13 *', 'The month `13`: `13` is not a name such as FEB or a number from 1 to 12'],
    ['* * * * 8', 'The weekday `8`'],
    ['* * * MON *', 'The month `MON`'],
    ['* * * * MONDAY', 'The weekday `MONDAY`'],
    ['JAN * * * *', 'The minute `JAN`'],
    ['1,,2 * * * *', 'an item of the list is empty'],
    [',1 * * * *', 'an item of the list is empty'],
    ['5- * * * *', '`5-` is not a number, range, step or `*`'],
    ['-1 * * * *', '`-1` is not'],
    ['1-2-3 * * * *', '`1-2-3` is not'],
    ['50-10 * * * *', 'the range `50-10` ends before it starts'],
    ['* * * * FRI-MON', 'the range `FRI-MON` ends before it starts'],
    ['5/15 * * * *', 'a step needs a range: write `5-59/15`'],
    ['*/0 * * * *', 'the step `0` is not a number from 1 to 59'],
    ['*/60 * * * *', 'the step `60`'],
    ['*/x * * * *', 'the step `x`'],
    ['1e1 * * * *', '`1e1` is not'],
    ['0x5 * * * *', '`0x5` is not'],
    ['? * * * *', '`?` is not'],
    ['* * L * *', '`L` is not'],
    ['* * LW * *', '`LW` is not'],
    ['* * 15W * *', '`15W` is not'],
    ['* * * * 5L', '`5L` is not'],
    ['* * * * 1#2', '`1#2` is not'],
    ['* * +1 * *', '`+1` is not'],
    ['0 0 30 2 *', 'The date of `0 0 30 2 *` does not exist'],
    ['0 0 31 4,6,9,11 *', 'does not exist'],
    [`${'1,'.repeat(200)}1 * * * *`, `longer than ${LIMITS.cronCharacters} characters`],
  ])('%j', (cron, message) => {
    expect(checkCron(cron, 'UTC')).toContain(message);
  });

  test.each(['', 'Europe/Atlantis', '+02:00', '02:00', 'local', 'Europe/Berlin\n', '../etc'])('zone %j', (timezone) => {
    expect(checkCron('0 3 * * *', timezone)).toContain(`There is no time zone \`${timezone}\``);
  });

  test.each(['* * * * *', ' 0\t3  * * * ', '*/5 0-6,20-23 1,15 jan-MAR,12 Mon-fri', '0-59/59 * * * 0,7', '0 0 29 2 *'])(
    'while %j is accepted',
    (cron) => {
      expect(checkCron(cron, 'Europe/Berlin')).toBeUndefined();
    },
  );
});

describe('ticks', () => {
  it('come on either day where day and weekday are both restricted, as in Vixie cron', () => {
    expect(shown(ticksBetween('0 0 13 * FRI', 'UTC', at('2026-02-08Z'), at('2026-02-21Z')))).toEqual([
      '2026-02-13T00:00:00.000Z',
      '2026-02-20T00:00:00.000Z',
    ]);
    expect(ticksBetween('0 0 1 * FRI', 'UTC', at('2026-02-08Z'), at('2026-03-02Z'))).toHaveLength(4);
  });

  it('of 29 February come in leap years only', () => {
    expect(shown(ticksBetween('0 12 29 2 *', 'UTC', at('2023-01-01Z'), at('2033-01-01Z')))).toEqual([
      '2024-02-29T12:00:00.000Z',
      '2028-02-29T12:00:00.000Z',
      '2032-02-29T12:00:00.000Z',
    ]);
    expect(nextTick('0 0 29 2 *', 'UTC', at('2096-03-01Z'))).toBe(at('2104-02-29T00:00Z'));
  });

  it('of 31st skip the months that have none', () => {
    expect(ticksBetween('0 0 31 * *', 'UTC', at('2026-01-01Z'), at('2027-01-01Z'))).toHaveLength(7);
  });

  it('at a fixed time that the clock leaps over come right after the gap, once', () => {
    expect(
      shown(ticksBetween('30 2 * * *', 'Europe/Berlin', at('2026-03-28T00:00Z'), at('2026-03-31T00:00Z'))),
    ).toEqual(['2026-03-28T01:30:00.000Z', '2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z']);
  });

  it('at a fixed time that comes twice come once', () => {
    expect(
      shown(ticksBetween('30 2 * * *', 'Europe/Berlin', at('2026-10-24T12:00Z'), at('2026-10-26T12:00Z'))),
    ).toEqual(['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']);
  });
});

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/Sao_Paulo',
  'America/Santiago',
  'Australia/Lord_Howe',
  'Asia/Kathmandu',
  'Asia/Amman',
  'Africa/Casablanca',
  'Pacific/Apia',
];

describe('over a change of the clock', () => {
  test.each(['Europe/Berlin', 'Australia/Lord_Howe', 'America/Sao_Paulo'])(
    'an interval keeps its rhythm in %s',
    (timezone) => {
      const ticks = ticksBetween('*/30 * * * *', timezone, at('2018-01-01T00:00Z'), at('2018-12-31T00:00Z'));
      const gaps = ticks.slice(1).map((tick, index) => tick - (ticks[index] ?? 0));
      expect(ticks).toHaveLength(364 * 48);
      expect(new Set(gaps)).toEqual(new Set([30 * MINUTE]));
    },
  );

  it('a daily schedule at any minute fires on each date of the zone exactly once', () => {
    const minuteOfDay = fc.integer({ min: 0, max: 24 * 60 - 1 });
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        minuteOfDay,
        fc.integer({ min: 2015, max: 2030 }),
        (timezone, minute, year) => {
          const cron = `${minute % 60} ${Math.floor(minute / 60)} * * *`;
          const ticks = ticksBetween(cron, timezone, Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1) - 1);
          const dates = ticks.map((tick) => new Intl.DateTimeFormat('en-CA', { timeZone: timezone }).format(tick));
          expect(new Set(dates).size).toBe(dates.length);
          expect(ticks.length).toBeGreaterThanOrEqual(364);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('every tick is later than the instant it was asked for, and none lies between', () => {
    const crons = fc.constantFrom('*/7 * * * *', '0 2 * * *', '30 1,2 * * SUN', '15-45/10 0-3 * * *', '0 0 1 * MON');
    const instants = fc.integer({ min: at('2016-01-01Z'), max: at('2030-01-01Z') });
    fc.assert(
      fc.property(crons, fc.constantFrom(...ZONES), instants, fc.nat(), (cron, timezone, from, part) => {
        const tick = nextTick(cron, timezone, from) ?? 0;
        expect(tick).toBeGreaterThan(from);
        expect(nextTick(cron, timezone, from + (part % (tick - from)))).toBe(tick);
      }),
      { numRuns: 300 },
    );
  });
});

describe('ticks that are due', () => {
  const minutely = { cron: '* * * * *', timezone: 'UTC' };
  const daily = { cron: '0 3 * * *', timezone: 'Europe/Berlin' };
  const noon = at('2026-05-05T12:00Z');
  const limit = 1_000;

  it('are none before the next one', () => {
    expect(dueTicks(daily, noon, noon + HOUR, 'all', limit)).toEqual({ fire: [], next: at('2026-05-06T01:00Z') });
  });

  test.each(['skip', 'latest', 'all'] as const)('fire when the alarm is a minute late under %s', (missed) => {
    expect(dueTicks(daily, noon, at('2026-05-06T01:01Z'), missed, limit)).toEqual({
      fire: [at('2026-05-06T01:00Z')],
      next: at('2026-05-07T01:00Z'),
    });
  });

  test.each(['skip', 'latest', 'all'] as const)(
    'fire both of two minutes when the alarm is 80 s late under %s',
    (missed) => {
      expect(dueTicks(minutely, noon, noon + 140_000, missed, limit).fire).toEqual([noon + MINUTE, noon + 2 * MINUTE]);
    },
  );

  it('count as missed from the first millisecond after the limit', () => {
    const tick = at('2026-05-06T01:00Z');
    const late = LIMITS.scheduleLateMilliseconds;
    expect(dueTicks(daily, noon, tick + late, 'skip', limit).fire).toEqual([tick]);
    expect(dueTicks(daily, noon, tick + late + 1, 'skip', limit)).toEqual({ fire: [], next: at('2026-05-07T01:00Z') });
  });

  it('after three days away: none, the newest, or each', () => {
    const back = at('2026-05-08T05:00Z');
    const days = [6, 7, 8].map((day) => at(`2026-05-0${day}T01:00Z`));
    const next = at('2026-05-09T01:00Z');
    expect(dueTicks(daily, noon, back, 'skip', limit)).toEqual({ fire: [], next });
    expect(dueTicks(daily, noon, back, 'latest', limit)).toEqual({ fire: days.slice(-1), next });
    expect(dueTicks(daily, noon, back, 'all', limit)).toEqual({ fire: days, next });
  });

  it('that are missed give way to a newer one that is on time under latest', () => {
    expect(dueTicks(daily, noon, at('2026-05-08T01:00:30Z'), 'latest', limit).fire).toEqual([at('2026-05-08T01:00Z')]);
  });

  it('beyond the limit are left for the next turn, and none is lost on the way', () => {
    const back = noon + 250 * MINUTE;
    const fired: number[] = [];
    let last = noon;
    for (let turn = 0; turn < 3; turn++) {
      const due = dueTicks(minutely, last, back, 'all', 100);
      fired.push(...due.fire);
      last = (due.next ?? 0) - 1;
    }
    expect(fired).toEqual(Array.from({ length: 250 }, (_, index) => noon + (index + 1) * MINUTE));
  });

  it('after a year away are found without counting its 525,600 minutes', () => {
    const startedAt = performance.now();
    expect(dueTicks(minutely, noon, noon + 365 * 24 * HOUR, 'latest', limit).fire).toHaveLength(2);
    expect(dueTicks({ ...minutely, cron: '* 0-5 * * *' }, noon, noon + 365 * 24 * HOUR, 'latest', limit).fire).toEqual([
      at('2027-05-05T05:59Z'),
    ]);
    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  it('fire once each while the clock jumps five minutes to and fro', () => {
    const jump = fc.integer({ min: -5 * MINUTE, max: 5 * MINUTE });
    fc.assert(
      fc.property(fc.array(jump, { minLength: 10, maxLength: 60 }), (jumps) => {
        const fired: number[] = [];
        let last = noon;
        for (const [index, skew] of jumps.entries()) {
          const due = dueTicks(minutely, last, noon + index * MINUTE + skew, 'all', limit);
          fired.push(...due.fire);
          last = (due.next ?? 0) - 1;
        }
        expect(fired).toEqual(fired.map((_, index) => noon + (index + 1) * MINUTE));
      }),
    );
  });
});

interface Case {
  readonly name: string;
  readonly cron: string;
  readonly zone: string;
  readonly from: number;
  /** Undefined: never. */
  readonly expected: number | undefined;
}

/** Where Cronos and this dialect part, by the names of the cases. */
const DIFFERENCES = {
  'Cronos asks for both day and weekday, Vixie cron (and we) for either': [
    '05 18 13 01 05, America/New_York, 2016-01-01 00:00:00',
    '05 18 13 * 05, America/New_York, 2016-01-01 00:00:00',
    '05 18 13 * 05, America/New_York, 2016-09-01 00:00:00',
    '05 18 13 * 05, America/New_York, 2017-02-01 00:00:00',
    '47 17 09 12 5, America/New_York, 2016-10-01 00:00',
    '47 17 09 DEC FRI, America/New_York, 2016-07-05 00:00',
    '40-50 15-20 5-10 11,12 5,6,7, America/New_York, 2016-12-01 00:00',
    '40-50 15-20 5-10 11,12 5,6,7, America/New_York, 2016-12-11 21:50',
    '05 18 13 01 05, America/New_York, 2016-01-01 00:00',
    '05 18 13 * 05, America/New_York, 2016-01-01 00:00',
    '05 18 13 * 05, America/New_York, 2016-09-01 00:00',
    '05 18 13 * 05, America/New_York, 2017-02-01 00:00',
    '5 5 5 5 5, America/New_York, 2017-05-05 05:05',
    '5 5 5 5 5, UTC, 2017-05-05 05:05',
  ],
  'an interval has no tick at wall times that do not exist; Cronos adds one after the gap': [
    '*/30 */2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '1-58 */2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '0,30 0-23/2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '*/30 2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '*/30 2 13 03 *, America/New_York, 2016-03-13 01:59 -05:00',
    '0 */2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '30 0-23/2 * * *, America/New_York, 2016-03-13 01:59 -05:00',
    '*/30 */2 * * *, America/New_York, 2016-03-13 01:30 -05:00',
    '1-58 */2 * * *, America/New_York, 2016-03-13 01:58 -05:00',
    '0,30 0-23/2 * * *, America/New_York, 2016-03-13 00:30 -05:00',
    '0 */2 * * *, America/New_York, 2016-03-13 00:00 -05:00',
    '30 0-23/2 * * *, America/New_York, 2016-03-13 00:30 -05:00',
  ],
  'a range without step names fixed times, which come once; Cronos repeats them with the hour': [
    '30 1-9 * * *, America/New_York, 2016-11-06 01:59 -04:00',
    '30 1-9 * * *, America/New_York, 2016-11-06 01:30 -04:00',
    '0-30 1 * * *, America/New_York, 2016-11-06 01:59 -04:00',
    '0-30 1 * * *, America/New_York, 2016-11-06 01:20 -05:00',
    '30 1-9 * * *, Australia/Lord_Howe, 2017-04-02 01:59 +11:00',
    '0-30 1 * * *, Australia/Lord_Howe, 2017-04-02 01:59 +11:00',
  ],
};

/** Reads `yyyy-MM-dd HH:mm:ss zzz`, or wall times of a zone: those without a date are on 2016-12-09. */
function instantOf(text: string, zone: string): number {
  const [, date = '2016-12-09', time = '00:00', offset] =
    /^(\d{4}-\d\d-\d\d)?(?:^| |$)(\d\d:\d\d(?::\d\d)?(?:\.\d+)?)? ?([+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const wall = at(`${date}T${time.slice(0, 12)}Z`);
  if (offset !== undefined) return at(`${date}T${time.slice(0, 12)}${offset}`);
  const offsetAt = (instant: number): number => at(`${wallOf(instant, zone)}Z`) - instant;
  const guess = wall - offsetAt(wall);
  return wall - offsetAt(guess);
}

const wallOf = (instant: number, timeZone: string): string =>
  new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' })
    .format(instant)
    .replace(' ', 'T');

/** The cases of the outside table that are written in our dialect; six fields with second 0 lose that field. */
function casesOf(text: string): Case[] {
  const table: unknown = JSON.parse(text);
  const groups = isObject(table) && Array.isArray(table['groups']) ? table['groups'].filter(isObject) : [];
  return groups.flatMap((group) => {
    const method = String(group['method']);
    if (!/^GetNextOccurrence_(?:ReturnsCorrect|ReturnsNull|Handle)/.test(method) || /Macro|Hash$/.test(method))
      return [];
    const zone = String(group['zone'] ?? 'UTC');
    const rows: unknown[] = Array.isArray(group['cases']) ? group['cases'] : [];
    return rows.filter(Array.isArray).flatMap(([source, from, to, flag]: unknown[]): Case[] => {
      const fields = String(source).trim().split(/\s+/);
      const cron = (fields.length === 6 && Number(fields[0]) === 0 ? fields.slice(1) : fields).join(' ');
      const unreachable = method.includes('ReturnsNull');
      const refusal = checkCron(cron, zone);
      if (unreachable ? !refusal?.includes('does not exist') : refusal !== undefined) return [];
      // Ticks of ours are whole minutes, so a fraction of a second is as good as one millisecond.
      const start = instantOf(String(from), zone) + (/\.0*[1-9]/.test(String(from)) ? 1 : 0);
      const inclusive = typeof flag === 'boolean' ? flag : group['inclusive'] === true;
      const expected = unreachable ? undefined : instantOf(String(to), zone);
      return [{ name: `${cron}, ${zone}, ${String(from)}`, cron, zone, from: inclusive ? start - 1 : start, expected }];
    });
  });
}

describe.skipIf(sharedMissing)('the table of Cronos', () => {
  const cases = casesOf(readShared('vectors/cron-cronos.json') ?? '{}');

  it('has three hundred and sixty cases in the dialect', () => {
    expect(cases).toHaveLength(360);
  });

  it('agrees, except in the cases that are listed with a reason', () => {
    const differing = cases.filter(({ cron, zone, from, expected }) => nextTick(cron, zone, from) !== expected);
    expect(new Set(differing.map(({ name }) => name))).toEqual(new Set(Object.values(DIFFERENCES).flat()));
  });
});
