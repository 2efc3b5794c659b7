import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accepts, outputOf, refusal, run } from './support.ts';
import { data } from '../../../src/connectors/data/index.ts';

const MANY = 100_000;

/** Items whose member is a getter, so that a test counts how often a step looks at it. */
function counted(count: number, valueOf: (index: number) => unknown): { items: unknown[]; reads: () => number } {
  let reads = 0;
  const items = Array.from({ length: count }, (_, index) => ({
    get key() {
      reads++;
      return valueOf(index);
    },
  }));
  return { items, reads: () => reads };
}

test.each(['aggregate', 'filter', 'sort', 'join', 'dedupe'])('the example of data.%s works', async (action) => {
  expect(await run(action, data.actions[action]?.example)).toMatchObject({ ok: true });
});

describe('paths', () => {
  const item = { a: { 'b.c': [{ d: 1 }] }, 'x"y': 2, toString: 3 };
  test.each([
    ['a["b.c"].0.d', 1],
    ['["x\\"y"]', 2],
    ['toString', 3],
    ['a.missing.deeper', null],
    ['__proto__', null],
    ['a.constructor.name', null],
    ['hasOwnProperty', null],
  ])('%s finds %j', async (path, found) => {
    expect(await outputOf('aggregate', { in: [item], figures: { it: { op: 'max', of: path } } })).toEqual({
      it: found,
    });
  });

  test.each(['.', 'a..b', 'a.', '[0]', 'a[', 'a["b', '$.a["x"', '"a"'])('%s is refused', async (path) => {
    await refusal('sort', { in: [], by: path }, 'step.params', /^by\.0\.path: Write a path/);
  });
});

