import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { application, pathOf, received, receiptsAt, type Application, type Endpoint } from './fixtures.ts';
import { manage, publish, answerOf } from '../gateway/fixtures.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

afterEach(() => {
  vi.useRealTimers();
});

/** Puts the clock forward, then wakes the endpoint as its alarm would. */
async function passTime(endpoint: Endpoint, milliseconds: number): Promise<void> {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + milliseconds });
  await runDurableObjectAlarm(env.ENDPOINTS.getByName(endpoint.id));
}

const alarmOf = ({ id }: Endpoint): Promise<number | null> =>
  runInDurableObject(env.ENDPOINTS.getByName(id), (_, state) => state.storage.getAlarm());

const operationsOf = async (app: Application): Promise<readonly Record<string, unknown>[]> =>
  (await app.call('GET /operational-events')).body['items'] as readonly Record<string, unknown>[];

const statusOf = async ({ call }: Endpoint) => (await call('GET ')).body;

describe('a delivery that fails', () => {
  it('is tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h with the same id, and then given up', async () => {
    const app = await application();
    const path = pathOf('status/500');
    const endpoint = await app.endpoint(path);
    const message = await app.sent({ n: 1 });
    const waits = [5_000, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR];
    for (const [index, wait] of waits.entries()) {
      const { nextAttemptAt } = await endpoint.delivery(message, { attempts: { length: index + 1 } });
      const planned = Date.parse(nextAttemptAt ?? '') - Date.now();
      expect(planned).toBeGreaterThan(wait - 5_000);
      expect(planned).toBeLessThan(wait * 1.11);
      if (wait > 5_000) expect(await alarmOf(endpoint)).toBeLessThanOrEqual(Date.parse(nextAttemptAt ?? ''));
      // A moment before nothing is sent.
      await passTime(endpoint, planned - 100);
      expect((await endpoint.deliveries())[0]?.attempts).toHaveLength(index + 1);
      await passTime(endpoint, 200);
    }
    const { attempts } = await endpoint.delivery(message, { status: 'failed', nextAttemptAt: null });
    expect(attempts).toHaveLength(8);
    const ids = (await receiptsAt(path)).map(({ headers }) => headers['webhook-id']);
    expect(ids).toEqual(Array.from({ length: 8 }, () => message));
    await vi.waitFor(async () => {
      expect(await operationsOf(app)).toMatchObject([{ type: 'message.exhausted', data: { message, attempts: 8 } }]);
    });
  });

  it('waits as long as the endpoint asks for, and holds up its other messages meanwhile', async () => {
    const app = await application();
    const path = pathOf('busy/120');
    const endpoint = await app.endpoint(path);
    const message = await app.sent({ n: 1 });
    const { nextAttemptAt } = await endpoint.delivery(message, { attempts: [{ status: 429 }] });
    expect(Date.parse(nextAttemptAt ?? '') - Date.now()).toBeGreaterThan(115_000);
    await app.sent({ n: 2 });
    await passTime(endpoint, 60_000);
    expect(await receiptsAt(path)).toHaveLength(1);
    await passTime(endpoint, 75_000);
    await received(path, 3);
  });

  it.each([
    ['status/204', 'delivered', 204],
    ['status/404', 'pending', 404],
    ['redirect', 'pending', 302],
  ])('or not, by its status alone: %s is %s', async (behaviour, status, code) => {
    const app = await application();
    const endpoint = await app.endpoint(pathOf(behaviour));
    await endpoint.delivery(await app.sent({}), { status, attempts: [{ status: code }] });
  });

  it('or not, though its reply never ends', async () => {
    const app = await application();
    const endpoint = await app.endpoint(pathOf('slow-body'), { timeoutMilliseconds: 1_000 });
    await endpoint.delivery(await app.sent({}), { status: 'delivered', attempts: [{ status: 200, error: null }] });
  });

  it('by a timeout, by nobody who listens, and by a host that the owner took off the list says so', async () => {
    const app = await application();
    const slow = await app.endpoint(pathOf('delay/3000'), { timeoutMilliseconds: 1_000 });
    const message = await app.sent({});
    await slow.delivery(message, {
      attempts: [{ status: null, error: 'The endpoint did not answer within 1000 ms.' }],
    });
    const added = await app.call('POST /endpoints', { url: 'http://127.0.0.1:1/' });
    const listed = await vi.waitFor(async () => {
      await app.sent({});
      const { body } = await app.call(`GET /endpoints/${String(added.body['id'])}/deliveries`);
      expect(body['items']).toMatchObject([{ attempts: [{ error: 'The endpoint could not be reached.' }] }]);
      return body;
    });
    expect(listed).toBeDefined();
    // As an endpoint that was saved before the host was taken off the list.
    await env.DB.prepare(
      `update webhook_endpoints set settings = json_set(settings, '$.url', 'http://10.1.2.3/') where id = ?`,
    )
      .bind(slow.id)
      .run();
    await slow.call('POST /enable');
    const refused = await app.sent({});
    await slow.delivery(refused, { attempts: [{ status: null, error: expect.stringContaining('10.1.2.3') }] });
  });

  it('five times in a row opens the circuit, so that one probe at a time finds out when it is back', async () => {
    const app = await application();
    const path = pathOf('status/503');
    const endpoint = await app.endpoint(path);
    for (let n = 0; n < 20; n++) await app.sent({ n });
    await vi.waitFor(async () =>
      expect((await endpoint.call('GET /statistics')).body).toMatchObject({ circuit: 'open' }),
    );
    const before = (await receiptsAt(path)).length;
    expect(before).toBeLessThan(12);
    await passTime(endpoint, 2_000);
    await received(path, before + 1);
    expect((await endpoint.call('GET /statistics')).body).toMatchObject({ waiting: 20 });
  });
});

