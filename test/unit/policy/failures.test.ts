import { expect, test } from 'vitest';
import { Failures } from '../../../src/core/policy/failures.ts';

const failures = (addresses = 100) => new Failures({ burst: 3, periodMilliseconds: 1_000, addresses });

test('an address may fail so many times at once, and then once each period', () => {
  const limit = failures();
  expect([1, 2, 3].map(() => limit.note('a', 0))).toEqual([undefined, undefined, undefined]);
  expect(limit.note('a', 0)).toBe(1_000);
  expect(limit.note('a', 400)).toBe(600);
  expect(limit.note('a', 1_000)).toBeUndefined();
  expect(limit.note('a', 1_000)).toBe(1_000);
});

test('what was refused costs nothing more, so that the wait does not grow', () => {
  const limit = failures();
  for (let count = 0; count < 100; count++) limit.note('a', 0);
  expect(limit.note('a', 0)).toBe(1_000);
});

test('after a rest the whole burst is there again, and no more', () => {
  const limit = failures();
  for (let count = 0; count < 4; count++) limit.note('a', 0);
  expect([1, 2, 3, 4].map(() => limit.note('a', 1_000_000))).toEqual([undefined, undefined, undefined, 1_000]);
});

test('one address does not limit another', () => {
  const limit = failures();
  for (let count = 0; count < 4; count++) limit.note('a', 0);
  expect(limit.note('b', 0)).toBeUndefined();
});

test('memory is bounded: the address that failed longest ago is forgotten', () => {
  const limit = failures(2);
  for (const address of ['a', 'a', 'a', 'b', 'a']) limit.note(address, 0);
  limit.note('c', 0);
  expect(limit.note('a', 0)).toBeUndefined();
});
