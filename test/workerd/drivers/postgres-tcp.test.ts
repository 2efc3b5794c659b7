import { connect } from 'cloudflare:sockets';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { actionsOf, faultOf, output, servers, written } from './fixtures.ts';

const { connectionString } = servers.postgres;
const PASSWORD = new URL(connectionString).password;

const reached = (
  change: (url: URL) => void = () => undefined,
  settings: Record<string, unknown> = { tls: 'disable' },
) => {
  const url = new URL(connectionString);
  change(url);
  return actionsOf(postgres, { settings: { transport: 'tcp', ...settings }, secrets: { connectionString: url.href } });
};
const call = reached();
const query = (sql: string, ...params: unknown[]) => call('query', { sql, params });
const rows = async (sql: string, ...params: unknown[]) => output(query(sql, ...params));

const BUSY =
  "select count(*) from pg_stat_activity where query like $1 and state = 'active' and pid <> pg_backend_pid()";
const countOf = (marker: string) => rows(BUSY, `%${marker}%`);

/** A server that says one thing and goes. */
const fakeSocket = (answer: string, more: Partial<Socket> = {}): Socket => ({
  readable: new Response(answer).body ?? new ReadableStream(),
  writable: new WritableStream(),
  opened: Promise.resolve({}),
  closed: Promise.resolve(),
  upgraded: false,
  secureTransport: 'starttls',
  close: () => Promise.resolve(),
  startTls: () => fakeSocket(''),
  ...more,
});

beforeAll(async () => {
  await rows('drop table if exists tcp_notes');
  await rows('create table tcp_notes (id int primary key, text text)');
});

describe('sessions', () => {
  it('with a wrong password are refused without a word of it', async () => {
    const wrong = reached((url) => (url.password = 'not-the-password'));
    const fault = await faultOf(wrong('query', { sql: 'select 1' }), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-the-password');
  });

  it('take user names, passwords and databases with any characters', async () => {
    await rows(`drop role if exists "o:d@d/%"`);
    await rows(`create role "o:d@d/%" login password 'p@ss:/?#%'`);
    const odd = reached((url) => {
      url.username = encodeURIComponent('o:d@d/%');
      url.password = encodeURIComponent('p@ss:/?#%');
    });
    expect(await output(odd('query', { sql: 'select current_user as name' }))).toMatchObject({
      rows: [{ name: 'o:d@d/%' }],
    });
  });

  it('to a database that is not there fail by its name', async () => {
    const fault = await faultOf(
      reached((url) => (url.pathname = '/nowhere'))('query', { sql: 'select 1' }),
      'upstream.rejected',
    );
    expect(fault).toMatchObject({ retryable: false, data: { code: '3D000' } });
  });

  it('to an address where nobody listens are unreachable, which may pass', async () => {
    const fault = await faultOf(
      reached((url) => (url.port = '1'))('query', { sql: 'select 1' }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
    expect(written(fault)).not.toContain(PASSWORD);
  });

  it('to something else than Postgres fail without a word of the password', async () => {
    const http = reached((url) => (url.port = new URL(servers.upstream.url).port));
    const result = await http('query', { sql: 'select 1' });
    if (result.ok) throw new Error('Expected a fault.');
    expect(['upstream.invalid', 'upstream.unreachable', 'upstream.too-large']).toContain(result.fault.code);
    expect(written(result.fault)).not.toContain(PASSWORD);
  });

  it('are not opened without TLS unless the owner says so', async () => {
    const fault = await faultOf(reached(undefined, {})('query', { sql: 'select 1' }), 'connection.invalid');
    expect(fault.message).toContain('`tls`');
  });

  it('take nothing that stands before TLS for the answer of the server', async () => {
    const startTls = vi.fn<Socket['startTls']>();
    const close = vi.fn(() => Promise.resolve());
    const verified = reached(undefined, {});
    for (const answer of ['S\u0000R', '', 'E']) {
      const result = await verified(
        'query',
        { sql: 'select 1' },
        { connect: () => ({ ok: true, value: fakeSocket(answer, { startTls, close }) }) },
      );
      expect(result.ok).toBe(false);
    }
    expect(startTls).not.toHaveBeenCalled();
    expect(close).toHaveBeenCalledTimes(3);
  });

  it('that end before they began are not opened again by the same attempt', async () => {
    let opened = 0;
    const connect = () => {
      opened += 1;
      return { ok: true, value: fakeSocket('') } as const;
    };
    await faultOf(call('query', { sql: 'select 1' }, { connect }), 'upstream.unreachable');
    expect(opened).toBe(1);
  });

  it('are opened only where the connection string leads', async () => {
    const connection = postgres.connection;
    const settings = { transport: 'tcp', tls: 'disable' };
    expect(
      connection?.sockets?.(settings, { connectionString: 'postgresql://u:p@db.example.com/d?host=10.0.0.1' }),
    ).toMatchObject([{ hostname: 'db.example.com', port: 5432 }]);
    expect(connection?.origins?.(settings, { connectionString })).toEqual([]);
    expect(connection?.sockets?.({ transport: 'http' }, { connectionString })).toEqual([]);
  });

  it('end with their attempt', async () => {
    const open = 'select count(*) from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()';
    await Promise.all([1, 2, 3].map((number) => rows('select $1::int', number)));
    await faultOf(query('select 1 / 0'), 'upstream.rejected');
    await expect.poll(() => rows(open, 'tidegate')).toMatchObject({ rows: [{ count: 0 }] });
  });

  it('many at once do not mix', async () => {
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, number) =>
        rows('select $1::int as number, pg_sleep(0.01 * ($1::int % 3))', number),
      ),
    );
    for (const [number, result] of results.entries()) expect(result).toMatchObject({ rows: [{ number }] });
  });

  it('print nothing of what the server notices', async () => {
    const log = vi.spyOn(console, 'log');
    await rows("do $$ begin raise notice 'canary'; end $$");
    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
  });
});

