import { describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { IssueList } from '../../../src/core/chain/issues.ts';
import { compileKeyLimits, compileLimits, keyLimits, limitsFields } from '../../../src/core/route/limits.ts';

const fields = v.strictObject(limitsFields);

function issuesOf(document: unknown): readonly string[] {
  const parsed = v.safeParse(fields, document);
  if (!parsed.success) return parsed.issues.map((issue) => v.getDotPath(issue) ?? '');
  const issues = new IssueList();
  compileLimits(parsed.output, 'route', issues);
  return issues.all.map(({ path, message }) => `${path}: ${message}`);
}

const limit = { limit: 100, period: '10s', by: 'key' };

describe('limits in a document', () => {
  it.each([
    ['no limit at all', { limits: [] }, 'limits'],
    ['nothing admitted', { limits: [{ ...limit, limit: 0 }] }, 'limits.0.limit'],
    ['half a request', { limits: [{ ...limit, limit: 1.5 }] }, 'limits.0.limit'],
    ['a number as a period', { limits: [{ ...limit, period: 10 }] }, 'limits.0.period'],
    ['nobody to count by', { limits: [{ limit: 1, period: '1s' }] }, 'limits.0.by'],
    ['a field that is not known', { limits: [{ ...limit, window: '1s' }] }, 'limits.0.window'],
    ['a negative cost', { limits: [{ ...limit, cost: -1 }] }, 'limits.0.cost'],
    ['a name that no header carries', { limits: [{ ...limit, name: 'Größe' }] }, 'limits.0.name'],
    ['more limits than a request should ask for', { limits: Array(9).fill(limit) }, 'limits'],
    ['a period of concurrency', { concurrency: { limit: 1, by: 'key', period: '1s' } }, 'concurrency.period'],
  ])('may not have %s', (_, document, path) => {
    expect(issuesOf(document)).toEqual([path]);
  });

  it.each([
    ['a period below a second', { ...limit, period: '500ms' }, 'route.limits.0.period: Must be at least 1s'],
    ['a period over a day', { ...limit, period: '2d' }, 'route.limits.0.period: Must be at least 1s'],
    ['a burst over the limit', { ...limit, burst: 101 }, 'route.limits.0.burst: Must be at least 10'],
    ['a burst of less than a second', { ...limit, burst: 9 }, 'route.limits.0.burst: Must be at least 10'],
    ['a cost over the limit', { ...limit, cost: 101 }, 'route.limits.0.cost: No request would ever be admitted'],
    ['a cost over the burst', { ...limit, burst: 10, cost: 11 }, 'route.limits.0.cost: No request would ever'],
    ['a plain text as a key', { ...limit, by: 'user' }, 'route.limits.0.by: Must be key, identity, ip, route, tenant'],
    ['a key that is different each time', { ...limit, by: '{{ $random() }}' }, 'route.limits.0.by: Must be the same'],
    ['a key of the time', { ...limit, by: '{{ $millis() }}' }, 'route.limits.0.by: Must be the same'],
    ['a key that sees steps', { ...limit, by: '{{ steps.a }}' }, 'route.limits.0.by: There is no "steps"'],
    ['a cost that is a text', { ...limit, cost: 'two' }, 'route.limits.0.cost: Must be a whole number'],
    ['an expression that is not closed', { ...limit, by: '{{ request' }, 'route.limits.0.by: an expression opens'],
  ])('may not have %s, and the author is told where', (_, given, message) => {
    const issues = issuesOf({ limits: [given] });
    expect(issues[0]).toContain(message);
    expect(issues).toHaveLength(1);
  });

  it('may not share a name, also that of a burst', () => {
    const message = 'Two limits are called';
    expect(
      issuesOf({
        limits: [
          { ...limit, name: 'a' },
          { ...limit, name: 'a' },
        ],
      })[0],
    ).toContain(message);
    const burst = { ...limit, name: 'a', burst: 50 };
    expect(issuesOf({ limits: [burst, { ...limit, name: 'a-burst' }] })[0]).toContain(message);
  });

  it('become windows, a burst a second one at the same rate', () => {
    const document = v.parse(fields, { limits: [{ ...limit, burst: 20 }] });
    const plan = compileLimits(document, '', new IssueList());
    expect(plan?.limits.map(({ rule }) => rule)).toEqual([
      { kind: 'window', limit: 100, periodMilliseconds: 10_000 },
      { kind: 'window', limit: 20, periodMilliseconds: 2_000 },
    ]);
    expect(plan?.policyHeader).toBe('"limit";q=100;w=10, "limit-burst";q=20;w=2');
  });

  it('are nothing where there are none', () => {
    expect(compileLimits({}, '', new IssueList())).toBeUndefined();
  });
});

describe('limits of a key', () => {
  it.each([
    [{ rate: { limit: 0, period: '1s' } }],
    [{ rate: { limit: 1 } }],
    [{ rate: { limit: 1, period: '500ms' } }],
    [{ rate: { limit: 1, period: '2d' } }],
    [{ quota: { day: 0 } }],
    [{ quota: { year: 1 } }],
    [{ quota: { day: 1, timezone: 'Mars/Olympus' } }],
    [{ burst: 1 }],
  ])('are not %j', (given) => {
    expect(v.safeParse(keyLimits, given).success).toBe(false);
  });

  it('become one account each, whatever target is called', () => {
    const plan = compileKeyLimits(
      v.parse(keyLimits, { rate: { limit: 5, period: '1m' }, quota: { day: 1, month: 2 } }),
    );
    expect(plan?.limits.map(({ name, perTarget }) => [name, perTarget])).toEqual([
      ['key', false],
      ['key-day', false],
      ['key-month', false],
    ]);
  });

  it('are nothing where there are none', () => {
    expect(compileKeyLimits({})).toBeUndefined();
    expect(compileKeyLimits(v.parse(keyLimits, { quota: {} }))).toBeUndefined();
  });
});
