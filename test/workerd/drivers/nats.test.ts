import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { nats } from '../../../src/connectors/nats/index.ts';
import { actionsOf, faultOf, output, servers, written, type Credentials } from './fixtures.ts';
import { breakable, call, otherSide, overTcp, overWebSocket, secrets } from './nats-fixtures.ts';

const { main, token } = servers.nats;

describe.each([
  ['a WebSocket', overWebSocket],
  ['a socket', overTcp],
])('over %s', (_, credentials) => {
  const at = actionsOf(nats, credentials);

  it('the server answers the probe', async () => {
    const probe = nats.connection?.probe?.({}) ?? { action: '', params: {} };
    expect(await output(at(probe.action, probe.params))).toMatchObject({
      jetstream: true,
      maximumBytes: main.maximumMessageBytes,
    });
  });

  it('the probe fails with a wrong password, which it does not repeat', async () => {
    const wrong = actionsOf(nats, { ...credentials, secrets: { user: 'main', password: 'canary-of-a-password' } });
    const fault = await faultOf(wrong('ping', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('canary');
  });

  it('a message arrives as it was sent, with its headers and the subject for its reply', async () => {
    const other = await otherSide();
    const messages = other.subscribe('seen.*', { max: 1 });
    await other.flush();
    const params = {
      subject: 'seen.a',
      json: { text: 'ünïcödé\r\n🦊' },
      headers: { 'X-Source': 'ä b' },
      reply: 'here',
    };
    await output(at('publish', params));
    for await (const message of messages) {
      expect(message.json()).toEqual({ text: 'ünïcödé\r\n🦊' });
      expect([message.reply, message.headers?.get('X-Source')]).toEqual(['here', 'ä b']);
    }
  });

  it('a request gets its reply', async () => {
    const other = await otherSide();
    other.subscribe('double', {
      callback: (_error, message) => void message.respond(`${Number(message.string()) * 2}`),
    });
    await other.flush();
    expect(await output(at('request', { subject: 'double', text: '21' }))).toEqual({
      body: 42,
      encoding: 'json',
      headers: {},
    });
  });

  it('a message of almost the largest size passes', async () => {
    const text = 'x'.repeat(main.maximumMessageBytes - 100);
    const other = await otherSide();
    other.subscribe('echo', { callback: (_error, message) => void message.respond(message.data) });
    await other.flush();
    expect(await output(at('request', { subject: 'echo', text, as: 'text' }))).toMatchObject({ body: text });
  });

  it('a session that is broken off while a request waits is an upstream that cannot be reached', async () => {
    const { connect, breakOff } = breakable();
    const other = await otherSide();
    let socket: WebSocket | null = null;
    other.subscribe('broken', {
      callback: () => {
        socket?.close();
        void breakOff();
      },
    });
    await other.flush();
    const watched: typeof fetch = async (...given) => {
      const response = await fetch(...given);
      socket = response.webSocket;
      return response;
    };
    const fault = await faultOf(
      at('request', { subject: 'broken', timeoutMilliseconds: 20_000 }, { connect, fetch: watched }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
  });

  it('a step that is cancelled ends at once', async () => {
    const other = await otherSide();
    const abort = new AbortController();
    other.subscribe('silence', { callback: () => abort.abort() });
    await other.flush();
    await faultOf(
      at('request', { subject: 'silence', timeoutMilliseconds: 20_000 }, { signal: abort.signal }),
      'step.timeout',
    );
    await faultOf(at('ping', {}, { signal: abort.signal }), 'step.timeout');
  });
});

describe('a message', () => {
  it('larger than the server takes is refused before it is sent', async () => {
    const text = 'x'.repeat(main.maximumMessageBytes + 1);
    const fault = await faultOf(call('publish', { subject: 'a', text }), 'step.params');
    expect(fault.message).toContain(String(main.maximumMessageBytes));
  });

  it('on which nobody listens is told from one that gets no reply in time', async () => {
    await faultOf(call('request', { subject: 'nobody' }), 'upstream.unavailable');
    const other = await otherSide();
    other.subscribe('mute', { callback: () => undefined });
    await other.flush();
    await faultOf(call('request', { subject: 'mute', timeoutMilliseconds: 50 }), 'upstream.timeout');
  });

  it.each([
    ['a reply that is text', 'plain', 'json', { body: 'plain', encoding: 'text' }],
    ['JSON that is asked for as text', '[1]', 'text', { body: '[1]', encoding: 'text' }],
    ['text that is asked for in base64', 'abc', 'base64', { body: 'YWJj', encoding: 'base64' }],
    ['bytes that are no text', new Uint8Array([255, 0]), 'json', { body: '/wA=', encoding: 'base64' }],
    ['nothing', '', 'json', { body: '', encoding: 'text' }],
  ])('%s is read as what it is', async (_, reply, as, expected) => {
    const other = await otherSide();
    other.subscribe('form', { callback: (_error, message) => void message.respond(reply) });
    await other.flush();
    expect(await output(call('request', { subject: 'form', as }))).toMatchObject(expected);
  });

  it('that gives two contents is refused', async () => {
    await faultOf(call('publish', { subject: 'a', text: 'x', json: 1 }), 'step.params');
    await faultOf(call('publish', { subject: 'a', base64: 'no base64!' }), 'step.params');
  });

  it.each([
    'a b',
    'a\r\nPUB b 1\r\nx',
    'a\tb',
    '',
    'a..b',
    '.a',
    'a.',
    'a.*',
    'a.>',
    '$JS.API.STREAM.DELETE.ORDERS',
    '$KV.bucket.key',
    '$SYS.REQ.SERVER.PING',
    'x'.repeat(1025),
  ])('to the subject %j is refused before anything is sent', async (subject) => {
    for (const action of ['publish', 'request', 'streamPublish']) {
      await expect(call(action, { subject }), action).rejects.toThrow(v.ValiError);
    }
    await expect(call('publish', { subject: 'a', reply: subject })).rejects.toThrow(v.ValiError);
  });

  it.each([
    { 'a\r\nb': 'x' },
    { a: 'x\r\nNats-Rollup: all' },
    { a: 'x\ny' },
    { 'a:b': 'x' },
    { '': 'x' },
    { 'Nats-Rollup': 'all' },
    { 'nats-msg-id': 'x' },
    { 'KV-Operation': 'DEL' },
  ])('with the headers %j is refused before anything is sent', async (headers) => {
    await expect(call('publish', { subject: 'a', headers })).rejects.toThrow(v.ValiError);
  });
});

describe('a user who may do little', () => {
  const limited: Credentials = { settings: { ...overTcp.settings }, secrets: main.limited };
  const at = actionsOf(nats, limited);
  const withInbox = actionsOf(nats, { ...limited, settings: { ...overTcp.settings, inboxPrefix: '_INBOX_limited' } });

  it('publishes what it may, and learns of what it may not', async () => {
    expect(await output(at('publish', { subject: 'open.a', text: 'x' }))).toEqual({ bytes: 1 });
    const fault = await faultOf(at('publish', { subject: 'closed.a', text: 'x' }), 'upstream.unauthorized');
    expect(fault.message).toContain('closed.a');
    expect(fault.retryable).toBe(false);
  });

  it('gets replies on the inbox that it may listen on, and on no other', async () => {
    const other = await otherSide();
    other.subscribe('open.echo', { callback: (_error, message) => void message.respond(message.data) });
    await other.flush();
    const params = { subject: 'open.echo', json: [1] };
    expect(await output(withInbox('request', params))).toMatchObject({ body: [1] });
    await faultOf(at('request', params), 'upstream.unauthorized');
  });
});

describe('a connection', () => {
  it('signs in with an nkey, and with a token', async () => {
    await output(actionsOf(nats, { ...overTcp, secrets: { seed: main.seed } })('ping', {}));
    const byToken = { settings: { url: token.webSocket }, secrets: { token: token.token } };
    await output(actionsOf(nats, byToken)('ping', {}));
  });

  it('with a seed that is not whole, not known, or with a wrong token is refused, without a word of it', async () => {
    const damaged = `${main.seed.slice(0, -4)}AAAA`;
    for (const seed of ['short', 'SU ä', `${main.seed}A`, main.seed.toLowerCase()]) {
      await faultOf(actionsOf(nats, { ...overTcp, secrets: { seed } })('ping', {}), 'connection.invalid');
    }
    const first = await faultOf(
      actionsOf(nats, { ...overTcp, secrets: { seed: damaged } })('ping', {}),
      'connection.invalid',
    );
    const wrong = { settings: { url: token.webSocket }, secrets: { token: 'canary-of-a-token' } };
    const second = await faultOf(actionsOf(nats, wrong)('ping', {}), 'upstream.unauthorized');
    expect(written(first) + written(second)).not.toMatch(new RegExp(`canary|${damaged}`));
  });

  it.each([
    {},
    { user: 'a' },
    { password: 'a' },
    { token: 'a', user: 'a', password: 'b' },
    { seed: '' },
    { creds: 'no creds' },
  ])('with the secrets %j is refused', (given) => {
    expect(v.safeParse(nats.connection?.secrets ?? v.never(), given).success).toBe(false);
  });

  it.each([
    'https://host',
    'nats://user:password@host',
    'nats://host/path',
    'wss://host?a=b',
    'host:4222',
    'nats://',
    'nats://a b',
    'tls://host\\@other',
  ])('with the url %s is refused', (url) => {
    expect(v.safeParse(nats.connection?.settings ?? v.never(), { url }).success).toBe(false);
  });

  it.each([
    ['nats://host', { hostname: 'host', port: 4222 }],
    ['tls://host:80', { hostname: 'host', port: 80 }],
    ['tls://[2001:db8::1]:4443', { hostname: '[2001:db8::1]', port: 4443 }],
  ])('to %s may open a socket there, and nowhere else', (url, host) => {
    expect(nats.connection?.sockets?.({ url }, secrets)).toEqual([host]);
    expect(nats.connection?.origins?.({ url }, secrets)).toEqual([]);
  });

  it('to a server that asks for TLS says so, and takes no certificate that nobody trusts', async () => {
    const inTheClear = { settings: { url: `nats://${token.tcp}` }, secrets: { token: token.token } };
    const fault = await faultOf(actionsOf(nats, inTheClear)('ping', {}), 'connection.invalid');
    expect(fault.message).toContain('`tls:`');
    const untrusted = { settings: { url: `tls://${token.tcp}` }, secrets: { token: token.token } };
    await faultOf(actionsOf(nats, untrusted)('ping', {}), 'upstream.unreachable');
  });

  it.each(['ws://127.0.0.1:1', 'nats://127.0.0.1:1', 'tls://127.0.0.1:1'])(
    'to %s, where nobody listens, may be tried again',
    async (url) => {
      const fault = await faultOf(actionsOf(nats, { settings: { url }, secrets })('ping', {}), 'upstream.unreachable');
      expect(fault.retryable).toBe(true);
      expect(written(fault)).not.toContain(secrets.password);
    },
  );

  it('to something that is no NATS is refused for good', async () => {
    const http = servers.upstream.url.replace('http', 'ws');
    await faultOf(actionsOf(nats, { settings: { url: http }, secrets })('ping', {}), 'upstream.invalid');
    const redis = `nats://${new URL(servers.redis.url).host}`;
    const fault = await actionsOf(nats, { settings: { url: redis }, secrets })(
      'ping',
      {},
      {
        signal: AbortSignal.timeout(2_000),
      },
    );
    expect(fault.ok).toBe(false);
  });
});
