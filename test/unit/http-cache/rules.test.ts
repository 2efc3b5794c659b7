import { describe, expect, it } from 'vitest';
import { parseDirectives, parseHttpDate, secondsOf } from '../../../src/core/http-cache/directives.ts';
import {
  ageOf,
  initialAgeOf,
  lifetimeOf,
  reuseOf,
  standsIn,
  type Freshness,
  type Reuse,
} from '../../../src/core/http-cache/freshness.ts';
import {
  CACHEABLE_STATUSES,
  freshnessOf,
  refusalOf,
  selectingFields,
  storedFields,
  varyOf,
  type StoringRules,
} from '../../../src/core/http-cache/storing.ts';
import {
  isNotModified,
  rangeOf,
  speaksOf,
  updatedFields,
  validating,
} from '../../../src/core/http-cache/validation.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');
const DAY = 24 * 3_600_000;
const http = (milliseconds: number): string => new Date(milliseconds).toUTCString();

const RULES: StoringRules = {
  shared: true,
  ttlMilliseconds: undefined,
  heuristic: false,
  statuses: new Set(CACHEABLE_STATUSES),
  respectOrigin: true,
  cookies: false,
  staleWhileRevalidateMilliseconds: undefined,
  staleIfErrorMilliseconds: undefined,
};

const lifetime = (fields: Record<string, string>, rules: Partial<StoringRules> = {}): number | undefined => {
  const headers = new Headers(fields);
  return lifetimeOf(headers, parseDirectives(headers.get('cache-control')), NOW, { ...RULES, ...rules });
};

const fresh = (more: Partial<Freshness> = {}): Freshness => ({
  requestAt: NOW,
  responseAt: NOW,
  initialAge: 0,
  lifetime: 60_000,
  validateAlways: false,
  mustRevalidate: false,
  refusesMaxStale: false,
  staleWhileRevalidate: 0,
  staleIfError: 0,
  ...more,
});

