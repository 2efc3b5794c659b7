import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, hashDocument } from '../../../src/core/chain/canonical.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

interface Pair {
  readonly input: string;
  readonly output: string;
}

const pairs = Object.entries(JSON.parse(readShared('suites/jcs-rfc8785.json') ?? '{}') as Record<string, Pair>);

/** The same value with the members of every object the other way round. */
const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
};

describe('the canonical form', () => {
  it.skipIf(sharedMissing)('is that of RFC 8785 in every case of its suite, byte for byte', () => {
    expect(pairs.length).toBeGreaterThan(4);
    for (const [name, { input, output }] of pairs)
      expect(canonicalJson(JSON.parse(input)), name).toBe(output.trimEnd());
  });

  it('sorts by UTF-16 code units, not by code points or the language', () => {
    expect(canonicalJson({ '\ufb33': 1, '\u{1f600}': 2, b: 3, B: 4, 10: 5, 9: 6 })).toBe(
      '{"10":5,"9":6,"B":4,"b":3,"\u{1f600}":2,"\ufb33":1}',
    );
  });

  it('does not depend on the order of members, and reads back as the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('keeps the order of lists, which means something', () => {
    expect(canonicalJson([2, 1])).not.toBe(canonicalJson([1, 2]));
  });

  it('has a key named __proto__ like any other', () => {
    expect(canonicalJson(JSON.parse('{"a":1,"__proto__":{"b":2}}'))).toBe('{"__proto__":{"b":2},"a":1}');
  });
});

describe('the hash of a document', () => {
  it('is the SHA-256 of its canonical form', async () => {
    expect(await hashDocument({})).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  });

  it('stays when white space and order change, and changes with any value', async () => {
    const hash = await hashDocument({ name: 'x', steps: { a: { use: 'data.map' } } });
    expect(await hashDocument(JSON.parse('{ "steps": {"a": {"use": "data.map"}},\n "name": "x" }'))).toBe(hash);
    expect(await hashDocument({ name: 'x', steps: { a: { use: 'data.mop' } } })).not.toBe(hash);
  });

  it('exists for a document with a lone surrogate', async () => {
    expect(await hashDocument({ name: '\ud800' })).toMatch(/^[0-9a-f]{64}$/);
  });
});
