/** Copies from one store to another, without holding more than a part of the body. */

import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { objects } from '../../../src/connectors/objects/index.ts';
import { actionsOf, faultOf, output, type CallOptions } from './fixtures.ts';
import { stores, type StoreName } from './object-stores.ts';
import { cutAfter, optionsFor, STORE_NAMES } from './store-options.ts';

const MEGABYTE = 1024 * 1024;
const copy = (params: unknown, given?: Partial<CallOptions>) => actionsOf(objects)('copy', params, optionsFor(given));
const at = (store: StoreName) => (store === 'r2' ? {} : { connection: store });
const callOf = (store: StoreName) => actionsOf(stores[store].connector, stores[store].credentials);

/** Bytes that repeat nowhere near a multiple of a part. */
function bytesOf(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = index % 251;
  return bytes;
}

const digestOf = async (stream: ReadableStream): Promise<string> => {
  const digest = new crypto.DigestStream('SHA-256');
  await stream.pipeTo(digest);
  return Buffer.from(await digest.digest).toString('hex');
};

const PAIRS = STORE_NAMES.flatMap((from) => STORE_NAMES.filter((to) => to !== from).map((to) => [from, to] as const));

describe('a copy', () => {
  it.each(PAIRS)('from %s to %s takes content, type and metadata along', async (from, to) => {
    await output(
      callOf(from)('put', {
        key: 'copy/source',
        text: 'copied',
        contentType: 'text/x-copy',
        metadata: { owner: 'ada' },
      }),
    );
    const source = { ...at(from), key: 'copy/source' };
    expect(await output(copy({ from: source, to: { ...at(to), key: `copy/from-${from}` } }))).toMatchObject({
      sizeBytes: 6,
    });
    expect(await output(callOf(to)('get', { key: `copy/from-${from}` }))).toMatchObject({
      body: 'copied',
      contentType: 'text/x-copy',
      metadata: { owner: 'ada' },
    });
  });

  it('of a large object goes through every store in parts and stays the same', async () => {
    const size = 20 * MEGABYTE + 12_345;
    await env.OBJECTS.put('large', bytesOf(size));
    const way: StoreName[] = ['r2', 's3', 'azure-blob', 'gcs', 'r2'];
    for (const [index, to] of way.slice(1).entries()) {
      const from = way[index] ?? 'r2';
      const params = {
        from: { ...at(from), key: index === 0 ? 'large' : 'carried' },
        to: { ...at(to), key: 'carried' },
      };
      expect(await output(copy(params))).toMatchObject({ sizeBytes: size });
    }
    const carried = await env.OBJECTS.get('carried');
    expect(carried?.size).toBe(size);
    const original = await digestOf(new Blob([bytesOf(size)]).stream());
    expect(await digestOf(carried?.body ?? new Blob([]).stream())).toBe(original);
  });

  it('of an empty object makes an empty object', async () => {
    await output(callOf('s3')('put', { key: 'nothing in it', text: '' }));
    await output(
      copy({ from: { connection: 's3', key: 'nothing in it' }, to: { connection: 'azure-blob', key: 'nothing' } }),
    );
    expect(await output(callOf('azure-blob')('get', { key: 'nothing' }))).toMatchObject({ body: '', sizeBytes: 0 });
  });

  it('of an object that is not there fails for good and writes nothing', async () => {
    const params = { from: { connection: 's3', key: 'not there' }, to: { connection: 'azure-blob', key: 'not made' } };
    expect((await faultOf(copy(params), 'upstream.rejected')).data).toMatchObject({ status: 404 });
    expect(await output(callOf('azure-blob')('head', { key: 'not made' }))).toEqual({ exists: false });
  });

  it.each(['s3', 'gcs', 'azure-blob'] as const)('whose source breaks off leaves nothing at %s', async (to) => {
    await env.OBJECTS.put('breaks', bytesOf(10 * MEGABYTE));
    await output(
      copy({ from: { key: 'breaks' }, to: { connection: to === 's3' ? 'azure-blob' : 's3', key: 'breaks' } }),
    );
    const cut: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method !== 'GET') return response;
      const body =
        response.body?.pipeThrough(cutAfter(9 * MEGABYTE)).pipeThrough(new IdentityTransformStream()) ?? null;
      return new Response(body, { status: response.status, headers: response.headers });
    };
    const from = { connection: to === 's3' ? 'azure-blob' : 's3', key: 'breaks' };
    const fault = await faultOf(
      copy({ from, to: { connection: to, key: 'broken' } }, { fetch: cut }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
    expect(await output(callOf(to)('head', { key: 'broken' }))).toEqual({ exists: false });
  });

  it('that is cancelled between two parts stops', async () => {
    await env.OBJECTS.put('cancelled', bytesOf(20 * MEGABYTE));
    const controller = new AbortController();
    const cancelling: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (String(input).includes('comp=block&')) controller.abort();
      return response;
    };
    const to = { connection: 'azure-blob', key: 'cancelled copy' };
    const options = { fetch: cancelling, signal: controller.signal };
    await faultOf(copy({ from: { key: 'cancelled' }, to }, options), 'step.timeout');
    expect(await output(callOf('azure-blob')('head', { key: 'cancelled copy' }))).toEqual({ exists: false });
  });

  it.each(['from', 'to'] as const)(
    'whose connection in `%s` came with data is refused, before any is opened',
    async (side) => {
      const params = { from: { connection: 's3', key: 'a' }, to: { connection: 'azure-blob', key: 'a' } };
      const written = { ...params, [side]: { ...params[side], connection: '{{ input.store }}' } };
      const openStore = () => Promise.reject(new Error('opened'));
      const fault = await faultOf(actionsOf(objects)('copy', params, { written, openStore }), 'step.params');
      expect(fault.message).toContain(`${side}.connection`);
    },
  );

  it('to a connection that is not there, or is no object store, says which', async () => {
    const params = { from: { connection: 's3', key: 'a' }, to: { connection: 'nowhere', key: 'a' } };
    expect((await faultOf(copy(params), 'connection.not-found')).message).toContain('nowhere');
  });
});
