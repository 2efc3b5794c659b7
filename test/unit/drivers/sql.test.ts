import { MySqlDialect } from 'drizzle-orm/mysql-core';
import { PgDialect } from 'drizzle-orm/pg-core';
import type { SQL } from 'drizzle-orm';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Result } from '../../../src/core/errors.ts';
import { conditionOf, insert, quotedTable, remove, select, update } from '../../../src/drivers/kit/sql.ts';

const pg = new PgDialect();
const mysql = new MySqlDialect();

function textOf(built: Result<SQL>, dialect: PgDialect | MySqlDialect = pg): [string, ...unknown[]] {
  if (!built.ok) throw new Error(built.fault.message);
  const { sql, params } = dialect.sqlToQuery(built.value);
  return [sql, ...params];
}

const refused = (built: Result<unknown>): string => {
  if (built.ok) throw new Error('Expected a refusal.');
  expect(built.fault.code).toBe('step.params');
  return built.fault.message;
};

describe('conditions', () => {
  it.each([
    [{ column: 'a', eq: 1 }, '"a" = $1', [1]],
    [{ column: 'a', gte: 1, lt: 5 }, '("a" >= $1 and "a" < $2)', [1, 5]],
    [{ column: 'a', in: ['x', 'y'] }, '"a" in ($1, $2)', ['x', 'y']],
    [{ column: 'a', in: [] }, 'false', []],
    [{ column: 'a', isNull: true }, '"a" is null', []],
    [{ column: 'a', isNull: false }, '"a" is not null', []],
    [{ not: { column: 'a', like: '%x' } }, 'not ("a" like $1)', ['%x']],
    [
      {
        and: [
          { column: 'a', ne: 1 },
          {
            or: [
              { column: 'b', lte: 2 },
              { column: 'c', gt: true },
            ],
          },
        ],
      },
      '("a" <> $1 and ("b" <= $2 or "c" > $3))',
      [1, 2, true],
    ],
  ])('%j becomes %s', (where, sql, params) => {
    expect(textOf(conditionOf(where))).toEqual([sql, ...params]);
  });

  it('are written as the dialect writes them', () => {
    expect(textOf(conditionOf({ column: 'a`b', eq: 'x' }), mysql)).toEqual(['`a``b` = ?', 'x']);
  });

  it.each([
    [{}, 'where: must be a condition'],
    [{ column: 'a' }, 'compare the column with something'],
    [{ column: 'a', eq: null }, 'where.eq: must be a text'],
    [{ column: 'a', eq: { $gt: 0 } }, 'where.eq'],
    [{ column: 'a', like: ['%'] }, 'where.like'],
    [{ column: 'a', in: 'x' }, 'where.in: must be a list'],
    [{ column: 'a', in: [null] }, 'where.in'],
    [{ column: 'a', isNull: 1 }, 'where.isNull'],
    [{ column: 'a', constructor: 1 }, 'where.constructor: there is no such comparison'],
    [{ column: 'a', 'eq 1 or 1': 1 }, 'there is no such comparison'],
    [{ column: 3, eq: 1 }, 'where.column'],
    [{ column: '', eq: 1 }, 'can be no name'],
    [{ column: 'a\u0000b', eq: 1 }, 'can be no name'],
    [{ column: 'x'.repeat(64), eq: 1 }, 'can be no name'],
    [{ and: [] }, 'where.and: must be a list of conditions'],
    [{ and: [], or: [] }, 'give either'],
    [{ or: [{ column: 'a', eq: 1 }, {}] }, 'where.or[1]: must be a condition'],
    [{ not: [] }, 'where.not'],
    [{ xor: [{ column: 'a', eq: 1 }] }, 'give either'],
  ])('%j are refused with their place', (where, message) => {
    expect(refused(conditionOf(where))).toContain(message);
  });

  it('nested without end are refused before they are built', () => {
    let where: Record<string, unknown> = { column: 'a', eq: 1 };
    for (let depth = 0; depth < 10_000; depth++) where = { not: where };
    expect(refused(conditionOf(where))).toContain('at most 32 deep');
  });

  it('never let a name or value out of its quotes', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 15 }), fc.string(), (column, value) => {
        const built = conditionOf({ column, eq: value });
        if (!built.ok) return;
        expect(textOf(built)).toEqual([`"${column.replaceAll('"', '""')}" = $1`, value]);
      }),
    );
  });
});

describe('statements', () => {
  it('select what was asked, in order', () => {
    const asked = {
      table: 'shop.orders',
      columns: ['id', 'total'],
      where: { column: 'vip', eq: true },
      orderBy: [{ column: 'total', direction: 'desc' as const }, { column: 'id' }],
      limit: 10,
      offset: 20,
    };
    expect(textOf(select(asked))).toEqual([
      'select "id", "total" from "shop"."orders" where "vip" = $1 order by "total" desc, "id" asc limit $2 offset $3',
      true,
      10,
      20,
    ]);
    expect(textOf(select({ table: 'orders' }))).toEqual(['select * from "orders"']);
  });

  it('insert rows that differ in their columns, the rest by default', () => {
    expect(textOf(insert({ table: 't', rows: [{ a: 1 }, { b: [2], a: null }], returning: ['*'] }))).toEqual([
      'insert into "t" ("a", "b") values ($1, default), ($2, $3) returning *',
      1,
      null,
      [2],
    ]);
  });

  it('update and delete the rows of a condition', () => {
    const where = { column: 'id', eq: 1 };
    expect(textOf(update({ table: 't', set: { a: null }, where, returning: ['a'] }))).toEqual([
      'update "t" set "a" = $1 where "id" = $2 returning "a"',
      null,
      1,
    ]);
    expect(textOf(remove({ table: 't', where }))).toEqual(['delete from "t" where "id" = $1', 1]);
  });

  it('that change every row must say so', () => {
    expect(refused(update({ table: 't', set: { a: 1 } }))).toContain('all: true');
    expect(refused(remove({ table: 't' }))).toContain('all: true');
    expect(refused(remove({ table: 't', all: false }))).toContain('all: true');
    expect(textOf(remove({ table: 't', all: true }))).toEqual(['delete from "t"']);
  });

  it('with a condition that is empty are refused, also with `all`', () => {
    expect(refused(remove({ table: 't', where: {}, all: true }))).toContain('must be a condition');
  });

  it.each(['', '.', 'a.', 'a.b.c', 'a\nb', 'x'.repeat(64)])('on the table %j are refused', (table) => {
    refused(quotedTable(table));
  });

  it('quote what only looks like SQL', () => {
    expect(textOf(remove({ table: 'a"; drop table b; --', all: true }))).toEqual([
      'delete from "a""; drop table b; --"',
    ]);
  });

  it('without a column are refused', () => {
    refused(insert({ table: 't', rows: [{}] }));
    refused(update({ table: 't', set: {}, all: true }));
  });
});
