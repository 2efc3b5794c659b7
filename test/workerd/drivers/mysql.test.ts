import { beforeAll, describe, expect, it } from 'vitest';
import { mysql } from '../../../src/connectors/mysql/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';
import { probesWork } from './probes.ts';

const { host, port, user, password, database, endpoint, token } = servers.mysql;
const tcp: Credentials = { settings: { host, port, database, tls: 'disable' }, secrets: { user, password } };
const http: Credentials = { settings: { endpoint }, secrets: { user: 'any', password: token } };
const over = (settings: Record<string, unknown>, secrets: Record<string, unknown> = {}) =>
  actionsOf(mysql, { settings: { ...tcp.settings, ...settings }, secrets: { ...tcp.secrets, ...secrets } });
const admin = actionsOf(mysql, tcp);

beforeAll(async () => {
  for (const sql of [
    'drop table if exists notes, kinds',
    'create table notes (id bigint auto_increment primary key, text varchar(100) unique, data json, n int default 7)',
    `create table kinds (
       big bigint, ubig bigint unsigned, small tinyint, price decimal(30, 10), f float, d double, dt datetime(6),
       ts timestamp(3) null, day date, t time(2), y year, flag bit(1), wide bit(64), j json, b blob, s text,
       e enum('a', 'b'), vb varbinary(8)
     )`,
  ]) {
    await output(admin('query', { sql }));
  }
});

