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
});
