/** The bounds and errors of outgoing traffic. */

import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { guarded, testServer } from './support.ts';
import { FaultError, fault } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { createEgressPolicy } from '../../../src/core/policy/egress.ts';
import { createGuardedFetch } from '../../../src/drivers/http/guarded-fetch.ts';
import { request, type HttpRequest } from '../../../src/drivers/http/request.ts';

const server = testServer();

const get = (fetcher = guarded(server), more: Partial<HttpRequest> = {}) =>
  request(fetcher, { method: 'GET', url: server.url, headers: {}, readAs: () => 'text', ...more });

describe('the guarded fetch', () => {
  const calls: unknown[] = [];
  const recording: typeof fetch = (input, init) => {
    calls.push([input, init]);
    return Promise.resolve(new Response('x'));
  };
  const guardedOnce = createGuardedFetch(createEgressPolicy('127.0.0.1:9'), recording);

  test('refuses by rejecting with a fault, for texts, URLs and requests alike, and calls nothing', async () => {
    calls.length = 0;
    for (const input of ['http://10.0.0.1/', new URL('http://127.0.0.1:8/'), new Request('http://localhost/')]) {
      const refused = guardedOnce(input);
      await expect(refused).rejects.toBeInstanceOf(FaultError);
      await expect(refused).rejects.toMatchObject({ fault: { code: 'egress.refused' } });
    }
    expect(calls).toEqual([]);
  });

  test('never lets the runtime follow a redirect, also where the caller asks for it', async () => {
    for (const init of [undefined, { redirect: 'follow' as const }, { redirect: 'manual' as const, method: 'PUT' }]) {
      calls.length = 0;
      await guardedOnce('http://127.0.0.1:9/', init);
      expect(calls).toEqual([['http://127.0.0.1:9/', expect.objectContaining({ redirect: 'manual' })]]);
    }
    calls.length = 0;
    await guardedOnce(new Request('https://example.com/', { redirect: 'follow' }));
    expect(calls).toEqual([[expect.any(Request), expect.objectContaining({ redirect: 'manual' })]]);
  });
});

describe('an address', () => {
  test.for([
    '',
    'a',
    '/a',
    'http://',
    'http://a b/',
    'http://a/\n',
    ' http://a/\u0000',
    'http://a\r\n.b/',
    'http://a/\u0085',
  ])('%j is refused', async (url) => {
    expect(await get(undefined, { url })).toMatchObject({ ok: false, fault: { code: 'request.invalid' } });
  });
});

describe('the size of a reply', () => {
  const MEGABYTE = Buffer.alloc(1024 * 1024, 'x');
  const limitMegabytes = LIMITS.responseBodyBytes / MEGABYTE.length;
  const tooLarge = { ok: false, fault: { code: 'upstream.too-large', retryable: false } };

  test('that is declared is refused before it is read', async () => {
    server.answer = (_request, response) => {
      response.writeHead(200, { 'content-length': LIMITS.responseBodyBytes + 1 }).write('x');
    };
    expect(await get()).toMatchObject(tooLarge);
  });

  test('that is not declared is counted while it is read', async () => {
    server.answer = (_request, response) => {
      const send = (): void => {
        // Endless: only the reader can stop it.
        while (!response.destroyed && response.write(MEGABYTE));
        response.once('drain', send);
      };
      send();
    };
    expect(await get()).toMatchObject(tooLarge);
  });

  test('is that of the content, not of its compressed form', async () => {
    const bomb = gzipSync(Buffer.alloc(LIMITS.responseBodyBytes + 1));
    expect(bomb.length).toBeLessThan(100_000);
    server.answer = (_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bomb.length }).end(bomb);
    };
    expect(await get()).toMatchObject(tooLarge);
  });

  test('may be exactly the limit, declared or not, and arrives whole', async () => {
    const chunks = Array.from({ length: limitMegabytes }, () => MEGABYTE);
    for (const declared of [true, false]) {
      server.answer = (_request, response) => {
        if (declared) response.setHeader('content-length', LIMITS.responseBodyBytes);
        for (const chunk of chunks) response.write(chunk);
        response.end();
      };
      const reply = await get(guarded(server), { readAs: () => 'bytes' });
      expect(reply.ok && reply.value.body.length).toBe(LIMITS.responseBodyBytes);
    }
  });

  test('of HEAD is nothing, whatever is declared', async () => {
    server.answer = (_request, response) => {
      response.writeHead(200, { 'content-length': LIMITS.responseBodyBytes * 2 }).end();
    };
    expect(await get(guarded(server), { method: 'HEAD' })).toMatchObject({ ok: true, value: { body: '' } });
    // Some runtimes give such a reply a body, an empty one.
    const withBody = () =>
      Promise.resolve(new Response(new ReadableStream(), { headers: { 'content-length': '99999999999' } }));
    expect(await get(withBody, { method: 'HEAD' })).toMatchObject({ ok: true, value: { body: '' } });
  });

  test('text that is cut between the bytes of a character is put together again', async () => {
    const bytes = Buffer.from('aü€💥');
    server.answer = (_request, response) => {
      for (const byte of bytes) response.write(Buffer.from([byte]));
      response.end();
    };
    expect(await get()).toMatchObject({ ok: true, value: { body: 'aü€💥' } });
  });
});

describe('traffic that fails', () => {
  test('no connection is retryable, and the reason is for the operator only', async () => {
    const url = 'http://127.0.0.1:1/';
    const result = await get(createGuardedFetch(createEgressPolicy('127.0.0.1'), fetch), { url });
    expect(result).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable', retryable: true } });
    if (!result.ok) expect(result.fault.message).not.toMatch(/ECONNREFUSED/);
  });

  test.for(['before the headers', 'in the middle of the body'])(
    'a connection that breaks %s is retryable',
    async (when) => {
      server.answer = (_request, response) => {
        if (when !== 'before the headers') response.writeHead(200, { 'content-length': 100 }).write('half');
        setImmediate(() => response.destroy());
      };
      expect(await get()).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable', retryable: true } });
    },
  );

  test('an upstream that never answers is given up with the signal', async () => {
    server.answer = () => {};
    expect(await get(guarded(server), { signal: AbortSignal.timeout(20) })).toMatchObject({
      ok: false,
      fault: { code: 'step.timeout', retryable: true },
    });
  });

  test('an upstream that drips its body is given up with the signal', async () => {
    const controller = new AbortController();
    server.answer = (_request, response) => {
      response.writeHead(200).write('x');
      setTimeout(() => controller.abort(), 20);
    };
    expect(await get(guarded(server), { signal: controller.signal })).toMatchObject({
      fault: { code: 'step.timeout' },
    });
  });

  test('a fault that the signal carries is the fault', async () => {
    server.answer = () => {};
    const reason = new FaultError(fault('run.cancelled', 'Cancelled.'));
    expect(await get(guarded(server), { signal: AbortSignal.abort(reason) })).toMatchObject({
      fault: { code: 'run.cancelled' },
    });
  });

  test('a redirect to what is no URL is the fault of the upstream', async () => {
    server.answer = (_request, response) => void response.writeHead(302, { location: 'http://' }).end();
    expect(await get()).toMatchObject({ ok: false, fault: { code: 'upstream.invalid' } });
  });
});