describe.each([
  ['TCP', tcp],
  ['HTTP', http],
])('over %s', (transport, credentials) => {
  const call = actionsOf(mysql, credentials);
  const query = (sql: string, ...params: unknown[]) => call('query', { sql, params });
  const rows = (sql: string, ...params: unknown[]) => output(query(sql, ...params));

  beforeAll(async () => {
    await rows('truncate table notes');
  });

  describe('statements', () => {
    it('create, read, update and delete, and count the rows', async () => {
      expect(await rows('insert into notes (text, data) values (?, ?)', 'first', { tags: ['ä'] })).toEqual({
        rows: [],
        rowCount: 1,
        insertId: 1,
      });
      expect(await rows('update notes set text = ? where id = ?', 'changed', 1)).toMatchObject({ rowCount: 1 });
      expect(await rows('select * from notes')).toEqual({
        rows: [{ id: 1, text: 'changed', data: { tags: ['ä'] }, n: 7 }],
        rowCount: 1,
        insertId: null,
      });
      expect(await rows('delete from notes where id = ?', 1)).toMatchObject({ rowCount: 1 });
      expect(await rows('select * from notes')).toMatchObject({ rows: [], rowCount: 0 });
    });

    it('keep the value of every type', async () => {
      await rows('delete from kinds');
      await rows(
        `insert into kinds values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, b'1', b'${'1'.repeat(64)}', ?, from_base64(?), ?, ?, unhex('00ff'))`,
        ...['9007199254740993', '18446744073709551615', -5, '12345678901234567890.0123456789', 1.1, 0.1],
        ...['2026-01-02 03:04:05.123456', '2026-01-02 03:04:05.120', '2026-01-02', '-12:00:01.50', 2026],
        ...[[1, null, { a: 'é' }], 'AAEC/w==', 'naïve 🚀', 'b'],
      );
      expect(await rows('select * from kinds')).toMatchObject({
        rows: [
          {
            big: '9007199254740993',
            ubig: '18446744073709551615',
            small: -5,
            price: '12345678901234567890.0123456789',
            f: 1.1,
            d: 0.1,
            dt: '2026-01-02T03:04:05.123456',
            ts: '2026-01-02T03:04:05.12Z',
            day: '2026-01-02',
            t: '-12:00:01.5',
            y: 2026,
            flag: 1,
            wide: '18446744073709551615',
            j: [1, null, { a: 'é' }],
            b: 'AAEC/w==',
            s: 'naïve 🚀',
            e: 'b',
            vb: 'AP8=',
          },
        ],
      });
      await rows('delete from kinds');
      await rows('insert into kinds (big, price, dt, ts) values (5, 12.5, "2026-01-02", null)');
      expect(await rows('select big, price, dt, ts, s from kinds')).toMatchObject({
        rows: [{ big: 5, price: 12.5, dt: '2026-01-02T00:00:00', ts: null, s: null }],
      });
    });

    it('take values that look like SQL as values', async () => {
      const evil = [
        `'; drop table notes; --`,
        `\\'; drop table notes; --`,
        `" or 1=1 #`,
        'a\0b\n\r\u001a',
        '?',
        '*/ or 1',
      ];
      expect(await rows(`select ${evil.map((_, index) => `? as v${index}`).join(', ')}`, ...evil)).toMatchObject({
        rows: [Object.fromEntries(evil.map((text, index) => [`v${index}`, text]))],
      });
      expect(await rows("select '?' as a, ? as b /* ? */ limit ?", 'x', 5)).toMatchObject({
        rows: [{ a: '?', b: 'x' }],
      });
      await rows('select count(*) from notes');
    });

    it('refuse values that do not match their places', async () => {
      for (const params of [[], [1, 2, 3]]) {
        await faultOf(call('query', { sql: 'select ?, ?', params }), 'step.params');
      }
    });

    it('refuse a second statement in one text', async () => {
      const fault = await faultOf(query('select 1; drop table notes'), 'upstream.rejected');
      expect(fault.data).toMatchObject({ errno: 1064 });
      await rows('select count(*) from notes');
    });

    it('name the key that a row violates, and do not ask for a retry', async () => {
      await rows("insert into notes (text) values ('twice')");
      const fault = await faultOf(query("insert into notes (text) values ('twice')"), 'upstream.rejected');
      expect(fault).toMatchObject({ retryable: false, data: { errno: 1062, sqlState: '23000' } });
      expect(fault.message).toContain("key 'text'");
      await rows('delete from notes');
    });

    it('leave no session state to the next call', async () => {
      await rows('set @left = 1');
      await rows('create temporary table left_behind (id int)');
      await rows('begin');
      expect(await rows('select @left as a, @@in_transaction as t')).toMatchObject({ rows: [{ a: null, t: 0 }] });
      const fault = await faultOf(query('select * from left_behind'), 'upstream.rejected');
      expect(fault.data).toMatchObject({ errno: 1146 });
    });

    it('give the rows of a procedure', async () => {
      await rows('create or replace procedure two() begin select 1 as a; select 2 as b; end');
      expect(await rows('call two()')).toMatchObject({ rows: [{ a: 1 }] });
    });

    it('keep a column named __proto__ to itself', async () => {
      const result = await rows('select 1 as `__proto__`');
      expect(JSON.stringify(result)).toContain('"rows":[{"__proto__":1}]');
    });
  });

  describe('batches', () => {
    const batch = (statements: readonly { sql: string; params?: unknown[] }[], options = {}) =>
      call('batch', { statements, ...options });

    it('give all results in order', async () => {
      const statements = [{ sql: 'select 1 as a' }, { sql: 'select ? as b', params: ['x'] }];
      expect(await output(batch(statements))).toMatchObject({
        results: [{ rows: [{ a: 1 }] }, { rows: [{ b: 'x' }] }],
      });
    });

    it('commit as a whole', async () => {
      await output(
        batch([{ sql: "insert into notes (text) values ('a')" }, { sql: "insert into notes (text) values ('b')" }]),
      );
      expect(await rows('delete from notes')).toMatchObject({ rowCount: 2 });
    });

    it('roll back as a whole when one statement fails', async () => {
      await faultOf(
        batch([{ sql: "insert into notes (text) values ('a')" }, { sql: 'select nothing' }]),
        'upstream.rejected',
      );
      expect(await rows('select * from notes')).toMatchObject({ rows: [] });
    });

    it('tell when a statement ended their transaction', async () => {
      for (const sql of ['commit', 'create or replace table other (id int)']) {
        const fault = await faultOf(batch([{ sql: 'select 1' }, { sql }, { sql: 'select 2' }]), 'upstream.rejected');
        expect(fault.retryable).toBe(false);
      }
    });

    it('run at the isolation level that was asked, and read-only', async () => {
      const sql =
        'select trx_isolation_level as level from information_schema.innodb_trx where trx_mysql_thread_id = connection_id()';
      const statements = [{ sql: 'select * from notes lock in share mode' }, { sql }];
      expect(await output(batch(statements, { isolationLevel: 'Serializable' }))).toMatchObject({
        results: [{}, { rows: [{ level: 'SERIALIZABLE' }] }],
      });
      const change = [{ sql: "insert into notes (text) values ('a')" }];
      const fault = await faultOf(batch(change, { readOnly: true }), 'upstream.rejected');
      expect(fault.data).toMatchObject({ errno: 1792 });
    });

    it('that lose a deadlock or wait too long for a lock may be repeated', async () => {
      await rows("insert into notes (id, text) values (1, 'one'), (2, 'two')");
      const holder = batch([{ sql: 'update notes set n = 1 where id = 1' }, { sql: 'select sleep(5)' }]);
      await expect
        .poll(
          async () =>
            JSON.stringify(
              await output(
                admin('query', {
                  sql: 'select count(*) as c from information_schema.innodb_trx where trx_rows_modified > 0',
                }),
              ),
            ),
          { interval: 300 },
        )
        .toContain('"c":1');
      const fault = await faultOf(query('update notes set n = 2 where id = 1'), 'upstream.rejected');
      expect(fault).toMatchObject({ retryable: true, data: { errno: 1205 } });
      await output(holder);
      await rows('delete from notes');
    });
  });

  describe('the builder', () => {
    beforeAll(async () => {
      await rows('truncate table notes');
    });

    it('inserts, selects, updates, upserts and deletes', async () => {
      const table = 'notes';
      await output(
        call('insert', {
          table,
          rows: [
            { id: 1, text: 'a' },
            { id: 2, text: 'b', n: 1 },
            { id: 3, text: 'c' },
          ],
        }),
      );
      const where = { and: [{ column: 'id', gte: 2 }, { not: { column: 'text', in: ['c'] } }] };
      expect(
        await output(
          call('select', { table, columns: ['id', 'n'], where, orderBy: [{ column: 'id' }], limit: 5, offset: 0 }),
        ),
      ).toMatchObject({
        rows: [{ id: 2, n: 1 }],
      });
      expect(await output(call('update', { table, set: { n: 9 }, where: { column: 'id', eq: 1 } }))).toMatchObject({
        rowCount: 1,
      });
      await output(
        call('upsert', {
          table,
          rows: [
            { id: 1, text: 'z' },
            { id: 4, text: 'd' },
          ],
        }),
      );
      await output(call('upsert', { table, rows: [{ id: 2, text: 'never' }], update: [] }));
      expect(await rows('select id, text, n from notes order by id')).toMatchObject({
        rows: [{ text: 'z', n: 9 }, { text: 'b' }, { text: 'c' }, { text: 'd', n: 7 }],
      });
      expect(await output(call('delete', { table, where: { column: 'id', in: [] } }))).toMatchObject({ rowCount: 0 });
      await faultOf(call('delete', { table }), 'step.params');
      expect(await output(call('delete', { table, all: true }))).toMatchObject({ rowCount: 4 });
    });

    it('quotes names, whatever they hold', async () => {
      for (const table of ['notes` where 1=1; drop table notes; --', 'notes; drop table notes']) {
        const fault = await faultOf(call('select', { table }), 'upstream.rejected');
        expect(fault.data).toMatchObject({ errno: 1146 });
      }
      await faultOf(
        call('select', { table: 'notes', where: { column: 'id` = 1 or 1=1 -- ', eq: 1 } }),
        'upstream.rejected',
      );
    });

    it('refuses an offset without a limit', async () => {
      await faultOf(call('select', { table: 'notes', offset: 5 }), 'step.params');
    });

    it('upserts thousands of rows, all or none', async () => {
      const many = Array.from({ length: 40_000 }, (_, index) => ({ id: index + 1, text: `row ${index}` }));
      expect(await output(call('bulkUpsert', { table: 'notes', rows: many }))).toEqual({ rowCount: 40_000 });
      await rows('delete from notes');
      const clash = [...many.slice(0, -1), { id: 40_000, text: 'x'.repeat(101) }];
      await faultOf(call('bulkUpsert', { table: 'notes', rows: clash }), 'upstream.rejected');
      expect(await rows('select count(*) as c from notes')).toMatchObject({ rows: [{ c: 0 }] });
      await faultOf(call('bulkUpsert', { table: 'notes', rows: [{ id: 1 }, { text: 'a' }] }), 'step.params');
    });
  });

  describe('bounds', () => {
    it('refuse a result that is too large for the memory of an isolate', async () => {
      const sql = `select repeat('x', ${LIMITS.responseBodyBytes / 8}) as a from seq_1_to_10`;
      const fault = await faultOf(query(sql), 'upstream.too-large');
      expect(fault.retryable).toBe(false);
    });

    it('an attempt out of time returns, and its statement ends in the database too', async () => {
      const sql = `select sleep(20) as to_be_cancelled_${transport}`;
      const started = Date.now();
      const fault = await faultOf(call('query', { sql }, { signal: AbortSignal.timeout(300) }), 'step.timeout');
      expect(fault.retryable).toBe(true);
      expect(Date.now() - started).toBeLessThan(5_000);
      const running = `select count(*) as c from information_schema.processlist where info like '%sleep(20) as to\\_be\\_cancelled\\_${transport}%' and id <> connection_id()`;
      await expect
        .poll(() => output(admin('query', { sql: running })), { timeout: 5_000 })
        .toMatchObject({ rows: [{ c: 0 }] });
    });

    it('a cancelled attempt sends nothing', async () => {
      const sql = "insert into notes (text) values ('never')";
      await faultOf(call('query', { sql }, { signal: AbortSignal.abort() }), 'step.timeout');
      expect(await rows("select * from notes where text = 'never'")).toMatchObject({ rows: [] });
    });

    it('a connection that is lost in the middle of a statement may be repeated', async () => {
      const sql = `select sleep(20) as to_be_killed_${transport}`;
      const lost = faultOf(query(sql), 'upstream.unavailable');
      const find = `select id from information_schema.processlist where info like '%to\\_be\\_killed\\_${transport}%' and id <> connection_id()`;
      let id: unknown;
      await expect
        .poll(async () => {
          const found = JSON.stringify(await output(admin('query', { sql: find })));
          id = /"id":(\d+)/.exec(found)?.[1];
          return id;
        })
        .toBeDefined();
      await output(admin('query', { sql: `kill ${String(id)}` }));
      expect((await lost).retryable).toBe(true);
    });
  });
});

