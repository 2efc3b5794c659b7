/** JSON from outside: preserved or refused, never silently changed. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson, quoteLargeIntegers } from '../../../src/core/data/exact-json.ts';

const valueOf = (text: string, equalKeys?: 'last'): unknown => {
  const result = parseJson(text, equalKeys);
  return result.ok ? result.value : result.fault.code;
};
const messageOf = (text: string): string => {
  const result = parseJson(text);
  return result.ok ? 'accepted' : result.fault.message;
};

describe('an integer', () => {
  test.each([
    ['9007199254740991', 9007199254740991],
    ['-9007199254740991', -9007199254740991],
    ['9007199254740992', '9007199254740992'],
    ['9007199254740993', '9007199254740993'],
    ['-12345678901234567890', '-12345678901234567890'],
    ['{"a":[1,12345678901234567890]}', { a: [1, '12345678901234567890'] }],
    [`${'9'.repeat(308)}`, '9'.repeat(308)],
    ['{"a":"12345678901234567890","b":12345678901234567890}', { a: '12345678901234567890', b: '12345678901234567890' }],
    ['{"12345678901234567890":1e300}', { '12345678901234567890': 1e300 }],
    [
      '{"a":"x\\":12345678901234567890","b":12345678901234567890}',
      { a: 'x":12345678901234567890', b: '12345678901234567890' },
    ],
  ])('%s is kept', (text, value) => expect(valueOf(text)).toEqual(value));

  test('of any size comes back with its digits', () => {
    fc.assert(
      fc.property(fc.bigInt(), (integer) => {
        const value = valueOf(`{"a":[${integer}]}`) as { a: [unknown] };
        expect(String(value.a[0])).toBe(String(integer));
      }),
    );
  });
});

describe('a fraction', () => {
  test('is a double as ever, however many digits it has', () => {
    expect(
      valueOf('[0.1234567890123456789, 12345678901234567890.5, 1E30, 12345678901234567e3, 12345678901234567890]'),
    ).toEqual([0.12345678901234568, 12345678901234567000, 1e30, 12345678901234567e3, '12345678901234567890']);
    expect(quoteLargeIntegers('0.12345678901234567')).toBe('0.12345678901234567');
  });

  test.each(['1e400', '-1e400', '{"a":{"b":[1,1e999]}}', `1${'0'.repeat(400)}.5`])('%s is refused', (text) => {
    expect(messageOf(text)).toContain('too large');
  });

  test('that is too large is told with its place', () => {
    expect(messageOf('{"a":{"b":[1,1e999]}}')).toMatch(/^a\.b.*1.*: The number 1e999 is too large/);
  });
});

describe('equal keys', () => {
  test.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '[{"b":{"role":"user","role":"admin"}}]',
    '{"__proto__":1,"__proto__":2}',
    '{"a":"{:","a":1}',
    '{"":1,"":2}',
  ])('in %s are refused', (text) => expect(messageOf(text)).toContain('twice'));

  test('are told with their place', () => {
    expect(parseJson('[{"b":{"role":1,"role":2}}]')).toMatchObject({
      fault: { code: 'request.invalid', issues: [{ path: expect.stringContaining('role') }] },
    });
  });

  test('of replies are taken as they are everywhere: the last counts, and integers stay whole', () => {
    expect(valueOf('{"a":1,"a":12345678901234567890}', 'last')).toEqual({ a: '12345678901234567890' });
    expect(valueOf('{"a":1,"a":1e400}', 'last')).toBe('request.invalid');
  });

  test.each(['{"a":{"a":1}}', '[{"a":1},{"a":1}]', '{"a":":","b":"\\":\\":"}', '{"__proto__":{"a":1}}'])(
    'are not seen in %s',
    (text) => expect(parseJson(text)).toMatchObject({ ok: true }),
  );
});

test('any JSON that JavaScript writes is read as JavaScript reads it', () => {
  fc.assert(
    fc.property(fc.json({ noUnicodeString: false }), (text) => {
      const value: unknown = JSON.parse(text);
      fc.pre(!JSON.stringify(value).match(/\d{16}/));
      expect(valueOf(text)).toEqual(value);
    }),
  );
});
