import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, it } from 'vitest';
import { d1 } from '../../../src/connectors/d1/index.ts';
import { actionsOf, faultOf, output } from './fixtures.ts';

const call = actionsOf(d1);
const query = (sql: string, ...params: unknown[]) => call('query', { sql, params });
const rows = async (sql: string, ...params: unknown[]) => output(query(sql, ...params));

beforeEach(async () => {
  await rows('drop table if exists notes');
  await rows('create table notes (id integer primary key, text text unique, data text)');
});

describe('d1', () => {
  it('creates, reads, updates and deletes, and counts the rows', async () => {
    expect(await rows('insert into notes values (?1, ?2, ?3)', 1, 'first', { tags: ['a'] })).toMatchObject({
      rows: [],
      changes: 1,
      lastRowId: 1,
      rowsWritten: expect.any(Number),
    });
    expect(await rows('update notes set text = ? where id = ? returning *', 'changed', 1)).toMatchObject({
      rows: [{ id: 1, text: 'changed', data: '{"tags":["a"]}' }],
      changes: 1,
    });
    expect(await rows('delete from notes where id = ?1', 1)).toMatchObject({ changes: 1 });
    expect(await rows('select * from notes')).toMatchObject({ rows: [], changes: 0 });
  });

  it('takes texts, numbers, booleans and null as parameters', async () => {
    expect(await rows('select ?1 a, ?2 b, ?3 c, ?4 d', "'; drop table notes; --", 1.5, true, null)).toMatchObject({
      rows: [{ a: "'; drop table notes; --", b: 1.5, c: 1, d: null }],
    });
    expect(await rows('select count(*) n from notes')).toMatchObject({ rows: [{ n: 0 }] });
  });

  it('gives output that is JSON, blobs included', async () => {
    expect(await rows("select x'dead' as blob")).toMatchObject({ rows: [{ blob: [222, 173] }] });
  });

  it.each([
    ['a violated constraint', 'insert into notes values (1, ?1, null), (2, ?1, null)', ['twice'], 'UNIQUE constraint'],
    ['a table that is not there', 'select * from not_there', [], 'no such table'],
    ['a syntax error', 'selekt 1', [], 'syntax error'],
    ['a missing parameter', 'select ?1, ?2', [1], 'Wrong number of parameter'],
  ])('refuses %s for good, and says why', async (_, sql, params, reason) => {
    const fault = await faultOf(query(sql, ...params), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
    expect(fault.message).toContain(reason);
  });

  it('runs a batch in order', async () => {
    const statements = [
      { sql: 'insert into notes (text) values (?1)', params: ['a'] },
      { sql: 'select text from notes' },
    ];
    expect(await output(call('batch', { statements }))).toMatchObject({
      results: [{ changes: 1 }, { rows: [{ text: 'a' }] }],
    });
  });

  it('rolls a batch back as a whole when one statement fails', async () => {
    const statements = [
      { sql: 'insert into notes (text) values (?1)', params: ['a'] },
      { sql: 'insert into notes (text) values (?1)', params: ['a'] },
    ];
    await faultOf(call('batch', { statements }), 'upstream.rejected');
    expect(await rows('select * from notes')).toMatchObject({ rows: [] });
  });

  it.each([
    'D1_ERROR: Network connection lost.',
    'D1_ERROR: D1 DB is overloaded. Requests queued for too long.',
    'D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.',
  ])('asks for a retry when the database itself gave up: %s', async (message) => {
    const lost: Pick<D1Database, 'batch' | 'prepare'> = {
      prepare: (sql) => env.DATA.prepare(sql),
      batch: () => Promise.reject(new Error(message)),
    };
    const fault = await faultOf(
      call('batch', { statements: [{ sql: 'select 1' }] }, { data: lost as D1Database }),
      'storage.unavailable',
    );
    expect(fault.retryable).toBe(true);
  });

  it('asks for no retry where a statement only speaks of such a failure', async () => {
    await faultOf(query('select "network connection lost", timeout from overloaded'), 'upstream.rejected');
  });

  describe('without SQL', () => {
    const ids = async (where?: object) => {
      const found = await output(call('select', { table: 'notes', columns: ['id'], ...(where && { where }) }));
      return (found as { rows: { id: number }[] }).rows.map(({ id }) => id);
    };
    const insert = (count: number) =>
      call('insert', {
        table: 'notes',
        rows: Array.from({ length: count }, (_, id) => ({ id, text: `no. ${id}`, data: { tags: [id] } })),
      });

    it('inserts more values than there are parameters, and gives back what it is asked for', async () => {
      expect(await output(insert(500))).toMatchObject({ changes: 500 });
      const found = call('select', {
        table: 'notes',
        where: { column: 'id', gte: 497 },
        orderBy: [{ column: 'id', direction: 'desc' }],
        limit: 2,
        offset: 1,
      });
      expect(await output(found)).toMatchObject({
        rows: [
          { id: 498, text: 'no. 498', data: '{"tags":[498]}' },
          { id: 497, text: 'no. 497', data: '{"tags":[497]}' },
        ],
      });
    });

    it('updates, deletes and upserts the rows that are meant, and no others', async () => {
      await output(insert(3));
      const changed = call('update', {
        table: 'notes',
        set: { text: 'new' },
        where: { column: 'id', eq: 1 },
        returning: ['text'],
      });
      expect(await output(changed)).toMatchObject({ rows: [{ text: 'new' }], changes: 1 });
      const rowsGiven = [
        { id: 1, text: 'newer', data: null },
        { id: 7, text: 'seven', data: null },
      ];
      const upserted = call('upsert', { table: 'notes', rows: rowsGiven, conflict: ['id'], returning: ['*'] });
      expect(await output(upserted)).toMatchObject({ rows: rowsGiven });
      const kept = call('upsert', { table: 'notes', rows: [{ id: 7, text: 'other' }], conflict: ['id'], update: [] });
      expect(await output(kept)).toMatchObject({ changes: 0 });
      await output(call('delete', { table: 'notes', where: { not: { column: 'id', in: [1, 7] } } }));
      expect(await ids()).toEqual([1, 7]);
    });

    it.each([
      ['names of the input as SQL', 'insert', { table: 'notes" select 1 --', rows: [{ id: 1 }] }, 'upstream.rejected'],
      ['a condition on no column', 'delete', { table: 'notes', where: { column: 'x', eq: 'x' } }, 'upstream.rejected'],
      ['a column that is not there', 'insert', { table: 'notes', rows: [{ '"': 1 }] }, 'upstream.rejected'],
      ['rows with other columns', 'insert', { table: 'notes', rows: [{ id: 1 }, { text: 'a' }] }, 'step.params'],
      ['rows without columns', 'insert', { table: 'notes', rows: [{}] }, 'step.params'],
      [
        'rows over the bound of a value',
        'insert',
        { table: 'notes', rows: [{ text: 'x'.repeat(2e6) }] },
        'step.params',
      ],
      ['an update of every row by accident', 'update', { table: 'notes', set: { text: 'x' } }, 'step.params'],
      ['a deletion of every row by accident', 'delete', { table: 'notes' }, 'step.params'],
      ['an offset without a limit', 'select', { table: 'notes', offset: 1 }, 'step.params'],
    ] as const)('refuses %s', async (_, action, params, code) => {
      await output(insert(2));
      await faultOf(call(action, params), code);
      expect(await ids()).toEqual([0, 1]);
    });
  });
});
