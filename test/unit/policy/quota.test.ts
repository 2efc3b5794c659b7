import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Simulation } from './limiter-world.ts';
import type { QuotaRule } from '../../../src/core/policy/limiter.ts';
import { calendarPart, QuotaCounter } from '../../../src/core/policy/quota.ts';

const ruleOf = (limit: number): QuotaRule => ({ kind: 'quota', limit, unit: 'day', timezone: 'UTC' });

describe('a quota that many isolates share', () => {
  it('is never exceeded, whatever is lost or crashes, and used up where nothing is', () => {
    const loads = fc.record({
      limit: fc.integer({ min: 1, max: 2_000 }),
      isolates: fc.integer({ min: 1, max: 6 }),
      loss: fc.constantFrom(0, 0.1),
      seed: fc.integer({ min: 1, max: 1_000_000 }),
    });
    fc.assert(
      fc.property(loads, ({ limit, isolates: count, loss, seed }) => {
        let state = seed;
        const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
        const rule = ruleOf(limit);
        const simulation = new Simulation({
          rule,
          delay: () => Math.round(random() * 20),
          lost: () => random() < loss,
          counter: (before) => new QuotaCounter(rule, before instanceof QuotaCounter ? before.record : undefined),
        });
        const isolates = Array.from({ length: count }, () => simulation.isolate(0));
        const pick = () => isolates[Math.floor(random() * count)];
        for (let index = 0; index < 3_000; index++) simulation.at(random() * 10_000, () => pick()?.request());
        // When every lease has ended, its rest is there for others.
        for (let index = 0; index < 200; index++) simulation.at(60_000 + index * 50, () => pick()?.request());
        if (loss > 0) {
          for (let index = 0; index < 3; index++) {
            simulation.at(random() * 10_000, () => simulation.crashObject());
            simulation.at(random() * 10_000, () => pick()?.crash());
          }
        }
        simulation.run();
        const admitted = simulation.outcomes.filter(({ kind }) => kind === 'admitted').length;
        expect(admitted).toBeLessThanOrEqual(limit);
        if (loss === 0) expect(admitted).toBe(limit);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the account of a quota', () => {
  const noon = Date.UTC(2026, 10, 21, 12);
  const midnight = Date.UTC(2026, 10, 22);
  let id = 0;
  const nextId = () => ++id;

  it('begins anew with the day, and takes nothing back from the day before', () => {
    const counter = new QuotaCounter(ruleOf(10));
    const granted = counter.ask(noon, 10, 0, nextId);
    expect(counter.ask(midnight - 1, 1, 0, nextId)).toMatchObject({ ok: false });
    expect(counter.ask(midnight, 4, 0, nextId)).toMatchObject({ ok: true, remaining: 6 });
    counter.settle(midnight, { id: granted.id, used: [], returned: 10 });
    expect(counter.ask(midnight, 7, 0, nextId).ok).toBe(false);
  });

  it('lets no token be spent after the day that it was debited in', () => {
    const counter = new QuotaCounter(ruleOf(10));
    expect(counter.ask(midnight - 40, 1, 0, nextId).lifeMilliseconds).toBe(40);
  });

  it('takes back at most what was granted and not spent, and only once', () => {
    const counter = new QuotaCounter(ruleOf(1_000));
    const granted = counter.ask(noon, 100, 0, nextId);
    counter.settle(noon, { id: granted.id, used: [0, 60], returned: 100 });
    counter.settle(noon, { id: granted.id, used: [], returned: 100 });
    expect(counter.record.spent).toBe(60);
  });

  it('gives small leases near its end, and none at the end', () => {
    const counter = new QuotaCounter(ruleOf(1_000));
    expect(counter.ask(noon, 1, 500, nextId).tokens).toBe(11);
    counter.ask(noon, 900, 0, nextId);
    expect(counter.ask(noon, 1, 500, nextId).tokens).toBe(6);
    counter.ask(noon, 70, 0, nextId);
    expect(counter.ask(noon, 1, 500, nextId).tokens).toBe(1);
  });
});

describe('calendar parts', () => {
  const hour = 3_600_000;

  it.each([
    ['a day of UTC', 'day', 'UTC', '2026-11-21T12:00:00Z', '2026-11-21', '2026-11-22T00:00:00Z'],
    ['a month of UTC', 'month', 'UTC', '2026-12-31T23:59:59Z', '2026-12', '2027-01-01T00:00:00Z'],
    ['a leap day', 'day', 'UTC', '2028-02-29T00:00:00Z', '2028-02-29', '2028-03-01T00:00:00Z'],
    ['a day of 23 hours', 'day', 'Europe/Berlin', '2026-03-28T23:00:00Z', '2026-03-29', '2026-03-29T22:00:00Z'],
    ['a day of 25 hours', 'day', 'Europe/Berlin', '2026-10-24T22:00:00Z', '2026-10-25', '2026-10-25T23:00:00Z'],
    ['a zone of 45 minutes', 'day', 'Asia/Kathmandu', '2026-11-21T18:15:00Z', '2026-11-22', '2026-11-22T18:15:00Z'],
    [
      'a month that ends in a zone',
      'month',
      'America/New_York',
      '2026-11-30T12:00:00Z',
      '2026-11',
      '2026-12-01T05:00:00Z',
    ],
  ] as const)('know the end of %s', (_, unit, timezone, now, name, end) => {
    expect(calendarPart({ unit, timezone }, Date.parse(now))).toEqual({ name, endsAt: Date.parse(end) });
  });

  it('end after the instant that they hold, and one begins where another ends', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2020-01-01'), max: new Date('2035-01-01'), noInvalidDate: true }),
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'Africa/Cairo', 'Pacific/Apia'),
        (date, timezone) => {
          const part = calendarPart({ unit: 'day', timezone }, date.getTime());
          expect(part.endsAt - date.getTime()).toBeGreaterThan(0);
          expect(part.endsAt - date.getTime()).toBeLessThanOrEqual(25 * hour);
          const next = calendarPart({ unit: 'day', timezone }, part.endsAt);
          expect(next.name > part.name).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});
