import { beforeEach, describe, expect, it } from 'vitest';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import { actionsOf, faultOf, output, servers } from './fixtures.ts';

const { endpoint, token, connectionString } = servers.postgres;

describe.each([
  ['HTTP', 'shop_http', { settings: { endpoint }, secrets: { connectionString, token } }],
  ['TCP', 'shop_tcp', { settings: { tls: 'disable' }, secrets: { connectionString } }],
])('over %s', (_transport, schema, credentials) => {
  const call = actionsOf(postgres, credentials);
  const done = async (action: string, params: unknown) => output(call(action, params));
  const query = async (sql: string) => done('query', { sql });
  const table = `${schema}.Odd "items"`;
  const quoted = `${schema}."Odd ""items"""`;

  beforeEach(async () => {
    await query(`drop schema if exists ${schema} cascade`);
    await query(`create schema ${schema}`);
    await query(
      `create table ${quoted} (id int8 primary key, "the name" text, price numeric, tags text[] default '{new}',
        data jsonb, at timestamptz, bytes bytea)`,
    );
  });

  describe('the builder', () => {
    it('inserts, selects, updates and deletes rows of a table with any name', async () => {
      const rows = [
        { id: 1, 'the name': "O'Hara; --", tags: ['a', 'b'], data: { a: [1] } },
        { id: '9007199254740993', 'the name': null, price: '12.5' },
      ];
      expect(await done('insert', { table, rows, returning: ['id', 'tags'] })).toEqual({
        rows: [
          { id: 1, tags: ['a', 'b'] },
          { id: '9007199254740993', tags: ['new'] },
        ],
        rowCount: 2,
      });
      const where = { and: [{ column: 'id', gte: 1 }, { not: { column: 'the name', isNull: true } }] };
      expect(await done('select', { table, columns: ['the name', 'data'], where })).toEqual({
        rows: [{ 'the name': "O'Hara; --", data: { a: [1] } }],
        rowCount: 1,
      });
      const set = { price: 3, at: '2026-01-02T03:04:05.000001Z' };
      expect(
        await done('update', { table, set, where: { column: 'id', in: [1, 7] }, returning: ['price', 'at'] }),
      ).toEqual({ rows: [set], rowCount: 1 });
      expect(await done('delete', { table, where: { column: 'id', eq: '9007199254740993' } })).toMatchObject({
        rowCount: 1,
      });
      expect(await done('select', { table, columns: ['id'] })).toMatchObject({ rows: [{ id: 1 }] });
    });

    it('orders and pages', async () => {
      await done('insert', { table, rows: [1, 2, 3, 4].map((id) => ({ id, price: id % 2 })) });
      const orderBy = [{ column: 'price', direction: 'desc' }, { column: 'id' }];
      expect(await done('select', { table, columns: ['id'], orderBy, limit: 2, offset: 1 })).toMatchObject({
        rows: [{ id: 3 }, { id: 2 }],
      });
    });

    it.each(['id" = 1 or "id', 'id; drop table x', "id' or '1'='1", 'the name")--'])(
      'takes %s for a name, of which there is none',
      async (column) => {
        await done('insert', { table, rows: [{ id: 1 }] });
        const fault = await faultOf(call('delete', { table, where: { column, eq: 1 } }), 'upstream.rejected');
        expect(fault.data).toMatchObject({ code: '42703' });
        await faultOf(call('insert', { table, rows: [{ id: 2, [column]: 1 }] }), 'upstream.rejected');
        await faultOf(call('select', { table, columns: [column] }), 'upstream.rejected');
        await faultOf(call('select', { table, orderBy: [{ column }] }), 'upstream.rejected');
        await faultOf(call('update', { table, set: { [column]: 1 }, all: true }), 'upstream.rejected');
        await faultOf(call('upsert', { table, rows: [{ id: 1 }], conflict: [column] }), 'upstream.rejected');
        await faultOf(call('bulkUpsert', { table, rows: [{ [column]: 1 }], conflict: ['id'] }), 'upstream.rejected');
        await faultOf(call('select', { table: `${schema}.${column}` }), 'upstream.rejected');
        expect(await done('select', { table, columns: ['id'] })).toMatchObject({ rows: [{ id: 1 }] });
      },
    );

    it('takes values for values, whatever they look like', async () => {
      const value = `x', 1); drop schema ${schema} cascade; --`;
      await done('insert', { table, rows: [{ id: 1, 'the name': value }] });
      const where = {
        or: [
          { column: 'the name', eq: value },
          { column: 'the name', like: `${value}%` },
        ],
      };
      expect(await done('update', { table, set: { 'the name': '$1' }, where })).toMatchObject({ rowCount: 1 });
      expect(await done('select', { table, columns: ['the name'] })).toMatchObject({ rows: [{ 'the name': '$1' }] });
    });

    it.each([
      ['update', { set: { price: 0 } }],
      ['delete', {}],
    ])('refuses %s of every row unless it is said', async (action, params) => {
      await done('insert', { table, rows: [{ id: 1 }, { id: 2 }] });
      await faultOf(call(action, { table, ...params }), 'step.params');
      await faultOf(call(action, { table, ...params, where: {} }), 'step.params');
      expect(await done(action, { table, ...params, all: true })).toMatchObject({ rowCount: 2 });
    });
  });

  describe('upserts', () => {
    it('change only the columns that they name', async () => {
      await done('insert', { table, rows: [{ id: 1, 'the name': 'old', price: 1 }] });
      const rows = [
        { id: 1, 'the name': 'new', price: 2 },
        { id: 2, 'the name': 'two', price: 2 },
      ];
      const only = { table, rows, conflict: ['id'], update: ['price'], returning: ['id', 'the name', 'price'] };
      expect(await done('upsert', only)).toMatchObject({
        rows: [{ id: 1, 'the name': 'old', price: 2 }, { id: 2 }],
      });
      expect(await done('upsert', { ...only, update: [] })).toMatchObject({ rows: [], rowCount: 0 });
      expect(await done('upsert', { table, rows, conflict: ['id'] })).toMatchObject({ rowCount: 2 });
      expect(await done('select', { table, columns: ['the name'], where: { column: 'id', eq: 1 } })).toMatchObject({
        rows: [{ 'the name': 'new' }],
      });
    });

    it('of thousands of rows are one statement, and done twice are done once', async () => {
      const rows = Array.from({ length: 10_000 }, (_, id) => ({
        id,
        'the name': `"quoted" \\ ${id}`,
        price: '0.1234567890123456789',
        tags: ['a,b', null],
        data: { id },
        at: '2026-01-02T03:04:05.123456Z',
        bytes: String.raw`\x00ff`,
      }));
      for (let time = 0; time < 2; time++) {
        expect(await done('bulkUpsert', { table, rows, conflict: ['id'] })).toMatchObject({ rowCount: 10_000 });
      }
      expect(await query(`select count(*) from ${quoted}`)).toMatchObject({ rows: [{ count: 10_000 }] });
      expect(await done('select', { table, where: { column: 'id', eq: 7 } })).toMatchObject({ rows: [rows[7]] });
    });

    it('of rows that differ in their columns are refused, and of a row that is there twice too', async () => {
      const uneven = { table, rows: [{ id: 1, price: 1 }, { id: 2 }], conflict: ['id'] };
      const fault = await faultOf(call('bulkUpsert', uneven), 'step.params');
      expect(fault.message).toContain('rows[1]');
      const twice = {
        table,
        rows: [
          { id: 1, price: 1 },
          { id: 1, price: 2 },
        ],
        conflict: ['id'],
      };
      await faultOf(call('bulkUpsert', twice), 'upstream.rejected');
    });
  });

  describe('reads', () => {
    it('give the first rows, and whether there are more', async () => {
      const read = (maximumRows: number) =>
        done('read', { sql: 'select generate_series(1, $1::int) as n', params: [2_500], maximumRows });
      for (const [maximumRows, more] of [
        [1, true],
        [1_000, true],
        [2_499, true],
        [2_500, false],
        [9_999, false],
      ] as const) {
        const length = Math.min(maximumRows, 2_500);
        const rows = Array.from({ length }, (_, index) => ({ n: index + 1 }));
        expect(await read(maximumRows)).toEqual({ rows, more });
      }
    });

    it('do not run a query to its end', async () => {
      const sql = 'select pg_sleep(0.01) is null as slow, n from generate_series(1, 100000) n';
      const started = Date.now();
      expect(await done('read', { sql, maximumRows: 3 })).toMatchObject({ more: true });
      expect(Date.now() - started).toBeLessThan(5_000);
    });

    it('beyond the bound of a reply fail, and say what to do', async () => {
      const sql = "select repeat('x', 1000) from generate_series(1, 20000)";
      await faultOf(call('read', { sql, maximumRows: 20_000 }), 'upstream.too-large');
    });

    it('change nothing', async () => {
      const sql = `with gone as (delete from ${quoted} returning 1) select * from gone`;
      await faultOf(call('read', { sql, maximumRows: 1 }), 'upstream.rejected');
      await query(`create function ${schema}.f() returns int language sql as $$ delete from ${quoted}; select 1 $$`);
      const fault = await faultOf(call('read', { sql: `select ${schema}.f()`, maximumRows: 1 }), 'upstream.rejected');
      expect(fault.data).toMatchObject({ code: '25006' });
    });
  });
});