describe('connections', () => {
  const ask = { sql: 'select 1' };
  const { hostile } = servers.mysql;

  it('over TCP send nothing where `host` and `endpoint` leave open what is meant', async () => {
    const both = actionsOf(mysql, { settings: { ...tcp.settings, endpoint }, secrets: tcp.secrets });
    await faultOf(both('query', ask), 'connection.invalid');
    const neither = actionsOf(mysql, { settings: {}, secrets: tcp.secrets });
    await faultOf(neither('query', ask), 'connection.invalid');
  });

  it.each([
    ['a wrong password', () => over({}, { password: 'not-it' })],
    ['a wrong user', () => over({}, { user: 'nobody' })],
    ['a wrong token', () => actionsOf(mysql, { ...http, secrets: { user: 'any', password: 'not-it' } })],
  ])('with %s are refused without a word of the secret', async (_, make) => {
    const fault = await faultOf(make()('query', ask), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    for (const secret of [password, token, 'not-it']) expect(written(fault)).not.toContain(secret);
  });

  it.each([
    ['TCP', () => over({ port: 1 })],
    ['HTTP', () => actionsOf(mysql, { ...http, settings: { endpoint: DEAD_ADDRESS } })],
    ['TCP with TLS', () => over({ port: 1, tls: 'verify' })],
  ])('over %s to where nobody listens are unreachable, which may pass', async (_, make) => {
    const fault = await faultOf(make()('query', ask), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
    expect(written(fault)).not.toContain(password);
  });

  it('to something else than MySQL fail', async () => {
    const web = new URL(servers.upstream.url);
    await faultOf(actionsOf(mysql, { ...http, settings: { endpoint: web.origin } })('query', ask), 'upstream.rejected');
    await faultOf(over({ port: hostile.silence })('query', ask, { signal: AbortSignal.timeout(300) }), 'step.timeout');
  });

  it('to a database that is not there, or with too many others, say so', async () => {
    const fault = await faultOf(over({ database: 'missing' })('query', ask), 'upstream.rejected');
    expect(fault.data).toMatchObject({ errno: 1049 });
  });

  it('with TLS refuse a certificate that nobody trusts, and never send the password', async () => {
    const fault = await faultOf(over({ host: 'localhost', tls: 'verify' })('query', ask), 'upstream.unreachable');
    expect(fault.message).toContain('certificate');
  });

  it('with TLS refuse a server without it', async () => {
    await faultOf(over({ port: hostile.hangUp, tls: 'verify' })('query', ask), 'connection.invalid');
  });

  it('with TLS refuse replies from before TLS', async () => {
    await faultOf(over({ port: hostile.injection, tls: 'verify' })('query', ask), 'upstream.unreachable');
  });

  it('give no file to a server that asks for one', async () => {
    const fault = await faultOf(over({ port: hostile.file })('batch', { statements: [ask] }), 'upstream.rejected');
    expect(fault.message).toContain('file');
    const local = "load data local infile '/etc/passwd' into table notes (text)";
    await faultOf(admin('query', { sql: local }), 'upstream.rejected');
  });

  it.each([
    ['cleartext', 'plaintext'],
    ['key', 'a key from the network was refused'],
  ] as const)('without TLS do not answer a server that wants the password by %s', async (attack, reason) => {
    const fault = await faultOf(over({ port: hostile[attack] })('query', ask), 'upstream.unauthorized');
    expect(fault.message).toContain('TLS');
    expect(written(fault)).toContain(reason);
    expect(written(fault)).not.toContain(password);
  });

  it('that break off in the middle of a statement may be repeated', async () => {
    const fault = await faultOf(over({ port: hostile.hangUp })('query', ask), 'upstream.unavailable');
    expect(fault.retryable).toBe(true);
  });

  it('beyond what the server takes may be repeated', async () => {
    await output(
      admin('query', { sql: "create or replace user few@'%' identified by 'few-secret' with max_user_connections 1" }),
    );
    const few = over({ database: 'information_schema' }, { user: 'few', password: 'few-secret' });
    const holder = few('query', { sql: 'select sleep(2)' });
    const find = "select count(*) as c from information_schema.processlist where user = 'few' and command = 'Execute'";
    await expect.poll(async () => JSON.stringify(await output(admin('query', { sql: find })))).toContain('"c":1');
    const fault = await faultOf(few('query', ask), 'upstream.unavailable');
    expect(fault).toMatchObject({ retryable: true, data: { errno: 1226 } });
    await output(holder);
  });
});

probesWork({
  'MySQL over TCP': {
    connector: 'mysql',
    settings: tcp.settings,
    secrets: tcp.secrets,
    wrong: { password: 'canary' },
    dead: { settings: { port: 1 } },
  },
  'MySQL over HTTP': {
    connector: 'mysql',
    settings: http.settings,
    secrets: http.secrets,
    wrong: { password: 'canary' },
    dead: { settings: { endpoint: DEAD_ADDRESS } },
  },
});