describe('an endpoint', () => {
  it('that answers 410 is disabled at once, and gets what it missed when it is enabled and asks for it', async () => {
    const app = await application();
    const gone = pathOf('status/410');
    const endpoint = await app.endpoint(gone);
    const first = await app.sent({ n: 1 });
    await endpoint.delivery(first, { status: 'failed', attempts: [{ status: 410 }] });
    await vi.waitFor(async () => expect(await statusOf(endpoint)).toMatchObject({ disabled: { reason: 'gone' } }));
    expect(await operationsOf(app)).toMatchObject([
      { type: 'endpoint.disabled', data: { reason: 'gone' } },
      { type: 'message.exhausted' },
    ]);
    const second = await app.sent({ n: 2 });
    const since = new Date(Date.now() - HOUR).toISOString();
    expect(await endpoint.call('POST /recover', { since })).toMatchObject({
      status: 409,
      body: { code: 'endpoint.disabled' },
    });
    expect(await receiptsAt(gone)).toHaveLength(1);
    const path = pathOf('echo');
    const { url: _url, ...rest } = await statusOf(endpoint);
    expect(rest).toMatchObject({ status: 'disabled' });
    const { body } = await endpoint.call('GET ');
    await endpoint.call('PUT ', { url: String(body['url']).replace(gone, path) });
    expect((await endpoint.call('POST /enable')).body).toMatchObject({ status: 'enabled', disabled: null });
    expect((await endpoint.call('POST /replay-missing', { since })).body).toEqual({ count: 1, next: null });
    expect((await endpoint.call('POST /replay-missing', { since })).body).toEqual({ count: 0, next: null });
    expect((await endpoint.call('POST /recover', { since })).body).toEqual({ count: 1, next: null });
    const receipts = await received(path, 2);
    expect(new Set(receipts.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([first, second]));
    await app.sent({ n: 3 });
    await received(path, 3);
  });

  it('that fails for five days is disabled after warnings at 50, 70 and 90 %, which chains may wait for', async () => {
    const { name } = await publish({
      mode: 'durable',
      steps: { warned: { use: 'flow.wait', with: { event: 'endpoint.failing', timeout: '30d' } } },
      output: '{{ steps.warned.data }}',
    });
    const started = await manage(`POST /chains/${name}/runs`, {});
    const app = await application();
    const endpoint = await app.endpoint(pathOf('status/404'));
    for (let hours = 0; hours < 120; hours += 8) {
      const message = await app.sent({ hours });
      await endpoint.delivery(message, { attempts: expect.arrayContaining([expect.anything()]) });
      expect(await statusOf(endpoint)).toMatchObject({ status: 'enabled' });
      await passTime(endpoint, 8 * HOUR);
    }
    await vi.waitFor(async () => expect(await statusOf(endpoint)).toMatchObject({ disabled: { reason: 'failing' } }));
    const told = (await operationsOf(app)).filter(({ type }) => type !== 'message.exhausted').toReversed();
    expect(told.map(({ type, data }) => [type, (data as { percent?: number }).percent])).toEqual([
      ['endpoint.failing', 50],
      ['endpoint.failing', 70],
      ['endpoint.failing', 90],
      ['endpoint.disabled', undefined],
    ]);
    vi.useRealTimers();
    const answer = await answerOf(String(started.body['id']));
    expect(JSON.parse(answer?.output ?? '{}')).toMatchObject({
      application: app.id,
      endpoint: endpoint.id,
      percent: 50,
    });
  });

  it('whose only failures are far apart is never disabled', async () => {
    const app = await application();
    const endpoint = await app.endpoint(pathOf('status/404'));
    for (let week = 0; week < 3; week++) {
      await endpoint.delivery(await app.sent({ week }), { attempts: [{ status: 404 }] });
      // Long past its last retry.
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3 * DAY });
    }
    expect(await statusOf(endpoint)).toMatchObject({ status: 'enabled' });
  });
});

