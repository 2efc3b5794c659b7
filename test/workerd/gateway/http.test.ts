import { describe, expect, it } from 'vitest';
import { call, codeOf, manage, publish, QUICK, receipts, runsOf, upstream } from './fixtures.ts';

async function keyFor(...scopes: string[]): Promise<string> {
  const { body } = await manage('POST /keys', { name: 'test', scopes });
  return String(body['key']);
}

describe('a route with a key', () => {
  const chain = { output: 'open' };
  const guarded = { auth: 'key' };

  it.each([
    ['none', {}, 'auth.missing'],
    ['an empty one', { authorization: 'Bearer ' }, 'auth.missing'],
    ['one of another form', { authorization: 'Basic dGVzdDp0ZXN0' }, 'auth.missing'],
    ['one that was never made', { authorization: 'Bearer tg_0123456789abcdef' }, 'auth.invalid'],
    ['the admin key', { authorization: 'Bearer test-admin-key' }, 'auth.invalid'],
  ])('refuses %s', async (_what, headers, code) => {
    const { route, name } = await publish(chain, guarded);
    const refused = await call(route, {}, headers);
    expect(codeOf(refused)).toEqual([401, code]);
    const told = code === 'auth.missing' ? '' : ', error="invalid_token"';
    expect(refused.headers.get('www-authenticate')).toBe(`Bearer realm="tidegate"${told}`);
    expect(await runsOf(name)).toBe(0);
  });

  it('takes a key of its scope, either way it is sent, and not the key of another chain', async () => {
    const { route, name } = await publish(chain, guarded);
    const key = await keyFor(`chain:${name}`);
    expect((await call(route, {}, { authorization: `bearer ${key}` })).text).toBe('"open"');
    expect((await call(route, {}, { 'x-api-key': key })).status).toBe(200);
    const other = await publish(chain, guarded);
    expect(codeOf(await call(other.route, {}, { 'x-api-key': key }))).toEqual([403, 'auth.forbidden']);
    expect((await call(other.route, {}, { 'x-api-key': await keyFor('chain:*') })).status).toBe(200);
  });

  it('takes no key that has expired or was revoked', async () => {
    const { route } = await publish(chain, guarded);
    const expiresAt = new Date(Date.now() + 300).toISOString();
    const { body } = await manage('POST /keys', { name: 'short', expiresAt });
    const revoked = await manage('POST /keys', { name: 'revoked' });
    expect((await call(route, {}, { 'x-api-key': String(revoked.body['key']) })).status).toBe(200);
    await manage(`DELETE /keys/${String(revoked.body['id'])}`);
    expect(codeOf(await call(route, {}, { 'x-api-key': String(revoked.body['key']) }))).toEqual([401, 'auth.invalid']);
    await scheduler.wait(Math.max(0, Date.parse(expiresAt) - Date.now() + 1));
    expect(codeOf(await call(route, {}, { 'x-api-key': String(body['key']) }))).toEqual([401, 'auth.invalid']);
  });
});

describe('an address', () => {
  it('that no chain answers is 404, one with another method 405 with the methods', async () => {
    const { name, route } = await publish({ output: 1 });
    expect(codeOf(await call('GET /nothing'))).toEqual([404, 'request.not-found']);
    expect(codeOf(await call(`${route}/more`))).toEqual([404, 'request.not-found']);
    const refused = await call(`DELETE /${name}`);
    expect(codeOf(refused)).toEqual([405, 'request.method']);
    expect(refused.headers.get('allow')).toBe('POST');
  });

  it('is open as soon as the publishing is answered, and closed as soon as the removal is', async () => {
    const { name, route } = await publish({ output: 1 });
    expect((await call(route)).status).toBe(200);
    await manage(`DELETE /chains/${name}`);
    expect((await call(route)).status).toBe(404);
  });

  it('gives its parameters and query to the chain, without credentials', async () => {
    const output = { id: '{{ trigger.params.id }}', q: '{{ trigger.query.q }}', headers: '{{ trigger.headers }}' };
    await publish({ output }, { method: 'GET', path: '/things/{id}' });
    const { body } = await call('GET /things/A%20b?q=x+y', undefined, { cookie: 'secret', 'x-mine': '1' });
    expect(body).toMatchObject({ id: 'A b', q: 'x y', headers: { 'x-mine': '1' } });
    expect(body['headers']).not.toHaveProperty('cookie');
  });

  it('that takes GET answers HEAD without a body', async () => {
    const { name } = await publish({ output: { a: 1 } }, { method: 'GET', path: '/headed' });
    expect(name).not.toBe('');
    const { status, text } = await call('HEAD /headed');
    expect([status, text]).toEqual([200, '']);
  });
});

