/** What every object store promises alike, so that a chain need not tell them apart. */

import { describe, expect, it } from 'vitest';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written } from './fixtures.ts';
import { stores, type StoreName, type TestStore } from './object-stores.ts';

const MEGABYTE = 1024 * 1024;
const NAMES = Object.keys(stores) as StoreName[];
const REMOTE = NAMES.filter((name) => name !== 'r2');

interface Facts {
  readonly etag: string;
}

const KEYS = [
  'a/../../b',
  'a/./b',
  'a//b',
  ' spaces  and tab ',
  'plus+and%2Fpercent%',
  '!\'()*&=?#@:,;$~[]{}|^`<>"',
  'ünïcödé/日本語/🦊/e\u0301',
];

describe.each(NAMES)('%s', (store) => {
  const { connector, credentials }: TestStore = stores[store];
  const call = actionsOf(connector, credentials);
  const done = (action: string, params: unknown) => output(call(action, params));
  const put = async (params: unknown): Promise<Facts> => (await done('put', params)) as Facts;

  it('puts, reads, overwrites, finds and deletes objects', async () => {
    const key = 'crud of all/object.txt';
    expect(await done('head', { key })).toEqual({ exists: false });
    await put({ key, text: 'first' });
    const { etag } = await put({ key, text: 'second ünï', metadata: { owner: 'ada' } });
    const facts = {
      contentType: 'text/plain; charset=utf-8',
      sizeBytes: 12,
      etag,
      lastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      metadata: { owner: 'ada' },
    };
    expect(await done('get', { key })).toEqual({ body: 'second ünï', ...facts });
    expect(await done('head', { key })).toEqual({ exists: true, ...facts });
    await done('delete', { key });
    const fault = await faultOf(call('get', { key }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { status: 404 } });
    expect(await done('delete', { key })).toEqual({});
  });

  it('keeps an empty object', async () => {
    await put({ key: 'empty', text: '' });
    expect(await done('get', { key: 'empty' })).toMatchObject({ body: '', sizeBytes: 0 });
  });

  it('reads parts of an object, and refuses one outside of it', async () => {
    await put({ key: 'range of all.txt', text: '0123456789' });
    const get = (part: object) => done('get', { key: 'range of all.txt', ...part });
    expect(await get({ firstByte: 3, lastByte: 5 })).toMatchObject({ body: '345', sizeBytes: 10 });
    expect(await get({ firstByte: 8 })).toMatchObject({ body: '89' });
    expect(await get({ firstByte: 8, lastByte: 99 })).toMatchObject({ body: '89' });
    await faultOf(call('get', { key: 'range of all.txt', firstByte: 5, lastByte: 3 }), 'step.params');
    const fault = await faultOf(call('get', { key: 'range of all.txt', firstByte: 50 }), 'upstream.rejected');
    expect(fault.data).toMatchObject({ status: 416 });
  });

  it.each(KEYS)('takes the key %j literally', async (written) => {
    // Other tests put the same keys into the same bucket.
    const key = `all/${written}`;
    await put({ key, text: key });
    expect(await done('get', { key })).toMatchObject({ body: key });
    const { objects } = (await done('list', { prefix: key })) as { objects: { key: string }[] };
    expect(objects.map((object) => object.key)).toEqual([key]);
    await done('delete', { key });
    expect(await done('head', { key })).toEqual({ exists: false });
  });

  it.each(['.', '..', 'half a \ud800 character'])('refuses the key %j, which no address can name', async (key) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    await faultOf(call('put', { key, text: '' }, { fetch: never }), 'step.params');
  });

  it.each(['../other', 'a/b', 'a?b', 'x'.repeat(300)])('refuses the bucket %j', async (bucket) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    await faultOf(call('get', { bucket, key: 'a' }, { fetch: never }), 'step.params');
    await faultOf(call('list', { bucket }, { fetch: never }), 'step.params');
  });

  it('lists in pages and folds folders', async () => {
    for (const key of [
      'pages of all/1',
      'pages of all/2',
      'pages of all/3',
      'pages of all/sub/4',
      'pages of all/sub/5',
    ])
      await put({ key, text: key });
    const found: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const params = { prefix: 'pages of all/', limit: 2, ...(cursor !== undefined && { cursor }) };
      const page = (await done('list', params)) as { objects: { key: string }[]; cursor?: string };
      found.push(...page.objects.map(({ key }) => key));
      cursor = page.cursor;
      pages += 1;
    } while (cursor !== undefined);
    expect(found).toEqual([
      'pages of all/1',
      'pages of all/2',
      'pages of all/3',
      'pages of all/sub/4',
      'pages of all/sub/5',
    ]);
    expect(pages).toBe(3);
    expect(await done('list', { prefix: 'pages of all/', delimiter: '/' })).toMatchObject({
      objects: [{ key: 'pages of all/1', sizeBytes: 14 }, { key: 'pages of all/2' }, { key: 'pages of all/3' }],
      prefixes: ['pages of all/sub/'],
    });
  });

  it('copies within itself, with type and metadata', async () => {
    await put({ key: 'copy me & <all>', json: { a: 1 }, metadata: { owner: 'ada' } });
    await done('copy', { from: { key: 'copy me & <all>' }, to: { key: 'copied' } });
    expect(await done('get', { key: 'copied', as: 'json' })).toMatchObject({
      body: { a: 1 },
      contentType: 'application/json',
      metadata: { owner: 'ada' },
    });
    const fault = await faultOf(
      call('copy', { from: { key: 'never there' }, to: { key: 'copied' } }),
      'upstream.rejected',
    );
    expect(fault.data).toMatchObject({ status: 404 });
  });

  it('reads only what changed', async () => {
    const { etag } = await put({ key: 'cached', text: 'one' });
    expect(await done('get', { key: 'cached', ifNoneMatch: etag })).toEqual({ notModified: true });
    expect(await done('get', { key: 'cached', ifMatch: etag })).toMatchObject({ body: 'one' });
    await put({ key: 'cached', text: 'other' });
    expect(await done('get', { key: 'cached', ifNoneMatch: etag })).toMatchObject({ body: 'other' });
    const fault = await faultOf(call('get', { key: 'cached', ifMatch: etag }), 'upstream.rejected');
    expect(fault.data).toMatchObject({ status: 412 });
  });

  it.skipIf(store === 's3')('makes an object only where there is none', async () => {
    await put({ key: 'once', text: 'mine', ifNoneMatch: '*' });
    const fault = await faultOf(call('put', { key: 'once', text: 'yours', ifNoneMatch: '*' }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false });
    expect(await done('get', { key: 'once' })).toMatchObject({ body: 'mine' });
  });

  it.skipIf(store === 's3')('replaces an object only while it is the one that was read', async () => {
    const { etag } = await put({ key: 'version', text: 'one' });
    const { etag: second } = await put({ key: 'version', text: 'two', ifMatch: etag });
    const fault = await faultOf(call('put', { key: 'version', text: 'three', ifMatch: etag }), 'upstream.rejected');
    expect(fault.data).toMatchObject({ status: 412 });
    expect(await done('head', { key: 'version' })).toMatchObject({ etag: second });
  });
});

