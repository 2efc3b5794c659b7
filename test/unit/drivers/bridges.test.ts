import type { Server } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { createPostgresBridge } from '../../../scripts/bridge/postgres.ts';
import { createRedisBridge } from '../../../scripts/bridge/redis.ts';
import { listen } from '../../../scripts/servers/process.ts';

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Sends to a bridge behind which nothing is: what is refused here never gets further. */
async function bridgeOf(server: Server) {
  const { port, stop } = await listen(server);
  stops.push(stop);
  return (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: '["PING"]', ...init });
}

const NOWHERE = 'postgresql://user:password@127.0.0.1:1/db';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('both bridges', () => {
  const bridges: [string, string, () => Server][] = [
    ['Postgres', '/sql', () => createPostgresBridge({ connectionString: NOWHERE, token: 'right' })],
    ['Redis', '/', () => createRedisBridge({ url: 'redis://127.0.0.1:1', token: 'right' })],
  ];

  describe.each(bridges)('%s', (_, path, make) => {
    it.each([{}, bearer('wrong'), bearer('righ'), bearer('rightt'), { authorization: 'Basic right' }])(
      'refuses the credentials %j',
      async (headers) => {
        const send = await bridgeOf(make());
        expect((await send(path, { headers })).status).toBe(401);
      },
    );

    it('refuses a body over its bound, one that is no JSON, and other methods', async () => {
      const send = await bridgeOf(make());
      const headers = bearer('right');
      expect((await send(path, { headers, body: `"${'x'.repeat(17 * 1024 * 1024)}"` })).status).toBe(413);
      expect((await send(path, { headers, body: '{' })).status).toBe(400);
      expect((await send(path, { headers, method: 'PUT' })).status).toBe(405);
      expect((await send('/elsewhere', { headers })).status).toBe(404);
    });

    it('says without a secret that its server cannot be reached', async () => {
      const send = await bridgeOf(make());
      const body = path === '/sql' ? '{"query":"select 1"}' : '["PING"]';
      const response = await send(path, { headers: bearer('right'), body });
      expect(response.status).toBe(503);
      expect(await response.text()).not.toMatch(/password|right/);
    });
  });
});

describe('the bridge to Postgres', () => {
  it('to one database cannot be made without a token', () => {
    expect(() => createPostgresBridge({ connectionString: NOWHERE })).toThrow('token');
  });

  it.each([
    ['postgresql://u:p@127.0.0.1:2/db', 403],
    ['postgresql://u:p@localhost:1/db', 403],
    ['postgresql://u:p@127.0.0.1:1/db?host=10.0.0.1', 400],
    ['postgresql://u:p@127.0.0.1:1/db?port=22', 400],
    ['postgresql://u:p@127.0.0.1:1/db?sslcert=/etc/passwd', 400],
    ['not a url', 400],
    [undefined, 400],
  ])('does not let a caller out to %s', async (target, status) => {
    const send = await bridgeOf(createPostgresBridge({ hosts: ['127.0.0.1:1'] }));
    const headers: Record<string, string> = target === undefined ? {} : { 'neon-connection-string': target };
    expect((await send('/sql', { headers, body: '{"query":"select 1"}' })).status).toBe(status);
  });

  it.each([
    '{}',
    '[]',
    '{"query":1}',
    '{"query":"select 1","params":{}}',
    '{"queries":[{}]}',
    '{"queries":["select 1"]}',
  ])('refuses the request %s', async (body) => {
    const send = await bridgeOf(createPostgresBridge({ connectionString: NOWHERE, token: 'right' }));
    expect((await send('/sql', { headers: bearer('right'), body })).status).toBe(400);
  });

  it('refuses an isolation level that is not one', async () => {
    const send = await bridgeOf(createPostgresBridge({ connectionString: NOWHERE, token: 'right' }));
    const headers = { ...bearer('right'), 'neon-batch-isolation-level': 'Serializable; drop table users' };
    expect((await send('/sql', { headers, body: '{"queries":[]}' })).status).toBe(400);
  });
});

describe('the bridge to Redis', () => {
  it.each(['[]', '{}', '"PING"', '[["PING"]]', '[null]', '["SELECT", 1]', '["shutdown"]', '["XREAD","block",0]'])(
    'refuses the command %s',
    async (body) => {
      const send = await bridgeOf(createRedisBridge({ url: 'redis://127.0.0.1:1', token: 'right' }));
      expect((await send('/', { headers: bearer('right'), body })).status).toBe(400);
      expect((await send('/pipeline', { headers: bearer('right'), body: `[${body}]` })).status).toBe(400);
      expect((await send('/multi-exec', { headers: bearer('right'), body: `[${body}]` })).status).toBe(400);
    },
  );
});