describe('directives', () => {
  it.each([
    ['max-age=60, no-store', { 'max-age': '60', 'no-store': '' }],
    ['MAX-AGE="60" , Private="Set-Cookie, X"', { 'max-age': '60', private: 'Set-Cookie, X' }],
    ['max-age=10, max-age=20', { 'max-age': '10' }],
    [',, ;, no-cache', { 'no-cache': '' }],
    ['x="open, no-store', { x: '', 'no-store': '' }],
    ['max-age=60 s-maxage=10, public', { 'max-age': '60', public: '' }],
    ['', {}],
  ])('RFC 9111 §5.2: reads %s', (header, expected) => {
    expect(Object.fromEntries(parseDirectives(header))).toEqual(expected);
  });

  it.each([
    ['max-age=', 0],
    ['max-age=-1', 0],
    ['max-age=1.5', 0],
    ['max-age=ten', 0],
    ['max-age=99999999999999', 2 ** 31],
    ['no-cache', undefined],
  ])('RFC 9111 §1.2.2: %s is %s seconds', (header, seconds) => {
    expect(secondsOf(parseDirectives(header), 'max-age')).toBe(seconds);
  });

  it('RFC 9110 §5.6.7: takes three forms of dates, and no other', () => {
    const expected = Date.parse('1994-11-06T08:49:37Z');
    expect(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT')).toBe(expected);
    expect(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT')).toBe(expected);
    expect(parseHttpDate('Sun Nov  6 08:49:37 1994')).toBe(expected);
    for (const text of ['0', '-1', '1994', 'tomorrow', '1994-11-06T08:49:37Z', 'Sun, 06 Nov 1994 08:49:37 +0100']) {
      expect(parseHttpDate(text)).toBeUndefined();
    }
  });
});

describe('freshness', () => {
  it('RFC 9111 §4.2.1: s-maxage goes before max-age, and that before Expires', () => {
    const expires = { date: http(NOW), expires: http(NOW + 5_000) };
    expect(lifetime({ ...expires, 'cache-control': 'max-age=10, s-maxage=20' })).toBe(20_000);
    expect(lifetime({ ...expires, 'cache-control': 'max-age=10' })).toBe(10_000);
    expect(lifetime(expires)).toBe(5_000);
  });

  it('RFC 9111 §5.2.2.10: s-maxage is for shared caches', () => {
    expect(lifetime({ 'cache-control': 'max-age=10, s-maxage=20' }, { shared: false })).toBe(10_000);
  });

  it('RFC 9111 §5.3: Expires that is no date, or in the past, is stale', () => {
    expect(lifetime({ expires: '0' })).toBe(0);
    expect(lifetime({ expires: http(NOW - DAY) })).toBe(0);
    expect(lifetime({ 'cache-control': 'max-age=x', expires: http(NOW + DAY) })).toBe(0);
  });

  it('RFC 9111 §4.2.2: guesses a tenth of the age of the content, a day at most, and only where it may', () => {
    const modified = { date: http(NOW), 'last-modified': http(NOW - DAY) };
    expect(lifetime(modified)).toBeUndefined();
    expect(lifetime(modified, { heuristic: true })).toBe(DAY / 10);
    expect(lifetime({ ...modified, 'last-modified': http(NOW - 100 * DAY) }, { heuristic: true })).toBe(DAY);
    expect(lifetime({ ...modified, 'last-modified': http(NOW + DAY) }, { heuristic: true })).toBe(0);
    expect(lifetime({}, { heuristic: true })).toBeUndefined();
  });

  it('RFC 9111 §4.2.3: the age is the greater of what Age and Date say', () => {
    const initial = (fields: Record<string, string>) =>
      initialAgeOf(new Headers(fields), { requestAt: NOW - 2_000, responseAt: NOW });
    expect(initial({ age: '7' })).toBe(9_000);
    expect(initial({ date: http(NOW - 30_000), age: '7' })).toBe(30_000);
    expect(initial({ date: http(NOW + 30_000) })).toBe(2_000);
    expect(ageOf(fresh({ initialAge: 9_000 }), NOW + 1_000)).toBe(10_000);
  });

  it('RFC 9111 §5.1: of two ages the first counts, and one that is none is ignored', () => {
    const initial = (age: string) => initialAgeOf(new Headers({ age }), { requestAt: NOW, responseAt: NOW });
    expect([initial('7, 100'), initial('-7'), initial('old')]).toEqual([7_000, 0, 0]);
  });

  it('the time of the route is counted from when the response came', () => {
    const headers = new Headers({ age: '100', 'cache-control': 'max-age=5' });
    const times = { requestAt: NOW, responseAt: NOW };
    const made = freshnessOf(headers, parseDirectives('max-age=5'), times, { ...RULES, ttlMilliseconds: 60_000 });
    expect(made && reuseOf(made, new Map(), NOW + 59_000)).toBe('fresh');
    expect(made && reuseOf(made, new Map(), NOW + 60_000)).toBe('validate-stale');
  });
});

describe('reuse', () => {
  it.each<[string, string, number, Partial<Freshness>, Reuse]>([
    ['§4.2: fresh until its time is over', '', 59_999, {}, 'fresh'],
    ['§4.2: stale from then on', '', 60_000, {}, 'validate-stale'],
    ['§5.2.1.1: max-age within', 'max-age=30', 30_000, {}, 'fresh'],
    ['§5.2.1.1: max-age beyond', 'max-age=30', 30_001, {}, 'validate-request'],
    ['§5.2.1.2: max-stale within', 'max-stale=10', 70_000, {}, 'stale'],
    ['§5.2.1.2: max-stale beyond', 'max-stale=10', 70_001, {}, 'validate-stale'],
    ['§5.2.1.2: max-stale without an argument', 'max-stale', DAY, {}, 'stale'],
    ['§5.2.1.2: max-stale beside max-age', 'max-stale, max-age=60', 70_000, {}, 'validate-stale'],
    ['§5.2.1.3: min-fresh within', 'min-fresh=30', 30_000, {}, 'fresh'],
    ['§5.2.1.3: min-fresh beyond', 'min-fresh=30', 30_001, {}, 'validate-request'],
    ['§5.2.1.4: no-cache', 'no-cache', 0, {}, 'validate-request'],
    ['§5.2.2.2: must-revalidate while fresh', '', 0, { mustRevalidate: true }, 'fresh'],
    ['§5.2.2.2: must-revalidate against max-stale', 'max-stale', 60_000, { mustRevalidate: true }, 'validate-stale'],
    [
      '§5.2.2.2: must-revalidate against RFC 5861',
      '',
      60_000,
      { mustRevalidate: true, staleWhileRevalidate: DAY },
      'validate-stale',
    ],
    ['§5.2.2.4: no-cache of the origin', '', 0, { validateAlways: true }, 'validate-stale'],
    ['§5.2.2.4: no-cache of the origin against max-stale', 'max-stale', 0, { validateAlways: true }, 'validate-stale'],
    ['§5.2.2.10: s-maxage against max-stale', 'max-stale', 60_000, { refusesMaxStale: true }, 'validate-stale'],
    ['RFC 5861 §3: within', '', 69_999, { staleWhileRevalidate: 10_000 }, 'stale-while-revalidate'],
    ['RFC 5861 §3: beyond', '', 70_000, { staleWhileRevalidate: 10_000 }, 'validate-stale'],
    [
      'RFC 5861 §3: against max-age of the caller',
      'max-age=30',
      61_000,
      { staleWhileRevalidate: 10_000 },
      'validate-stale',
    ],
  ])('RFC 9111 %s', (_, request, later, stored, expected) => {
    expect(reuseOf(fresh(stored), parseDirectives(request), NOW + later)).toBe(expected);
  });

  it('RFC 5861 §4: stands in within its time, and never where it must be validated', () => {
    expect(standsIn(fresh({ staleIfError: 10_000 }), NOW + 69_999)).toBe(true);
    expect(standsIn(fresh({ staleIfError: 10_000 }), NOW + 70_000)).toBe(false);
    expect(standsIn(fresh({ staleIfError: 10_000, mustRevalidate: true }), NOW)).toBe(false);
    expect(standsIn(fresh({ staleIfError: 10_000, validateAlways: true }), NOW)).toBe(false);
  });
});

describe('storing', () => {
  const refusal = (
    fields: Record<string, string>,
    {
      status = 200,
      request = '',
      hasCredentials = false,
      ...rules
    }: Partial<StoringRules> & { status?: number; request?: string; hasCredentials?: boolean } = {},
  ): string | undefined => {
    const headers = new Headers(fields);
    const asked = { directives: parseDirectives(request), hasCredentials };
    return refusalOf(asked, status, headers, parseDirectives(headers.get('cache-control')), { ...RULES, ...rules });
  };

  it.each([
    ['§5.2.2.5: no-store', { 'cache-control': 'no-store' }, {}, 'no-store'],
    ['§5.2.2.7: private, for more than one', { 'cache-control': 'private' }, {}, 'private'],
    ['§5.2.2.7: private for one header, taken for all', { 'cache-control': 'private="x"' }, {}, 'private'],
    ['§5.2.2.7: private, for one', { 'cache-control': 'private' }, { shared: false }, undefined],
    [
      '§5.2.2.3: must-understand with a status that is not understood',
      { 'cache-control': 'must-understand, no-store' },
      { status: 299 },
      'status',
    ],
    ['§5.2.2.3: must-understand with one that is', { 'cache-control': 'must-understand, no-store' }, {}, undefined],
    ['§3.3: a part', {}, { status: 206, statuses: new Set([206]) }, 'status'],
    ['§3: a failure', {}, { status: 500 }, 'status'],
    ['§3.5: a credential', {}, { hasCredentials: true }, 'authorization'],
    ['§3.5: a credential, public', { 'cache-control': 'public' }, { hasCredentials: true }, undefined],
    ['§3.5: a credential, s-maxage', { 'cache-control': 's-maxage=1' }, { hasCredentials: true }, undefined],
    [
      '§3.5: a credential, must-revalidate',
      { 'cache-control': 'must-revalidate' },
      { hasCredentials: true },
      undefined,
    ],
    ['§3.5: a credential of the only caller', {}, { hasCredentials: true, shared: false }, undefined],
    ['§4.1: Vary: *', { vary: 'accept, *' }, {}, 'vary'],
    ['§5.2.1.5: no-store of the caller', {}, { request: 'no-store' }, 'request-no-store'],
    ['§7.3: a cookie for more than one', { 'set-cookie': 'a=b' }, { cookies: true }, 'set-cookie'],
    [
      '§7.3: a cookie, though the origin is not obeyed',
      { 'set-cookie': 'a=b' },
      { respectOrigin: false, shared: false },
      'set-cookie',
    ],
    ['what the route takes on itself', { 'cache-control': 'no-store, private' }, { respectOrigin: false }, undefined],
  ])('RFC 9111 %s', (_, fields, rules, expected) => {
    expect(refusal(fields, rules)).toBe(expected);
  });

  it('RFC 9111 §3.1: leaves out what belongs to the connection', () => {
    const headers = new Headers({
      connection: 'close, X-Hop',
      'x-hop': '1',
      'keep-alive': '5',
      te: 'x',
      etag: '"1"',
      age: '5',
    });
    expect(storedFields(headers)).toEqual([['etag', '"1"']]);
  });

  it('RFC 9111 §4.1: a header that is missing selects only what lacked it', () => {
    const fieldsOf = (fields: Record<string, string>) =>
      JSON.stringify(selectingFields(['accept'], new Headers(fields)));
    expect(fieldsOf({})).not.toBe(fieldsOf({ accept: '' }));
    expect(fieldsOf({ accept: 'a,  b' })).toBe(fieldsOf({ accept: 'a, b' }));
    expect(varyOf(new Headers({ vary: 'B, a,, b' }))).toEqual(['a', 'b']);
  });

  it('RFC 9111 §5.2.2.8: proxy-revalidate binds shared caches alone', () => {
    const made = (shared: boolean) =>
      freshnessOf(
        new Headers(),
        parseDirectives('max-age=1, proxy-revalidate'),
        { requestAt: 0, responseAt: 0 },
        { ...RULES, shared },
      );
    expect([made(true)?.mustRevalidate, made(false)?.mustRevalidate]).toEqual([true, false]);
  });
});

describe('validation', () => {
  const stored = new Headers({ etag: '"1"', 'last-modified': http(NOW) });

  it('RFC 9111 §4.3.1: asks by what is stored, and by nothing that the caller has', () => {
    const asked = validating(new Headers({ 'if-none-match': '"9"', range: 'bytes=0-1', accept: 'x' }), stored);
    expect(Object.fromEntries(asked)).toEqual({
      'if-none-match': '"1"',
      'if-modified-since': http(NOW),
      accept: 'x',
    });
  });

  it.each([
    ['if-none-match', '"1"', true],
    ['if-none-match', 'W/"1"', true],
    ['if-none-match', '"0", "1"', true],
    ['if-none-match', '*', true],
    ['if-none-match', '"2"', false],
    ['if-modified-since', http(NOW), true],
    ['if-modified-since', http(NOW - 1_000), false],
    ['if-modified-since', 'yesterday', false],
  ])('RFC 9111 §4.3.2: %s: %s', (name, value, expected) => {
    expect(isNotModified(new Headers({ [name]: value }), stored)).toBe(expected);
  });

  it('RFC 9110 §13.1.3: If-Modified-Since is ignored beside If-None-Match', () => {
    expect(isNotModified(new Headers({ 'if-none-match': '"2"', 'if-modified-since': http(NOW) }), stored)).toBe(false);
  });

  it('RFC 9111 §4.3.4: a 304 renews the fields, but not those of the body', () => {
    const fields = [
      ['etag', '"1"'],
      ['content-encoding', 'gzip'],
      ['x', 'old'],
    ] as const;
    const newer = new Headers({
      x: 'new',
      'content-encoding': 'br',
      'cache-control': 'max-age=1',
      'content-length': '0',
    });
    expect(Object.fromEntries(updatedFields(fields, newer))).toEqual({
      etag: '"1"',
      'content-encoding': 'gzip',
      x: 'new',
      'cache-control': 'max-age=1',
    });
    expect(speaksOf(new Headers({ etag: 'W/"1"' }), stored)).toBe(true);
    expect(speaksOf(new Headers({ etag: '"2"' }), stored)).toBe(false);
  });

  it.each([
    ['bytes=0-3', [0, 3]],
    ['bytes=8-', [8, 9]],
    ['bytes=-3', [7, 9]],
    ['bytes=-30', [0, 9]],
    ['bytes=0-300', [0, 9]],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-2', undefined],
    ['bytes=-', undefined],
    ['bytes=0-1,3-4', undefined],
    ['lines=0-1', undefined],
  ])('RFC 9110 §14.1.2: of ten bytes, %s', (range, expected) => {
    expect(rangeOf(new Headers({ range }), stored, 10)).toEqual(expected);
  });

  it('RFC 9110 §13.1.5: If-Range of another representation makes the range count for nothing', () => {
    const ranged = (condition: string) =>
      rangeOf(new Headers({ range: 'bytes=0-1', 'if-range': condition }), stored, 10);
    expect([ranged('"1"'), ranged(http(NOW))]).toEqual([
      [0, 1],
      [0, 1],
    ]);
    for (const other of ['"2"', 'W/"1"', http(NOW - 1_000)]) expect(ranged(other)).toBeUndefined();
  });
});
