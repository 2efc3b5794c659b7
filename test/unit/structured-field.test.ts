import { describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { readShared } from '../support/shared.ts';
import { serializeList, type BareItem, type Item } from '../../src/core/structured-field.ts';

const bare = v.union([v.string(), v.number(), v.boolean()]);
const item = v.tuple([bare, v.array(v.tuple([v.string(), bare]))]);
const suite = v.pipe(
  v.string(),
  v.parseJson(),
  v.record(
    v.string(),
    v.array(
      v.object({
        name: v.string(),
        raw: v.optional(v.array(v.string()), []),
        header_type: v.string(),
        expected: v.optional(v.unknown()),
        canonical: v.optional(v.array(v.string())),
        must_fail: v.optional(v.boolean(), false),
      }),
    ),
  ),
);

interface Case {
  readonly name: string;
  readonly items: readonly Item[];
  readonly text: string;
}

/** Items and lists of texts, whole numbers and booleans: what the serializer is for. */
function casesOf(text: string): readonly Case[] {
  return Object.values(v.parse(suite, text)).flatMap((group) =>
    group.flatMap(({ name, raw, header_type: type, expected, canonical, must_fail: fails }): Case[] => {
      const members = v.safeParse(v.array(item), type === 'item' ? [expected] : type === 'list' ? expected : undefined);
      if (fails || !members.success || members.output.length === 0) return [];
      const items = members.output.map(([value, parameters]) => ({
        value,
        parameters: Object.fromEntries(parameters),
      }));
      const bares = items.flatMap(({ value, parameters }) => [value, ...Object.values<BareItem>(parameters)]);
      const shown = canonical ?? raw;
      // In JSON, 1.0 is 1; decimals are not for whole numbers.
      if (bares.some((each) => typeof each === 'number' && !Number.isInteger(each)) || /\d\.\d/.test(shown.join()))
        return [];
      return [{ name, items, text: shown.join(', ') }];
    }),
  );
}

const text = readShared('suites/structured-fields.json');

describe.skipIf(text === undefined)('the public suite of structured fields', () => {
  const cases = casesOf(text ?? '{}');

  it('has cases for the serializer', () => {
    expect(cases.length).toBeGreaterThan(30);
  });

  it.each(cases.map((each) => [each.name, each] as const))('is met by %s', (_, { items, text: expected }) => {
    expect(serializeList(items)).toBe(expected);
  });
});

describe('a structured field', () => {
  it.each(['é', '\u0000', '\u007f', 'a\nb', '\t'])('cannot say %j', (value) => {
    expect(() => serializeList([{ value, parameters: {} }])).toThrow(RangeError);
  });

  it.each([1.5, 1e15, -1e15, NaN, Infinity])('cannot say %d', (value) => {
    expect(() => serializeList([{ value, parameters: {} }])).toThrow(RangeError);
  });

  it.each(['Q', '1a', 'a b', ''])('has no parameter %j', (key) => {
    expect(() => serializeList([{ value: 'a', parameters: { [key]: 1 } }])).toThrow(RangeError);
  });

  it('escapes quotes, so that a name cannot bring parameters with it', () => {
    expect(serializeList([{ value: 'a";q="1\\', parameters: { q: 1 } }])).toBe('"a\\";q=\\"1\\\\";q=1');
  });
});
