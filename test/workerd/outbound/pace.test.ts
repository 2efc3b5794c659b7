import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { application, isSignedBy, keysOf, pathOf, received, receiptsAt, type Endpoint } from './fixtures.ts';
import { call, manage, ORIGIN, publish, upstream } from '../gateway/fixtures.ts';
import { endpointOf, messagesOf } from '../../../src/runtime/outbound/objects.ts';

const stubOf = ({ id }: Endpoint) => env.ENDPOINTS.getByName(id);

afterEach(() => {
  vi.useRealTimers();
});

const numbersAt = async (path: string): Promise<unknown[]> =>
  (await receiptsAt(path)).map(({ body }) => (JSON.parse(body) as { n: unknown }).n);

describe('an endpoint that asks for order', () => {
  it('gets every message after the one before it, also where that had to be tried again', async () => {
    const app = await application();
    const path = pathOf('fail-first/1/order');
    const endpoint = await app.endpoint(path, { ordered: true });
    for (let n = 0; n < 12; n++) await app.sent({ n });
    await received(path, 1);
    expect((await endpoint.deliveries()).filter(({ attempts }) => attempts.length > 0)).toHaveLength(1);
    await vi.waitFor(async () => expect(await receiptsAt(path)).toHaveLength(13), { timeout: 15_000 });
    expect(await numbersAt(path)).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });
});

describe('an endpoint with a rate limit', () => {
  it('gets no more than that, and loses nothing', async () => {
    const app = await application();
    const path = pathOf('echo');
    await app.endpoint(path, { rateLimit: { limit: 10, burst: 2 } });
    for (let n = 0; n < 8; n++) await app.sent({ n });
    const at = (await received(path, 8)).map((receipt) => receipt.at);
    // Two at once, then one each 100 ms.
    expect((at[7] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(580);
    for (const [index, later] of at.slice(4).entries()) expect(later - (at[index] ?? 0)).toBeGreaterThanOrEqual(250);
  });

  it('that is slow is kept across a restart', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path, { rateLimit: { limit: 1, periodSeconds: 3_600 } });
    await app.sent({ n: 0 });
    await received(path, 1);
    await app.sent({ n: 1 });
    await evictDurableObject(stubOf(endpoint));
    await app.sent({ n: 2 });
    await endpoint.call('GET /statistics');
    expect(await numbersAt(path)).toEqual([0]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_601_000 });
    await runDurableObjectAlarm(stubOf(endpoint));
    await received(path, 2);
  });
});

describe('one endpoint that hangs', () => {
  it('delays none of the deliveries to its neighbour', async () => {
    const app = await application();
    const [hangs, healthy] = [pathOf('delay/6000'), pathOf('echo')];
    const dead = await app.endpoint(hangs);
    await app.endpoint(healthy);
    const sentAt: number[] = [];
    for (let n = 0; n < 20; n++) {
      sentAt.push(Date.now());
      await app.sent({ n });
    }
    const receipts = await received(healthy, 20);
    const late = receipts.map(({ at, body }) => at - (sentAt[(JSON.parse(body) as { n: number }).n] ?? 0));
    // Far below what the other takes, on however busy a machine.
    expect(Math.max(...late)).toBeLessThan(3_000);
    expect((await dead.deliveries('?status=delivered')).length).toBe(0);
    // Its own connections are bounded.
    expect((await receiptsAt(hangs)).length).toBeLessThanOrEqual(5);
  });
});

describe('a key that is rotated', () => {
  it('signs beside the new one until the overlap is over, and then no more', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    const [old = ''] = await keysOf(endpoint);
    const rotated = await endpoint.call('POST /rotate', { algorithm: 'ed25519', overlapSeconds: 3_600 });
    const keys = (rotated.body['keys'] as { key: string }[]).map(({ key }) => key);
    expect(keys).toEqual([expect.stringMatching(/^whpk_/), old]);
    await app.sent({ n: 1 });
    const [both] = await received(path, 1);
    expect(keys.map((key) => both && isSignedBy(key, both))).toEqual([true, true]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_601_000 });
    await app.sent({ n: 2 });
    const [, after] = await received(path, 2);
    expect(keys.map((key) => after && isSignedBy(key, after))).toEqual([true, false]);
    expect(await keysOf(endpoint)).toEqual([keys[0]]);
  });

  it('is never in a reply or the audit log unless it is asked for, and never in the clear on disk', async () => {
    const app = await application();
    const secret = `whsec_${btoa('s'.repeat(32))}`;
    const endpoint = await app.endpoint(pathOf('echo'), { secret, headers: { authorization: 'Bearer abc123' } });
    const replies = [
      await endpoint.call('GET '),
      await app.call('GET /endpoints'),
      await endpoint.call('PUT ', { url: upstream }),
    ];
    expect(await keysOf(endpoint)).toEqual([secret]);
    const audit = await env.DB.prepare('select * from audit_log').all();
    const rows = await env.DB.prepare('select * from webhook_endpoints').all();
    const written = JSON.stringify([replies.map(({ text }) => text), audit.results, rows.results]);
    expect(written).toContain(endpoint.id);
    expect(written).not.toContain(secret.slice(6));
    expect(written).not.toContain('abc123');
    expect(audit.results).toContainEqual(
      expect.objectContaining({ action: 'endpoint.read-key', subject: endpoint.id }),
    );
  });
});

