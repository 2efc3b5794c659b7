import { Redis } from '@upstash/redis/cloudflare';
import { describe, expect, it } from 'vitest';
import { redis } from '../../../src/connectors/redis/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { url, token } = servers.redis;
const credentials: Credentials = { settings: { url }, secrets: { token } };
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
    ['XREAD', 'BLOCK', 0, 'STREAMS', 's', '$'],
    ['__proto__'],
  ])('such as %s are refused before anything is sent', async (...words) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    await faultOf(call('command', { command: words }, { fetch: never }), 'step.params');
    const commands = [['GET', 'a'], words];
    await faultOf(call('pipeline', { commands }, { fetch: never }), 'step.params');
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

describe('connections', () => {
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
    await output(command('SETRANGE', 'large', 9 * 1024 * 1024, 'x'));
    await faultOf(call('get', { key: 'large' }), 'upstream.too-large');
    await done('delete', { keys: ['large'] });
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
