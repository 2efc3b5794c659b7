import { describe, expect, it } from 'vitest';
import { listenTo, opened, type Listening, type ListenOptions } from '../drivers/subscriptions.ts';
import { actionsOf, output, servers, written, type Credentials } from '../drivers/fixtures.ts';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import type { Fault } from '../../../src/core/errors.ts';

const { connectionString } = servers.postgres;
const tcp = (url = connectionString): Credentials => ({
  settings: { transport: 'tcp', tls: 'disable' },
  secrets: { connectionString: url },
});

const act = actionsOf(postgres, tcp());
const query = (sql: string, ...params: unknown[]) => output(act('query', { sql, params }));
const notify = (channel: string, payload: string) => query('select pg_notify($1, $2)', channel, payload);

let count = 0;
const channelName = (): string => `channel ${++count} "Of" Tests`;

const listen = async (channels: readonly string[], credentials = tcp(), options?: ListenOptions): Promise<Listening> =>
  opened(listenTo(postgres, credentials, 'channel', { channels }, options));

async function faultOf({ ended }: Listening): Promise<Fault> {
  const end = await ended;
  if (end.ok) throw new Error('it ended without a fault');
  return end.fault;
}

describe('channels of Postgres', () => {
  it('give what is notified, as JSON where it is that, whatever their names are', async () => {
    const [one, other] = [channelName(), `x"; drop table orders; --`];
    const listening = await listen([one, other, one]);
    await notify(one, '{"id": 9007199254740993}');
    await notify(other, 'plain');
    await notify(one, '');
    await listening.has(3);
    await notify('not listened to', '');
    await listening.stop();
    expect(await listening.ended).toEqual({ ok: true, value: undefined });
    expect(listening.events).toEqual([
      { body: { id: '9007199254740993' }, headers: { channel: one } },
      { body: 'plain', headers: { channel: other } },
      { body: '', headers: { channel: one } },
    ]);
    await query('select 1 from orders');
  });

  it('keep the order of a burst, which is delivered while the server is held back', async () => {
    const name = channelName();
    let calls = 0;
    const deliver = async (): Promise<void> => {
      calls += 1;
      await scheduler.wait(20);
    };
    const listening = await listen([name], tcp(), { deliver });
    await query('select pg_notify($1, n || repeat($2, 4000)) from generate_series(1, 500) n', name, ' ');
    await listening.has(500);
    await listening.stop();
    expect(listening.events.map(({ body }) => body)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
    expect(calls).toBeLessThan(100);
  });

  it('are left when a delivery is refused', async () => {
    const name = channelName();
    const listening = await listen([name], tcp(), { deliver: () => Promise.reject(new Error('not stored')) });
    await notify(name, '1');
    await faultOf(listening);
    expect(listening.events).toEqual([]);
  });

  it('end with what may pass when the server ends the session', async () => {
    const listening = await listen([channelName()]);
    await query(`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' and state = 'idle'`);
    expect(await faultOf(listening)).toMatchObject({ code: 'upstream.unreachable', retryable: true });
  });

  it('end with what may pass when the line is cut', async () => {
    const listening = await listen([channelName()]);
    await listening.sockets[0]?.close();
    expect(await faultOf(listening)).toMatchObject({ code: 'upstream.unreachable', retryable: true });
  });

  it('leave no session behind when they are stopped', async () => {
    const name = channelName();
    const listening = await listen([name]);
    await listening.stop();
    await listening.ended;
    const sessions = () =>
      query('select 1 from pg_stat_activity where query = $1', `listen "${name.replaceAll('"', '""')}"`);
    await expect.poll(sessions).toMatchObject({ rowCount: 0 });
  });

  it('refuse a wrong password without telling it, and what is no database', async () => {
    const url = new URL(connectionString);
    url.password = 'wrong-secret';
    const refused = await faultOf(await listen(['a'], tcp(url.href)));
    expect(refused).toMatchObject({ code: 'upstream.unauthorized', retryable: false });
    expect(written(refused)).not.toContain('wrong-secret');
    url.port = '1';
    expect(await faultOf(await listen(['a'], tcp(url.href)))).toMatchObject({ code: 'upstream.unreachable' });
  });

  it('need a session of their own, which HTTP is not', async () => {
    const credentials = { settings: { endpoint: servers.postgres.endpoint }, secrets: { connectionString } };
    expect(await faultOf(await listen(['a'], credentials))).toMatchObject({ code: 'connection.invalid' });
  });

  it.each([[['x'.repeat(64)]], [['ü'.repeat(32)]], [['']], [[]], [['a\0b']]])(
    'are refused before there is a session: %j',
    async (channels) => {
      await expect(listen(channels)).rejects.toThrow();
    },
  );
});