describe('a crash', () => {
  it('between acceptance and delivery loses nothing: what a new instance finds on disk is delivered once', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    await app.sent({ n: 0 });
    await received(path, 1);
    // As left by an instance that stopped before it handed anything over.
    await runInDurableObject(env.MESSAGES.getByName(app.id), (_, { storage }) => {
      const targets = JSON.stringify([endpoint.id]);
      for (const n of [1, 2]) {
        const id = `msg_${(n + 1).toString(36)}_${'0'.repeat(16)}`;
        const values = [n + 1, id, app.eventType, '[]', JSON.stringify({ n }), null, targets, Date.now()];
        storage.sql.exec('insert into messages values (?, ?, ?, ?, ?, ?, ?, ?)', ...values);
      }
    });
    await evictDurableObject(env.MESSAGES.getByName(app.id));
    await evictDurableObject(stubOf(endpoint));
    await messagesOf(env, app.id).changed();
    await received(path, 3);
    // Handed over again, all three are known.
    await evictDurableObject(env.MESSAGES.getByName(app.id));
    await app.sent({ n: 3 });
    await received(path, 4);
    expect(new Set(await numbersAt(path))).toEqual(new Set([0, 1, 2, 3]));
  });

  it('during an attempt makes it again by the alarm, with the same id', async () => {
    const app = await application();
    const path = pathOf('delay/700');
    const endpoint = await app.endpoint(path);
    const message = await app.sent({ n: 0 });
    await received(path, 1);
    // What a new instance sees: the row that was never settled, and a lease that is over.
    await evictDurableObject(stubOf(endpoint)).catch(() => {});
    await runInDurableObject(stubOf(endpoint), (_, { storage }) => {
      storage.sql.exec(`update deliveries set state = 'new', attempts = '[]', tries = 0`);
      storage.sql.exec(`update meta set value = json_set(value, '$.triedUntil', 0) where name = 'state'`);
    });
    await evictDurableObject(stubOf(endpoint)).catch(() => {});
    await runDurableObjectAlarm(stubOf(endpoint));
    const receipts = await received(path, 2);
    expect(receipts.map(({ headers }) => headers['webhook-id'])).toEqual([message, message]);
    await endpoint.delivery(message, { status: 'delivered' });
  });

  it('is not needed to find a message that was handed over already, nor to write more than three rows for it', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    for (let n = 0; n < 3; n++) await app.sent({ n });
    await received(path, 3);
    await endpoint.delivery((await app.sent({ n: 3 })) ?? '', { status: 'delivered' });
    const written = async (): Promise<number> => {
      const count = (object: DurableObjectStub): Promise<number> =>
        runInDurableObject(
          object,
          (_, { storage }) => storage.sql.exec('select total_changes() as n').one()['n'] as number,
        );
      return (await count(env.MESSAGES.getByName(app.id) as never)) + (await count(stubOf(endpoint) as never));
    };
    const before = await written();
    for (let n = 4; n < 14; n++) await endpoint.delivery(await app.sent({ n }), { status: 'delivered' });
    expect((await written()) - before).toBeLessThanOrEqual(30);
  });
});