describe('a Hyperdrive of the owner', () => {
  const url = new URL(connectionString);
  /** As the platform's, but for the pool behind it. */
  const bound: Hyperdrive = {
    connect: () => connect({ hostname: url.hostname, port: Number(url.port) }),
    connectionString,
    host: 'shop.hyperdrive.local',
    ip: '127.0.0.1',
    port: 5432,
    user: url.username,
    password: PASSWORD,
    database: 'second',
  };
  const through = actionsOf(postgres, { settings: { hyperdrive: 'SHOP' }, secrets: {} });
  const hyperdrive = (name: string): Hyperdrive | undefined => (name === 'SHOP' ? bound : undefined);

  it('is reached by its binding, with its credentials', async () => {
    const sql = 'select current_database() as name';
    expect(await output(through('query', { sql }, { hyperdrive }))).toMatchObject({ rows: [{ name: 'second' }] });
  });

  it('that is not bound is refused by its name', async () => {
    const fault = await faultOf(
      through('query', { sql: 'select 1' }, { hyperdrive: () => undefined }),
      'connection.invalid',
    );
    expect(fault.message).toContain('"SHOP"');
  });

  it('lets its connection open no other socket, and send no request', () => {
    const settings = { hyperdrive: 'SHOP', tls: 'verify' };
    expect(postgres.connection?.sockets?.(settings, { connectionString })).toEqual([]);
    expect(postgres.connection?.origins?.(settings, { connectionString })).toEqual([]);
  });
});

describe('attempts', () => {
  it('out of time return at once, and their statement ends in the database too', async () => {
    const started = Date.now();
    const sql = "select pg_sleep(60), 'tcp-timeout'";
    const fault = await faultOf(call('query', { sql }, { signal: AbortSignal.timeout(300) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
    expect(Date.now() - started).toBeLessThan(5_000);
    await expect.poll(() => countOf('tcp-timeout'), { timeout: 5_000 }).toMatchObject({ rows: [{ count: 0 }] });
  });

  it('that are cancelled in a transaction leave nothing of it', async () => {
    const statements = [{ sql: "insert into tcp_notes values (1, 'cancelled')" }, { sql: 'select pg_sleep(20)' }];
    await faultOf(call('batch', { statements }, { signal: AbortSignal.timeout(300) }), 'step.timeout');
    expect(await rows("insert into tcp_notes values (1, 'free') returning text")).toMatchObject({
      rows: [{ text: 'free' }],
    });
    await rows('delete from tcp_notes');
  });

  it('that were cancelled before send nothing', async () => {
    const sql = "insert into tcp_notes values (99, 'never')";
    await faultOf(call('query', { sql }, { signal: AbortSignal.abort() }), 'step.timeout');
    expect(await rows('select * from tcp_notes')).toMatchObject({ rows: [] });
  });

  it('whose session the server ends may be repeated', async () => {
    const lost = faultOf(query("select pg_sleep(20), 'tcp-lost'"), 'upstream.unreachable');
    await expect.poll(() => countOf('tcp-lost')).toMatchObject({ rows: [{ count: 1 }] });
    await rows(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%tcp-lost%' and pid <> pg_backend_pid()",
    );
    expect((await lost).retryable).toBe(true);
  });

  it('that lose the connection within a statement may be repeated, and run nothing outside of their transaction', async () => {
    const statements = [
      { sql: 'select 1' },
      { sql: "select pg_sleep(20), 'tcp-cut'" },
      { sql: "insert into tcp_notes values (2, 'x')" },
    ];
    const sockets: Socket[] = [];
    const cut = actionsOf(postgres, { settings: { tls: 'disable' }, secrets: { connectionString } });
    const lost = faultOf(
      cut(
        'batch',
        { statements },
        {
          connect: (address, options) => {
            const socket = connect(address, options);
            sockets.push(socket);
            return { ok: true, value: socket };
          },
        },
      ),
      'upstream.unreachable',
    );
    await expect.poll(() => countOf('tcp-cut')).toMatchObject({ rows: [{ count: 1 }] });
    await sockets[0]?.close();
    expect((await lost).retryable).toBe(true);
    expect(sockets).toHaveLength(1);
    await rows(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%tcp-cut%' and pid <> pg_backend_pid()",
    );
    expect(await rows('select * from tcp_notes')).toMatchObject({ rows: [] });
  });
});

describe('bounds', () => {
  it('refuse a result that is too large for the memory of an isolate', async () => {
    const fault = await faultOf(query("select repeat('x', 1000) from generate_series(1, 10000)"), 'upstream.too-large');
    expect(fault.retryable).toBe(false);
  });

  it('refuse one value that is too large', async () => {
    await faultOf(query(`select repeat('x', ${LIMITS.responseBodyBytes + 1})`), 'upstream.too-large');
  });

  it('refuse more parameters than the protocol can count', async () => {
    await faultOf(call('query', { sql: 'select 1', params: Array.from({ length: 65_535 }, () => 1) }), 'step.params');
  });

  it.each(['copy tcp_notes to stdout', 'copy tcp_notes from stdin'])('refuse %s', async (sql) => {
    const fault = await faultOf(query(sql), 'upstream.rejected');
    expect(fault.message).toContain('COPY');
  });
});
