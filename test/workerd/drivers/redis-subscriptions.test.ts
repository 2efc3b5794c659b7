import { beforeEach, describe, expect, it } from 'vitest';
import { redis } from '../../../src/connectors/redis/index.ts';
import { fault, FaultError } from '../../../src/core/errors.ts';
import { actionsOf, faultOf, output, servers } from './fixtures.ts';
import { listenTo, type Listening, type ListenOptions } from './subscriptions.ts';

const { url: bridge, token, tcp, password, reader, hostile } = servers.redis;
const admin = actionsOf(redis, {
  settings: { url: `${tcp}/4`, allow: ['PUBSUB', 'INFO'] },
  secrets: { password },
});
const sent = async (...words: (string | number)[]): Promise<unknown> => {
  const { result } = (await output(admin('command', { command: words }))) as { result: unknown };
  return result;
};

interface Options extends ListenOptions {
  readonly url?: string;
  readonly settings?: Record<string, unknown>;
  readonly secrets?: Record<string, unknown>;
}

const listen = (name: string, params: unknown, options: Options = {}): Listening => {
  const { url = `${tcp}/4`, settings, secrets = { password }, ...others } = options;
  return listenTo(redis, { settings: { url, ...settings }, secrets }, name, params, others);
};

async function clientsWith(word: string): Promise<number> {
  const info = String(await sent('INFO', 'clients'));
  return Number(new RegExp(`${word}:(\\d+)`).exec(info)?.[1]);
}

const refused = new FaultError(fault('storage.unavailable', 'not durable'));

describe('channels', () => {
  it('deliver what is published, by name and by pattern, until the signal', async () => {
    const listening = listen('channel', { channels: ['orders'], patterns: ['news.*'] });
    await listening.ready;
    expect(await sent('PUBLISH', 'orders', 'first ü')).toBe(1);
    expect(await sent('PUBLISH', 'news.today', '{"a":1}')).toBe(1);
    expect(await sent('PUBLISH', 'elsewhere', 'x')).toBe(0);
    await expect
      .poll(() => listening.events)
      .toEqual([
        { body: 'first ü', headers: { channel: 'orders' } },
        { body: '{"a":1}', headers: { channel: 'news.today', pattern: 'news.*' } },
      ]);
    await listening.stop();
    expect(await listening.ended).toEqual({ ok: true, value: undefined });
    await expect.poll(() => sent('PUBLISH', 'orders', 'nobody')).toBe(0);
  });

  it.each([
    ['text', '{"a":1}', '{"a":1}'],
    ['json', '{"a":1}', { a: 1 }],
    ['json', 'no json', 'no json'],
    ['base64', 'ü', 'w7w='],
  ])('give as %s the message %s', async (parse, message, body) => {
    const listening = listen('channel', { channels: ['parsed'], parse });
    await listening.ready;
    await sent('PUBLISH', 'parsed', message);
    await expect.poll(() => listening.events).toEqual([{ body, headers: { channel: 'parsed' } }]);
    await listening.stop();
    await listening.ended;
  });

  it('deliver in order, what came together as one batch, and wait for each', async () => {
    const gate = Promise.withResolvers<void>();
    const listening = listen('channel', { channels: ['many'] }, { deliver: () => gate.promise });
    await listening.ready;
    const commands = Array.from({ length: 500 }, (_, index) => ['PUBLISH', 'many', String(index)]);
    await output(admin('pipeline', { commands }));
    expect(listening.events).toEqual([]);
    gate.resolve();
    await expect.poll(() => listening.events.length).toBe(500);
    expect(listening.events.map(({ body }) => body)).toEqual(commands.map(([, , body]) => body));
    expect(listening.batches.length).toBeLessThan(100);
    await listening.stop();
    await listening.ended;
  });

  it('end where a delivery is rejected, with its reason', async () => {
    const listening = listen('channel', { channels: ['bad'] }, { deliver: () => Promise.reject(refused) });
    await listening.ready;
    await sent('PUBLISH', 'bad', 'x');
    await faultOf(listening.ended, 'storage.unavailable');
    await expect.poll(() => sent('PUBLISH', 'bad', 'x')).toBe(0);
  });

  it('end where the connection is lost', async () => {
    const listening = listen('channel', { channels: ['lost'] });
    await listening.ready;
    await listening.sockets[0]?.close();
    expect(await listening.ended).toEqual({ ok: true, value: undefined });
    expect(listening.sockets).toHaveLength(1);
  });

  it('are refused without rights to them, and by a wrong password', async () => {
    await faultOf(listen('channel', { channels: ['x'] }, { secrets: reader }).ended, 'upstream.unauthorized');
    const wrong = { password: 'canary-wrong' };
    const fault = await faultOf(
      listen('channel', { channels: ['x'] }, { secrets: wrong }).ended,
      'upstream.unauthorized',
    );
    expect(JSON.stringify(fault)).not.toContain('canary');
  });

  it('are refused over HTTP, by the owner, and without a name', async () => {
    const overHttp = listen('channel', { channels: ['x'] }, { url: bridge, secrets: { token } });
    await faultOf(overHttp.ended, 'connection.invalid');
    const owned = listen('channel', { channels: ['x'] }, { settings: { refuse: ['subscribe'] } });
    await faultOf(owned.ended, 'connection.invalid');
    expect([...overHttp.sockets, ...owned.sockets]).toEqual([]);
    expect(() => listen('channel', {})).toThrow('Name a channel');
  });

  it('of a server that answers no more end as timed out', async () => {
    const fault = await faultOf(
      listen('channel', { channels: ['x'] }, { url: hostile.stall }).ended,
      'upstream.timeout',
    );
    expect(fault.retryable).toBe(true);
  });
});

