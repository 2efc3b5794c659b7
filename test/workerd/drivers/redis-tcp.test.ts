import { connect } from 'cloudflare:sockets';
import { describe, expect, it } from 'vitest';
import { redis } from '../../../src/connectors/redis/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { ok } from '../../../src/core/errors.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written } from './fixtures.ts';

const { url: bridge, tcp, tls, password, reader, hostile } = servers.redis;
const at = (url: string, secrets: Record<string, unknown> = { password }) =>
  actionsOf(redis, { settings: { url }, secrets });
const call = at(`${tcp}/2`);
const command = (...words: (string | number | object)[]) => call('command', { command: words });
const sent = (...words: (string | number | object)[]) => output(command(...words));

/** Connections of clients that wait in a command of that name. */
async function waitingIn(name: string): Promise<number> {
  const admin = actionsOf(redis, { settings: { url: tcp, allow: ['INFO'] }, secrets: { password } });
  const { result } = (await output(admin('command', { command: ['INFO', 'clients'] }))) as { result: string };
  return Number(new RegExp(`${name}:(\\d+)`).exec(result)?.[1]);
}

describe('bytes', () => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, index) => index)).toString('base64');

  it('of every kind are stored and read as they are', async () => {
    expect(await output(call('set', { key: 'bytes', base64: every }))).toEqual({ stored: true });
    expect(await output(call('get', { key: 'bytes', parse: 'base64' }))).toEqual({ value: every });
    expect(await sent('STRLEN', 'bytes')).toEqual({ result: 256 });
  });

  it('are words of a command', async () => {
    await sent('SET', { base64: 'AP8=' }, { base64: '/wA=' });
    const asked = call('command', { command: ['GET', { base64: 'AP8=' }], encoding: 'base64' });
    expect(await output(asked)).toEqual({ result: '/wA=' });
  });

  it.each(['a', '?', 'AP8', { base64: 'AP8=' }])('are not read from %j', async (base64) => {
    await expect(call('set', { key: 'bytes', base64 })).rejects.toThrow();
  });

  it('and a value exclude one another', async () => {
    await faultOf(call('set', { key: 'bytes', base64: 'AP8=', value: 'x' }), 'step.params');
    await faultOf(call('set', { key: 'bytes' }), 'step.params');
  });

  it('of a megabyte go both ways', async () => {
    const base64 = Buffer.alloc(1024 * 1024, 7).toString('base64');
    await output(call('set', { key: 'bytes', base64 }));
    expect(await output(call('get', { key: 'bytes', parse: 'base64' }))).toEqual({ value: base64 });
  });
});

describe('transactions on a condition', () => {
  const commands = [
    ['DECR', 'stock'],
    ['INCR', 'sold'],
  ];

  it('take place where it holds, and are left where it does not', async () => {
    await sent('MSET', 'stock', 1, 'sold', 0);
    const watch = [{ key: 'stock', equals: 1 }];
    expect(await output(call('transaction', { watch, commands }))).toEqual({ committed: true, results: [0, 1] });
    expect(await output(call('transaction', { watch, commands }))).toEqual({ committed: false, results: [] });
    expect(await sent('MGET', 'stock', 'sold')).toEqual({ result: ['0', '1'] });
  });

  it('tell a missing key from an empty one', async () => {
    await output(call('delete', { keys: ['free'] }));
    const take = { watch: [{ key: 'free', equals: null }], commands: [['SET', 'free', '']] };
    expect(await output(call('transaction', take))).toMatchObject({ committed: true });
    expect(await output(call('transaction', take))).toMatchObject({ committed: false });
  });

  it('look at any command', async () => {
    await output(call('delete', { keys: ['cart'] }));
    await sent('HSET', 'cart', 'state', 'open');
    const watch = [{ key: 'cart', command: ['HGET', 'cart', 'state'], equals: 'open' }];
    const close = { watch, commands: [['HSET', 'cart', 'state', 'closed']] };
    expect(await output(call('transaction', close))).toMatchObject({ committed: true });
    expect(await output(call('transaction', close))).toMatchObject({ committed: false });
    const forbidden = [{ key: 'cart', command: ['FLUSHALL'], equals: 'OK' }];
    await faultOf(call('transaction', { watch: forbidden, commands }), 'step.params');
    const wrong = [{ key: 'cart', equals: 'x' }];
    expect((await faultOf(call('transaction', { watch: wrong, commands }), 'upstream.rejected')).message).toContain(
      'WRONGTYPE',
    );
  });

  it('of many at once lose no count', async () => {
    await sent('MSET', 'stock', 5, 'sold', 0);
    const buy = async (): Promise<boolean> => {
      for (;;) {
        const left = (await output(call('get', { key: 'stock' }))) as { value: string };
        if (left.value === '0') return false;
        const watch = [{ key: 'stock', equals: left.value }];
        const bought = (await output(call('transaction', { watch, commands }))) as { committed: boolean };
        if (bought.committed) return true;
      }
    };
    const results = await Promise.all(Array.from({ length: 8 }, buy));
    expect(results.filter(Boolean)).toHaveLength(5);
    expect(await sent('MGET', 'stock', 'sold')).toEqual({ result: ['0', '5'] });
  });
});

