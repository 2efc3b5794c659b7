/** What each object store takes as a credential, beside the one that all tests use. */

import { describe, expect, it } from 'vitest';
import { azureBlob } from '../../../src/connectors/azure-blob/index.ts';
import { gcs } from '../../../src/connectors/gcs/index.ts';
import { r2 } from '../../../src/connectors/r2/index.ts';
import { actionsOf, faultOf, output, written, type Credentials } from './fixtures.ts';
import { stores } from './object-stores.ts';

/** A connection as one configuration has it: the same secrets for every call. */
function counting(status?: { readonly path: string; readonly once: number }) {
  const seen: string[] = [];
  let refused = false;
  const spy: typeof fetch = (input, init) => {
    const { pathname } = new URL(String(input));
    seen.push(pathname);
    if (status !== undefined && !refused && pathname.startsWith(status.path)) {
      refused = true;
      return Promise.resolve(new Response('{}', { status: status.once }));
    }
    return fetch(input, init);
  };
  return { spy, tokens: () => seen.filter((path) => path === '/token').length };
}

const { settings, secrets } = stores.gcs.credentials;
const account = () => ({ settings, secrets: { serviceAccount: { ...secrets.serviceAccount } } });

describe('a service account of Google', () => {
  const facts = gcs.connection;
  const open = (credentials: Credentials, watched: typeof fetch) => {
    const connection = { name: 'gcs', ...credentials };
    const store = facts?.store?.({ fetch: watched, signal: undefined, now: Date.now, connection });
    if (store?.ok !== true) throw new Error('no store');
    return store.value;
  };

  it('gets one token for many calls', async () => {
    const { spy, tokens } = counting();
    const credentials = account();
    for (let call = 0; call < 3; call++) expect((await open(credentials, spy).list({})).ok).toBe(true);
    expect(tokens()).toBe(1);
  });

  it('gets another once its token is refused', async () => {
    const { spy, tokens } = counting({ path: '/storage', once: 401 });
    const credentials = account();
    expect(await open(credentials, spy).list({})).toMatchObject({
      ok: false,
      fault: { code: 'upstream.unauthorized' },
    });
    expect((await open(credentials, spy).list({})).ok).toBe(true);
    expect(tokens()).toBe(2);
  });

  it('gets another a minute before its token expires', async () => {
    const { spy, tokens } = counting();
    const credentials = account();
    const connection = { name: 'gcs', ...credentials };
    for (const later of [0, 58 * 60_000, 59 * 60_000 + 1_000]) {
      const store = facts?.store?.({ fetch: spy, signal: undefined, now: () => Date.now() + later, connection });
      if (store?.ok === true) await store.value.list({});
    }
    expect(tokens()).toBe(2);
  });

  it('with a key that is none is refused without a word of it', async () => {
    const serviceAccount = { client_email: 'a@example.com', private_key: '-----BEGIN PRIVATE KEY-----\nTOPSECRET' };
    const fault = await faultOf(
      actionsOf(gcs, { settings, secrets: { serviceAccount } })('list', {}),
      'connection.invalid',
    );
    expect(written(fault)).not.toContain('TOPSECRET');
  });
});

describe('HMAC keys of Google', () => {
  it('sign for the S3 protocol of the endpoint', async () => {
    const seen: string[] = [];
    const recording: typeof fetch = (input, init) => {
      seen.push(String(input), new Headers(init?.headers).get('authorization') ?? '');
      return Promise.resolve(new Response('hello', { headers: { etag: '"e"' } }));
    };
    const hmac = actionsOf(gcs, {
      settings: { bucket: 'reports' },
      secrets: { accessKeyId: 'GOOG1', secretAccessKey: 's' },
    });
    expect(await output(hmac('get', { key: 'a b' }, { fetch: recording }))).toMatchObject({ body: 'hello', etag: 'e' });
    expect(seen[0]).toBe('https://storage.googleapis.com/reports/a%20b');
    expect(seen[1]).toMatch(/^AWS4-HMAC-SHA256 Credential=GOOG1\/\d{8}\/auto\/s3\/aws4_request/);
  });

  it.each([[{}], [{ accessKeyId: 'a' }], [{ ...secrets, accessKeyId: 'a', secretAccessKey: 's' }]])(
    'and a service account are not mixed, and neither is left out',
    async (given) => {
      await faultOf(actionsOf(gcs, { settings, secrets: given })('list', {}), 'connection.invalid');
    },
  );
});

describe('a SAS of Azure', () => {
  it('opens what it was made for, and nothing else', async () => {
    const call = actionsOf(stores['azure-blob'].connector, stores['azure-blob'].credentials);
    await output(call('put', { key: 'by sas', text: 'open' }));
    await output(call('put', { key: 'not by sas', text: 'closed' }));
    const { url } = (await output(call('presign', { key: 'by sas' }))) as { url: string };
    const sas = new URL(url).search;
    const limited = actionsOf(azureBlob, { ...stores['azure-blob'].credentials, secrets: { sas } });
    expect(await output(limited('get', { key: 'by sas' }))).toMatchObject({ body: 'open' });
    const signature = new URL(url).searchParams.get('sig') ?? '';
    for (const [action, params] of [
      ['get', { key: 'not by sas' }],
      ['put', { key: 'by sas', text: 'overwritten' }],
      ['list', {}],
    ] as const) {
      const fault = await faultOf(limited(action, params), 'upstream.unauthorized');
      expect(written(fault)).not.toContain(signature);
    }
    await faultOf(limited('presign', { key: 'by sas' }), 'step.params');
  });

  it('and a key are not given together', async () => {
    const both = { accountKey: stores['azure-blob'].credentials.secrets.accountKey, sas: 'sig=a' };
    const wrong = actionsOf(azureBlob, { ...stores['azure-blob'].credentials, secrets: both });
    await faultOf(wrong('list', {}), 'connection.invalid');
  });
});

it('a Worker without a bucket says what to add', async () => {
  const get = r2.actions['get'];
  const result = await get?.run({ key: 'a', as: 'text' }, { bucket: undefined } as never);
  expect(result).toMatchObject({
    ok: false,
    fault: { code: 'connection.not-found', message: expect.stringContaining('OBJECTS') },
  });
});
