/** The guard around `fetch` and `connect`: what it adds, and whom it refuses. */

import { describe, expect, test } from 'vitest';
import { createEgressPolicy } from '../../../src/core/policy/egress.ts';
import { hopsOf, loopFault } from '../../../src/core/policy/hops.ts';
import { connectOnlyTo, createGuardedConnect } from '../../../src/drivers/http/guarded-connect.ts';
import { createGuardedFetch, type Sender } from '../../../src/drivers/http/guarded-fetch.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { AttemptContext, type ActionHost } from '../../../src/runtime/action-context.ts';
import type { Attempt } from '../../../src/runtime/execute.ts';

const POLICY = createEgressPolicy('');

/** What would have left for a public address. */
async function leaving(input: RequestInfo | URL, init?: RequestInit, sender?: Sender): Promise<Request> {
  const sent: Request[] = [];
  const guarded = createGuardedFetch(POLICY, (target, options) => {
    sent.push(new Request(target, options));
    return Promise.resolve(new Response('x'));
  });
  await guarded(input, init, sender);
  const [request] = sent;
  if (request === undefined) throw new Error('nothing left');
  return request;
}

const refusing = (url: string | Request, sender: Sender): Promise<string> =>
  leaving(url, undefined, sender).then(
    () => 'sent',
    (thrown: { fault?: { code: string } }) => thrown.fault?.code ?? 'thrown',
  );

describe('a request that leaves', () => {
  const url = 'https://example.com/a';

  test.for<[string, RequestInit | undefined]>([
    ['no headers', undefined],
    ['a record', { headers: { a: '1' } }],
    ['pairs', { headers: [['a', '1']] }],
    ['Headers', { headers: new Headers({ a: '1' }) }],
    ['a request in place of options', new Request('https://inner.example/', { method: 'PUT', headers: { a: '1' } })],
    ['a count that the author of a chain wrote', { headers: { 'tidegate-hops': '0' } }],
  ])('with %s says how many gateways it has passed', async ([what, init]) => {
    expect((await leaving(url, init)).headers.get('tidegate-hops')).toBe('1');
    const later = await leaving(url, init, { hops: 3 });
    expect([later.headers.get('tidegate-hops'), later.redirect, later.url]).toEqual(['4', 'manual', url]);
    if (/record|pairs|Headers|request/.test(what)) expect(later.headers.get('a')).toBe('1');
    if (what.startsWith('a request')) expect(later.method).toBe('PUT');
  });

  test('as a request of its own keeps its headers', async () => {
    const request = await leaving(new Request(url, { method: 'PUT', headers: { a: '1' } }), undefined, { hops: 1 });
    expect([request.method, request.headers.get('a'), request.headers.get('tidegate-hops')]).toEqual(['PUT', '1', '2']);
  });
});

describe('a request that comes in', () => {
  test('is let in below the limit, with its count', () => {
    expect([loopFault(null), hopsOf(null)]).toEqual([undefined, undefined]);
    for (let hops = 0; hops < LIMITS.hops; hops++) {
      expect([loopFault(String(hops)), hopsOf(String(hops))]).toEqual([undefined, hops]);
    }
  });

  test.for([String(LIMITS.hops), '99', '1000', '-1', '1e0', '0x1', '', ' ', '1, 2', 'NaN', '1.5'])(
    'with the count %j is a loop',
    (hops) => expect(loopFault(hops)?.code).toBe('request.loop'),
  );
});

describe('the origins of a connection', () => {
  const one = { origins: ['https://api.example.com'] };
  const any = { origins: ['https://*.example.com', 'https://other.test:443'] };

  test('are let through in any spelling', async () => {
    for (const url of ['https://api.example.com/a', 'https://API.example.com:443/', 'https://api.example.com?x']) {
      expect(await refusing(url, one), url).toBe('sent');
    }
    expect(await refusing(new Request('https://api.example.com/a'), one)).toBe('sent');
    expect(await refusing('https://a.b.example.com/', any)).toBe('sent');
  });

  test.for([
    'http://api.example.com/',
    'https://api.example.com.evil.test/',
    'https://evil.test/https://api.example.com/',
    'https://evil.test/?https://api.example.com',
    'https://evil.test#https://api.example.com',
    'https://example.com/',
    'https://xapi.example.com/',
    'https://api.example.com./',
  ])('leave out %s', async (url) => expect(await refusing(url, one)).toBe('egress.refused'));

  test.for([
    'https://example.com/',
    'http://a.example.com/',
    'https://evilexample.com/',
    'https://a.example.com.evil.test/',
  ])('with a wildcard leave out %s', async (url) => expect(await refusing(url, any)).toBe('egress.refused'));
});

test('an attempt tells the guard how far its run has come, and where its connection may go', async () => {
  const told: unknown[] = [];
  const host = { fetch: (...given: unknown[]) => told.push(given) && Promise.resolve(new Response()) };
  const attempt = { run: { start: { event: { hops: 3 } } } };
  const connection = { name: 'c', settings: {}, secrets: {}, origins: ['https://api.example.com'] };
  const context = new AttemptContext(attempt as unknown as Attempt, host as unknown as ActionHost, connection);
  await context.fetch('https://example.com/', { method: 'PUT' });
  expect(told).toEqual([
    ['https://example.com/', { method: 'PUT' }, { hops: 3, origins: ['https://api.example.com'] }],
  ]);
});

describe('a socket', () => {
  const opened: unknown[] = [];
  const connect = createGuardedConnect(createEgressPolicy('127.0.0.1:5432'), (address, options) => {
    opened.push([address, options]);
    return {} as Socket;
  });

  test('is opened to what was checked, and not to what is refused', () => {
    expect(connect({ hostname: '0x7f.1', port: 5432 }, { secureTransport: 'starttls', allowHalfOpen: false }).ok).toBe(
      true,
    );
    for (const hostname of ['127.0.0.1', 'localhost', '169.254.169.254']) {
      expect(connect({ hostname, port: 6379 })).toMatchObject({ ok: false, fault: { code: 'egress.refused' } });
    }
    expect(opened).toEqual([
      [
        { hostname: '127.0.0.1', port: 5432 },
        { secureTransport: 'starttls', allowHalfOpen: false },
      ],
    ]);
  });
});

describe('a socket of a connection', () => {
  const opened: string[] = [];
  const guarded = createGuardedConnect(createEgressPolicy('db.internal:5432'), ({ hostname, port }) => {
    opened.push(`${hostname}:${port}`);
    return {} as Socket;
  });
  const connect = connectOnlyTo(guarded, [
    { hostname: 'db.internal', port: 5432 },
    { hostname: '10.0.0.1', port: 5432 },
  ]);

  test.each([
    ['what it names', 'db.internal', 5432, undefined],
    ['another port', 'db.internal', 6432, 'egress.refused'],
    ['another host', 'db.example', 5432, 'egress.refused'],
    ['what it names and the owner has not listed', '10.0.0.1', 5432, 'egress.refused'],
  ])('goes to %s as it may', (_what, hostname, port, code) => {
    opened.length = 0;
    const result = connect({ hostname, port });
    expect([result.ok ? undefined : result.fault.code, opened.length]).toEqual([code, code === undefined ? 1 : 0]);
  });
});
