import { describe, expect, test } from 'vitest';
import { guarded, run, shopConnection, testServer } from './support.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const server = testServer();
const other = testServer();

describe('redirects', () => {
  const redirect = (status: number, to: () => string): void => {
    server.answer = ({ path }, response) => {
      if (path === '/api/from') response.writeHead(status, { location: to() }).end();
      else response.end('arrived');
    };
  };

  test.for<[number, string, string, boolean]>([
    [301, 'post', 'GET', false],
    [302, 'post', 'GET', false],
    [303, 'post', 'GET', false],
    [303, 'put', 'GET', false],
    [301, 'put', 'PUT', true],
    [302, 'delete', 'DELETE', true],
    [307, 'post', 'POST', true],
    [308, 'patch', 'PATCH', true],
  ])('%i after %s goes on with %s', async ([status, action, method, keepsBody]) => {
    redirect(status, () => '/to');
    const result = await run(action, { url: `${server.url}/api/from`, json: { a: 1 } }, guarded(server));
    expect(result.ok).toBe(true);
    expect(server.received[1]).toMatchObject({ method, path: '/to', body: keepsBody ? '{"a":1}' : '' });
    expect(server.received[1]?.headers['content-type']).toBe(keepsBody ? 'application/json' : undefined);
  });

  test('within the origin keep the credentials', async () => {
    redirect(302, () => `${server.url}/to`);
    await run('get', { url: '/from' }, guarded(server), { connection: shopConnection(server, { bearer: 't' }) });
    expect(server.received[1]?.headers['authorization']).toBe('Bearer t');
  });

  test('to another origin drop all credentials, for good', async () => {
    redirect(307, () => `${other.url}/hop`);
    other.answer = (_request, response) => void response.writeHead(307, { location: `${server.url}/back` }).end();
    const params = {
      url: '/from',
      headers: { Cookie: 'c=1', 'X-Api-Key': 'k', 'X-Auth-Token': 't', 'X-Trace': 'kept' },
      json: {},
    };
    const secrets = { bearer: 'secret', headers: { 'X-Vendor': 'secret' } };
    const result = await run('post', params, guarded(server, other), {
      connection: shopConnection(server, secrets, { headers: { 'X-Team': 'secret' } }),
    });
    expect(result.ok).toBe(true);
    expect(server.received[0]?.headers).toMatchObject({
      authorization: 'Bearer secret',
      'x-vendor': 'secret',
      cookie: 'c=1',
    });
    for (const received of [other.received[0], server.received[1]]) {
      for (const name of ['authorization', 'cookie', 'x-api-key', 'x-auth-token', 'x-vendor', 'x-team']) {
        expect(received?.headers[name], name).toBeUndefined();
      }
      expect(received?.headers).toMatchObject({ 'x-trace': 'kept', 'idempotency-key': 'run-1:step:0' });
    }
  });

  test.for([
    'http://169.254.169.254/latest/meta-data',
    'http://[::1]/',
    'file:///etc/passwd',
    'https://user:pw@example.com/',
  ])('to %s are refused', async (location) => {
    redirect(302, () => location);
    const result = await run('get', { url: `${server.url}/api/from` }, guarded(server));
    expect(result).toMatchObject({ ok: false, fault: { code: 'egress.refused' } });
  });

  test('are followed five times and no more', async () => {
    let left = 0;
    server.answer = (_request, response) => {
      if (left-- > 0) response.writeHead(302, { location: '/again' }).end();
      else response.end('arrived');
    };
    left = LIMITS.redirects;
    expect((await run('get', { url: server.url }, guarded(server))).ok).toBe(true);
    left = LIMITS.redirects + 1;
    const result = await run('get', { url: server.url }, guarded(server));
    expect(result).toMatchObject({
      ok: false,
      fault: { code: 'upstream.rejected', message: expect.stringMatching(/more than 5/) },
    });
    expect(server.received).toHaveLength(2 * (LIMITS.redirects + 1));
  });

  test('are the reply for who expects them', async () => {
    redirect(302, () => 'http://169.254.169.254/');
    const result = await run('get', { url: `${server.url}/api/from`, expect: [302] }, guarded(server));
    expect(result).toMatchObject({
      ok: true,
      value: { status: 302, headers: { location: 'http://169.254.169.254/' } },
    });
    expect(server.received).toHaveLength(1);
  });
});