describe.each(REMOTE)('a connection to %s', (store) => {
  const { connector, credentials } = stores[store];
  const call = actionsOf(connector, credentials);

  const wrongSecrets: Record<string, Record<string, unknown>> = {
    s3: { accessKeyId: servers.s3.accessKeyId, secretAccessKey: 'a-wrong-secret' },
    'azure-blob': { accountKey: btoa('a-wrong-secret') },
    gcs: { serviceAccount: { ...servers.gcs.serviceAccount, client_email: 'a-wrong-secret@example.com' } },
  };

  it('with a wrong credential is refused, and says nothing of it', async () => {
    const secrets = wrongSecrets[store] ?? {};
    const wrong = actionsOf(connector, { settings: credentials.settings, secrets });
    const fault = await faultOf(wrong('list', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    const said = JSON.stringify(Object.values(secrets)).replaceAll('\\n', '\n');
    for (const secret of [said, 'a-wrong-secret', btoa('a-wrong-secret'), 'PRIVATE KEY']) {
      expect(written(fault)).not.toContain(secret);
    }
  });

  it('to an address where nobody listens is unreachable, which may pass', async () => {
    const settings = {
      ...credentials.settings,
      endpoint: DEAD_ADDRESS,
      ...(store === 'gcs' && { tokenEndpoint: DEAD_ADDRESS }),
    };
    const fault = await faultOf(
      actionsOf(connector, { ...credentials, settings })('get', { key: 'a' }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
  });

  it('to something else than such a store fails as unreadable', async () => {
    const settings = { ...credentials.settings, endpoint: `${servers.upstream.url}/echo` };
    await faultOf(actionsOf(connector, { ...credentials, settings })('list', {}), 'upstream.invalid');
  });

  it('that answers too late is given up', async () => {
    const settings = { ...credentials.settings, endpoint: `${servers.upstream.url}/delay/5000` };
    const slow = actionsOf(connector, { ...credentials, settings });
    await faultOf(slow('get', { key: 'a' }, { signal: AbortSignal.timeout(300) }), 'step.timeout');
  });

  it('that is lost while an object is read fails in a way that may pass', async () => {
    await output(call('put', { key: 'lost', text: 'x'.repeat(1000) }));
    const cut: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method !== 'GET' || response.headers.get('content-type')?.startsWith('application/json'))
        return response;
      const short = new Blob([(await response.text()).slice(0, 500)]).stream();
      return new Response(short, { status: response.status, headers: response.headers });
    };
    const fault = await faultOf(call('get', { key: 'lost' }, { fetch: cut }), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
  });

  it('that is cancelled while an object is read stops', async () => {
    await output(call('put', { key: 'cancelled', text: 'x'.repeat(1000) }));
    const controller = new AbortController();
    const cancelling: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!response.headers.get('content-type')?.startsWith('application/json')) controller.abort();
      return response;
    };
    const options = { fetch: cancelling, signal: controller.signal };
    await faultOf(call('get', { key: 'cancelled' }, options), 'step.timeout');
  });

  it('gives addresses that read and write without credentials, and that cannot be bent', async () => {
    const presign = async (params: object) =>
      (await output(call('presign', params))) as { url: string; headers: Record<string, string> };
    const at = { key: 'signed/a b+c.txt', expiresSeconds: 60 };
    const put = await presign({ ...at, method: 'PUT' });
    const sent = await fetch(put.url, { method: 'PUT', body: 'by link', headers: put.headers });
    await sent.text();
    expect([200, 201]).toContain(sent.status);
    const { url } = await presign(at);
    expect(await (await fetch(url)).text()).toBe('by link');
    await output(call('put', { key: 'signed/other', text: 'not yours' }));
    const bent = [url.replace(/signed\/[^?]*/, 'signed/other'), url.replace(/(sig|Signature)=../, '$1=00')];
    for (const address of bent) {
      const response = await fetch(address);
      await response.text();
      expect(response.status).toBe(403);
    }
    const overwritten = await fetch(url, { method: 'PUT', body: 'x', headers: put.headers });
    await overwritten.text();
    expect(overwritten.status).toBe(403);
  });
});

it('a store without conditional writes refuses one, and writes nothing', async () => {
  const call = actionsOf(stores.s3.connector, stores.s3.credentials);
  const sent: (string | null)[] = [];
  const recording: typeof fetch = (input, init) => {
    const headers = new Headers(init?.headers);
    sent.push(headers.get('if-none-match'), headers.get('if-match'));
    return fetch(input, init);
  };
  for (const condition of [{ ifNoneMatch: '*' }, { ifMatch: 'abc' }]) {
    const put = call('put', { key: 'conditional', text: 'x', ...condition }, { fetch: recording });
    expect((await faultOf(put, 'upstream.rejected')).data).toMatchObject({ status: 501, code: 'NotImplemented' });
  }
  expect(sent).toEqual(['*', null, null, '"abc"']);
  expect(await output(call('head', { key: 'conditional' }))).toEqual({ exists: false });
});

describe.each(['s3', 'azure-blob'] as const)('an object in parts of %s', (store) => {
  const { connector, credentials } = stores[store];
  const call = actionsOf(connector, credentials);

  it('is joined in order, and over the memory of an isolate is read in part only', async () => {
    const parts = [{ text: 'x'.repeat(5 * MEGABYTE) }, { text: 'y'.repeat(4 * MEGABYTE) }];
    await output(call('multipart', { key: 'large', parts, contentType: 'text/plain', metadata: { a: 'b' } }));
    expect(await output(call('head', { key: 'large' }))).toMatchObject({
      sizeBytes: 9 * MEGABYTE,
      contentType: 'text/plain',
      metadata: { a: 'b' },
    });
    await faultOf(call('get', { key: 'large' }), 'upstream.too-large');
    const part = { key: 'large', firstByte: 5 * MEGABYTE - 1, lastByte: 5 * MEGABYTE };
    expect(await output(call('get', part))).toMatchObject({ body: 'xy' });
  });
});