describe('the log', () => {
  it('is kept 30 days, for messages as for deliveries', async () => {
    const app = await application();
    const endpoint = await app.endpoint(pathOf('echo'));
    const old = await app.sent({ n: 1 });
    await endpoint.delivery(old, { status: 'delivered' });
    await passTime(endpoint, 29 * DAY);
    const recent = await app.sent({ n: 2 });
    await endpoint.delivery(recent, { status: 'delivered' });
    await passTime(endpoint, 2 * DAY);
    await runDurableObjectAlarm(env.MESSAGES.getByName(app.id));
    expect((await endpoint.deliveries()).map(({ message }) => message)).toEqual([recent]);
    expect((await app.call(`GET /messages/${old}`)).status).toBe(404);
    expect((await app.call(`GET /messages/${recent}`)).status).toBe(200);
    expect(await alarmOf(endpoint)).toBeGreaterThan(Date.now());
  });

  it('is read in pages, the newest first, and only what failed where that is asked for', async () => {
    const app = await application();
    const path = pathOf('fail-first/1/x');
    const endpoint = await app.endpoint(path, { ordered: true });
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) ids.push(await app.sent({ n }));
    await vi.waitFor(async () => expect(await receiptsAt(path)).toHaveLength(6), { timeout: 15_000 });
    await endpoint.delivery(ids[4] ?? '', { status: 'delivered' });
    const seen: string[] = [];
    for (let after = ''; ;) {
      const { body } = await endpoint.call(`GET /deliveries?limit=2${after}`);
      seen.push(...(body['items'] as { message: string }[]).map(({ message }) => message));
      if (body['next'] === null) break;
      after = `&after=${String(body['next'])}`;
    }
    expect(seen).toEqual(ids.toReversed());
    expect(await endpoint.deliveries('?status=failed')).toEqual([]);
    expect((await endpoint.call('GET /statistics')).body).toMatchObject({
      waiting: 0,
      hours: [{ attempts: 6, delivered: 5, failed: 0 }],
    });
  });
});
