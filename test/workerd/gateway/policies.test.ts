import { beforeAll, describe, expect, it } from 'vitest';
import { call, codeOf, manage, publish, receipts, runsOf, upstream, type Called } from './fixtures.ts';

type Fields = Readonly<Record<string, unknown>>;

let count = 0;

/** A route to `/echo/<name>` of the upstream; gives the path at the gateway and that at the upstream. */
async function route(fields: Fields): Promise<{ readonly path: string; readonly behind: string }> {
  const name = `policy-${++count}`;
  const path = `/p/${name}`;
  const behind = `/echo/${name}`;
  const document = { path, upstream: 'policies', auth: 'public', request: { path: behind }, ...fields };
  expect((await manage(`PUT /routes/${name}`, document)).body).toMatchObject({ name, warnings: [] });
  return { path, behind };
}

const key = async (): Promise<Record<string, string>> => {
  const { body } = await manage('POST /keys', { name: 'caller', scopes: ['route:*', 'chain:*'] });
  return { 'x-api-key': String(body['key']) };
};

const asked = async (behind: string): Promise<number> => (await receipts(behind)).length;

beforeAll(async () => {
  await manage('PUT /upstreams/policies', { targets: [{ url: upstream }] });
});

describe('limits', () => {
  const limits = [{ limit: 3, period: '1m', by: 'key' }];

  it('refuse what is over them, with the headers of the draft and when to come back', async () => {
    const { path, behind } = await route({ auth: 'key', limits });
    const headers = await key();
    const calls: Called[] = [];
    for (let n = 0; n < 5; n++) calls.push(await call(`GET ${path}`, undefined, headers));
    expect(calls.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
    expect(calls[0]?.headers.get('ratelimit-policy')).toContain('q=3;w=60');
    expect(calls[0]?.headers.get('ratelimit')).toContain('r=2');
    const refused = calls[3];
    expect(refused && codeOf(refused)).toEqual([429, 'limit.exceeded']);
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await asked(behind)).toBe(3);
  });

  it('count each key by itself, and stand in chains too', async () => {
    const { name } = await publish({ output: 1 }, { method: 'GET', auth: 'key', limits });
    const [one, two] = [await key(), await key()];
    for (let n = 0; n < 3; n++) expect((await call(`GET /${name}`, undefined, one)).status).toBe(200);
    expect((await call(`GET /${name}`, undefined, one)).status).toBe(429);
    expect((await call(`GET /${name}`, undefined, two)).status).toBe(200);
  });
});

describe('a quota of a key', () => {
  it('is for all that the key calls together, and exact', async () => {
    const { path } = await route({ auth: 'key' });
    const { name } = await publish({ output: 1 }, { method: 'GET', auth: 'key' });
    const made = await manage('POST /keys', { name: 'small', limits: { quota: { day: 3 } } });
    const headers = { 'x-api-key': String(made.body['key']) };
    const statuses: number[] = [];
    for (const at of [path, `/${name}`, path, path, `/${name}`])
      statuses.push((await call(`GET ${at}`, undefined, headers)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect(codeOf(await call(`GET ${path}`, undefined, headers))).toEqual([429, 'quota.exceeded']);
  });
});

describe('the cache', () => {
  const cache = { ttl: '1m', respectOrigin: false };

  it('answers the same caller again without the upstream, and never another one', async () => {
    const { path, behind } = await route({ auth: 'key', cache });
    const [one, two] = [await key(), await key()];
    const first = await call(`GET ${path}`, undefined, one);
    const again = await call(`GET ${path}`, undefined, one);
    expect([first.status, again.status, again.text]).toEqual([200, 200, first.text]);
    expect(again.headers.get('cache-status')).toContain('hit');
    expect(await asked(behind)).toBe(1);
    await call(`GET ${path}`, undefined, two);
    expect(await asked(behind)).toBe(2);
  });

  it('keeps the versions of an API apart', async () => {
    const versions = {
      by: 'header',
      default: '1',
      list: { 1: {}, 2: { response: { headers: { set: { 'x-version': 'two' } } } } },
    };
    const { path } = await route({ cache: { ...cache, scope: 'public' }, versions });
    const of = async (version: string) =>
      (await call(`GET ${path}`, undefined, { 'api-version': version })).headers.get('x-version');
    expect([await of('1'), await of('2'), await of('1'), await of('2')]).toEqual([null, 'two', null, 'two']);
  });

  it('is emptied of a route by a purge', async () => {
    const { path, behind } = await route({ cache: { ...cache, scope: 'public' } });
    await call(`GET ${path}`);
    await call(`GET ${path}`);
    expect(await asked(behind)).toBe(1);
    expect((await manage('POST /cache/purge', { route: `policy-${count}` })).status).toBeLessThan(300);
    await call(`GET ${path}`);
    expect(await asked(behind)).toBe(2);
  });
});

describe('an idempotency key', () => {
  it('makes a route do its work once, and answers the repeat with the first response', async () => {
    const { path, behind } = await route({ auth: 'key', idempotency: {} });
    const headers = { ...(await key()), 'idempotency-key': '"one"' };
    const first = await call(`POST ${path}`, { n: 1 }, headers);
    const again = await call(`POST ${path}`, { n: 1 }, headers);
    expect([first.status, again.text]).toEqual([200, first.text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(codeOf(await call(`POST ${path}`, { n: 2 }, headers))).toEqual([422, 'idempotency.mismatch']);
    expect(await asked(behind)).toBe(1);
    await call(`POST ${path}`, { n: 1 }, { ...headers, ...(await key()) });
    expect(await asked(behind)).toBe(2);
  });

  it('makes a durable chain run once', async () => {
    const { name } = await publish({ mode: 'durable', output: 1 }, { idempotency: { required: true } });
    expect(codeOf(await call(`POST /${name}`, {}))).toEqual([400, 'idempotency.missing']);
    const headers = { 'idempotency-key': '"two"' };
    const [first, again] = [await call(`POST /${name}`, {}, headers), await call(`POST /${name}`, {}, headers)];
    expect([first.status, again.status, again.text]).toEqual([202, 202, first.text]);
    expect(await runsOf(name)).toBe(1);
  });
});

it('a limit on how many are under way lets the next in when one has ended', async () => {
  const { path } = await route({ request: { path: '/delay/400' }, concurrency: { limit: 1, by: 'route' } });
  const [one, two] = await Promise.all([call(`GET ${path}`), call(`GET ${path}`)]);
  expect(new Set([one.status, two.status])).toEqual(new Set([200, 429]));
  expect((await call(`GET ${path}`)).status).toBe(200);
});
