/** Row 32: the public lists of tricks, through every way on which an address leaves the gateway. */

import { generateKeyPairSync } from 'node:crypto';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { http } from '../../../src/connectors/http/index.ts';
import { connectors } from '../../../src/connectors/index.ts';
import type { ActionContext, Connector } from '../../../src/connectors/kit/types.ts';
import { fail } from '../../../src/core/errors.ts';
import { checkSocket, createEgressPolicy } from '../../../src/core/policy/egress.ts';
import { createGuardedConnect } from '../../../src/drivers/http/guarded-connect.ts';
import { createGuardedFetch } from '../../../src/drivers/http/guarded-fetch.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

const POLICY = createEgressPolicy('');

/** What left, which must be nothing. */
const left: string[] = [];
const guarded = createGuardedFetch(POLICY, (input) => {
  left.push(String(input instanceof Request ? input.url : input));
  return Promise.resolve(new Response('{}', { status: 500 }));
});

interface Way {
  readonly settings?: (url: string) => unknown;
  readonly secrets?: unknown;
  readonly action: string;
  readonly params: (url: string) => unknown;
}

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PRIVATE_KEY = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Each connector that sends something, with the place in which an address may stand. */
const WAYS: Readonly<Record<string, readonly Way[]>> = {
  http: [
    { action: 'get', params: (url) => ({ url }) },
    { action: 'request', params: (url) => ({ method: 'OPTIONS', url, query: { a: 1 } }) },
    { action: 'post', settings: (baseUrl) => ({ baseUrl }), secrets: { bearer: 't' }, params: () => ({ url: '/a' }) },
  ],
  redis: [{ action: 'get', settings: (url) => ({ url }), secrets: { token: 't' }, params: () => ({ key: 'a' }) }],
  s3: [
    {
      action: 'get',
      settings: (endpoint) => ({ endpoint, region: 'r', bucket: 'bucket' }),
      secrets: { accessKeyId: 'a', secretAccessKey: 's' },
      params: () => ({ key: 'a' }),
    },
  ],
  'azure-blob': [
    {
      action: 'get',
      settings: (endpoint) => ({ account: 'account', endpoint, bucket: 'bucket' }),
      secrets: { accountKey: 'a2V5' },
      params: () => ({ key: 'a' }),
    },
  ],
  gcs: [
    {
      action: 'get',
      settings: (endpoint) => ({ endpoint, bucket: 'bucket' }),
      secrets: { accessKeyId: 'a', secretAccessKey: 's' },
      params: () => ({ key: 'a' }),
    },
    {
      action: 'get',
      settings: (tokenEndpoint) => ({ tokenEndpoint, bucket: 'bucket' }),
      secrets: { serviceAccount: { client_email: 'a@example.com', private_key: PRIVATE_KEY } },
      params: () => ({ key: 'a' }),
    },
  ],
  docker: [{ action: 'version', settings: (url) => ({ url }), secrets: { bearer: 't' }, params: () => ({}) }],
  git: [{ action: 'refs', settings: (url) => ({ url }), secrets: { password: 't' }, params: () => ({}) }],
  kafka: [
    { action: 'ping', settings: (url) => ({ url }), secrets: { bearer: 't' }, params: () => ({}) },
    {
      action: 'read',
      settings: (url) => ({ url, proxy: 'redpanda' }),
      secrets: { username: 'u', password: 'p' },
      params: () => ({ topic: 'a', partition: 0, offset: 0 }),
    },
  ],
  lambda: [
    {
      action: 'check',
      settings: (endpoint) => ({ endpoint, region: 'eu-central-1' }),
      secrets: { accessKeyId: 'a', secretAccessKey: 's' },
      params: () => ({ function: 'a' }),
    },
  ],
  nats: [
    {
      action: 'ping',
      settings: (url) => ({ url: url.replace(/^http/, 'ws') }),
      secrets: { token: 't' },
      params: () => ({}),
    },
  ],
  mysql: [
    {
      action: 'query',
      // Without a path, which its schema refuses.
      settings: (url) => ({ endpoint: url.replace(/^(https?:\/\/[^/?#]*).*$/is, '$1') }),
      secrets: { user: 'u', password: 'p' },
      params: () => ({ sql: 'select 1' }),
    },
  ],
  mqtt: [
    {
      action: 'ping',
      // Without query and fragment, which its schema refuses; a socket is refused below.
      settings: (url) => ({ url: url.replace(/^http/i, 'ws').replace(/[?#].*$/s, '') }),
      secrets: {},
      params: () => ({}),
    },
  ],
  postgres: [
    {
      action: 'query',
      settings: (endpoint) => ({ endpoint }),
      secrets: { connectionString: 'postgresql://u:p@db.example/x', token: 't' },
      params: () => ({ sql: 'select 1' }),
    },
  ],
};

/** They send nothing themselves; messages of `webhooks` leave from the gateway's own objects, copies by the stores. */
const QUIET = new Set(['data', 'flow', 'd1', 'sqlite', 'queue', 'r2', 'objects', 'webhooks']);

/** They send through sockets alone, whose guard is tried below. */
const BY_SOCKET = new Set(['mongodb', 'rabbitmq', 'smtp']);

/** `refused`, by whatever looks at the address first. */
async function attempt(connector: Connector, way: Way, url: string): Promise<string> {
  const action = connector.actions[way.action];
  if (action === undefined) throw new Error(`no action ${way.action}`);
  const { connection } = connector;
  const settings = way.settings && connection && v.safeParse(connection.settings, way.settings(url));
  const params = v.safeParse(action.params, way.params(url));
  if (settings?.success === false || !params.success) return 'refused';
  const context: ActionContext = {
    fetch: guarded,
    connect: () => fail('egress.refused', 'no sockets here'),
    connection: { name: settings === undefined ? '' : 'c', settings: settings?.output, secrets: way.secrets },
    template: () => undefined,
    approvalLink: () => Promise.reject(new Error('no links here')),
    sendMessage: () => Promise.reject(new Error('no messages here')),
    openStore: () => Promise.reject(new Error('no stores here')),
    bucket: undefined,
    idempotencyKey: 'run:step:0',
    signal: undefined,
    now: () => 0,
    input: undefined,
    written: {},
    // None of these touches a database of the platform.
    data: undefined as unknown as D1Database,
  };
  const result = await action.run(params.output, context);
  if (result.ok) return 'succeeded';
  return ['egress.refused', 'request.invalid', 'connection.invalid'].includes(result.fault.code)
    ? 'refused'
    : result.fault.code;
}

/** Those of other connectors go where their connection may, as actions do. */
async function subscribe(url: string): Promise<string> {
  const { events } = http.subscriptions ?? {};
  const params = events && v.safeParse(events.params, { url });
  if (params?.success !== true) return 'refused';
  const result = await events?.run(params.output, {
    fetch: guarded,
    connect: () => fail('egress.refused', 'no sockets here'),
    connection: { name: '', settings: undefined, secrets: undefined },
    now: () => 0,
    signal: new AbortController().signal,
    subscriber: 'chain/trigger',
    cursor: undefined,
    ready: () => undefined,
    deliver: () => Promise.reject(new Error('nothing is delivered here')),
  });
  if (result?.ok !== false) return 'succeeded';
  return ['egress.refused', 'request.invalid'].includes(result.fault.code) ? 'refused' : result.fault.code;
}

test('every connector that sends something is tried', () => {
  const sending = connectors.filter(({ name }) => !QUIET.has(name) && !BY_SOCKET.has(name)).map(({ name }) => name);
  expect(sending.toSorted()).toEqual(Object.keys(WAYS).toSorted());
});

test('every connection but that of http says to which origins its credentials may go', () => {
  for (const { name, connection } of connectors) {
    if (connection !== undefined) expect(connection.origins !== undefined, name).toBe(name !== 'http');
  }
});

/**
 * Names that are public, though somebody's DNS may point them inside: the network of the runtime refuses those
 * (see rebinding.test.ts). No public top-level domain begins with a digit.
 */
function isPublicName(url: string): boolean {
  const host = URL.parse(url)?.hostname.replace(/\.+$/, '') ?? '';
  return (
    /\.[^.\d][^.]*$/.test(host) &&
    !/(?:^|\.)(?:local|localhost|internal|metadata\.\S+)$/.test(host) &&
    !host.startsWith('metadata')
  );
}

function urlsIn(path: string): string[] {
  const blocks = (readShared(path) ?? '').matchAll(/^[ \t]*```[a-z0-9]*\n([\s\S]*?)^[ \t]*```/gm);
  return [...blocks]
    .flatMap(([, block = '']) => block.match(/\b[a-z]+:(?:\/\/)?[^\s"'`|]*\b[^\s"'`|]*/g) ?? [])
    .filter((text) => /^[a-z]+:(\/\/|http|\d)/.test(text));
}

/** All inputs of the parser's tests that name a host which is no public address. */
function privateUrls(): string[] {
  const suite = v.parse(
    v.array(v.union([v.string(), v.object({ input: v.string(), base: v.nullish(v.string()) })])),
    JSON.parse(readShared('suites/wpt-urltestdata.json') ?? '[]'),
  );
  const urls = suite.flatMap((entry) => (typeof entry === 'string' ? [] : [entry.input]));
  const isPrivate = /^(?:\[|(?:0|10|127|169\.254|192\.168|22[4-9]|2[3-5]\d)\.)|^[^.]+\.*$/;
  return urls.filter((url) => isPrivate.test(URL.parse(url)?.hostname ?? ''));
}

describe.skipIf(sharedMissing)('attack 32: the public lists of tricks', () => {
  const lists = {
    'ssrf-readme.md': () => urlsIn('suites/ssrf-readme.md'),
    'ssrf-ssrf-cloud-instances.md': () => urlsIn('suites/ssrf-ssrf-cloud-instances.md'),
    'wpt-urltestdata.json': privateUrls,
  };

  for (const [list, read] of Object.entries(lists)) {
    test.each(connectors.filter(({ name }) => name in WAYS))(
      `of ${list} leave by no action of $name`,
      async (connector) => {
        const urls = read().filter((url) => !isPublicName(url));
        expect(urls.length).toBeGreaterThan(40);
        left.length = 0;
        for (const url of urls) {
          for (const way of WAYS[connector.name] ?? []) {
            const outcome = await attempt(connector, way, url);
            expect(outcome, `${connector.name}.${way.action} ${url}`).toBe('refused');
          }
        }
        expect(left).toEqual([]);
      },
    );

    test(`of ${list} leave by no subscription`, async () => {
      left.length = 0;
      for (const url of read().filter((each) => !isPublicName(each))) {
        expect(await subscribe(url), url).toBe('refused');
      }
      expect(left).toEqual([]);
    });

    test(`of ${list} get no socket`, () => {
      const opened: unknown[] = [];
      const connect = createGuardedConnect(POLICY, (address) => {
        opened.push(address);
        return {} as Socket;
      });
      for (const url of read()) {
        const { hostname = '', port = '' } = URL.parse(url) ?? {};
        if (isPublicName(url)) continue;
        for (const at of [5432, 6379, Number(port)]) expect(connect({ hostname, port: at }).ok, url).toBe(false);
      }
      expect(opened).toEqual([]);
    });
  }

  test('do not keep public hosts from being reached: the guard refuses for a reason', async () => {
    left.length = 0;
    expect(await subscribe('https://service.example.com/x')).toBe('upstream.unavailable');
    left.length = 0;
    for (const connector of connectors) {
      for (const way of WAYS[connector.name] ?? []) {
        expect(await attempt(connector, way, 'https://service.example.com/x'), connector.name).not.toBe('refused');
      }
    }
    expect(left).toHaveLength(Object.values(WAYS).flat().length);
    expect(checkSocket(POLICY, { hostname: 'service.example.com', port: 5432 }).ok).toBe(true);
  });
});
