/** Routes to upstreams through the gateway as a process, byte for byte: what a client sends and gets on its socket. */

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text as textOf } from 'node:stream/consumers';
import { brotliCompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { call } from '../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';
import type { Behaviour, Seen } from '../support/unruly.ts';

const [unruly = ''] = inject('servers').unruly;
const data = mkdtempSync(join(tmpdir(), 'tidegate-proxy-'));
let gateway: Gateway;

beforeAll(async () => {
  const env = { ...process.env, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' };
  gateway = await launch({ port: 0, dataDirectory: data, samples: false, env });
  await publish('plain', {}, {});
  await publish('impatient', { timeout: { headers: '500ms' } }, {});
  await publish('packed', {}, { compress: true });
  await publish('watched', { timeout: { headers: '1200ms' } }, {});
});
afterAll(async () => {
  await gateway.stop();
  rmSync(data, { recursive: true, force: true });
});

async function publish(name: string, pool: object, route: object): Promise<void> {
  await call(gateway, 'PUT', `/upstreams/${name}`, { name, targets: [{ url: unruly }], ...pool });
  const path = `/${name}/{rest*}`;
  const request = { path: '/{rest*}' };
  await call(gateway, 'PUT', `/routes/${name}`, { name, path, upstream: name, auth: 'public', request, ...route });
}

let count = 0;
/** A name of its own at the upstream. */
async function behave(behaviour: Behaviour): Promise<string> {
  const name = `system-${++count}`;
  await fetch(`${unruly}/_behaviour/${name}`, { method: 'PUT', body: JSON.stringify(behaviour) });
  return name;
}
const seen = async (name: string): Promise<readonly Seen[]> =>
  (await (await fetch(`${unruly}/_seen/${name}`)).json()) as Seen[];

/** Without the unpacking that `fetch` does. */
function ask(path: string, options: RequestOptions = {}, body?: Readable | string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(gateway.url + path, options, resolve);
    asked.on('error', reject);
    if (body instanceof Readable) body.pipe(asked);
    else asked.end(body);
  });
}

/** Sends bytes and collects what comes back within a moment. */
function exchange(bytes: string, milliseconds = 500): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1', () => socket.write(bytes));
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  socket.on('error', () => resolve(received));
  setTimeout(() => {
    socket.destroy();
    resolve(received);
  }, milliseconds);
  return promise;
}

it('gives a hanging upstream up also when the request that watches is another, and over', async () => {
  const [quick, hanging] = [await behave({ kind: 'answer' }), await behave({ kind: 'hang' })];
  const started = performance.now();
  const first = ask(`/watched/${quick}`);
  const late = [1, 2, 3].map(() => ask(`/watched/${hanging}`));
  expect((await first).statusCode).toBe(200);
  expect((await Promise.all(late)).map(({ statusCode }) => statusCode)).toEqual([504, 504, 504]);
  expect(performance.now() - started).toBeGreaterThanOrEqual(1_200);
});

