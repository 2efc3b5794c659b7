import { beforeAll, describe, expect, it } from 'vitest';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { endpoint, token, connectionString, second } = servers.postgres;
const credentials: Credentials = { settings: { endpoint }, secrets: { connectionString, token } };
const tcpCredentials: Credentials = { settings: { tls: 'disable' }, secrets: { connectionString } };
const call = actionsOf(postgres, credentials);
const query = (sql: string, ...params: unknown[]) => call('query', { sql, params });
const rows = async (sql: string, ...params: unknown[]) => output(query(sql, ...params));

const withSecrets = (secrets: Record<string, unknown>, settings: Record<string, unknown> = { endpoint }) =>
  actionsOf(postgres, { settings, secrets });
const PASSWORD = new URL(connectionString).password;

beforeAll(async () => {
  await rows('drop table if exists notes');
  await rows('create table notes (id int primary key, text text unique, data jsonb)');
});

describe.each([
  ['HTTP', credentials],
  ['TCP', tcpCredentials],
])('over %s', (_transport, credentials) => {
  const call = actionsOf(postgres, credentials);
  const query = (sql: string, ...params: unknown[]) => call('query', { sql, params });
  const rows = async (sql: string, ...params: unknown[]) => output(query(sql, ...params));

  describe('statements', () => {
    it('create, read, update and delete, and count the rows', async () => {
      expect(await rows('insert into notes values ($1, $2, $3)', 1, 'first', { tags: ['a'] })).toEqual({
        rows: [],
        rowCount: 1,
      });
      expect(await rows('update notes set text = $2 where id = $1 returning *', 1, 'changed')).toEqual({
        rows: [{ id: 1, text: 'changed', data: { tags: ['a'] } }],
        rowCount: 1,
      });
      expect(await rows('delete from notes where id = $1', 1)).toEqual({ rows: [], rowCount: 1 });
      expect(await rows('select * from notes')).toEqual({ rows: [], rowCount: 0 });
    });

    it.each([
      ['9007199254740991::int8', 9007199254740991],
      ['9007199254740993::int8', '9007199254740993'],
      ['-9223372036854775807::int8', '-9223372036854775807'],
      ['12.50::numeric', 12.5],
      ['0.1234567890123456789::numeric', '0.1234567890123456789'],
      ["'NaN'::numeric", 'NaN'],
      ["'-Infinity'::float8", '-Infinity'],
      ['1.5::float4', 1.5],
      ['true', true],
      ['null::int', null],
      ["'2026-01-02 03:04:05.123456+02'::timestamptz at time zone 'UTC'", '2026-01-02T01:04:05.123456'],
      ["'2026-01-02 03:04:05.123456Z'::timestamptz", '2026-01-02T03:04:05.123456Z'],
      ["'infinity'::timestamptz", 'infinity'],
      ["'2026-01-02'::date", '2026-01-02'],
      [String.raw`'\xdeadbeef'::bytea`, String.raw`\xdeadbeef`],
      [`'{"a":[1,null]}'::jsonb`, { a: [1, null] }],
      ["array['a \"q\" {,}\\ ', null, 'NULL', '']", ['a "q" {,}\\ ', null, 'NULL', '']],
      [
        'array[[1,2],[3,4]]',
        [
          [1, 2],
          [3, 4],
        ],
      ],
      ['array[9007199254740993]', ['9007199254740993']],
      ["'{}'::text[]", []],
      ["'550e8400-e29b-41d4-a716-446655440000'::uuid", '550e8400-e29b-41d4-a716-446655440000'],
    ])('keeps the value of %s', async (expression, value) => {
      expect(await rows(`select ${expression} as value`)).toEqual({ rows: [{ value }], rowCount: 1 });
    });

    it('takes texts, numbers, lists and objects as parameters', async () => {
      expect(
        await rows(
          'select $1::text a, $2::int8 b, 2 = any($3::int[]) c, $4::jsonb d, $5::text e, $6::numeric f',
          "'; drop table notes; --",
          '9007199254740993',
          [1, 2],
          { x: 1 },
          null,
          1.25,
        ),
      ).toMatchObject({
        rows: [{ a: "'; drop table notes; --", b: '9007199254740993', c: true, d: { x: 1 }, e: null, f: 1.25 }],
      });
      expect(await rows('select count(*) from notes')).toMatchObject({ rows: [{ count: 0 }] });
    });

    it('refuses a second statement in one text, with and without parameters', async () => {
      for (const sql of ['select 1; drop table notes', 'select 1; select $1::int']) {
        const fault = await faultOf(call('query', { sql, params: sql.includes('$1') ? [1] : [] }), 'upstream.rejected');
        expect(fault.data).toMatchObject({ code: '42601' });
      }
      expect(await rows('select count(*) from notes')).toMatchObject({ rows: [{ count: 0 }] });
    });

    it('names the constraint that a row violates, and does not ask for a retry', async () => {
      await rows("insert into notes values (7, 'twice')");
      const fault = await faultOf(query("insert into notes values (8, 'twice')"), 'upstream.rejected');
      expect(fault).toMatchObject({
        retryable: false,
        data: { code: '23505', severity: 'ERROR', constraint: 'notes_text_key', table: 'notes' },
      });
      await rows('delete from notes');
    });

    it('leave no session state to the next call', async () => {
      await rows("set application_name to 'left behind'");
      await rows('create temporary table left_behind (id int)');
      await rows('begin');
      const look = "select current_setting('application_name') name, to_regclass('left_behind') t";
      for (let index = 0; index < 3; index++) {
        expect(await rows(look)).toMatchObject({ rows: [{ name: expect.not.stringContaining('left'), t: null }] });
      }
      await rows("insert into notes values (5, 'kept')");
      await rows('rollback');
      expect(await rows('delete from notes where id = 5')).toMatchObject({ rowCount: 1 });
    });
  });

  describe('batches', () => {
    it('give all results in order', async () => {
      const statements = [{ sql: 'select 1 as a' }, { sql: 'select $1::text as b', params: ['x'] }];
      expect(await output(call('batch', { statements }))).toEqual({
        results: [
          { rows: [{ a: 1 }], rowCount: 1 },
          { rows: [{ b: 'x' }], rowCount: 1 },
        ],
      });
    });

    it('roll back as a whole when one statement fails', async () => {
      const statements = [{ sql: "insert into notes values (1, 'a')" }, { sql: 'select 1 / 0' }];
      const fault = await faultOf(call('batch', { statements }), 'upstream.rejected');
      expect(fault.data).toMatchObject({ code: '22012' });
      expect(await rows('select * from notes')).toMatchObject({ rows: [] });
    });

    it('may not end their own transaction', async () => {
      const statements = [{ sql: "insert into notes values (1, 'a')" }, { sql: 'rollback' }, { sql: 'select 1' }];
      await faultOf(call('batch', { statements }), 'upstream.rejected');
      expect(await rows('select * from notes')).toMatchObject({ rows: [] });
    });

    it('run at the isolation level that was asked', async () => {
      const statements = [{ sql: "select current_setting('transaction_isolation') level" }];
      expect(await output(call('batch', { statements, isolationLevel: 'Serializable' }))).toMatchObject({
        results: [{ rows: [{ level: 'serializable' }] }],
      });
    });

    it('refuse a change where they are read-only', async () => {
      const statements = [{ sql: "insert into notes values (1, 'a')" }];
      const fault = await faultOf(call('batch', { statements, readOnly: true }), 'upstream.rejected');
      expect(fault.data).toMatchObject({ code: '25006' });
    });

    it('that lose against another transaction may be repeated', async () => {
      const fault = await faultOf(
        query("do $$ begin raise exception 'try again' using errcode = '40001'; end $$"),
        'upstream.rejected',
      );
      expect(fault.retryable).toBe(true);
    });
  });
});

