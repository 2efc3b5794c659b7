import { expect, test } from 'vitest';
import { mayAs, ROLES, type Role } from '../../src/core/roles.ts';

test('a role may what those before it may, and no more', () => {
  const may = ROLES.map((role) => ROLES.filter((needed) => mayAs(role, needed)));
  expect(may).toEqual(ROLES.map((_role, index) => ROLES.slice(0, index + 1)));
});

test.each(['operator', '', 'OWNER', 'toString'])('%j, which is no role, may nothing and lets nobody in', (name) => {
  const unknown = name as Role;
  for (const role of ROLES) {
    expect(mayAs(unknown, role)).toBe(false);
    expect(mayAs(role, unknown)).toBe(false);
  }
  expect(mayAs(unknown, unknown)).toBe(false);
});
