import { describe, expect, it } from 'vitest';
import { s3 } from '../../../src/connectors/s3/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { endpoint, region, bucket, accessKeyId, secretAccessKey } = servers.s3;
const settings = { endpoint, region, bucket };
const secrets = { accessKeyId, secretAccessKey };
const credentials: Credentials = { settings, secrets };
const call = actionsOf(s3, credentials);
const done = (action: string, params: unknown) => output(call(action, params));

const MEGABYTE = 1024 * 1024;

interface Presigned {
  readonly url: string;
  readonly expiresAt: string;
}

async function presigned(params: Record<string, unknown>): Promise<Presigned> {
  const result = await call('presign', params);
  if (!result.ok) throw new Error(result.fault.message);
  return result.value as Presigned;
}

/** The statuses of requests that need no bodies. */
const statusOf = async (url: string, init?: RequestInit): Promise<number> => {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return response.status;
};

describe('objects', () => {
  it('are put, read, overwritten, found and deleted', async () => {
    const key = 'crud/object.txt';
    expect(await done('head', { key })).toEqual({ exists: false });
    await done('put', { key, text: 'first' });
    expect(await done('put', { key, text: 'second ünï', metadata: { owner: 'ada' } })).toEqual({
      etag: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
    const facts = {
      contentType: 'text/plain; charset=utf-8',
      sizeBytes: 12,
      etag: expect.any(String),
      lastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      metadata: { owner: 'ada' },
    };
    expect(await done('get', { key })).toEqual({ body: 'second ünï', ...facts });
    expect(await done('head', { key })).toEqual({ exists: true, ...facts });
    await done('delete', { key });
    const fault = await faultOf(call('get', { key }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { status: 404, code: 'NoSuchKey' } });
  });

  it('that are not there can be deleted again', async () => {
    expect(await done('delete', { key: 'never/was' })).toEqual({});
  });

  it('come back as JSON and as bytes', async () => {
    await done('put', { key: 'data.json', json: { list: [1, null] } });
    expect(await done('get', { key: 'data.json', as: 'json' })).toMatchObject({
      body: { list: [1, null] },
      contentType: 'application/json',
    });
    await done('put', { key: 'data.bin', base64: '//4AAQ==', contentType: 'image/x-test' });
    expect(await done('get', { key: 'data.bin', as: 'base64' })).toMatchObject({
      body: '//4AAQ==',
      contentType: 'image/x-test',
      sizeBytes: 4,
    });
    for (const as of ['text', 'json']) await faultOf(call('get', { key: 'data.bin', as }), 'upstream.invalid');
  });

  it('are read in part', async () => {
    await done('put', { key: 'range.txt', text: '0123456789' });
    expect(await done('get', { key: 'range.txt', firstByte: 3, lastByte: 5 })).toMatchObject({
      body: '345',
      sizeBytes: 10,
    });
    expect(await done('get', { key: 'range.txt', firstByte: 8 })).toMatchObject({ body: '89' });
    await faultOf(call('get', { key: 'range.txt', firstByte: 5, lastByte: 3 }), 'step.params');
    await faultOf(call('get', { key: 'range.txt', firstByte: 50 }), 'upstream.rejected');
  });

  it.each([[{}], [{ text: 'a', json: 1 }], [{ base64: 'not base64!' }], [{ base64: 'QUI' }]])(
    'are not made from %j',
    async (content) => {
      await faultOf(call('put', { key: 'x', ...content }), 'step.params');
    },
  );

  it('over the memory of an isolate are refused, and read in part instead', async () => {
    const parts = [{ text: 'x'.repeat(5 * MEGABYTE) }, { text: 'y'.repeat(4 * MEGABYTE) }];
    await done('multipart', { key: 'large', parts });
    await faultOf(call('get', { key: 'large' }), 'upstream.too-large');
    expect(await done('get', { key: 'large', firstByte: 5 * MEGABYTE - 1, lastByte: 5 * MEGABYTE })).toMatchObject({
      body: 'xy',
      sizeBytes: 9 * MEGABYTE,
    });
  });
});

describe('keys', () => {
  const KEYS = [
    '../up',
    'a/../../b',
    'a/./b',
    'a/..',
    '/leading//double/',
    ' spaces  and\ttab ',
    'plus+and%2Fpercent%',
    '!\'()*&=?#@:,;$~[]{}|^`<>"\\',
    'ünïcödé/日本語/🦊/e\u0301',
    'line\nbreak',
  ];

  it.each(KEYS)('such as %j are signed and stored literally', async (key) => {
    await done('put', { key, text: key });
    expect(await done('get', { key })).toMatchObject({ body: key });
    const { url } = await presigned({ key });
    expect(await (await fetch(url)).text()).toBe(key);
    await done('delete', { key });
    expect(await done('head', { key })).toEqual({ exists: false });
  });

  it('come back from a list as they were put', async () => {
    const prefix = 'list keys/';
    for (const key of KEYS) await done('put', { key: prefix + key, text: '' });
    const { objects } = (await done('list', { prefix })) as { objects: { key: string }[] };
    expect(objects.map(({ key }) => key).sort()).toEqual(KEYS.map((key) => prefix + key).sort());
  });

  it.each(['.', '..', 'half a \ud800 character'])('such as %j, which no address can name, are refused', async (key) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    await faultOf(call('put', { key, text: '' }, { fetch: never }), 'step.params');
  });

  it.each(['../other', 'a/b', 'a?b', '', 'x'.repeat(300)])('in a bucket named %j are refused', async (name) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    const wrong = actionsOf(s3, { settings: { ...settings, bucket: name || '.' }, secrets });
    await faultOf(wrong('get', { key: 'a' }, { fetch: never }), 'step.params');
  });
});