describe('connections over HTTP', () => {
  it('to different endpoints at once each reach their own database', async () => {
    const other = withSecrets({ connectionString, token: second.token }, { endpoint: second.endpoint });
    const sql = 'select current_database() as name, $1::int as number, pg_sleep(0.01 * ($1::int % 3))';
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, number) =>
        output((number % 2 ? other : call)('query', { sql, params: [number] })),
      ),
    );
    for (const [number, result] of results.entries()) {
      expect(result).toMatchObject({ rows: [{ name: number % 2 ? 'second' : 'postgres', number }] });
    }
  });

  it('send everything through the fetch that they were given', async () => {
    const seen: string[] = [];
    const counting: typeof fetch = (input, init) => {
      seen.push(String(input));
      return fetch(input, init);
    };
    await output(call('query', { sql: 'select 1' }, { fetch: counting }));
    expect(seen).toEqual([endpoint]);
  });

  it.each([
    ['a wrong password', () => withSecrets({ connectionString: connectionString.replace(PASSWORD, 'not-it'), token })],
    ['a wrong token', () => withSecrets({ connectionString, token: 'not-it' })],
    ['no token', () => withSecrets({ connectionString })],
    [
      'a host that the bridge does not lead to',
      () => withSecrets({ connectionString: `postgresql://a:${PASSWORD}@10.0.0.1:5432/b`, token }),
    ],
  ])('with %s are refused without a word of the secret', async (_, make) => {
    const fault = await faultOf(make()('query', { sql: 'select 1' }), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain(PASSWORD);
    expect(written(fault)).not.toContain(token);
  });

  it('to an address where nobody listens are unreachable, which may pass', async () => {
    const fault = await faultOf(
      withSecrets({ connectionString, token }, { endpoint: `${DEAD_ADDRESS}/sql` })('query', { sql: 'select 1' }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
    expect(written(fault)).not.toContain(PASSWORD);
  });

  it('to something else than Postgres fail as unreadable', async () => {
    const wrong = withSecrets({ connectionString, token }, { endpoint: `${servers.upstream.url}/json/1` });
    const fault = await faultOf(wrong('query', { sql: 'select 1' }), 'upstream.invalid');
    expect(written(fault)).not.toContain(PASSWORD);
  });

  it('without an endpoint are refused unless the host is one of Neon', async () => {
    const sent: unknown[] = [];
    const never: typeof fetch = (input) => {
      sent.push(input);
      return Promise.reject(new Error('offline'));
    };
    const bare = (host: string) =>
      withSecrets({ connectionString: `postgresql://u:p@${host}/db` }, { transport: 'http' });
    await faultOf(bare('db.example.com')('query', { sql: 'select 1' }, { fetch: never }), 'connection.invalid');
    await faultOf(bare('neon.tech.example.com')('query', { sql: 'select 1' }, { fetch: never }), 'connection.invalid');
    expect(sent).toEqual([]);
    const neon = bare('ep-cool-1.eu-central-1.aws.neon.tech');
    await faultOf(neon('query', { sql: 'select 1' }, { fetch: never }), 'upstream.unreachable');
    expect(sent.map(String)).toEqual(['https://api.eu-central-1.aws.neon.tech/sql']);
  });
});

describe('bounds over HTTP', () => {
  it('refuse a result that is too large for the memory of an isolate', async () => {
    await faultOf(query("select repeat('x', 1000) from generate_series(1, 10000)"), 'upstream.too-large');
  });

  it('refuse a result that is too large for the bridge', async () => {
    const fault = await faultOf(query("select repeat('x', 1000000) from generate_series(1, 80)"), 'upstream.too-large');
    expect(fault.retryable).toBe(false);
  });

  it('an attempt out of time returns at once, and its query ends in the database too', async () => {
    const started = Date.now();
    const sql = "select pg_sleep(20), 'to be cancelled'";
    const fault = await faultOf(call('query', { sql }, { signal: AbortSignal.timeout(300) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
    expect(Date.now() - started).toBeLessThan(5_000);
    const running = 'select count(*) from pg_stat_activity where query = $1 and state = $2';
    await expect.poll(() => rows(running, sql, 'active'), { timeout: 5_000 }).toMatchObject({ rows: [{ count: 0 }] });
  });

  it('a cancelled attempt sends nothing', async () => {
    const sql = "insert into notes values (99, 'never')";
    await faultOf(call('query', { sql }, { signal: AbortSignal.abort() }), 'step.timeout');
    expect(await rows('select * from notes where id = 99')).toMatchObject({ rows: [] });
  });
});
