/** SQLite in a Durable Object, as the platform's own runtime has it. */

import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, it } from 'vitest';
import { sqlite } from '../../../src/connectors/sqlite/index.ts';
import { sqliteDatabase, type SqliteObject } from '../../../src/runtime/sqlite-object.ts';
import { actionsOf, faultOf, output, type CallOptions } from './fixtures.ts';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly SQLITE: DurableObjectNamespace<SqliteObject>;
    }
  }
}

const inObjects: CallOptions = { sqlite: (place) => sqliteDatabase(env.SQLITE, place) };
const act = (action: string, params: object, options: CallOptions = {}) =>
  actionsOf(sqlite)(action, { database: 'shop', ...params }, { ...inObjects, ...options });
const query = (sql: string, ...params: unknown[]) => act('query', { sql, params });
const execute = (sql: string, ...params: unknown[]) => act('execute', { sql, params });
const read = async (sql: string, ...params: unknown[]) => output(query(sql, ...params));
const write = async (sql: string, ...params: unknown[]) => output(execute(sql, ...params));

beforeEach(async () => {
  await output(act('drop', {}));
  await write('create table notes (id integer primary key, text text unique, data blob)');
});

describe('a database', () => {
  it('creates, reads, updates and deletes, and counts the rows', async () => {
    expect(await write('insert into notes values (?1, ?2, ?3)', 1, 'first', { tags: ['a'] })).toEqual({
      rows: [],
      changes: 1,
      lastRowId: 1,
    });
    expect(await write('update notes set text = ? where id = ? returning *', 'new', 1)).toMatchObject({
      rows: [{ id: 1, text: 'new', data: '{"tags":["a"]}' }],
      changes: 1,
    });
    expect(await write('delete from notes where id = ?1', 1)).toMatchObject({ changes: 1 });
    expect(await read('select * from notes')).toEqual({ rows: [] });
    expect(await write('select 1 as one')).toMatchObject({ rows: [{ one: 1 }], changes: 0 });
  });

  it('is there as soon as something is written, and is empty after it was dropped', async () => {
    await write("insert into notes (text) values ('a')");
    await output(act('drop', {}));
    expect(await output(act('tables', {}))).toEqual({ tables: [] });
    await output(act('drop', {}));
  });

  it('tells its tables and their columns, but nothing of SQLite’s own', async () => {
    await write('create virtual table texts using fts5(body)');
    expect(await output(act('tables', {}))).toEqual({
      tables: [
        {
          name: 'notes',
          type: 'table',
          columns: [
            { name: 'id', type: 'INTEGER', notNull: false, primaryKey: true },
            { name: 'text', type: 'TEXT', notNull: false, primaryKey: false },
            { name: 'data', type: 'BLOB', notNull: false, primaryKey: false },
          ],
        },
        { name: 'texts', type: 'virtual', columns: [{ name: 'body', type: '', notNull: false, primaryKey: false }] },
      ],
    });
  });

  it('searches texts in order of relevance', async () => {
    await write('create virtual table texts using fts5(body)');
    await output(act('insert', { table: 'texts', rows: [{ body: 'a gate' }, { body: 'gate, gate, tide' }] }));
    expect(await read("select body from texts('gate') order by bm25(texts)")).toEqual({
      rows: [{ body: 'gate, gate, tide' }, { body: 'a gate' }],
    });
    expect(await read("select body from texts('tide')")).toMatchObject({ rows: [{ body: 'gate, gate, tide' }] });
  });

  it('runs a batch in order, and all of it or nothing', async () => {
    const add = { sql: 'insert into notes (text) values (?1)', params: ['a'] };
    const done = await output(act('batch', { statements: [add, { sql: 'select text from notes' }] }));
    expect(done).toMatchObject({ results: [{ changes: 1 }, { rows: [{ text: 'a' }] }] });
    const twice = { sql: 'insert into notes (text) values (?1)', params: ['b'] };
    await faultOf(act('batch', { statements: [twice, twice] }), 'upstream.rejected');
    expect(await read('select text from notes')).toEqual({ rows: [{ text: 'a' }] });
  });

  it('takes triggers, whose bodies hold statements of their own', async () => {
    await write(
      "create trigger copies after insert on notes when new.text = 'a' begin insert into notes (text) values ('b;'); select 1; end",
    );
    expect(await write("insert into notes (text) values ('a')")).toMatchObject({ changes: 1 });
    expect(await read('select count(*) as n from notes')).toEqual({ rows: [{ n: 2 }] });
  });
});

