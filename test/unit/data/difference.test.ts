import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { differencesOf } from '../../../src/core/data/difference.ts';

test('what is added, removed and changed is told with its place, in the order of the document', () => {
  const from = { steps: { a: { use: 'http.get', with: { url: 'x' } }, b: {} }, mode: 'inline', list: [1, 2, 3] };
  const to = { steps: { a: { use: 'http.post', with: { url: 'x', json: 1 } } }, mode: 'inline', list: [1, 3] };
  expect(differencesOf(from, to)).toEqual([
    { op: 'change', path: 'steps.a.use', from: 'http.get', to: 'http.post' },
    { op: 'add', path: 'steps.a.with.json', to: 1 },
    { op: 'remove', path: 'steps.b', from: {} },
    { op: 'change', path: 'list.1', from: 2, to: 3 },
    { op: 'remove', path: 'list.2', from: 3 },
  ]);
});

test.each([
  ['null and nothing', null, undefined],
  ['a list and an object', [], {}],
  ['a text and a number', '1', 1],
  ['false and null', false, null],
])('%s differ', (_what, from, to) => {
  expect(differencesOf({ x: from }, { x: to })).toHaveLength(1);
});

test('the order of members, 0 and -0 do not differ', () => {
  expect(differencesOf({ a: 1, b: [0] }, { b: [-0], a: 1 })).toEqual([]);
});

test('keys that are no plain words are quoted, and reserved ones are keys like others', () => {
  const to: unknown = JSON.parse('{"a.b":{"__proto__":1},"":2}');
  expect(differencesOf({}, to).map(({ path }) => path)).toEqual(['["a.b"]', '[""]']);
  expect(differencesOf({ a: {} }, JSON.parse('{"a":{"constructor":1}}'))).toEqual([
    { op: 'add', path: 'a.constructor', to: 1 },
  ]);
});

test('no more are told than the limit', () => {
  expect(differencesOf([1, 2, 3], [4, 5, 6], 2)).toHaveLength(2);
});

test('two values differ in nothing when their JSON is the same, and only then', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (a, b) => {
      expect(differencesOf(a, structuredClone(a))).toEqual([]);
      const same = JSON.stringify(a) === JSON.stringify(b);
      if (same) expect(differencesOf(a, b)).toEqual([]);
      else if (typeof a !== 'object' && typeof b !== 'object') expect(differencesOf(a, b)).toHaveLength(1);
    }),
  );
});