describe('what was sent is sent again', () => {
  it('to one endpoint where somebody asks for that, though it was delivered', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    const other = pathOf('echo');
    await app.endpoint(other);
    const message = await app.sent({ n: 1 });
    await endpoint.delivery(message, { status: 'delivered' });
    expect((await app.call(`POST /messages/${message}/endpoints/${endpoint.id}/resend`)).status).toBe(202);
    const receipts = await received(path, 2);
    expect(receipts.map(({ headers }) => headers['webhook-id'])).toEqual([message, message]);
    expect(await receiptsAt(other)).toHaveLength(1);
    const { body } = await app.call(`GET /messages/${message}/deliveries`);
    expect(body['items']).toHaveLength(2);
    await endpoint.delivery(message, { attempts: [{ status: 200 }, { status: 200 }] });
  });

  it('to an endpoint that was made later, in the bounds that it is asked for, and by its filter', async () => {
    const app = await application();
    for (let n = 0; n < 4; n++) await app.sent({ n });
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path, { filter: '{{ payload.n > 1 }}' });
    const future = new Date(Date.now() + 60_000).toISOString();
    expect((await endpoint.call('POST /replay-missing', { since: future })).body).toMatchObject({ count: 0 });
    const since = new Date(0).toISOString();
    expect((await endpoint.call('POST /replay-missing', { since, until: since })).body).toMatchObject({ count: 0 });
    expect((await endpoint.call('POST /replay-missing', { since })).body).toEqual({ count: 2, next: null });
    await received(path, 2);
    expect(new Set(await numbersAt(path))).toEqual(new Set([2, 3]));
  });
});

describe('a payload over 256 KB', () => {
  const large = { text: 'x'.repeat(300 * 1024) };

  it('goes by a link that opens it as the endpoint gets it, until it expires, and to nothing else', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    // The object reads the variable when it delivers.
    await runInDurableObject(stubOf(endpoint), (instance) => {
      Object.assign(Reflect.get(instance, 'env') as object, { TIDEGATE_URL: ORIGIN });
    });
    const message = await app.sent(large);
    const [receipt] = await received(path, 1);
    const body = JSON.parse(receipt?.body ?? '') as { type: string; reference: { url: string; bytes: number } };
    expect(body).toMatchObject({ type: app.eventType, reference: { bytes: JSON.stringify(large).length } });
    const route = `GET ${body.reference.url.slice(ORIGIN.length)}`;
    expect((await call(route)).body).toEqual(large);
    expect((await call(`${route.slice(0, -3)}AAA`)).status).toBe(401);
    expect((await call(route.replace('GET', 'POST'))).status).toBe(405);
    expect((await app.call(`GET /messages/${message}`)).body['payload']).toEqual(large);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 4 * 24 * 3_600_000 });
    expect((await call(route)).status).toBe(401);
  });

  it('goes in the body where the endpoint wants that', async () => {
    const app = await application();
    const path = pathOf('echo');
    await app.endpoint(path, { largePayloads: 'inline' });
    await app.sent(large);
    const [receipt] = await received(path, 1);
    expect(receipt?.body).toBe(JSON.stringify(large));
  });
});

describe('a chain', () => {
  it('sends a message by webhooks.send, once however often its step is tried', async () => {
    const app = await application(`uid-${crypto.randomUUID()}`);
    const path = pathOf('echo');
    await app.endpoint(path);
    const { route } = await publish({
      steps: {
        tell: {
          use: 'webhooks.send',
          with: { application: '{{ input.to }}', eventType: app.eventType, payload: { n: '{{ input.n }}' } },
        },
      },
      output: '{{ steps.tell }}',
    });
    const sent = await call(route, { to: app.id, n: 7 });
    expect(sent.body).toMatchObject({ id: expect.stringMatching(/^step_[0-9a-f]{64}$/), duplicate: false });
    await received(path, 1);
    const refused = await call(route, { to: 'nobody', n: 7 });
    expect(refused).toMatchObject({ status: 404, body: { code: 'application.not-found' } });
  });
});

describe('what is removed', () => {
  it('gets nothing any more, an endpoint as an application, and leaves nothing behind', async () => {
    const app = await application();
    const path = pathOf('echo');
    const endpoint = await app.endpoint(path);
    await app.sent({ n: 0 }, { id: 'first' });
    await received(path, 1);
    expect((await endpoint.call('DELETE ')).status).toBe(204);
    await app.sent({ n: 1 });
    expect(await endpointOf(env, endpoint.id).list(1e15, undefined, 10)).toEqual([]);
    expect((await manage(`DELETE /applications/${app.id}`)).status).toBe(204);
    expect(await app.send({ n: 2 })).toMatchObject({ status: 404, body: { code: 'application.not-found' } });
    expect(await messagesOf(env, app.id).list(1e15, 10)).toEqual([]);
    expect(await receiptsAt(path)).toHaveLength(1);
  });
});
