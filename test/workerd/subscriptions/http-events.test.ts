import { describe, expect, inject, it } from 'vitest';
import { Topic } from './fixtures.ts';
import { listenTo, opened, type ListenOptions } from '../drivers/subscriptions.ts';
import type { Credentials } from '../drivers/fixtures.ts';
import { http } from '../../../src/connectors/http/index.ts';
import type { SubscriptionEnd } from '../../../src/connectors/kit/types.ts';
import type { Fault, Result } from '../../../src/core/errors.ts';

const upstream = inject('servers').upstream.url;

const listenAt = (url: string, credentials?: Credentials) => opened(listenTo(http, credentials, 'events', { url }));
const listen = (topic: Topic, more: object = {}, options?: ListenOptions, query = '') =>
  opened(listenTo(http, undefined, 'events', { url: upstream + topic.path + query, ...more }, options));

async function faultOf(ended: Promise<Result<SubscriptionEnd | void>>): Promise<Fault> {
  const end = await ended;
  if (end.ok) throw new Error('it ended without a fault');
  return end.fault;
}

describe('a stream of events', () => {
  it('gives what is there and what comes, as JSON where it is that, with its id and the place after it', async () => {
    const topic = new Topic();
    await topic.add('{"n":1}', 'plain');
    const listening = await listen(topic);
    await listening.has(2);
    await topic.add('12345678901234567890');
    await listening.has(3);
    await listening.stop();
    expect(await listening.ended).toEqual({ ok: true, value: undefined });
    expect(listening.events).toEqual([
      { id: '1', body: { n: 1 }, headers: { event: 'message', id: '1' }, cursor: '1' },
      { id: '2', body: 'plain', headers: { event: 'message', id: '2' }, cursor: '2' },
      { id: '3', body: '12345678901234567890', headers: { event: 'message', id: '3' }, cursor: '3' },
    ]);
  });

  it('goes on at its cursor, and asks for that', async () => {
    const topic = new Topic();
    await topic.add('1', '2', '3');
    const listening = await listen(topic, {}, { cursor: '2' });
    await listening.has(1);
    await listening.stop();
    expect(listening.events.map(({ body }) => body)).toEqual([3]);
    const [request] = await topic.requests();
    expect(request?.headers).toMatchObject({ 'last-event-id': '2', accept: 'text/event-stream' });
  });

  it('reads no more while an event is not delivered, and ends where one is refused', async () => {
    const topic = new Topic();
    await topic.add('1');
    const listening = await listen(topic, {}, { deliver: () => Promise.reject(new Error('not stored')) });
    await expect(listening.ended).resolves.toMatchObject({ ok: false });
    expect(listening.events).toEqual([]);
    const again = await listen(topic);
    await again.has(1);
    await again.stop();
  });

  it('ends with its wish for a wait when the other side ends it, and with a fault when it breaks off', async () => {
    const topic = new Topic();
    const listening = await listen(topic, {}, {}, '?retry=1234');
    await topic.order('close');
    const end = await listening.ended;
    expect(end.ok ? end.value : end.fault).toMatchObject({ retryAfterMilliseconds: 1_234 });
  });

  it('is over for good by 204', async () => {
    const topic = new Topic();
    await topic.order('gone');
    const { ended } = await listen(topic);
    expect((await faultOf(ended)).code).toBe('subscription.ended');
  });

  it.each([
    ['another content type', '?type=text/html', 'upstream.invalid', 'text/html'],
    ['a type that only begins like it', '?type=text/event-streams', 'upstream.invalid', 'text/event-stream'],
  ])('is refused with %s', async (_, query, code, words) => {
    const { ended } = await listen(new Topic(), {}, {}, query);
    const fault = await faultOf(ended);
    expect([fault.code, fault.message]).toEqual([code, expect.stringContaining(words)]);
  });

  it.each([
    ['/status/401', 'upstream.unauthorized', false],
    ['/status/503', 'upstream.unavailable', true],
    ['/status/404', 'upstream.rejected', false],
    ['/redirect?to=/events/x', 'upstream.rejected', false],
  ])('tells what %s means', async (path, code, retryable) => {
    const { ended } = await listenAt(upstream + path);
    expect(await faultOf(ended)).toMatchObject({ code, retryable });
  });

  it('cannot be reached where nobody listens, which may pass', async () => {
    const { ended } = await listenAt('http://127.0.0.1:1/');
    expect(await faultOf(ended)).toMatchObject({ code: 'upstream.unreachable', retryable: true });
  });

  it('counts as lost when nothing comes for too long', async () => {
    const { ended } = await listen(new Topic(), { silence: '1s' });
    expect(await faultOf(ended)).toMatchObject({ code: 'upstream.timeout', retryable: true });
  });

  it('never holds an event that is larger than its bound', async () => {
    const topic = new Topic();
    await topic.add('x'.repeat(1_200_000));
    const { ended, events } = await listen(topic);
    expect((await faultOf(ended)).code).toBe('upstream.too-large');
    expect(events).toEqual([]);
  });

  it('reads lines of JSON as events without ids', async () => {
    const topic = new Topic();
    await topic.add('{"a":1}');
    const listening = await listen(topic, { format: 'lines' }, {}, '?lines');
    await listening.has(1);
    await topic.add('{"b":[2]}');
    await listening.has(2);
    await listening.stop();
    expect(listening.events).toEqual([{ body: { a: 1 } }, { body: { b: [2] } }]);
  });

  it('keeps data as text where it is asked to', async () => {
    const topic = new Topic();
    await topic.add('1');
    const listening = await listen(topic, { parse: 'text' });
    await listening.has(1);
    await listening.stop();
    expect(listening.events[0]?.body).toBe('1');
  });

  it('uses a connection for its own host only, and sends its credentials there', async () => {
    const topic = new Topic();
    const credentials = { settings: { baseUrl: upstream }, secrets: { bearer: 'secret-of-the-feed' } };
    const listening = await listenAt(topic.path, credentials);
    await listening.stop();
    await listening.ended;
    expect((await topic.requests())[0]?.headers['authorization']).toBe('Bearer secret-of-the-feed');
    const elsewhere = await listenAt('https://other.example/', credentials);
    const fault = await faultOf(elsewhere.ended);
    expect(fault.code).toBe('egress.refused');
    expect(JSON.stringify(fault)).not.toContain('secret-of-the-feed');
  });
});
