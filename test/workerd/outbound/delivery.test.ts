import { describe, expect, it } from 'vitest';
import { application, isSignedBy, keysOf, pathOf, received, receiptsAt } from './fixtures.ts';
import { manage } from '../gateway/fixtures.ts';

describe('a message that was accepted', () => {
  it('comes to the endpoint as it was sent, signed so that another implementation verifies it', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path, { headers: { authorization: 'Bearer of-the-customer' } });
    const message = await app.sent({ total: 12.5, note: 'Grüße 🚀' });
    const [receipt] = await received(path, 1);
    expect(receipt).toMatchObject({
      body: '{"total":12.5,"note":"Grüße 🚀"}',
      headers: { 'webhook-id': message, 'content-type': 'application/json', authorization: 'Bearer of-the-customer' },
    });
    const [key = ''] = await keysOf(endpoint);
    expect(key).toMatch(/^whsec_/);
    expect(receipt && isSignedBy(key, receipt)).toBe(true);
    expect(receipt && isSignedBy(key, { ...receipt, body: '{"total":1}' })).toBe(false);
    const delivery = await endpoint.delivery(message, { status: 'delivered', nextAttemptAt: null });
    expect(delivery.attempts).toMatchObject([{ status: 200, error: null }]);
  });

  it('is signed by Ed25519 and under other header names where the endpoint asks for that', async () => {
    const app = await application();
    const path = pathOf('echo');
    const headerNames = { id: 'x-id', timestamp: 'x-time', signature: 'x-sign', eventType: 'x-event' };
    const endpoint = await app.endpoint(path, { algorithm: 'ed25519', headerNames });
    await app.sent({ a: 1 });
    const [receipt] = await received(path, 1);
    const [key = ''] = await keysOf(endpoint);
    expect(key).toMatch(/^whpk_/);
    expect(receipt && isSignedBy(key, receipt, ['x-id', 'x-time', 'x-sign'])).toBe(true);
    expect(receipt?.headers['x-event']).toBe(app.eventType);
    expect(receipt?.headers['webhook-signature']).toBeUndefined();
  });

  it('is one message however often its id is sent, and nothing is sent anew', async () => {
    const app = await application();
    const path = pathOf('echo');
    await app.endpoint(path);
    const sent = await Promise.all([1, 2, 3].map(() => app.send({ n: 1 }, { id: 'order-7' })));
    expect(sent.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect(sent.filter(({ body }) => body['duplicate'] === false)).toHaveLength(1);
    expect((await app.send({ n: 2 }, { id: 'order-7' })).body).toEqual({ id: 'order-7', duplicate: true });
    await app.sent({ n: 3 });
    const receipts = await received(path, 2);
    expect(receipts.map(({ body }) => body)).toEqual(['{"n":1}', '{"n":3}']);
  });

  it('comes only to endpoints whose event types, channels and filter it fits', async () => {
    const app = await application();
    const settings = {
      all: {},
      type: { eventTypes: ['other.type'] },
      channel: { channels: ['eu'] },
      rich: { filter: '{{ payload.total > 100 }}' },
      missing: { filter: '{{ payload.absent = 1 }}' },
    };
    const paths = await Promise.all(
      Object.values(settings).map(async (each) => {
        const path = pathOf('echo');
        await app.endpoint(path, each);
        return path;
      }),
    );
    await app.sent({ total: 50 }, { channels: ['us'] });
    await app.sent({ total: 500 }, { channels: ['eu', 'us'] });
    await received(paths[0] ?? '', 2);
    await received(paths[2] ?? '', 1);
    await received(paths[3] ?? '', 1);
    const counts = await Promise.all(paths.map(async (path) => (await receiptsAt(path)).length));
    expect(counts).toEqual([2, 0, 1, 1, 0]);
  });

  it('is transformed for the endpoint that asks for that, and signed as it is sent', async () => {
    const app = await application();
    const path = pathOf('echo');
    const transformation = { text: 'Paid: {{ payload.total }}', kind: '{{ eventType }}' };
    const endpoint = await app.endpoint(path, { transformation });
    await app.sent({ total: 7 });
    const [receipt] = await received(path, 1);
    expect(JSON.parse(receipt?.body ?? '')).toEqual({ text: 'Paid: 7', kind: app.eventType });
    const [key = ''] = await keysOf(endpoint);
    expect(receipt && isSignedBy(key, receipt)).toBe(true);
  });

  it('tells in the log why its transformation failed, and is tried again', async () => {
    const app = await application();
    const endpoint = await app.endpoint(pathOf('echo'), { transformation: '{{ payload.absent }}' });
    const { attempts } = await endpoint.delivery(await app.sent({}), {
      status: 'pending',
      nextAttemptAt: expect.any(String),
    });
    expect(attempts).toMatchObject([{ status: null, error: expect.stringContaining('transformation failed') }]);
  });
});