describe('values', () => {
  it('keep their types', async () => {
    const given = [1.5, -7, 'tidé', true, null, 2 ** 53 - 1];
    expect(await read('select ?1 a, ?2 b, ?3 c, ?4 d, ?5 e, ?6 f', ...given)).toEqual({
      rows: [{ a: 1.5, b: -7, c: 'tidé', d: 1, e: null, f: 2 ** 53 - 1 }],
    });
  });

  it('of bytes are hexadecimal digits, there and back', async () => {
    await write('insert into notes (data) values (unhex(?))', '00dead');
    expect(await read('select data, typeof(data) as type from notes')).toEqual({
      rows: [{ data: '00dead', type: 'blob' }],
    });
  });

  it('beyond 2^53 are kept to the last digit as texts, and are never given rounded', async () => {
    const id = '9007199254740993';
    expect(await write('insert into notes (id) values (?)', id)).toMatchObject({ lastRowId: id });
    const fault = await faultOf(query('select id from notes'), 'upstream.invalid');
    expect(fault.message).toContain('cast(id as text)');
    expect(await read('select cast(id as text) as id from notes')).toEqual({ rows: [{ id }] });
    expect(await read('select 1e300 as large')).toEqual({ rows: [{ large: 1e300 }] });
  });

  it('that would be lost in the answer undo what the statement wrote', async () => {
    await faultOf(execute('insert into notes (id) values (?) returning id', '9007199254740993'), 'upstream.invalid');
    expect(await read('select count(*) as n from notes')).toEqual({ rows: [{ n: 0 }] });
  });

  it('never become SQL, nor do names', async () => {
    const hostile = `'); drop table notes; --`;
    await write('insert into notes (text) values (?)', hostile);
    await faultOf(act('insert', { table: `notes (text) values ('x') --`, rows: [{ text: 1 }] }), 'upstream.rejected');
    await faultOf(act('select', { table: 'notes', columns: ['id" from notes --'] }), 'upstream.rejected');
    for (const where of [
      { column: 'nosuch', eq: 'nosuch' },
      { column: '`', ne: 1 },
      { column: 'a` or 1 --', eq: 1 },
    ]) {
      await faultOf(act('delete', { table: 'notes', where }), 'upstream.rejected');
    }
    expect(await read('select text from notes')).toEqual({ rows: [{ text: hostile }] });
  });
});

describe('rows without SQL', () => {
  it('are inserted by the hundred, selected, updated, upserted and deleted', async () => {
    const rows = Array.from({ length: 1_000 }, (_, id) => ({ id, text: `no. ${id}` }));
    expect(await output(act('insert', { table: 'notes', rows }))).toMatchObject({ changes: 1_000 });
    await output(act('update', { table: 'notes', set: { text: 'new' }, where: { column: 'id', eq: 2 } }));
    const given = [{ id: 2, text: 'newer' }];
    const upserted = act('upsert', { table: 'notes', rows: given, conflict: ['id'], returning: ['text'] });
    expect(await output(upserted)).toMatchObject({ rows: [{ text: 'newer' }] });
    expect(await output(act('delete', { table: 'notes', where: { column: 'id', gt: 2 } }))).toMatchObject({
      changes: 997,
    });
    expect(
      await output(
        act('select', { table: 'notes', columns: ['text'], orderBy: [{ column: 'id' }], limit: 9, offset: 1 }),
      ),
    ).toEqual({
      rows: [{ text: 'no. 1' }, { text: 'newer' }],
    });
  });
});