describe('streams', () => {
  const params = { stream: 'jobs', group: 'g', from: 'start' };
  const pending = async (): Promise<number> => ((await sent('XPENDING', 'jobs', 'g')) as [number])[0];
  const add = (n: number | string) => sent('XADD', 'jobs', '*', 'n', n);
  const bodies = ({ events }: Listening) => events.map(({ body }) => body);

  beforeEach(async () => {
    await output(admin('delete', { keys: ['jobs'] }));
  });

  async function stopped(listening: Listening): Promise<void> {
    await listening.stop();
    expect(await listening.ended).toEqual({ ok: true, value: undefined });
  }

  it('deliver each entry with its id, and acknowledge it', async () => {
    const first = await add(1);
    const listening = listen('stream', params);
    await listening.ready;
    const second = await add(2);
    await expect
      .poll(() => listening.events)
      .toEqual([
        { id: first, body: { n: '1' }, headers: { stream: 'jobs', group: 'g' } },
        { id: second, body: { n: '2' }, headers: { stream: 'jobs', group: 'g' } },
      ]);
    await expect.poll(pending).toBe(0);
    await stopped(listening);
    await expect.poll(() => clientsWith('blocked_clients')).toBe(0);
  });

  it('begin with what is new, where nothing else is asked for, and make what is missing', async () => {
    await add('old');
    const listening = listen('stream', { ...params, from: 'new' });
    await listening.ready;
    await add('new');
    await expect.poll(() => bodies(listening)).toEqual([{ n: 'new' }]);
    await stopped(listening);
    const missing = listen('stream', { stream: 'not-there-yet', group: 'g' });
    await missing.ready;
    expect(await sent('TYPE', 'not-there-yet')).toBe('stream');
    await stopped(missing);
    await output(admin('delete', { keys: ['not-there-yet'] }));
  });

  it('acknowledge nothing where a delivery is rejected, and deliver it again', async () => {
    const id = await add(1);
    const failing = listen('stream', params, { deliver: () => Promise.reject(refused) });
    await faultOf(failing.ended, 'storage.unavailable');
    expect(await pending()).toBe(1);
    const again = listen('stream', params);
    await expect.poll(() => again.events).toMatchObject([{ id, body: { n: '1' } }]);
    await expect.poll(pending).toBe(0);
    await stopped(again);
  });

  it('lose nothing that came while nobody listened, and where the connection was lost', async () => {
    const cut = listen('stream', params);
    await cut.ready;
    await cut.sockets[0]?.close();
    expect(await cut.ended).toEqual({ ok: true, value: undefined });
    await output(admin('pipeline', { commands: Array.from({ length: 250 }, (_, n) => ['XADD', 'jobs', '*', 'n', n]) }));
    const listening = listen('stream', params);
    await expect.poll(() => listening.events.length).toBe(250);
    expect(bodies(listening)).toEqual(Array.from({ length: 250 }, (_, n) => ({ n: String(n) })));
    expect(listening.batches).toEqual([100, 100, 50]);
    await stopped(listening);
  });

  it('that were lost between delivery and acknowledgement come with the same id', async () => {
    const id = await add(1);
    const cut: Listening = listen('stream', params, { deliver: async () => cut.sockets[0]?.close() });
    await cut.ended;
    expect(cut.events).toMatchObject([{ id }]);
    expect(await pending()).toBe(1);
    const again = listen('stream', params);
    await expect.poll(() => again.events).toMatchObject([{ id }]);
    await expect.poll(pending).toBe(0);
    await stopped(again);
  });

  it('take over what a dead consumer left, once it is idle for long enough', async () => {
    await add(1);
    await add(2);
    await sent('XGROUP', 'CREATE', 'jobs', 'g', '0');
    await output(admin('streamReadGroup', { stream: 'jobs', group: 'g', consumer: 'dead' }));
    const patient = listen('stream', { ...params, claimAfterSeconds: 3_600 });
    const claiming = listen('stream', { ...params, consumer: 'other', claimAfterSeconds: 1 });
    await expect.poll(() => bodies(claiming)).toEqual([{ n: '1' }, { n: '2' }]);
    await expect.poll(pending).toBe(0);
    expect(patient.events).toEqual([]);
    await stopped(claiming);
    await stopped(patient);
  });

  it('pass over entries that were deleted before they were delivered again', async () => {
    const gone = await add('gone');
    await faultOf(listen('stream', params, { deliver: () => Promise.reject(refused) }).ended, 'storage.unavailable');
    await sent('XDEL', 'jobs', String(gone));
    await add('there');
    const listening = listen('stream', params);
    await expect.poll(() => bodies(listening)).toEqual([{ n: 'there' }]);
    await expect.poll(pending).toBe(0);
    await stopped(listening);
  });

  it('share their entries with other consumers of the group', async () => {
    const two = ['a', 'b'].map((consumer) => listen('stream', { ...params, consumer, batch: 1 }));
    await Promise.all(two.map(({ ready }) => ready));
    await output(admin('pipeline', { commands: Array.from({ length: 40 }, (_, n) => ['XADD', 'jobs', '*', 'n', n]) }));
    await expect.poll(() => two.flatMap(bodies)).toHaveLength(40);
    expect(new Set(two.flatMap(({ events }) => events.map(({ id }) => id))).size).toBe(40);
    await Promise.all(two.map(stopped));
  });

  it('end with a reason where the key is deleted or holds something else', async () => {
    const listening = listen('stream', params);
    await listening.ready;
    await expect.poll(() => clientsWith('blocked_clients')).toBe(1);
    await output(admin('delete', { keys: ['jobs'] }));
    await faultOf(listening.ended, 'upstream.rejected');
    await output(admin('set', { key: 'jobs', value: 'text' }));
    await faultOf(listen('stream', params).ended, 'upstream.rejected');
  });

  it('are refused without rights, over HTTP, and by the owner', async () => {
    await faultOf(listen('stream', params, { secrets: reader }).ended, 'upstream.unauthorized');
    await faultOf(listen('stream', params, { url: bridge, secrets: { token } }).ended, 'connection.invalid');
    await faultOf(listen('stream', params, { settings: { refuse: ['XACK'] } }).ended, 'connection.invalid');
  });
});