describe('a message is refused', () => {
  it('where its event type is unknown or archived, or its payload does not match the schema', async () => {
    const app = await application();
    const schema = { type: 'object', required: ['total'], properties: { total: { type: 'number' } } };
    await manage(`PUT /event-types/${app.eventType}`, { schema });
    // The object of another application has not seen the event type yet.
    const fresh = await application();
    const refused = await fresh.send({ total: 'much' }, { eventType: app.eventType });
    expect(refused).toMatchObject({
      status: 422,
      body: { code: 'message.invalid', errors: [{ path: 'payload.total' }] },
    });
    expect((await fresh.send({}, { eventType: 'never.made' })).body).toMatchObject({ code: 'event-type.not-found' });
    await manage('PUT /event-types/old.type', { archived: true });
    expect((await fresh.send({}, { eventType: 'old.type' })).body).toMatchObject({ code: 'event-type.archived' });
    expect((await fresh.call('GET /messages')).body['items']).toEqual([]);
  });

  it.each([
    { id: 'msg_mine' },
    { id: 'a.b' },
    { id: '' },
    { eventType: 'NoDot' },
    { channels: ['a b'] },
    { surprise: 1 },
  ])('with %j', async (more) => {
    const app = await application();
    expect((await app.send({}, more)).status).toBe(400);
  });

  it('where there is no such application, by id or by uid', async () => {
    for (const id of ['nobody', `app_${'0'.repeat(32)}`, 'app_short']) {
      const refused = await manage(`POST /applications/${id}/messages`, { eventType: 'a.b', payload: 1 });
      expect(refused).toMatchObject({ status: 404, body: { code: 'application.not-found' } });
    }
  });
});

describe('an endpoint is refused', () => {
  it.each([
    ['url', { url: 'https://10.0.0.1/hook' }],
    ['url', { url: 'http://169.254.169.254/latest' }],
    ['url', { url: 'https://[::1]/' }],
    ['url', { url: 'ftp://example.com/' }],
    ['url', { url: 'https://user:pass@example.com/' }],
    ['filter', { url: 'https://example.com/', filter: 'payload.total' }],
    ['filter', { url: 'https://example.com/', filter: '{{ payload. }}' }],
    ['transformation.a', { url: 'https://example.com/', transformation: { a: '{{ ( }}' } }],
    ['secret', { url: 'https://example.com/', secret: 'whsec_c2hvcnQ=' }],
    ['secret', { url: 'https://example.com/', secret: 'a secret' }],
  ])('for its %s: %j', async (path, settings) => {
    const app = await application();
    const refused = await app.call('POST /endpoints', settings);
    expect(refused).toMatchObject({ status: 422, body: { code: 'endpoint.invalid', errors: [{ path }] } });
    expect(refused.text).not.toContain('c2hvcnQ');
  });

  it.each([
    { headers: { 'content-length': '5' } },
    { headers: { 'x-a': 'line\r\nbreak' } },
    { headerNames: { id: 'x', signature: 'x' } },
    { timeoutMilliseconds: 60_000 },
    { eventTypes: [] },
  ])('with %j', async (settings) => {
    const app = await application();
    const refused = await app.call('POST /endpoints', { url: 'https://example.com/', ...settings });
    expect(refused).toMatchObject({ status: 400, body: { code: 'request.invalid' } });
  });
});

describe('nothing of one application is found through another', () => {
  it('neither its endpoints nor its messages', async () => {
    const [mine, theirs] = [await application(), await application()];
    const endpoint = await theirs.endpoint(pathOf('echo'));
    const message = await theirs.sent({ secret: 1 }, { id: 'theirs' });
    for (const route of [
      `GET /endpoints/${endpoint.id}`,
      `GET /endpoints/${endpoint.id}/key`,
      `GET /endpoints/${endpoint.id}/deliveries`,
      `GET /endpoints/${endpoint.id}/statistics`,
      `POST /endpoints/${endpoint.id}/disable`,
      `DELETE /endpoints/${endpoint.id}`,
      `GET /messages/${message}`,
      `GET /messages/${message}/deliveries`,
    ]) {
      expect((await mine.call(route)).status, route).toBe(404);
    }
    const own = await mine.endpoint(pathOf('echo'));
    expect((await mine.call(`POST /messages/${message}/endpoints/${own.id}/resend`)).status).toBe(404);
    expect((await mine.call(`POST /messages/${message}/endpoints/${endpoint.id}/resend`)).status).toBe(404);
    const since = new Date(0).toISOString();
    expect((await mine.call(`POST /endpoints/${endpoint.id}/recover`, { since })).status).toBe(404);
    expect((await mine.call(`POST /endpoints/${own.id}/replay-missing`, { since })).body).toMatchObject({ count: 0 });
    expect(await own.deliveries()).toEqual([]);
  });

  it('and an application is reached by its uid, which no other may take', async () => {
    const uid = `customer-${crypto.randomUUID()}`;
    const app = await application(uid);
    expect((await manage(`GET /applications/${uid}`)).body).toMatchObject({ id: app.id, uid });
    const path = pathOf('echo');
    await app.endpoint(path);
    const sent = await manage(`POST /applications/${uid}/messages`, { eventType: app.eventType, payload: 1 });
    expect(sent.status).toBe(202);
    await received(path, 1);
    const taken = await manage('POST /applications', { name: 'Other', uid });
    expect(taken).toMatchObject({ status: 409, body: { code: 'application.taken' } });
  });
});