describe('a connection over TCP', () => {
  const get = { key: 'a' };

  it('keeps to the database of its address', async () => {
    await output(call('set', { key: 'where', value: 'two' }));
    expect(await output(at(`${tcp}/3`)('get', { key: 'where' }))).toEqual({ value: null });
    expect(await output(at(tcp)('get', { key: 'where' }))).toEqual({ value: null });
    expect(await output(call('get', { key: 'where' }))).toEqual({ value: 'two' });
    const fault = await faultOf(at(`${tcp}/9999`)('get', get), 'connection.invalid');
    expect(fault.message).toContain('`url`');
  });

  it('has the rights of its user, and no more', async () => {
    const limited = at(tcp, reader);
    expect(await output(limited('get', { key: 'reader:1' }))).toEqual({ value: null });
    for (const refused of [
      limited('get', { key: 'other' }),
      limited('set', { key: 'reader:1', value: 'x' }),
      limited('eval', { script: 'return 1' }),
    ]) {
      const fault = await faultOf(refused, 'upstream.unauthorized');
      expect(fault.retryable).toBe(false);
      expect(written(fault)).not.toContain(reader.password);
    }
  });

  it.each([
    ['a wrong password', { password: 'canary-wrong' }],
    ['a wrong password of a user', { user: 'reader', password: 'canary-wrong' }],
    ['a user that is not there', { user: 'canary-nobody', password: 'canary-wrong' }],
    ['no password', {}],
  ])('with %s is refused without a word of it', async (_, secrets) => {
    const fault = await faultOf(at(tcp, secrets)('get', get), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('canary');
  });

  it('to a server that repeats what it is sent shows no credential', async () => {
    const secrets = { user: 'canary-user', password: 'canary-password' };
    const fault = await faultOf(at(hostile.parrot, secrets)('get', get), 'upstream.unauthorized');
    expect(written(fault)).not.toContain('canary');
  });

  it.each([{ user: 'u' }, { token: 't' }, { token: 't', password: 'p' }])(
    'is refused with secrets such as %j',
    async (secrets) => {
      await faultOf(at(tcp, secrets)('get', get), 'connection.invalid');
    },
  );

  it.each([
    'redis://user:password@host',
    'redis://:password@host:6379',
    'redis://host:6379?db=1',
    'redis://host/a',
    'redis://host:123456',
    'redis://ho%73t',
    'redis:///0',
    'redis+unix:///tmp/redis.sock',
    'unix:/tmp/redis.sock',
    'tcp://host:6379',
  ])('is refused with the address %s', async (url) => {
    await expect(at(url)('get', get)).rejects.toThrow('Must be an absolute URL');
  });

  it('opens a socket to its address only, and sends no request', () => {
    const facts = redis.connection;
    expect(facts?.sockets?.({ url: 'rediss://cache.example.com/1' }, {})).toEqual([
      { hostname: 'cache.example.com', port: 6379 },
    ]);
    expect(facts?.origins?.({ url: 'rediss://cache.example.com/1' }, {})).toEqual([]);
    expect(facts?.sockets?.({ url: bridge }, {})).toEqual([]);
  });

  it('to a dead address, or one that breaks off, is unreachable, which may pass', async () => {
    for (const url of [DEAD_ADDRESS.replace('http', 'redis'), DEAD_ADDRESS.replace('http', 'rediss'), hostile.cut]) {
      expect((await faultOf(at(url)('get', get), 'upstream.unreachable')).retryable, url).toBe(true);
    }
  });

  it('by TLS is refused where the certificate is not trusted, and nothing is sent', async () => {
    const fault = await faultOf(at(tls)('get', get), 'upstream.unreachable');
    expect(fault.message).toContain('certificate');
    await faultOf(at(hostile.web.replace('redis:', 'rediss:'))('get', get), 'upstream.unreachable');
  });

  it('to a server that takes no more clients is not available, which may pass', async () => {
    expect((await faultOf(at(hostile.full)('get', get), 'upstream.unavailable')).retryable).toBe(true);
  });

  it.each(['web', 'nest', 'line'] as const)('to a server that speaks %s fails as unreadable', async (attack) => {
    await faultOf(at(hostile[attack])('get', get), 'upstream.invalid');
  });

  it.each(['announcement', 'swarm'] as const)(
    'to a server with a %s of more than there is memory is given up',
    async (attack) => {
      expect((await faultOf(at(hostile[attack])('get', get), 'upstream.too-large')).retryable).toBe(false);
    },
  );
});

describe('attempts', () => {
  it.each(['silence', 'stall'] as const)('that meet %s are given up in time', async (attack) => {
    const signal = AbortSignal.timeout(200);
    const fault = await faultOf(at(hostile[attack])('get', { key: 'a' }, { signal }), 'step.timeout');
    expect(fault.retryable).toBe(true);
  });

  it('that are cancelled end with the reason, and their command with them', async () => {
    const waiting = actionsOf(redis, { settings: { url: tcp, allow: ['BLPOP'] }, secrets: { password } });
    const controller = new AbortController();
    const blocked = faultOf(
      waiting('command', { command: ['BLPOP', 'never', 0] }, { signal: controller.signal }),
      'step.timeout',
    );
    await expect.poll(() => waitingIn('blocked_clients')).toBe(1);
    controller.abort();
    await blocked;
    await expect.poll(() => waitingIn('blocked_clients')).toBe(0);
  });

  it('that were cancelled before open no socket', async () => {
    const never = () => {
      throw new Error('opened');
    };
    await faultOf(call('get', { key: 'a' }, { signal: AbortSignal.abort(), connect: never }), 'step.timeout');
  });

  it('that lose the connection within a command may be repeated', async () => {
    const waiting = actionsOf(redis, { settings: { url: tcp, allow: ['BLPOP', 'OBJECT'] }, secrets: { password } });
    const sockets: Socket[] = [];
    const lost = faultOf(
      waiting(
        'command',
        { command: ['BLPOP', 'never', 0] },
        {
          connect: (address, options) => {
            const socket = connect(address, options);
            sockets.push(socket);
            return ok(socket);
          },
        },
      ),
      'upstream.unreachable',
    );
    await expect.poll(() => waitingIn('blocked_clients')).toBe(1);
    await sockets[0]?.close();
    expect((await lost).retryable).toBe(true);
    expect(sockets).toHaveLength(1);
  });

  it('leave no connection behind, whatever became of them', async () => {
    const before = await waitingIn('connected_clients');
    await Promise.all([
      ...Array.from({ length: 12 }, (_, index) => output(call('get', { key: `k${index}` }))),
      faultOf(command('LPUSH', 'where', 'x'), 'upstream.rejected'),
      faultOf(at(tcp, { password: 'wrong' })('get', { key: 'a' }), 'upstream.unauthorized'),
    ]);
    await expect.poll(() => waitingIn('connected_clients')).toBeLessThanOrEqual(before);
  });

  it('may wait for entries of a stream, within their time', async () => {
    const asked = command('XREAD', 'BLOCK', 50, 'STREAMS', 'nothing', '$');
    expect(await output(asked)).toEqual({ result: null });
  });
});

describe('bounds', () => {
  it('refuse a value that is too large for the memory of an isolate', async () => {
    await sent('SETRANGE', 'large', LIMITS.responseBodyBytes + 1, 'x');
    await faultOf(call('get', { key: 'large' }), 'upstream.too-large');
    await sent('SETRANGE', 'half', LIMITS.responseBodyBytes / 2, 'x');
    const commands = [
      ['GET', 'half'],
      ['GET', 'half'],
    ];
    await faultOf(call('pipeline', { commands }), 'upstream.too-large');
    await output(call('delete', { keys: ['large', 'half'] }));
  });

  it('hold where all of it is written before anything is read', async () => {
    const value = 'x'.repeat(100_000);
    const commands = Array.from({ length: 30 }, (_, index) => ['GETSET', `w${index}`, value]);
    const allowed = actionsOf(redis, { settings: { url: `${tcp}/2`, allow: ['GETSET'] }, secrets: { password } });
    for (const expected of [null, value]) {
      const { results } = (await output(allowed('pipeline', { commands }))) as { results: unknown[] };
      expect(new Set(results)).toEqual(new Set([expected]));
    }
    await output(call('delete', { keys: commands.map(([, name]) => String(name)) }));
  });
});