describe('lists', () => {
  it('are paged by a cursor', async () => {
    const keys = ['page/1', 'page/2', 'page/3', 'page/4', 'page/5'];
    for (const key of keys) await done('put', { key, text: key });
    const found: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const page = (await done('list', { prefix: 'page/', limit: 2, cursor })) as {
        objects: { key: string; sizeBytes: number }[];
        cursor?: string;
      };
      found.push(...page.objects.map(({ key }) => key));
      cursor = page.cursor;
      pages += 1;
    } while (cursor !== undefined);
    expect(found).toEqual(keys);
    expect(pages).toBe(3);
  });

  it('fold folders by a delimiter', async () => {
    for (const key of ['tree/a/1', 'tree/a/2', 'tree/b & <c>/1', 'tree/root']) await done('put', { key, text: '' });
    expect(await done('list', { prefix: 'tree/', delimiter: '/' })).toMatchObject({
      prefixes: ['tree/a/', 'tree/b & <c>/'],
      objects: [{ key: 'tree/root', sizeBytes: 0 }],
    });
  });

  it('of a bucket that is not there fail for good', async () => {
    const fault = await faultOf(call('list', { bucket: 'not-there' }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { code: 'NoSuchBucket' } });
  });
});

describe('presigned addresses', () => {
  it('read and write without credentials', async () => {
    const put = await presigned({ key: 'signed put.txt', method: 'PUT', contentType: 'text/csv', expiresSeconds: 60 });
    expect(Date.parse(put.expiresAt) - Date.now()).toBeLessThanOrEqual(60_000);
    expect(await statusOf(put.url, { method: 'PUT', body: 'a,b', headers: { 'content-type': 'text/csv' } })).toBe(200);
    const get = await presigned({ key: 'signed put.txt' });
    expect(await (await fetch(get.url)).text()).toBe('a,b');
    expect(get.url).not.toContain(secretAccessKey);
  });

  it('that were tampered with are refused with 403', async () => {
    await done('put', { key: 'signed', text: 'mine' });
    await done('put', { key: 'secret', text: 'not yours' });
    const { url } = await presigned({ key: 'signed', expiresSeconds: 60 });
    expect(await statusOf(url)).toBe(200);
    expect(await statusOf(url.replace('/signed?', '/secret?'))).toBe(403);
    expect(await statusOf(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=6000'))).toBe(403);
    expect(await statusOf(url.replace(/Signature=../, 'Signature=zz'))).toBe(403);
    expect(await statusOf(url, { method: 'PUT', body: 'overwritten' })).toBe(403);
    expect(await done('get', { key: 'signed' })).toMatchObject({ body: 'mine' });
  });

  it('for a type refuse another type', async () => {
    const { url } = await presigned({ key: 'typed', method: 'PUT', contentType: 'text/csv' });
    expect(await statusOf(url, { method: 'PUT', body: '<script>', headers: { 'content-type': 'text/html' } })).toBe(
      403,
    );
  });
});

describe('multipart uploads', () => {
  it('join their parts in order', async () => {
    const parts = [{ text: 'a'.repeat(5 * MEGABYTE) }, { base64: btoa('the end') }];
    await done('multipart', { key: 'joined', parts, contentType: 'text/plain' });
    expect(await done('head', { key: 'joined' })).toMatchObject({
      sizeBytes: 5 * MEGABYTE + 7,
      contentType: 'text/plain',
    });
    expect(await done('get', { key: 'joined', firstByte: 5 * MEGABYTE - 1 })).toMatchObject({ body: 'athe end' });
  });

  it.each([
    ['a part fails', 'PUT'],
    ['they cannot be completed', 'POST'],
  ])('are given up when %s', async (_, method) => {
    const key = `given up/${method}`;
    const methods: string[] = [];
    const failing: typeof fetch = (input, init) => {
      methods.push(init?.method ?? '');
      const fails = init?.method === method && String(input).includes('uploadId');
      return fails ? Promise.resolve(new Response('', { status: 503 })) : fetch(input, init);
    };
    const parts = [{ text: 'only' }];
    const fault = await faultOf(call('multipart', { key, parts }, { fetch: failing }), 'upstream.unavailable');
    expect(fault.retryable).toBe(true);
    expect(methods.at(-1)).toBe('DELETE');
    expect(await done('head', { key })).toEqual({ exists: false });
  });

  it('are given up also when the attempt runs out of time', async () => {
    const controller = new AbortController();
    const sent: string[] = [];
    const slow: typeof fetch = (input, init) => {
      const method = init?.method ?? '';
      if (method === 'PUT') controller.abort();
      return fetch(input, init).then((response) => {
        sent.push(`${method} ${response.status}`);
        return response;
      });
    };
    const parts = [{ text: 'only' }];
    await faultOf(
      call('multipart', { key: 'late', parts }, { fetch: slow, signal: controller.signal }),
      'step.timeout',
    );
    expect(sent).toEqual(['POST 200', 'DELETE 204']);
  });

  it('whose parts are too small are refused by the server', async () => {
    const parts = [{ text: 'small' }, { text: 'too' }];
    await faultOf(call('multipart', { key: 'small', parts }), 'upstream.rejected');
    expect(await done('head', { key: 'small' })).toEqual({ exists: false });
  });
});

describe('connections', () => {
  it.each([
    ['a wrong secret', { ...secrets, secretAccessKey: 'wrong-secret' }],
    ['an unknown key', { ...secrets, accessKeyId: 'nobody:here' }],
  ])('with %s are refused without a word of the credentials', async (_, wrong) => {
    const fault = await faultOf(actionsOf(s3, { settings, secrets: wrong })('list', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain(wrong.secretAccessKey);
    expect(written(fault)).not.toContain(wrong.accessKeyId);
  });

  it('whose body was changed on the way are refused', async () => {
    const tampering: typeof fetch = (input, init) => fetch(input, { ...init, body: 'tampered' });
    const fault = await faultOf(
      call('put', { key: 'tampered', text: 'original' }, { fetch: tampering }),
      'upstream.rejected',
    );
    expect(fault.data).toMatchObject({ status: 400 });
    expect(await done('head', { key: 'tampered' })).toEqual({ exists: false });
  });

  it('whose path was changed on the way are refused', async () => {
    const tampering: typeof fetch = (input, init) => fetch(String(input).replace('/mine', '/yours'), init);
    await faultOf(call('put', { key: 'mine', text: 'x' }, { fetch: tampering }), 'upstream.unauthorized');
  });

  it('to an address where nobody listens are unreachable, which may pass', async () => {
    const wrong = actionsOf(s3, { settings: { ...settings, endpoint: DEAD_ADDRESS }, secrets });
    const fault = await faultOf(wrong('get', { key: 'a' }), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
    expect(written(fault)).not.toContain(accessKeyId);
  });

  it('to something else than S3 fail as unreadable', async () => {
    const wrong = actionsOf(s3, { settings: { ...settings, endpoint: `${servers.upstream.url}/echo` }, secrets });
    await faultOf(wrong('list', {}), 'upstream.invalid');
  });

  it('that are told to wait pass on how long', async () => {
    const busy: typeof fetch = () =>
      Promise.resolve(
        new Response('<Error><Code>SlowDown</Code><Message>Reduce.</Message></Error>', {
          status: 503,
          headers: { 'retry-after': '7' },
        }),
      );
    const fault = await faultOf(call('get', { key: 'a' }, { fetch: busy }), 'upstream.rate-limited');
    expect(fault).toMatchObject({ retryable: true, retryAfterMilliseconds: 7_000 });
  });

  it('are given up in time', async () => {
    const slow = actionsOf(s3, { settings: { ...settings, endpoint: `${servers.upstream.url}/delay/5000` }, secrets });
    await faultOf(slow('get', { key: 'a' }, { signal: AbortSignal.timeout(200) }), 'step.timeout');
  });

  it('put the bucket before the host where they are told to', async () => {
    const seen: string[] = [];
    const recording: typeof fetch = (input) => {
      seen.push(String(input));
      return Promise.resolve(new Response('x'));
    };
    const hosted = actionsOf(s3, {
      settings: { ...settings, endpoint: 'https://s3.example.com', pathStyle: false },
      secrets: { ...secrets, sessionToken: 'session' },
    });
    await output(hosted('get', { key: 'a b' }, { fetch: recording }));
    expect(seen).toEqual([`https://${bucket}.s3.example.com/a%20b`]);
  });
});