describe('data.aggregate', () => {
  const sum = async (values: readonly unknown[]) => {
    const output = await outputOf('aggregate', { in: values, figures: { sum: { op: 'sum' }, avg: { op: 'avg' } } });
    return (output as { sum: unknown }).sum;
  };

  test('gives each group in the order in which it first comes, by the names that it was told', async () => {
    const items = [
      { at: { country: 'FR' }, total: 3 },
      { at: { country: 'DE' }, total: 1 },
      { at: {}, total: 9 },
      { at: { country: 'FR' }, total: 4 },
    ];
    const params = {
      in: items,
      by: { country: 'at.country' },
      figures: {
        count: { op: 'count' },
        sum: { op: 'sum', of: 'total' },
        avg: { op: 'avg', of: 'total' },
        min: { op: 'min', of: 'total' },
        max: { op: 'max', of: 'total' },
      },
    };
    expect(await outputOf('aggregate', params)).toEqual([
      { country: 'FR', count: 2, sum: 7, avg: 3.5, min: 3, max: 4 },
      { country: 'DE', count: 1, sum: 1, avg: 1, min: 1, max: 1 },
      { country: null, count: 1, sum: 9, avg: 9, min: 9, max: 9 },
    ]);
  });

  test('of nothing is nothing: count and sum are 0, the rest null', async () => {
    const figures = {
      count: { op: 'count' },
      sum: { op: 'sum' },
      avg: { op: 'avg' },
      min: { op: 'min' },
      all: { op: 'distinct' },
    };
    expect(await outputOf('aggregate', { in: [], figures })).toEqual({
      count: 0,
      sum: 0,
      avg: null,
      min: null,
      all: [],
    });
    expect(await outputOf('aggregate', { in: [], by: { a: 'a' }, figures })).toEqual([]);
  });

  test('keeps integers exact beyond 2^53, as text, whichever order they come in', async () => {
    expect(await sum([Number.MAX_SAFE_INTEGER, 2])).toBe('9007199254740993');
    expect(await sum([Number.MAX_SAFE_INTEGER, 2, -2])).toBe(Number.MAX_SAFE_INTEGER);
    expect(await sum(['12345678901234567890', 1])).toBe('12345678901234567891');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.maxSafeInteger()), async (values) => {
        const exact = values.reduce((total, value) => total + BigInt(value), 0n);
        expect(String(await sum(values))).toBe(String(exact));
      }),
    );
  });

  test('counts a fraction as the decimal that it is written as, and rounds once', async () => {
    expect(await sum([0.1, 0.2])).toBe(0.3);
    expect(await sum(Array.from({ length: 1_000 }, () => 0.1))).toBe(100);
    expect(await sum([1e300, 1, -1e300])).toBe(1);
    expect(await sum([5e-324, 1, -1])).toBe(5e-324);
    expect(await sum(['0.10', '0.20', '12345678901234567890.01'])).toBe('12345678901234567890.31');
    expect(await sum(['-0.5', 0.25])).toBe(-0.25);
  });

  test('does not count what is null or missing, but counts the items themselves', async () => {
    const params = {
      in: [{ a: 1 }, { a: null }, {}, null],
      figures: { items: { op: 'count' }, values: { op: 'count', of: 'a' }, avg: { op: 'avg', of: 'a' } },
    };
    expect(await outputOf('aggregate', params)).toEqual({ items: 4, values: 1, avg: 1 });
  });

  test('tells values apart by what they are, not by how they are written', async () => {
    const values = [1, '1', { a: 1, b: 2 }, { b: 2, a: 1 }, [1], true, 1];
    const figures = { all: { op: 'distinct' }, count: { op: 'count-distinct' } };
    expect(await outputOf('aggregate', { in: values, figures })).toEqual({
      all: [1, '1', { a: 1, b: 2 }, [1], true],
      count: 5,
    });
  });

  test.each([
    [{ op: 'sum', of: 'a' }, [{ a: 1 }, { a: 'x' }], /^in\.1\.a: Must be a number/],
    [{ op: 'avg' }, [true], /^in\.0: Must be a number/],
    [{ op: 'sum' }, [`1${'0'.repeat(2_000)}`], /^in\.0: Must be a number/],
    [{ op: 'sum' }, ['1e9999'], /^in\.0: Must be a number/],
    [{ op: 'sum' }, [''], /^in\.0: Must be a number/],
    [{ op: 'min' }, [1, 'a'], /^in\.1: Must be a number, like/],
    [{ op: 'max' }, [[1]], /^in\.0: Must be a number or a text/],
  ])('%j refuses %j by its place', async (figure, items, message) => {
    await refusal('aggregate', { in: items, figures: { it: figure } }, 'step.params', message);
  });

  test('refuses names that would be lost, and takes those of a prototype for names', async () => {
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      const figures: unknown = JSON.parse(`{"${name}":{"op":"count"}}`);
      expect(accepts('aggregate', { in: [], figures }), name).toBe(false);
    }
    const params = { in: [{ toString: 1 }], by: { valueOf: 'toString' }, figures: { hasOwnProperty: { op: 'count' } } };
    expect(await outputOf('aggregate', params)).toEqual([{ valueOf: 1, hasOwnProperty: 1 }]);
  });

  test('looks at each of 100,000 items once, also where each is a group of its own', async () => {
    const { items, reads } = counted(MANY, (index) => index);
    const params = { in: items, by: { key: 'key' }, figures: { n: { op: 'count' } } };
    const result = await run('aggregate', params);
    expect(result.ok && (result.value as unknown[]).length).toBe(MANY);
    expect(reads()).toBe(MANY);
  });
});

describe('data.filter', () => {
  const items = [
    { id: 1, name: 'Ada', tags: ['x'], at: { n: 5 } },
    { id: 2, name: 'Bob', tags: ['y', 'z'], at: { n: null } },
    { id: 3, tags: [], at: {} },
  ];
  const ids = async (where: unknown) =>
    ((await outputOf('filter', { in: items, where })) as { id: number }[]).map(({ id }) => id);

  test.each<[unknown, number[]]>([
    [{}, [1, 2, 3]],
    [{ id: 2 }, [2]],
    [{ id: '2' }, []],
    [{ 'at.n': null }, [2, 3]],
    [{ 'at.n': { exists: true } }, [1]],
    [{ 'at.n': { exists: false } }, [2, 3]],
    [{ id: { gt: 1, lte: 2 } }, [2]],
    [{ id: { gt: '0' } }, []],
    [{ name: { gte: 'B' } }, [2]],
    [{ name: { ne: 'Ada' } }, [2, 3]],
    [{ id: { in: [1, 3] } }, [1, 3]],
    [{ id: { notIn: [1, 3] } }, [2]],
    [{ tags: { eq: ['y', 'z'] } }, [2]],
    [{ tags: { contains: 'z' } }, [2]],
    [{ name: { contains: 'd' } }, [1]],
    [{ name: { startsWith: 'B' } }, [2]],
    [{ name: { endsWith: 'a' } }, [1]],
    [
      [{ id: 1 }, { name: 'Bob', id: 2 }, { name: 'Bob', id: 1 }],
      [1, 2],
    ],
  ])('where %j keeps %j', async (where, kept) => {
    expect(await ids(where)).toEqual(kept);
  });

  test('refuses a test that there is none of, rather than passing it over', () => {
    for (const where of [
      { id: { greater: 1 } },
      { id: { gt: true } },
      { id: [1] },
      [],
      'id > 1',
      JSON.parse('{"__proto__":1}'),
    ]) {
      expect(accepts('filter', { in: items, where }), JSON.stringify(where)).toBe(false);
    }
  });

  test('a wrong path is named', async () => {
    await refusal('filter', { in: items, where: [{ id: 1 }, { 'a..b': 1 }] }, 'step.params', /^where\.1\.a\.\.b: /);
  });
});

