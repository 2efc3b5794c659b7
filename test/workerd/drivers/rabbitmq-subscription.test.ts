import { expect, it } from 'vitest';
import { rabbitmq } from '../../../src/connectors/rabbitmq/index.ts';
import { credentials, cuttingPort, declared, done } from './rabbitmq.ts';
import { eventually, listenTo, type ListenOptions } from './subscriptions.ts';

const listen = (params: unknown, options?: ListenOptions, settings: Record<string, unknown> = {}) =>
  listenTo(rabbitmq, credentials(settings), 'queue', params, options);
const publish = (queue: string, text: string, more: Record<string, unknown> = {}) =>
  done('publish', { routingKey: queue, text, ...more });

it('messages come in order, with what there is to know of them', async () => {
  const queue = await declared();
  await publish(queue, 'before', { messageId: 'm-0' });
  const listening = listen({ queue });
  await listening.ready;
  for (let index = 1; index < 6; index += 1) {
    const headers = { Tenant: 'acme', 'routing-key': 'posing' };
    await publish(queue, `${index}`, { messageId: `m-${index}`, headers, type: 'order', correlationId: 'c' });
  }
  await eventually(() => listening.events.length, 6);
  expect(await listening.stop()).toEqual({ ok: true, value: undefined });
  expect(listening.events.map(({ id, body }) => [id, body])).toEqual([
    ['m-0', 'before'],
    ...[1, 2, 3, 4, 5].map((index) => [`m-${index}`, `${index}`]),
  ]);
  expect(listening.events[2]?.headers).toMatchObject({
    'routing-key': queue,
    'header-routing-key': 'posing',
    'header-tenant': 'acme',
    redelivered: 'false',
    type: 'order',
    'correlation-id': 'c',
  });
  await expect.poll(() => done('queue-info', { queue })).toMatchObject({ messages: 0, consumers: 0 });
});

it('no more are under way than were asked for, and all of them come', async () => {
  const queue = await declared();
  for (let index = 0; index < 10; index += 1) await publish(queue, `${index}`);
  const batches: number[] = [];
  const listening = listen({ queue, prefetch: 3 }, { deliver: (events) => void batches.push(events.length) });
  await eventually(() => listening.events.length, 10);
  await listening.stop();
  expect(Math.max(...batches)).toBeLessThanOrEqual(3);
});

it('what was not accepted goes back into the queue, and the subscription ends', async () => {
  const queue = await declared();
  await publish(queue, 'kept');
  const refusing = listen({ queue }, { deliver: () => Promise.reject(new Error('not durable')) });
  expect((await refusing.ended).ok).toBe(false);
  expect(refusing.events).toEqual([]);
  const second = listen({ queue });
  await eventually(() => second.events.length, 1);
  await second.stop();
  expect(second.events).toMatchObject([{ body: 'kept', headers: { redelivered: 'true' } }]);
});

it('nothing is acknowledged before it was accepted', async () => {
  const queue = await declared();
  await publish(queue, 'waiting');
  const { promise: accepted, resolve } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const listening = listen(
    { queue },
    {
      deliver: () => {
        arrive();
        return accepted;
      },
    },
  );
  await arrived;
  // As long as a session of another takes: an acknowledgement that was written would have left by then.
  expect(await done('queue-info', { queue })).toMatchObject({ messages: 0, consumers: 1 });
  await listening.stop();
  resolve();
  await expect.poll(() => done('queue-info', { queue })).toMatchObject({ messages: 1, consumers: 0 });
});

it('a lost connection ends it, and what was not acknowledged comes again', async () => {
  const queue = await declared();
  const first = listen({ queue }, {}, { port: cuttingPort });
  await first.ready;
  await publish(queue, 'CUT-DELIVERY');
  expect(await first.ended).toEqual({ ok: true, value: undefined });
  expect(first.events).toEqual([]);
  const second = listen({ queue });
  await eventually(() => second.events.length, 1);
  await second.stop();
  expect(second.events).toMatchObject([{ body: 'CUT-DELIVERY', headers: { redelivered: 'true' } }]);
});

it('content that cannot be read is delivered and marked, so that it holds back nothing', async () => {
  const queue = await declared();
  await publish(queue, '{"half":');
  await publish(queue, '{"whole":true}');
  const listening = listen({ queue, parse: 'json' });
  await eventually(() => listening.events.length, 2);
  await listening.stop();
  expect(listening.events).toMatchObject([
    { body: btoa('{"half":'), headers: { unreadable: 'json' } },
    { body: { whole: true } },
  ]);
});

it('many large messages go through a small window, and one beyond the bound ends it', async () => {
  const queue = await declared();
  const text = 'x'.repeat(3_000_000);
  for (let index = 0; index < 4; index += 1) await publish(queue, text);
  const listening = listen({ queue, prefetch: 1 });
  await eventually(() => listening.events.length, 4);
  await publish(queue, 'x'.repeat(8_500_000));
  expect(await listening.ended).toMatchObject({ ok: false, fault: { code: 'upstream.too-large' } });
});

it('a queue that is deleted ends it; one that is not there, and wrong credentials, are faults', async () => {
  const queue = await declared();
  const listening = listen({ queue });
  await listening.ready;
  await done('queue-delete', { queue });
  expect(await listening.ended).toEqual({ ok: true, value: undefined });
  expect(await listen({ queue }).ended).toMatchObject({ ok: false, fault: { code: 'upstream.rejected' } });
  const wrong = credentials({}, { password: 'not-the-password' });
  const refused = await listenTo(rabbitmq, wrong, 'queue', { queue }).ended;
  expect(refused).toMatchObject({ ok: false, fault: { code: 'upstream.unauthorized' } });
  expect(JSON.stringify(refused)).not.toContain('not-the-password');
});
