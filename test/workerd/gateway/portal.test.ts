import { beforeAll, describe, expect, it, vi } from 'vitest';
import { call, codeOf, manage, publish, upstream } from './fixtures.ts';

const key = async (scopes: readonly string[]): Promise<Record<string, string>> => {
  const { body } = await manage('POST /keys', { name: 'reader', scopes });
  return { 'x-api-key': String(body['key']) };
};

const operationIds = async (headers: Record<string, string> = {}): Promise<string[]> => {
  const { body } = await call('GET /_/docs/openapi.json', undefined, headers);
  const paths = Object.values(body['paths'] as Record<string, Record<string, { operationId: string }>>);
  return paths.flatMap((item) => Object.values(item).map(({ operationId }) => operationId)).toSorted();
};

let chain = '';

beforeAll(async () => {
  await manage('PUT /upstreams/shop', { targets: [{ url: upstream }] });
  await manage('PUT /routes/open', {
    path: '/open/{rest*}',
    methods: ['GET'],
    upstream: 'shop',
    auth: 'public',
    docs: { audience: 'public', summary: 'Read\n# anything', tags: ['Shop'] },
  });
  await manage('PUT /routes/keyed', {
    path: '/{version}/orders/{id}',
    methods: ['GET', 'POST'],
    upstream: 'shop',
    docs: { request: { type: 'object', required: ['n'] }, response: { type: 'object' } },
    versions: { by: 'path', list: { v1: { deprecated: '2026-01-01T00:00:00Z' }, v2: {} } },
  });
  await manage('PUT /routes/hidden', { path: '/hidden', upstream: 'shop', docs: { audience: 'internal' } });
  const input = { type: 'object', required: ['id'], properties: { id: { type: 'string' }, n: { type: 'integer' } } };
  const published = await publish({ input, output: 1 }, { method: 'GET', auth: 'key' });
  chain = published.name;
});

describe('the document', () => {
  it('tells anybody of what is public, and nothing else', async () => {
    expect(await operationIds()).toEqual(['open-get']);
  });

  it('tells a key of what it may call too, but of nothing internal', async () => {
    const keyed = ['keyed-v1-get', 'keyed-v1-post', 'keyed-v2-get', 'keyed-v2-post', 'open-get'];
    expect(await operationIds(await key(['route:keyed']))).toEqual(keyed);
    expect(await operationIds(await key([`chain:${chain}`]))).toEqual([`${chain}-api`, 'open-get']);
    expect(await operationIds(await key(['route:*']))).toEqual(keyed);
  });

  it('is not shown in part to a wrong key', async () => {
    expect(codeOf(await call('GET /_/docs/openapi.json', undefined, { 'x-api-key': 'tg_wrong' }))).toEqual([
      401,
      'auth.invalid',
    ]);
  });

  it('is OpenAPI 3.1 with parameters, bodies, security and deprecation', async () => {
    const { body, headers } = await call('GET /_/docs/openapi.json', undefined, await key(['route:*', 'chain:*']));
    expect(headers.get('cache-control')).toBe('private, no-store');
    const paths = body['paths'] as Record<string, Record<string, unknown>>;
    expect(body['openapi']).toBe('3.1.0');
    expect(paths['/open/{rest}']?.['get']).toMatchObject({
      security: [],
      tags: ['Shop'],
      parameters: [{ name: 'rest', in: 'path' }],
    });
    expect(paths['/v1/orders/{id}']?.['post']).toMatchObject({
      deprecated: true,
      security: [{ bearerKey: [] }, { headerKey: [] }],
      requestBody: { required: true, content: { 'application/json': { schema: { required: ['n'] } } } },
      responses: { 200: { content: { 'application/json': { schema: { type: 'object' } } } }, default: {} },
    });
    expect(paths['/v2/orders/{id}']?.['get']).not.toHaveProperty('deprecated');
    expect(paths[`/${chain}`]?.['get']).toMatchObject({
      parameters: [
        { name: 'id', in: 'query', required: true, schema: { type: 'string' } },
        { name: 'n', in: 'query', schema: { type: 'integer' } },
      ],
    });
  });
});

it('llms.txt lists the operations, each on one line', async () => {
  const { text, headers } = await call('GET /_/docs/llms.txt');
  expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(text).toMatch(/^# API\n\n> The API at https:\/\/gateway\.test\./);
  expect(text).toContain('## Shop\n\n- `GET /open/{rest}`: Read # anything (open to anybody)\n');
});

it('a key reads its own usage, and nobody reads it without', async () => {
  const headers = await key(['route:*']);
  await call('GET /v2/orders/7', undefined, headers);
  await vi.waitFor(async () => {
    const { body } = await call('GET /_/docs/usage', undefined, headers);
    expect(body['items']).toMatchObject([{ target: 'route:keyed', requests: 1, failures: 1 }]);
  }, 10_000);
  expect(codeOf(await call('GET /_/docs/usage'))).toEqual([401, 'auth.missing']);
  const other = await call('GET /_/docs/usage', undefined, await key(['route:*']));
  expect(other.body['items']).toEqual([]);
});

it.each(['', 'nothing', 'toString', '__proto__', 'usage/'])('there is nothing at /_/docs/%s', async (path) => {
  expect(codeOf(await call(`GET /_/docs/${path}`))).toEqual([404, 'request.not-found']);
});