describe('a body', () => {
  const SIZE = 100 * 1024 * 1024;
  const CHUNK = randomBytes(64 * 1024);

  function* chunks(): Generator<Buffer> {
    for (let left = SIZE; left > 0; left -= CHUNK.length) yield CHUNK;
  }

  it.each([
    ['of known length', { 'content-length': String(SIZE) }],
    ['in chunks', {}],
  ])('of 100 MB %s reaches the upstream as it is', async (_what, headers) => {
    const name = await behave({ kind: 'echo' });
    const reply = await ask(`/plain/${name}`, { method: 'POST', headers }, Readable.from(chunks()));
    const hash = createHash('sha256');
    for (const chunk of chunks()) hash.update(chunk);
    expect(JSON.parse(await textOf(reply))).toMatchObject({ bytes: SIZE, sha256: hash.digest('hex') });
  });

  it('of a request reaches the upstream while the caller still sends', async () => {
    const name = await behave({ kind: 'echo' });
    const first = Promise.withResolvers<void>();
    async function* drip(): AsyncGenerator<string> {
      yield 'first';
      await first.promise;
      yield 'last';
    }
    const replying = ask(`/plain/${name}`, { method: 'POST' }, Readable.from(drip()));
    await expect.poll(async () => (await seen(name))[0]?.bodyBytes).toBe(5);
    first.resolve();
    expect(JSON.parse(await textOf(await replying))).toMatchObject({ bytes: 9 });
  });

  it('of a reply reaches the caller while the upstream still sends, such as an event', async () => {
    const name = await behave({ kind: 'drip', type: 'text/event-stream', everyMilliseconds: 1_000, count: 2 });
    const reply = await ask(`/plain/${name}`);
    expect(reply.headers['content-type']).toBe('text/event-stream');
    expect(String(await once(reply))).toBe('data: 0\n\n');
    const at = Date.now();
    await buffer(reply);
    expect(Date.now() - at).toBeGreaterThan(500);
  });

  it.each([
    ['gzip', gzipSync('x'.repeat(5_000))],
    ['br', brotliCompressSync('y'.repeat(5_000))],
    ['zstd', randomBytes(500)],
  ])('that the upstream packed by %s is the same to the byte', async (encoding, bytes) => {
    const headers = { 'content-encoding': encoding, 'content-type': 'text/plain', etag: '"strong"' };
    const name = await behave({ kind: 'answer', headers, body: bytes.toString('base64') });
    for (const path of ['plain', 'packed']) {
      const reply = await ask(`/${path}/${name}`, { headers: { 'accept-encoding': encoding } });
      expect(reply.headers).toMatchObject(headers);
      expect((await buffer(reply)).equals(bytes)).toBe(true);
    }
  });

  it('is packed on the way where the route says so, and is the same when unpacked', async () => {
    const text = 'compress me '.repeat(500);
    const headers = { 'content-type': 'text/plain', 'content-length': String(text.length) };
    const name = await behave({ kind: 'answer', headers, body: btoa(text) });
    const reply = await ask(`/packed/${name}`, { headers: { 'accept-encoding': 'gzip' } });
    expect(reply.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' });
    const bytes = await buffer(reply);
    expect(bytes.length).toBeLessThan(text.length / 5);
    expect(gunzipSync(bytes).toString()).toBe(text);
  });
});

const once = (stream: Readable): Promise<unknown> => new Promise((resolve) => stream.once('data', resolve));

describe('framing', () => {
  const SMUGGLED = 'GET /plain/smuggled HTTP/1.1\r\nHost: g\r\n\r\n';

  it.each([
    ['a length and chunks', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['two lengths', `Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n`],
    ['a length that is no number', `Content-Length: 0x5\r\n\r\n`],
    ['a length with a sign', `Content-Length: +0\r\n\r\n`],
    ['a space in front of the colon', `Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
    ['another coding', `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a coding that is hidden', `Transfer-Encoding: xchunked\r\n\r\n`],
    ['a folded line', `X-A: b\r\n Content-Length: 5\r\n\r\n`],
    ['a bare line feed', `X-A: b\nContent-Length: 0\r\n\r\n`],
  ])('with %s never makes two requests of one', async (_what, rest) => {
    const name = await behave({ kind: 'echo' });
    const second = SMUGGLED.replace('smuggled', `${name}/two`);
    const received = await exchange(`POST /plain/${name}/one HTTP/1.1\r\nHost: g\r\n${rest}${second}`);
    const requests = await seen(name);
    // Where the first had ended for everybody, the second is right; then it has a reply of its own.
    expect(requests.length).toBe(received.match(/HTTP\/1.1 200/g)?.length ?? 0);
    for (const { rawHeaders } of requests) {
      const framing = rawHeaders.filter((header) => /^(?:content-length|transfer-encoding)$/i.test(header));
      expect(framing.length).toBeLessThanOrEqual(1);
    }
  });

  it('of Upgrade to anything but WebSocket is not passed on, nor is what HTTP/2 would be', async () => {
    const name = await behave({ kind: 'echo' });
    await exchange(
      `GET /plain/${name} HTTP/1.1\r\nHost: g\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
    );
    const headers = (await seen(name))[0]?.rawHeaders.join('\n') ?? '';
    expect(headers).not.toMatch(/h2c|http2-settings/i);
  });

  it('that expects to be asked for the body is answered here', async () => {
    const name = await behave({ kind: 'echo' });
    const received = await exchange(
      `POST /plain/${name} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab`,
    );
    expect(received).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
    expect((await seen(name))[0]?.rawHeaders.join().toLowerCase()).not.toContain('expect');
  });
});

describe('a caller that leaves', () => {
  it('ends the request at the upstream, while it answers', async () => {
    const name = await behave({ kind: 'drip', everyMilliseconds: 20 });
    const reply = await ask(`/plain/${name}`);
    await once(reply);
    reply.destroy();
    await expect.poll(async () => (await seen(name))[0]?.abandoned).toBe(true);
  });

  it('ends the request at the upstream at the latest when the time for headers is over', async () => {
    const name = await behave({ kind: 'hang' });
    await exchange(`GET /impatient/${name} HTTP/1.1\r\nHost: g\r\n\r\n`, 100);
    await expect.poll(async () => (await seen(name))[0]?.abandoned).toBe(true);
  });
});

describe('an upstream that hangs', () => {
  it('is given up with a 504, and loses its connection', async () => {
    const name = await behave({ kind: 'hang' });
    const reply = await ask(`/impatient/${name}`);
    expect([reply.statusCode, JSON.parse(await textOf(reply))]).toMatchObject([504, { code: 'upstream.timeout' }]);
    await expect.poll(async () => (await seen(name))[0]?.abandoned).toBe(true);
  });
});

describe('a WebSocket', () => {
  async function open(name: string, protocols: string[] = []): Promise<WebSocket> {
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/plain/${name}`, protocols);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    return socket;
  }
  const next = (socket: WebSocket): Promise<unknown> =>
    new Promise((resolve) => socket.addEventListener('message', ({ data: text }) => resolve(text), { once: true }));

  it('passes in both directions, with the protocol that was agreed', async () => {
    const socket = await open(await behave({ kind: 'echo' }), ['chat', 'other']);
    expect(socket.protocol).toBe('chat');
    for (const text of ['one', 'two']) {
      const answer = next(socket);
      socket.send(text);
      expect(await answer).toBe(`echo ${text}`);
    }
    socket.close();
  });

  it('that the upstream closes tells the caller why', async () => {
    const socket = await open(await behave({ kind: 'echo' }));
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve));
    socket.send('close:4001');
    expect((await closed).code).toBe(4001);
  });

  it('that the caller closes tells the upstream why', async () => {
    const name = await behave({ kind: 'echo' });
    const socket = await open(name);
    socket.close(4002);
    await expect.poll(async () => (await seen(name))[0]?.closeCode).toBe(4002);
  });
});