describe('data.sort', () => {
  const sorted = (items: unknown, by?: unknown) => outputOf('sort', { in: items, ...(by === undefined ? {} : { by }) });

  test('is stable in both directions', async () => {
    const items = [2, 1, 2, 1].map((n, id) => ({ n, id }));
    const idsBy = async (by: unknown) => ((await sorted(items, by)) as { id: number }[]).map(({ id }) => id);
    expect(await idsBy('n')).toEqual([1, 3, 0, 2]);
    expect(await idsBy({ path: 'n', order: 'desc' })).toEqual([0, 2, 1, 3]);
  });

  test('takes further keys where the first ones are equal', async () => {
    const items = [
      { a: 1, b: 1 },
      { a: 2, b: 1 },
      { a: 1, b: 2 },
    ];
    expect(await sorted(items, ['a', { path: 'b', order: 'desc' }])).toEqual([
      { a: 1, b: 2 },
      { a: 1, b: 1 },
      { a: 2, b: 1 },
    ]);
  });

  test('follows the code units of texts, or a language', async () => {
    expect(await sorted(['b', 'a', 'B', 'ä'])).toEqual(['B', 'a', 'b', 'ä']);
    expect(await sorted(['z', 'ö', 'o'], { path: '$', locale: 'sv' })).toEqual(['o', 'z', 'ö']);
    expect(await sorted(['z', 'ö', 'o'], { path: '$', locale: 'de' })).toEqual(['o', 'ö', 'z']);
    expect(await sorted(['a10', 'a9'], { path: '$', numeric: true })).toEqual(['a9', 'a10']);
    expect(await sorted(['b', 'A', 'a'], { path: '$', ignoreCase: true })).toEqual(['A', 'a', 'b']);
  });

  test('puts what is missing last, or first when told, whatever the order', async () => {
    const items = [{ a: null }, { a: 1 }, {}, { a: 2 }];
    expect(await sorted(items, { path: 'a', order: 'desc' })).toEqual([{ a: 2 }, { a: 1 }, { a: null }, {}]);
    expect(await sorted(items, { path: 'a', missing: 'first' })).toEqual([{ a: null }, {}, { a: 1 }, { a: 2 }]);
  });

  test('gives the same order for values of any kind, however they stood', async () => {
    const values = [{ a: 1 }, [2], 'x', 'X', 3, -1, true, false];
    const expected = [false, true, -1, 3, 'X', 'x', [2], { a: 1 }];
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(values, { minLength: values.length }), async (shuffled) => {
        expect(await sorted(shuffled)).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  test('refuses a language that is none', async () => {
    await refusal('sort', { in: [], by: { path: '$', locale: '_' } }, 'step.params', /^by\.0\.locale: .*language tag/);
  });

  test('looks at each of 100,000 items once', async () => {
    const { items, reads } = counted(MANY, (index) => (index * 7_919) % MANY);
    expect(await run('sort', { in: items, by: 'key' })).toMatchObject({ ok: true });
    expect(reads()).toBe(MANY);
  });
});

describe('data.join', () => {
  const left = [
    { id: 1, c: 'a' },
    { id: 2, c: 'b' },
    { id: 3, c: null },
  ];
  const right = [
    { c: 'a', name: 'A1' },
    { c: 'a', name: 'A2' },
    { c: 'z', name: 'Z' },
    { c: null, name: 'N' },
  ];
  const names = async (type: string) => {
    const rows = (await outputOf('join', { left, right, on: 'c', type })) as {
      left: { id: number } | null;
      right: { name: string } | null;
    }[];
    return rows.map((row) => `${row.left?.id ?? '-'}${row.right?.name ?? '-'}`);
  };

  test('keeps what each kind of join keeps, in order; null equals nothing', async () => {
    expect(await names('inner')).toEqual(['1A1', '1A2']);
    expect(await names('left')).toEqual(['1A1', '1A2', '2-', '3-']);
    expect(await names('full')).toEqual(['1A1', '1A2', '2-', '3-', '-Z', '-N']);
  });

  test('takes several keys, by different names, and merges if told; the left wins', async () => {
    const output = await outputOf('join', {
      left: [{ a: 1, b: 2, name: 'left' }],
      right: [
        { x: 1, y: 2, name: 'right', more: true },
        { x: 1, y: 3 },
      ],
      on: { left: ['a', 'b'], right: ['x', 'y'] },
      rows: 'merged',
    });
    expect(output).toEqual([{ a: 1, b: 2, x: 1, y: 2, name: 'left', more: true }]);
  });

  test('does not take keys for equal that only look so when put together', async () => {
    const params = { left: [{ a: 'x,y', b: 'z' }], right: [{ a: 'x', b: 'y,z' }], on: ['a', 'b'] };
    expect(await outputOf('join', params)).toEqual([]);
    expect(await outputOf('join', { left: [{ a: 1 }], right: [{ a: '1' }], on: 'a' })).toEqual([]);
  });

  test('a member named __proto__ stays a member', async () => {
    const evil: unknown = JSON.parse('{"a":1,"__proto__":{"polluted":true}}');
    const output = await outputOf('join', { left: [evil], right: [{ a: 1 }], on: 'a', rows: 'merged' });
    expect(JSON.stringify(output)).toBe('[{"a":1,"__proto__":{"polluted":true}}]');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('refuses keys that do not pair, items that cannot merge, and rows without measure', async () => {
    const on = { left: ['a', 'b'], right: 'a' };
    await refusal('join', { left, right, on }, 'step.params', /^on\.right: .*as many paths/);
    const merged = { left: [1], right, on: 'c', rows: 'merged' };
    await refusal('join', merged, 'step.params', /^left\.0: Must be an object/);
    const same = Array.from({ length: 1_001 }, () => ({ a: 1 }));
    await refusal('join', { left: same, right: same, on: 'a' }, 'data.too-large', /^on: /);
  });

  test('looks at each of twice 100,000 items as often as it has sides, not at all pairs', async () => {
    const one = counted(MANY, (index) => index);
    const other = counted(MANY, (index) => MANY - index);
    const result = await run('join', { left: one.items, right: other.items, on: 'key', type: 'full' });
    expect(result.ok && (result.value as unknown[]).length).toBe(MANY + 1);
    expect(one.reads()).toBe(MANY);
    expect(other.reads()).toBe(2 * MANY);
  });
});

describe('data.dedupe', () => {
  const items = [
    { id: 1, n: 'a' },
    { id: 2, n: 'b' },
    { id: 1, n: 'c' },
  ];
  test('keeps the first or the last of a key, in order', async () => {
    expect(await outputOf('dedupe', { in: items, by: 'id' })).toEqual([items[0], items[1]]);
    expect(await outputOf('dedupe', { in: items, by: ['id'], keep: 'last' })).toEqual([items[1], items[2]]);
  });

  test('compares whole items by value where it is told no key', async () => {
    expect(await outputOf('dedupe', { in: [{ a: 1, b: 2 }, { b: 2, a: 1 }, 1, '1', null, null] })).toEqual([
      { a: 1, b: 2 },
      1,
      '1',
      null,
    ]);
  });

  test('looks at each of 100,000 items once, however many repeat', async () => {
    for (const distinct of [1, MANY]) {
      const { items: many, reads } = counted(MANY, (index) => index % distinct);
      const result = await run('dedupe', { in: many, by: 'key', keep: 'last' });
      expect(result.ok && (result.value as unknown[]).length).toBe(distinct);
      expect(reads()).toBe(MANY);
    }
  });
});
