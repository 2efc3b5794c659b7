import { Redis } from '@upstash/redis/cloudflare';
import { beforeEach, describe, expect, it } from 'vitest';
import { redis } from '../../../src/connectors/redis/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { url, token, tcp, password } = servers.redis;
const overHttp: Credentials = { settings: { url }, secrets: { token } };
/** A database of its own, so that the ways do not meet. */
const overTcp: Credentials = { settings: { url: `${tcp}/1` }, secrets: { password } };

describe.each([
  ['HTTP', overHttp],
  ['TCP', overTcp],
])('over %s', (_, credentials) => {
  const call = actionsOf(redis, credentials);
  const done = (action: string, params: unknown) => output(call(action, params));
  const command = (...words: (string | number)[]) => call('command', { command: words });

  describe('values', () => {
    it('are set, read, overwritten and deleted', async () => {
      expect(await done('get', { key: 'a' })).toEqual({ value: null });
      expect(await done('set', { key: 'a', value: 'first' })).toEqual({ stored: true });
      expect(await done('set', { key: 'a', value: 'second' })).toEqual({ stored: true });
      expect(await done('get', { key: 'a' })).toEqual({ value: 'second' });
      expect(await done('delete', { keys: ['a', 'b'] })).toEqual({ deleted: 1 });
      expect(await done('get', { key: 'a' })).toEqual({ value: null });
    });

    it.each(['', 'OK', 'true', '12345678901234567890', 'ünïcödé 🦊', 'two\r\nlines', '{"a":1}', '\0\u{7f}"\\'])(
      'keep the text %j as it is',
      async (value) => {
        await done('set', { key: 'text', value });
        expect(await done('get', { key: 'text' })).toEqual({ value });
      },
    );

    it('other than texts are kept as JSON', async () => {
      await done('set', { key: 'json', value: { list: [1, null, 'x'] } });
      expect(await done('get', { key: 'json', parse: 'json' })).toEqual({ value: { list: [1, null, 'x'] } });
      await done('set', { key: 'json', value: 'no json' });
      await faultOf(call('get', { key: 'json', parse: 'json' }), 'upstream.invalid');
    });

    it('are left alone with ifNotExists', async () => {
      expect(await done('set', { key: 'lock', value: 'mine', ifNotExists: true, ttlSeconds: 60 })).toEqual({
        stored: true,
      });
      expect(await done('set', { key: 'lock', value: 'yours', ifNotExists: true })).toEqual({ stored: false });
      expect(await done('get', { key: 'lock' })).toEqual({ value: 'mine' });
    });

    it('expire when they were told to', async () => {
      await done('set', { key: 'short', value: 'x', ttlSeconds: 60 });
      expect(await output(command('TTL', 'short'))).toEqual({ result: 60 });
      expect(await done('expire', { key: 'short', ttlSeconds: 30 })).toEqual({ found: true });
      expect(await output(command('TTL', 'short'))).toEqual({ result: 30 });
      expect(await done('expire', { key: 'nobody', ttlSeconds: 30 })).toEqual({ found: false });
    });

    it('count beyond 2^53 without losing a digit', async () => {
      await done('set', { key: 'count', value: '9007199254740990' });
      expect(await done('increment', { key: 'count' })).toEqual({ value: 9007199254740991 });
      expect(await done('increment', { key: 'count', by: 2 })).toEqual({ value: '9007199254740993' });
    });
  });

  describe('commands', () => {
    it('of any data type work', async () => {
      await done('delete', { keys: ['hash', 'list'] });
      expect(await output(command('HSET', 'hash', 'name', 'Ada', 'age', 36))).toEqual({ result: 2 });
      expect(await output(command('hgetall', 'hash'))).toEqual({ result: ['name', 'Ada', 'age', '36'] });
      expect(await output(command('RPUSH', 'list', 'a', 'b'))).toEqual({ result: 2 });
      expect(await output(command('LRANGE', 'list', 0, -1))).toEqual({ result: ['a', 'b'] });
      expect(await output(command('TYPE', 'list'))).toEqual({ result: 'list' });
    });

    it.each([
      ['EVAL', 'return 1', 0],
      ['flushall'],
      ['CONFIG', 'GET', '*'],
      ['SELECT', 1],
      ['BLPOP', 'list', 0],
      ['SUBSCRIBE', 'x'],
      ['MULTI'],
      ['KEYS', '*'],
      ['SHUTDOWN'],
      ['HELLO', 3],
      ['AUTH', 'x'],
      ['CLIENT', 'KILL', 'TYPE', 'normal'],
      ['__proto__'],
    ])('such as %s are refused before anything is sent', async (...words) => {
      const never = {
        fetch: () => Promise.reject(new Error('sent')),
        connect: () => {
          throw new Error('sent');
        },
      };
      await faultOf(call('command', { command: words }, never), 'step.params');
      const commands = [['GET', 'a'], words];
      await faultOf(call('pipeline', { commands }, never), 'step.params');
    });

    it('cannot be smuggled into a value', async () => {
      await done('set', { key: 'x\r\nSET injected yes', value: 'v\r\n*1\r\n$8\r\nFLUSHALL\r\n' });
      expect(await done('get', { key: 'injected' })).toEqual({ value: null });
      expect(await done('get', { key: 'x\r\nSET injected yes' })).toEqual({ value: 'v\r\n*1\r\n$8\r\nFLUSHALL\r\n' });
    });

    it('on a value of another type fail for good', async () => {
      await done('set', { key: 'plain', value: 'x' });
      const fault = await faultOf(command('LPUSH', 'plain', 'y'), 'upstream.rejected');
      expect(fault.retryable).toBe(false);
      expect(fault.message).toContain('WRONGTYPE');
    });

    it('give the same shapes over each way', async () => {
      await output(call('delete', { keys: ['shape', 'shape-set'] }));
      await output(command('ZADD', 'shape', 1.5, 'a', 'inf', 'b'));
      expect(await output(command('ZRANGE', 'shape', 0, -1, 'WITHSCORES'))).toEqual({
        result: ['a', '1.5', 'b', 'inf'],
      });
      expect(await output(command('ZSCORE', 'shape', 'a'))).toEqual({ result: '1.5' });
      expect(await output(command('SADD', 'shape-set', 'x'))).toEqual({ result: 1 });
      expect(await output(command('SMEMBERS', 'shape-set'))).toEqual({ result: ['x'] });
      expect(await output(command('SMISMEMBER', 'shape-set', 'x', 'y'))).toEqual({ result: [1, 0] });
      expect(await output(command('GET', 'nobody'))).toEqual({ result: null });
      expect(await output(command('ZRANDMEMBER', 'nobody', 2))).toEqual({ result: [] });
      expect(await output(command('PING'))).toEqual({ result: 'PONG' });
    });

    it('give their texts as base64 where that is asked for', async () => {
      await done('set', { key: 'plain', value: 'ü' });
      const asked = await output(call('command', { command: ['MGET', 'plain', 'nobody'], encoding: 'base64' }));
      expect(asked).toEqual({ result: ['w7w=', null] });
      expect(await done('get', { key: 'plain', parse: 'base64' })).toEqual({ value: 'w7w=' });
      const commands = [['SET', 'plain', 'x'], ['GET', 'plain'], ['PING']];
      expect(await done('pipeline', { commands, encoding: 'base64' })).toEqual({ results: ['OK', 'eA==', 'UE9ORw=='] });
    });
  });

  describe('pipelines', () => {
    it('give all replies in order', async () => {
      const commands = [
        ['SET', 'p', '1'],
        ['INCR', 'p'],
        ['GET', 'p'],
        ['LRANGE', 'none', 0, -1],
      ];
      for (const atomic of [false, true]) {
        expect(await done('pipeline', { commands, atomic })).toEqual({ results: ['OK', 2, '2', []] });
      }
    });

    it('name the command that failed, also when the others have run', async () => {
      await done('set', { key: 'plain', value: 'x' });
      const commands = [
        ['SET', 'before', 'done'],
        ['LPUSH', 'plain', 'y'],
      ];
      const fault = await faultOf(call('pipeline', { commands }), 'upstream.rejected');
      expect(fault.message).toContain('Command 1 (LPUSH)');
      expect(await done('get', { key: 'before' })).toEqual({ value: 'done' });
    });

    it('that are atomic run no command where one cannot be queued', async () => {
      await done('delete', { keys: ['half'] });
      const commands = [['SET', 'half', 'x'], ['GET']];
      await faultOf(call('pipeline', { commands, atomic: true }), 'upstream.rejected');
      expect(await done('get', { key: 'half' })).toEqual({ value: null });
    });

    it('of many callers at once keep their replies apart', async () => {
      const names = Array.from({ length: 40 }, (_, index) => `own-${index}`);
      const results = await Promise.all(
        names.map((name) =>
          done('pipeline', {
            commands: [
              ['SET', name, name],
              ['GET', name],
            ],
            atomic: true,
          }),
        ),
      );
      expect(results).toEqual(names.map((name) => ({ results: ['OK', name] })));
    });
  });

  describe('collections', () => {
    beforeEach(() => output(call('delete', { keys: ['h', 'l', 's', 'z'] })));

    it('of fields are hashes', async () => {
      expect(await done('hashSet', { key: 'h', fields: { name: 'Ada', tags: ['a'], n: 3 } })).toEqual({ added: 3 });
      expect(await done('hashGet', { key: 'h' })).toEqual({ fields: { name: 'Ada', tags: '["a"]', n: '3' } });
      expect(await done('hashGet', { key: 'h', fields: ['n', 'nobody'] })).toEqual({
        fields: { n: '3', nobody: null },
      });
      expect(await done('hashDelete', { key: 'h', fields: ['n', 'nobody'] })).toEqual({ deleted: 1 });
      expect(await done('hashGet', { key: 'nobody' })).toEqual({ fields: {} });
    });

    it('in order are lists', async () => {
      expect(await done('listPush', { key: 'l', values: ['b', { id: 1 }] })).toEqual({ length: 2 });
      expect(await done('listPush', { key: 'l', values: ['a'], side: 'left' })).toEqual({ length: 3 });
      expect(await done('listRange', { key: 'l' })).toEqual({ values: ['a', 'b', '{"id":1}'] });
      expect(await done('listRange', { key: 'l', from: -1 })).toEqual({ values: ['{"id":1}'] });
      expect(await done('listPop', { key: 'l' })).toEqual({ values: ['a'] });
      expect(await done('listPop', { key: 'l', side: 'right', count: 5 })).toEqual({ values: ['{"id":1}', 'b'] });
      expect(await done('listPop', { key: 'l' })).toEqual({ values: [] });
    });

    it('without order are sets', async () => {
      expect(await done('setAdd', { key: 's', members: ['a', 'a', 1] })).toEqual({ added: 2 });
      expect(await done('setRemove', { key: 's', members: ['a', 'b'] })).toEqual({ removed: 1 });
      expect(await done('setMembers', { key: 's' })).toEqual({ members: ['1'] });
    });

    it('with scores are sorted sets', async () => {
      const members = [
        { member: 'low', score: -1.5 },
        { member: '7', score: 7 },
        { member: 'high', score: 100 },
      ];
      expect(await done('sortedSetAdd', { key: 'z', members })).toEqual({ added: 3 });
      expect(await done('sortedSetRange', { key: 'z' })).toEqual({ members });
      expect(await done('sortedSetRange', { key: 'z', reverse: true, to: 0 })).toEqual({ members: [members[2]] });
      const range = { key: 'z', by: 'score', from: '(-1.5', to: 'inf' };
      expect(await done('sortedSetRange', range)).toEqual({ members: members.slice(1) });
      const highest = { ...range, reverse: true, count: 1 };
      expect(await done('sortedSetRange', highest)).toEqual({ members: [members[2]] });
      await output(command('ZADD', 'z', 'inf', 'endless'));
      expect(await done('sortedSetRange', { key: 'z', from: -1 })).toEqual({
        members: [{ member: 'endless', score: 'inf' }],
      });
      expect(await done('sortedSetRemove', { key: 'z', members: ['7', 'nobody'] })).toEqual({ removed: 1 });
    });

    it('are refused where the key holds something else', async () => {
      await done('set', { key: 'h', value: 'text' });
      for (const [action, params] of Object.entries({
        hashGet: { key: 'h' },
        listPop: { key: 'h' },
        setMembers: { key: 'h' },
        sortedSetRange: { key: 'h' },
        streamRange: { stream: 'h' },
      })) {
        expect((await faultOf(call(action, params), 'upstream.rejected')).message, action).toContain('WRONGTYPE');
      }
    });
  });

  describe('streams', () => {
    beforeEach(() => output(call('delete', { keys: ['log'] })));
    const add = async (fields: object) => ((await done('streamAdd', { stream: 'log', fields })) as { id: string }).id;

    it('are added to and read in both directions', async () => {
      const first = await add({ n: 1, more: { a: [] } });
      const second = await add({ n: 2 });
      const entries = [
        { id: first, fields: { n: '1', more: '{"a":[]}' } },
        { id: second, fields: { n: '2' } },
      ];
      expect(await done('streamRange', { stream: 'log' })).toEqual({ entries });
      expect(await done('streamRange', { stream: 'log', from: `(${first}` })).toEqual({ entries: entries.slice(1) });
      const newest = { stream: 'log', reverse: true, count: 1 };
      expect(await done('streamRange', newest)).toEqual({ entries: entries.slice(1) });
      expect(await done('streamRange', { stream: 'nobody' })).toEqual({ entries: [] });
    });

    it('keep about as many entries as they are told to', async () => {
      const fields = { x: 'x' };
      const commands = Array.from({ length: 500 }, () => ['XADD', 'log', '*', 'x', 'x']);
      await done('pipeline', { commands });
      await done('streamAdd', { stream: 'log', fields, maximumLength: 10 });
      const { result } = (await output(command('XLEN', 'log'))) as { result: number };
      expect(result).toBeLessThan(200);
      expect(result).toBeGreaterThanOrEqual(10);
    });

    it('give each consumer of a group entries of its own, until it acknowledges them', async () => {
      const ids = [await add({ n: 1 }), await add({ n: 2 }), await add({ n: 3 })];
      await output(command('XGROUP', 'CREATE', 'log', 'g', '0'));
      const one = { stream: 'log', group: 'g', consumer: 'one', count: 2 };
      const taken = {
        entries: [
          { id: ids[0], fields: { n: '1' } },
          { id: ids[1], fields: { n: '2' } },
        ],
      };
      expect(await done('streamReadGroup', one)).toEqual(taken);
      expect(await done('streamReadGroup', { ...one, consumer: 'two' })).toEqual({
        entries: [{ id: ids[2], fields: { n: '3' } }],
      });
      expect(await done('streamReadGroup', one)).toEqual({ entries: [] });
      expect(await done('streamReadGroup', { ...one, pending: true })).toEqual(taken);
      const acknowledgement = { stream: 'log', group: 'g', ids: ids.slice(0, 2) };
      expect(await done('streamAcknowledge', acknowledgement)).toEqual({ acknowledged: 2 });
      expect(await done('streamAcknowledge', acknowledgement)).toEqual({ acknowledged: 0 });
      expect(await done('streamReadGroup', { ...one, pending: true })).toEqual({ entries: [] });
    });

    it('without such a group are refused by its name', async () => {
      const params = { stream: 'log', group: 'nobody', consumer: 'c' };
      expect((await faultOf(call('streamReadGroup', params), 'upstream.rejected')).message).toContain('NOGROUP');
    });
  });

  describe('scripts', () => {
    const script = "return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";

    it('run with keys and arguments, also when the server does not know them yet', async () => {
      await done('delete', { keys: ['n'] });
      // One that no server can know.
      const fresh = `${script} -- ${crypto.randomUUID()}`;
      for (const sum of [5, 10]) {
        const params = { script: fresh, keys: ['n'], arguments: [5] };
        expect(await done('eval', params)).toEqual({ result: ['n', '5', sum] });
      }
    });

    it('run once where they fail', async () => {
      await done('delete', { keys: ['n'] });
      const failing = "redis.call('INCR', KEYS[1]); return redis.error_reply('MINE wrong')";
      expect((await faultOf(call('eval', { script: failing, keys: ['n'] }), 'upstream.rejected')).message).toContain(
        'MINE',
      );
      expect(await done('get', { key: 'n' })).toEqual({ value: '1' });
    });

    it('are data where a value holds Lua, and are refused where data is made a script', async () => {
      const hostile = `"]] redis.call('SET', 'injected', 'yes') --`;
      expect(await done('eval', { script: 'return ARGV[1]', arguments: [hostile] })).toEqual({ result: hostile });
      const params = { script: `return '${hostile}'` };
      const written = { script: "return '{{ input.name }}'" };
      expect((await faultOf(call('eval', params, { written }), 'step.params')).message).toContain('arguments');
      expect(await done('get', { key: 'injected' })).toEqual({ value: null });
    });
  });

  describe('transactions', () => {
    it('without a condition run as one', async () => {
      await done('delete', { keys: ['t'] });
      const commands = [
        ['INCR', 't'],
        ['INCR', 't'],
      ];
      expect(await done('transaction', { commands })).toEqual({ committed: true, results: [1, 2] });
      await faultOf(call('transaction', { commands: [['INCR', 't'], ['GET']] }), 'upstream.rejected');
      expect(await done('get', { key: 't' })).toEqual({ value: '2' });
    });

    it('tell which command failed when they ran', async () => {
      await done('set', { key: 't', value: 'text' });
      const fault = await faultOf(
        call('transaction', {
          commands: [
            ['GET', 't'],
            ['INCR', 't'],
          ],
        }),
        'upstream.rejected',
      );
      expect(fault.message).toContain('Command 1 (INCR)');
    });
  });

  describe('the owner of a connection', () => {
    const owned = actionsOf(redis, {
      ...credentials,
      settings: { ...credentials.settings, allow: ['Keys', 'OBJECT'], refuse: ['del', 'EVALSHA', 'incr'] },
    });

    it('may allow more commands', async () => {
      await done('set', { key: 'owned', value: '1' });
      expect(await output(owned('command', { command: ['KEYS', 'owned'] }))).toEqual({ result: ['owned'] });
      expect(await output(owned('command', { command: ['object', 'encoding', 'owned'] }))).toEqual({ result: 'int' });
      await faultOf(owned('command', { command: ['FLUSHALL'] }), 'step.params');
    });

    it('may refuse commands, also those of which actions are made', async () => {
      await faultOf(owned('command', { command: ['Del', 'owned'] }), 'step.params');
      await faultOf(owned('pipeline', { commands: [['DEL', 'owned']] }), 'step.params');
      await faultOf(owned('transaction', { commands: [['INCR', 'owned']] }), 'step.params');
      await faultOf(owned('delete', { keys: ['owned'] }), 'step.params');
      await faultOf(owned('eval', { script: 'return 1' }), 'step.params');
      expect(await done('get', { key: 'owned' })).toEqual({ value: '1' });
    });

    it.each(['config', 'DEBUG', 'Module', 'SLAVEOF', 'acl', 'MULTI', 'SELECT', 'SUBSCRIBE', 'MONITOR', 'a b', ''])(
      'may not allow %j',
      async (name) => {
        const settings = { ...credentials.settings, allow: [name] };
        await expect(actionsOf(redis, { ...credentials, settings })('get', { key: 'a' })).rejects.toThrow();
      },
    );
  });
});