describe('an input', () => {
  const input = { type: 'object', required: ['id'], properties: { id: { type: 'string' } } };

  it.each([[{}], [{ id: 1 }], [[]], ['"text"'], [undefined]])('%j is refused with its issues', async (body) => {
    const { route, name } = await publish({ input, output: '{{ input.id }}' });
    const refused = await call(route, body);
    expect(codeOf(refused)).toEqual([400, 'input.invalid']);
    expect(refused.body['errors']).toMatchObject([{ path: expect.any(String), message: expect.any(String) }]);
    expect(await runsOf(name)).toBe(0);
  });

  it('that is no JSON is refused', async () => {
    const { route } = await publish({ output: 1 });
    expect(codeOf(await call(route, '{"a":'))).toEqual([400, 'request.invalid']);
  });
});

describe('an inline chain', () => {
  it('runs its steps, answers with the output, and can be read afterwards', async () => {
    const path = '/echo?test=inline';
    const { route } = await publish({
      steps: {
        shape: { use: 'data.map', with: { total: '{{ $sum(input.items) }}' } },
        send: { use: 'http.post', with: { url: upstream + path, json: '{{ steps.shape }}' } },
      },
      output: { total: '{{ steps.shape.total }}', status: '{{ steps.send.status }}' },
    });
    const answered = await call(route, { items: [1, 2, 3] });
    expect([answered.status, answered.body]).toEqual([200, { total: 6, status: 200 }]);
    const id = answered.headers.get('tidegate-run') ?? '';
    expect(await receipts(path)).toMatchObject([{ idempotencyKey: `${id}:send:0`, body: '{"total":6}' }]);
    expect((await manage(`GET /runs/${id}`)).body).toMatchObject({
      status: 'succeeded',
      mode: 'inline',
      input: { items: [1, 2, 3] },
      steps: [{ id: 'shape' }, { id: 'send', status: 'succeeded', attempts: [{ attempt: 1 }] }],
    });
  });

  it('without an output answers 204', async () => {
    const { route } = await publish({ steps: { a: { use: 'data.map', with: { b: 1 } } } });
    expect(await call(route)).toMatchObject({ status: 204, text: '' });
  });

  it('answers with what flow.respond says, and goes on', async () => {
    const path = '/echo?test=respond';
    const { route } = await publish({
      steps: {
        answer: {
          use: 'flow.respond',
          with: { status: 201, headers: { 'content-type': 'text/csv', 'x-mine': 'yes' }, body: 'a,b' },
        },
        later: { use: 'http.post', with: { url: upstream + path }, after: ['answer'] },
      },
    });
    const { status, text, headers } = await call(route);
    expect([status, text, headers.get('content-type'), headers.get('x-mine')]).toEqual([201, 'a,b', 'text/csv', 'yes']);
    await expect.poll(async () => (await receipts(path)).length).toBe(1);
  });

  it.each([204, 304])('answers %d without the body that it may not have', async (status) => {
    const { route } = await publish({ steps: { a: { use: 'flow.respond', with: { status, body: 'x' } } } });
    expect(await call(route)).toMatchObject({ status, text: '' });
  });

  it('ends with the status and message of flow.fail, and names the step', async () => {
    const { route } = await publish({
      steps: { stop: { use: 'flow.fail', with: { message: 'No order {{ input.id }}.', status: 404 } } },
    });
    const failed = await call(route, { id: 'A1' });
    expect(codeOf(failed)).toEqual([404, 'run.failed']);
    expect(failed.body).toMatchObject({ detail: 'No order A1.', step: 'stop' });
    expect(failed.headers.get('content-type')).toBe('application/problem+json');
  });

  it('takes the error route of a step that fails, with its error in reach', async () => {
    const { route } = await publish({
      steps: {
        send: { use: 'http.post', with: { url: `${upstream}/status/422` }, onError: 'mend' },
        mend: { use: 'data.map', with: { was: '{{ steps.send.error.data.status }}' } },
        next: { use: 'data.map', with: { a: 1 }, after: ['send'] },
      },
      output: { mended: '{{ steps.mend }}', next: '{{ $exists(steps.next) }}' },
    });
    expect((await call(route)).body).toEqual({ mended: { was: 422 }, next: false });
  });

  it('tells an upstream that fails as 502, and tries again only where it says so', async () => {
    const failing = (key: string, more: object) => ({
      steps: { send: { use: 'http.get', with: { url: `${upstream}/fail-first/2/${key}` }, ...more } },
      output: '{{ steps.send.body }}',
    });
    const once = await publish(failing('once', {}));
    expect(codeOf(await call(once.route))).toEqual([502, 'upstream.unavailable']);
    const again = await publish(failing('again', { retries: QUICK }));
    expect((await call(again.route)).body).toEqual({ call: 3 });
  });

  it('reaches no address that the owner has not listed', async () => {
    const { route } = await publish({ steps: { a: { use: 'http.get', with: { url: 'http://169.254.169.254/' } } } });
    expect(codeOf(await call(route))).toEqual([403, 'egress.refused']);
  });
});