describe('a query', () => {
  it.each([
    'insert into notes (text) values (1)',
    'with a as (select 1 as x) insert into notes (text) select x from a',
    '/* select */ delete from notes',
    'drop table notes',
    'create table other (a)',
    'replace into notes (text) values (1)',
    'reindex',
  ])('refuses to write: %s', async (sql) => {
    await write("insert into notes (id, text) values (1, 'kept')");
    await faultOf(query(sql), 'step.params');
    expect(await read('select id, text from notes')).toEqual({ rows: [{ id: 1, text: 'kept' }] });
    expect(await output(act('tables', {}))).toMatchObject({ tables: [{ name: 'notes' }] });
  });

  it.each([
    'select 1; select 2',
    "select ';'; drop table notes",
    'select 1 -- ;\n; drop table notes',
    'select 1; /* ; */ drop table notes',
    'select "a;"; drop table notes',
    'select 1 as [;] ; drop table notes',
    'select 1\u0000; drop table notes',
  ])('refuses a second statement: %j', async (sql) => {
    for (const action of ['query', 'execute']) await faultOf(act(action, { sql }), 'step.params');
    expect(await read('select * from notes')).toEqual({ rows: [] });
  });

  it('refuses one that is appended to a trigger', async () => {
    const trigger = 'create trigger t after insert on notes begin select 1; end';
    await faultOf(execute(`${trigger}; drop table notes`), 'step.params');
    await faultOf(execute(`${trigger}; drop table notes; end`), 'step.params');
    expect(await read('select * from notes')).toEqual({ rows: [] });
  });

  it.each(["select ';' as a", 'select 1 as a;', 'select 1 as "a;b"', 'explain select 1'])(
    'takes one statement: %s',
    async (sql) => {
      expect(await read(sql)).toMatchObject({ rows: expect.arrayContaining([expect.anything()]) });
    },
  );

  it('with more rows or bytes than a step takes is refused, and leaves no half answer', async () => {
    const endless = 'with recursive c(x) as (select 1 union all select x + 1 from c) select x from c';
    await faultOf(query(endless), 'upstream.too-large');
    const wide = `with recursive c(x) as (select 1 union all select x + 1 from c limit 10) select hex(zeroblob(900000)) from c`;
    await faultOf(query(wide), 'upstream.too-large');
    expect(await read('select 1 as one')).toEqual({ rows: [{ one: 1 }] });
  });

  it.each([
    ['a violated constraint', "insert into notes (text) values ('a'), ('a')", [], 'UNIQUE constraint'],
    ['a table that is not there', 'select * from not_there', [], 'no such table'],
    ['a syntax error', 'insert into', [], 'incomplete input'],
    ['a missing parameter', 'select ?1, ?2', [1], 'Wrong number of parameter'],
    ['an empty text', '  -- nothing', [], 'did not contain a statement'],
  ])('with %s fails for good, and says why', async (_, sql, params, reason) => {
    const fault = await faultOf(execute(sql, ...params), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
    expect(fault.message).toContain(reason);
  });
});

describe('a statement', () => {
  it.each([
    "attach database '/tmp/other.db' as other",
    "attach database ':memory:' as other",
    'detach main',
    'vacuum',
    "vacuum into '/tmp/copy.db'",
    'begin',
    'commit',
    'savepoint a',
    'rollback',
    'create temp table a (b)',
    'create table _cf_a (b)',
    'alter table notes rename to _cf_notes',
    'select * from _cf_KV',
    "select load_extension('/tmp/a.so')",
    "select readfile('/etc/passwd')",
    "select writefile('/tmp/a', 'b')",
    'delete from sqlite_master',
    'select * from dbstat',
    "create virtual table files using csv(filename='/etc/passwd')",
  ])('cannot leave its database or its transaction: %s', async (sql) => {
    await faultOf(execute(sql), 'upstream.rejected');
    expect(await output(act('tables', {}))).toMatchObject({ tables: [{ name: 'notes' }] });
  });

  it.each([
    'pragma foreign_keys = off',
    'pragma main.foreign_keys(off)',
    'pragma legacy_alter_table = on',
    'pragma case_sensitive_like = 1',
    'pragma recursive_triggers = on',
    'PRAGMA /* x */ writable_schema = on',
    'pragma journal_mode = delete',
    'pragma',
  ])('changes no setting that would outlive it: %s', async (sql) => {
    await faultOf(execute(sql), 'step.params');
    await faultOf(query(sql), 'step.params');
  });

  it('may ask for what there is', async () => {
    expect(await read('pragma table_info(notes)')).toMatchObject({ rows: [{ name: 'id' }, {}, {}] });
  });
});

describe('tenants', () => {
  const text = async (params: object, options: CallOptions) =>
    output(act('query', { sql: 'select text from notes', ...params }, options));
  const caller = '{{ trigger.tenant }}';
  const as = (tenant: string): CallOptions => ({ tenant, written: { tenant: caller } });

  beforeEach(async () => {
    await write("insert into notes (text) values ('the owner’s')");
    for (const tenant of ['acme', 'umbra']) {
      await output(act('drop', { tenant }));
      const statements = [
        { sql: 'create table notes (text)' },
        { sql: 'insert into notes values (?)', params: [tenant] },
      ];
      await output(act('batch', { tenant, statements }));
    }
  });

  it('have databases of their own by the same name', async () => {
    expect(await text({ tenant: 'acme' }, as('acme'))).toEqual({ rows: [{ text: 'acme' }] });
    expect(await text({ tenant: 'umbra' }, as('umbra'))).toEqual({ rows: [{ text: 'umbra' }] });
    expect(await text({}, as('acme'))).toEqual({ rows: [{ text: 'the owner’s' }] });
  });

  it('are those of the identity, whatever the expression gave', async () => {
    expect(await text({ tenant: 'umbra' }, as('acme'))).toEqual({ rows: [{ text: 'acme' }] });
  });

  it.each(['{{ input.tenant }}', '{{ trigger.body.tenant }}', 'a-{{ trigger.tenant }}', '{{ trigger.tenant & "" }}'])(
    'never come with data: %s',
    async (written) => {
      const params = { tenant: 'umbra', sql: 'select text from notes' };
      await faultOf(act('query', params, { tenant: 'acme', written: { tenant: written } }), 'step.params');
    },
  );

  it.each([undefined, ''])('are not the owner where the caller has none: %j', async (tenant) => {
    const options = { written: { tenant: caller }, ...(tenant !== undefined && { tenant }) };
    await faultOf(act('query', { tenant: 'acme', sql: 'select 1' }, options), 'connection.tenant');
  });

  it.each(['acme/shop', '["acme","shop"]', '../shop', 'shop"]', '', 'Shop', 'a'.repeat(200), 'shop\u0000', '-'])(
    'are not reached by a crafted name: %j',
    async (database) => {
      await expect(act('query', { database, sql: 'select text from notes' })).rejects.toThrow();
    },
  );
});

describe('a database that cannot be reached', () => {
  it('asks for a retry when the object broke off, and is whole afterwards', async () => {
    await write("insert into notes (text) values ('kept')");
    const stub = env.SQLITE.getByName(JSON.stringify(['', 'shop']));
    await expect(
      runInDurableObject(stub, (_, state) => {
        state.storage.sql.exec("insert into notes (text) values ('half')");
        state.abort('reset');
      }),
    ).rejects.toThrow();
    expect(await read('select count(*) as n from notes')).toEqual({ rows: [{ n: 1 }] });
  });

  it('is told by a fault that may be tried again', async () => {
    const broken = { getByName: () => ({ run: () => Promise.reject(new Error('Network connection lost.')) }) };
    const lost: CallOptions = {
      sqlite: (place) => sqliteDatabase(broken as unknown as typeof env.SQLITE, place),
    };
    const fault = await faultOf(act('query', { sql: 'select 1' }, lost), 'storage.unavailable');
    expect(fault.retryable).toBe(true);
  });

  it('is named together with its remedy where nothing is bound', async () => {
    const none = act('query', { sql: 'select 1' }, { sqlite: () => undefined as never });
    expect((await faultOf(none, 'connection.not-found')).message).toContain('wrangler.toml');
  });
});
