import { safeParse } from 'valibot';
import { describe, expect, test } from 'vitest';
import { guarded, NOW, run, shopConnection, testServer } from './support.ts';
import { http } from '../../../src/connectors/http/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const server = testServer();
const other = testServer();

const answerJson = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
  server.answer = (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };
};

const connection = (secrets: unknown, more?: Record<string, unknown>) => shopConnection(server, secrets, more);

describe('what is sent', () => {
  test('the method of the action, the query, and the headers of the author', async () => {
    answerJson(200, {});
    for (const action of ['get', 'head', 'post', 'put', 'patch', 'delete']) {
      await run(
        action,
        { url: `${server.url}/a?x=1#part`, query: { y: ['a b', 2], z: null, w: true }, headers: { 'X-One': 1 } },
        guarded(server),
      );
    }
    expect(server.received.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
    for (const { path, headers } of server.received) {
      expect(path).toBe('/a?x=1&y=a+b&y=2&w=true');
      expect(headers['x-one']).toBe('1');
    }
  });

  test.for<[Record<string, unknown>, string, string]>([
    [{ json: { a: 'ü' } }, 'application/json', '{"a":"ü"}'],
    [{ json: null }, 'application/json', 'null'],
    [{ json: 0 }, 'application/json', '0'],
    [{ form: { a: 'b c', d: ['1', 2], e: null } }, 'application/x-www-form-urlencoded', 'a=b+c&d=1&d=2'],
    [{ text: 'hello' }, 'text/plain;charset=UTF-8', 'hello'],
    [{ base64: 'aGVsbG8=' }, 'application/octet-stream', 'hello'],
    [{ text: '<a/>', headers: { 'Content-Type': 'text/xml' } }, 'text/xml', '<a/>'],
  ])('%j is sent as %s', async ([body, type, text]) => {
    answerJson(200, {});
    await run('post', { url: server.url, ...body }, guarded(server));
    expect(server.received[0]).toMatchObject({ body: text, headers: { 'content-type': type } });
  });

  test('the idempotency key goes with POST and PATCH only, and gives way to the author', async () => {
    answerJson(200, {});
    for (const action of ['get', 'put', 'delete', 'post', 'patch'])
      await run(action, { url: server.url }, guarded(server));
    await run('request', { method: 'POST', url: server.url, headers: { 'IDEMPOTENCY-KEY': 'mine' } }, guarded(server));
    expect(server.received.map(({ headers }) => headers['idempotency-key'])).toEqual([
      undefined,
      undefined,
      undefined,
      'run-1:step:0',
      'run-1:step:0',
      'mine',
    ]);
  });

  test('effects are declared as the methods are defined', () => {
    const effects = Object.fromEntries(Object.entries(http.actions).map(([name, { effect }]) => [name, effect]));
    expect(effects).toEqual({
      request: 'keyed',
      get: 'idempotent',
      head: 'idempotent',
      post: 'keyed',
      put: 'idempotent',
      patch: 'keyed',
      delete: 'idempotent',
    });
  });

  test('the example of every action is valid', () => {
    for (const [name, { params, example }] of Object.entries(http.actions)) {
      expect(safeParse(params, example).success, name).toBe(true);
    }
  });
});

describe('what is not sent', () => {
  const nowhere: typeof fetch = () => {
    throw new Error('must not be called');
  };

  test.for<[string, Record<string, unknown>, string]>([
    ['two bodies', { json: 1, text: 'x' }, 'step.params'],
    ['what is not base64', { base64: 'a-b' }, 'step.params'],
    ['a relative URL without a connection', { url: '/orders' }, 'request.invalid'],
    ['no URL', { url: 'https://' }, 'request.invalid'],
    ['a URL with a line break', { url: 'https://example.com/a\r\nX-Evil: 1' }, 'request.invalid'],
    ['a URL with a tab', { url: 'https://exa\tmple.com/' }, 'request.invalid'],
    ['a header with CR LF', { headers: { 'X-A': 'a\r\nX-Evil: 1' } }, 'request.invalid'],
    ['a header with LF at its end', { headers: { 'X-A': 'a\n' } }, 'request.invalid'],
    ['a header with NUL', { headers: { 'X-A': 'a\0' } }, 'request.invalid'],
    ['a header beyond Latin-1', { headers: { 'X-A': '→' } }, 'request.invalid'],
    ['a header name with a line break', { headers: { 'X-A\r\nX-B': 'a' } }, 'request.invalid'],
    ['a header name that is empty', { headers: { '': 'a' } }, 'request.invalid'],
    ['another host in the headers', { headers: { Host: 'evil.example' } }, 'request.invalid'],
    ['another length', { headers: { 'Content-Length': '1' } }, 'request.invalid'],
    ['another framing', { headers: { 'Transfer-Encoding': 'chunked' } }, 'request.invalid'],
  ])('%s', async ([, params, code]) => {
    expect(await run('post', { url: 'https://example.com/', ...params }, nowhere)).toMatchObject({
      ok: false,
      fault: { code },
    });
  });

  test('a body with GET', async () => {
    const result = await run('request', { method: 'GET', url: 'https://example.com/', json: 1 }, nowhere);
    expect(result).toMatchObject({ ok: false, fault: { code: 'step.params' } });
    expect(
      safeParse(http.actions['get']?.params ?? ({} as never), { url: 'https://example.com/', json: 1 }).success,
    ).toBe(false);
  });

  test.for([
    'http://10.0.0.1/',
    'http://localhost/',
    'http://169.254.169.254/latest',
    'file:///etc/passwd',
    'http://a@example.com/',
  ])('%s is refused by the guard', async (url) => {
    expect(await run('get', { url }, guarded())).toMatchObject({
      ok: false,
      fault: { code: 'egress.refused', retryable: false },
    });
  });
});

describe('the reply', () => {
  const reply = async (type: string | undefined, body: string | Buffer, params: Record<string, unknown> = {}) => {
    server.answer = (_request, response) => {
      response.writeHead(200, type === undefined ? {} : { 'content-type': type }).end(body);
    };
    return run('get', { url: server.url, ...params }, guarded(server));
  };

  test.for<[string | undefined, string | Buffer, unknown]>([
    ['application/json', '{"a":1}', { a: 1 }],
    ['application/problem+json; charset=utf-8', '[1]', [1]],
    ['application/json', '', null],
    ['text/plain', '{"a":1}', '{"a":1}'],
    ['application/xml', '<a>ü</a>', '<a>ü</a>'],
    ['text/csv', 'a,b', 'a,b'],
    ['image/png', Buffer.from([0x89, 0x50]), 'iVA='],
    ['application/octet-stream', 'text', 'dGV4dA=='],
    [undefined, 'text', 'text'],
    [undefined, Buffer.from([0xff, 0xfe]), '//4='],
  ])('of type %s is read by its type', async ([type, body, expected]) => {
    expect(await reply(type, body)).toMatchObject({ ok: true, value: { status: 200, body: expected } });
  });

  test('may be read in another way', async () => {
    expect(await reply('text/html', '{"a":1}', { parse: 'json' })).toMatchObject({ value: { body: { a: 1 } } });
    expect(await reply('application/json', '{"a":1}', { parse: 'text' })).toMatchObject({ value: { body: '{"a":1}' } });
    expect(await reply('application/json', '{"a":1}', { parse: 'base64' })).toMatchObject({
      value: { body: 'eyJhIjoxfQ==' },
    });
  });

  test('that says JSON and is none is a fault', async () => {
    for (const result of [
      await reply('application/json', '<html>'),
      await reply('text/html', '<html>', { parse: 'json' }),
    ]) {
      expect(result).toMatchObject({ ok: false, fault: { code: 'upstream.invalid', retryable: false } });
    }
  });

  test('has its headers in lower case, cookies joined, hostile names inert', async () => {
    server.answer = (_request, response) => {
      response
        .writeHead(
          200,
          [
            ['X-Upper', 'A'],
            ['Set-Cookie', 'a=1'],
            ['Set-Cookie', 'b=2'],
            ['__proto__', 'x'],
          ].flat(),
        )
        .end();
    };
    const result = await run('get', { url: server.url }, guarded(server));
    expect(result).toMatchObject({ ok: true, value: { headers: { 'x-upper': 'A', 'set-cookie': 'a=1, b=2' } } });
    if (result.ok) expect(Object.getPrototypeOf(result.value.headers)).toBe(Object.prototype);
  });
});

describe('the status', () => {
  test.for<[number, string, boolean]>([
    [400, 'upstream.rejected', false],
    [401, 'upstream.unauthorized', false],
    [403, 'upstream.unauthorized', false],
    [404, 'upstream.rejected', false],
    [408, 'upstream.unavailable', true],
    [409, 'upstream.rejected', false],
    [422, 'upstream.rejected', false],
    [425, 'upstream.unavailable', true],
    [429, 'upstream.rate-limited', true],
    [500, 'upstream.unavailable', true],
    [503, 'upstream.unavailable', true],
    [599, 'upstream.unavailable', true],
    [304, 'upstream.rejected', false],
  ])('%i is %s', async ([status, code, retryable]) => {
    answerJson(status, status === 304 ? undefined : { error: 'no' }, {
      'x-request-id': 'r1',
      'set-cookie': 'secret=1',
    });
    const result = await run('get', { url: server.url }, guarded(server));
    expect(result).toMatchObject({
      ok: false,
      fault: { code, retryable, data: { status, headers: { 'x-request-id': 'r1' } } },
    });
    expect(JSON.stringify(result)).not.toContain('secret=1');
    if (status !== 304) expect(result).toMatchObject({ fault: { data: { body: { error: 'no' } } } });
  });

  test.for<[unknown, number, boolean]>([
    [undefined, 299, true],
    ['2xx', 200, true],
    ['any', 500, true],
    [[404], 404, true],
    [[404], 200, false],
    [[], 200, false],
  ])('expect %j takes %i: %s', async ([expected, status, isOk]) => {
    answerJson(status, {});
    const params = { url: server.url, ...(expected !== undefined && { expect: expected }) };
    expect((await run('get', params, guarded(server))).ok).toBe(isOk);
  });

  test.for<[string, number | undefined]>([
    ['120', 120_000],
    ['0', 0],
    [new Date(NOW + 90_000).toUTCString(), 90_000],
    [new Date(NOW - 90_000).toUTCString(), 0],
    ['99999999999999', LIMITS.retryDelayLongestMilliseconds],
    ['soon', undefined],
    ['-1', 0],
    ['1.5', undefined],
  ])('Retry-After: %s asks for %s ms', async ([header, expected]) => {
    answerJson(429, {}, { 'retry-after': header });
    const result = await run('get', { url: server.url }, guarded(server));
    const asked = result.ok ? undefined : result.fault.retryAfterMilliseconds;
    // What is neither seconds nor a date of HTTP may be read as some date, but never as a wait.
    if (expected === undefined) expect(asked ?? 0).toBe(0);
    else expect(asked).toBe(expected);
  });

  test('a long body is cut in the fault', async () => {
    answerJson(500, { text: 'x'.repeat(10_000) });
    const result = await run('get', { url: server.url }, guarded(server));
    const body = result.ok ? '' : (result.fault.data as { body: string }).body;
    expect(body).toHaveLength(4_096);
    expect(body).toMatch(/^\{"text":"x/);
  });

  test('an error page that says JSON is still a fault of its status', async () => {
    server.answer = (_request, response) => {
      response.writeHead(503, { 'content-type': 'application/json' }).end('<html>');
    };
    expect(await run('get', { url: server.url }, guarded(server))).toMatchObject({
      fault: { code: 'upstream.unavailable', data: { body: '<html>' } },
    });
  });
});

describe('with a connection', () => {
  test.for<[unknown, string]>([
    [{ bearer: 'token-1' }, 'Bearer token-1'],
    [{ basic: { username: 'ü', password: 'p:w' } }, `Basic ${Buffer.from('ü:p:w').toString('base64')}`],
    [{ headers: { Authorization: 'Custom 1' } }, 'Custom 1'],
  ])('%j is sent as a header that the author cannot replace', async ([secrets, expected]) => {
    answerJson(200, {});
    const facts = http.connection;
    expect(safeParse(facts?.secrets ?? ({} as never), secrets).success).toBe(true);
    await run('get', { url: '/orders', headers: { authorization: 'mine' } }, guarded(server), {
      connection: connection(secrets),
    });
    expect(server.received[0]).toMatchObject({ path: '/api/orders', headers: { authorization: expected } });
  });

  test('paths are put behind the base URL, whatever they look like', async () => {
    answerJson(200, {});
    const paths = [
      'orders',
      '/orders',
      '//evil.example/x',
      '@evil.example',
      '.evil.example',
      'http:evil.example',
      '\\\\evil.example',
      '?a=1',
    ];
    for (const url of paths) {
      const result = await run('get', { url }, guarded(server), {
        connection: connection({}, { headers: { 'X-Team': 'a' } }),
      });
      expect(result.ok, url).toBe(true);
    }
    expect(server.received).toHaveLength(paths.length);
    for (const { path, headers } of server.received) {
      expect(path).toMatch(/^\/api[/?]/);
      expect(headers['x-team']).toBe('a');
    }
  });

  test('a base URL that is none fails as a value', async () => {
    const broken = connection({ bearer: 't' }, { baseUrl: 'https://a:b:c' });
    for (const url of ['/orders', server.url]) {
      expect((await run('get', { url }, guarded(server), { connection: broken })).ok).toBe(false);
    }
    expect(server.received).toHaveLength(0);
  });

  test('an absolute URL of the same origin is accepted, any other is refused before anything is sent', async () => {
    answerJson(200, {});
    const shop = connection({ bearer: 't' });
    const all = guarded(server, other);
    expect((await run('get', { url: `${server.url}/elsewhere` }, all, { connection: shop })).ok).toBe(true);
    const { port } = new URL(server.url);
    for (const url of [
      other.url,
      `https://127.0.0.1:${port}/`,
      `http://localhost:${port}/`,
      'https://example.com/',
      'HTTP://example.com',
    ]) {
      const result = await run('get', { url }, all, { connection: shop });
      expect(result, url).toMatchObject({ ok: false, fault: { code: 'egress.refused' } });
      expect(JSON.stringify(result)).not.toContain('Bearer');
    }
    expect(server.received).toHaveLength(1);
    expect(other.received).toHaveLength(0);
  });

  test.for([
    {},
    { baseUrl: 'example.com' },
    { baseUrl: 'ftp://example.com' },
    { baseUrl: 'https://' },
    { baseUrl: 'https://user:pw@example.com' },
    { baseUrl: 'https://example.com/?a=1' },
    { baseUrl: 'https://example.com#a' },
    { baseUrl: 'https://example.com', extra: 1 },
  ])('the settings %j are refused', (settings) => {
    expect(safeParse(http.connection?.settings ?? ({} as never), settings).success).toBe(false);
  });

  test.for([
    { bearer: '' },
    { bearer: 'a', basic: { username: 'a', password: 'b' } },
    { basic: { username: 'a:b', password: '' } },
    { token: 'x' },
  ])('the secrets %j are refused', (secrets) => {
    expect(safeParse(http.connection?.secrets ?? ({} as never), secrets).success).toBe(false);
  });
});