describe('connections over HTTP', () => {
  it('with a wrong token are refused without a word of it', async () => {
    const wrong = actionsOf(redis, { settings: { url }, secrets: { token: 'not-the-token' } });
    const fault = await faultOf(wrong('get', { key: 'a' }), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-the-token');
  });

  it('to an address where nobody listens are unreachable, which may pass', async () => {
    const wrong = actionsOf(redis, { settings: { url: DEAD_ADDRESS }, secrets: { token } });
    expect((await faultOf(wrong('get', { key: 'a' }), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('to something else than Redis fail as unreadable', async () => {
    const wrong = actionsOf(redis, { settings: { url: `${servers.upstream.url}/json/1?` }, secrets: { token } });
    await expect(wrong('get', { key: 'a' })).rejects.toThrow('without user name, query');
    const other = actionsOf(redis, { settings: { url: `${servers.upstream.url}/json` }, secrets: { token } });
    await faultOf(other('get', { key: 'a' }), 'upstream.invalid');
  });

  it('are given up in time, without a second try', async () => {
    const key = `delay-${crypto.randomUUID()}`;
    const slow = actionsOf(redis, {
      settings: { url: `${servers.upstream.url}/delay/5000/${key}` },
      secrets: { token },
    });
    const fault = await faultOf(slow('get', { key: 'a' }, { signal: AbortSignal.timeout(200) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
    const receipts = await fetch(`${servers.upstream.url}/receipts?path=/delay/5000/${key}/`);
    expect(await receipts.json()).toHaveLength(1);
  });

  it('refuse a value that is too large for the memory of an isolate', async () => {
    const call = actionsOf(redis, overHttp);
    await output(call('command', { command: ['SETRANGE', 'large', 9 * 1024 * 1024, 'x'] }));
    await faultOf(call('get', { key: 'large' }), 'upstream.too-large');
    await output(call('delete', { keys: ['large'] }));
  });

  it('refuse what needs a session, or bytes, before anything is sent', async () => {
    const call = actionsOf(redis, overHttp);
    const never = { fetch: () => Promise.reject(new Error('sent')) };
    const watch = [{ key: 'a', equals: null }];
    await faultOf(call('transaction', { watch, commands: [['PING']] }, never), 'step.params');
    await faultOf(call('set', { key: 'a', base64: 'AP8=' }, never), 'step.params');
    const command = ['SET', 'a', { base64: 'AP8=' }];
    await faultOf(call('command', { command }, never), 'step.params');
    await faultOf(call('pipeline', { commands: [command] }, never), 'step.params');
    await faultOf(call('command', { command: ['XREAD', 'BLOCK', 0, 'STREAMS', 's', '$'] }, never), 'step.params');
  });

  it.each([{}, { token, password: 'x' }, { password: 'x' }])('are refused with secrets such as %j', async (secrets) => {
    await faultOf(actionsOf(redis, { settings: { url }, secrets })('get', { key: 'a' }), 'connection.invalid');
  });
});

describe('the bridge', () => {
  it('serves the client of Upstash as Upstash does', async () => {
    const client = new Redis({ url, token, enableTelemetry: false, retry: false });
    await client.set('official', { nested: ['ünï', 1] }, { ex: 60 });
    expect(await client.get('official')).toEqual({ nested: ['ünï', 1] });
    expect(await client.type('official')).toBe('string');
    expect(await client.multi().incr('official-count').del('official-count').exec()).toEqual([1, 1]);
    await expect(client.eval('return redis.call("GET", KEYS[1])', ['official'], [])).resolves.toEqual({
      nested: ['ünï', 1],
    });
    await expect(client.exec(['SELECT', '1'])).rejects.toThrow('does not pass on SELECT');
  });
});
