import { beforeEach, expect, it } from 'vitest';
import { db } from './fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { count, noFigures, type Tally } from '../../../src/core/traffic.ts';
import { addTraffic, foldTraffic, readTraffic } from '../../../src/store/traffic.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = Date.UTC(2026, 5, 15, 12);

function tally(at: number, more: Partial<Pick<Tally, 'target' | 'version' | 'caller'>> = {}, status = 200): Tally {
  const figures = noFigures();
  count(figures, status, 7);
  return { at, target: 'route:a', version: '1', caller: 'key:k', ...figures, ...more };
}

const all = { from: 0, to: NOW + DAY, group: ['target', 'version', 'caller'], stepMilliseconds: undefined } as const;

beforeEach(async () => {
  await db.prepare('delete from traffic').run();
});

it('what comes again is added, within one batch and over several', async () => {
  await addTraffic(db, [tally(NOW), tally(NOW, {}, 503), tally(NOW, { caller: '' })]);
  await addTraffic(db, [tally(NOW)]);
  expect(await readTraffic(db, all)).toMatchObject([
    { caller: '', requests: 1 },
    {
      caller: 'key:k',
      requests: 3,
      statuses: [0, 2, 0, 0, 1],
      totalMilliseconds: 21,
      buckets: [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
    },
  ]);
});

it('is told by target, version or caller, and by time', async () => {
  await addTraffic(db, [
    tally(NOW),
    tally(NOW + 60_000, { version: '2' }),
    tally(NOW + HOUR, { target: 'chain:b', caller: 'key:other' }),
  ]);
  const by = async (filter: object) =>
    (await readTraffic(db, { ...all, ...filter })).map(({ at, target, version, caller, requests }) => [
      at - NOW,
      target,
      version,
      caller,
      requests,
    ]);
  expect(await by({ group: ['version'], target: 'route:a', from: NOW })).toEqual([
    [0, undefined, '1', undefined, 1],
    [0, undefined, '2', undefined, 1],
  ]);
  expect(await by({ group: [], stepMilliseconds: HOUR })).toEqual([
    [0, undefined, undefined, undefined, 2],
    [HOUR, undefined, undefined, undefined, 1],
  ]);
  expect(await by({ group: ['target'], caller: 'key:other', from: NOW })).toEqual([
    [0, 'chain:b', undefined, undefined, 1],
  ]);
});

it('minutes become hours after two days, once, and nothing is lost by it', async () => {
  const old = NOW - LIMITS.trafficMinutesMilliseconds - 3 * HOUR;
  for (let minute = 0; minute < 90; minute += 10) await addTraffic(db, [tally(old + minute * 60_000)]);
  await addTraffic(db, [tally(NOW)]);
  for (let sweep = 0; sweep < 5; sweep++) await foldTraffic(db, NOW);
  const { results } = await db.prepare('select seconds, requests from traffic order by at').all();
  expect(results).toEqual([
    { seconds: 3_600, requests: 6 },
    { seconds: 3_600, requests: 3 },
    { seconds: 60, requests: 1 },
  ]);
  expect(await readTraffic(db, { ...all, group: [] })).toMatchObject([{ requests: 10 }]);
});

it('hours are forgotten after their time', async () => {
  await addTraffic(db, [tally(NOW - LIMITS.trafficHoursMilliseconds - 2 * HOUR), tally(NOW - 3 * DAY)]);
  await foldTraffic(db, NOW);
  await foldTraffic(db, NOW);
  expect(await readTraffic(db, { ...all, group: [] })).toMatchObject([{ requests: 1 }]);
});
