/** Messages of the owner's queues, through the local queue of the runtime and through batches made by hand. */

import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it, vi } from 'vitest';
import { queueConnector } from '../../../src/connectors/queue/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import worker from '../../../src/index.ts';
import { queuesOf } from '../../../src/runtime/owner-queues.ts';
import { RunObject } from '../../../src/runtime/run-object.ts';
import { actionsOf, faultOf, output, type CallOptions } from '../drivers/fixtures.ts';
import { call, manage, publish } from './fixtures.ts';

interface Sent {
  readonly id: string;
  readonly body: unknown;
  readonly attempts?: number;
}

let count = 0;

/** A chain with a trigger for a queue of its own. */
async function listening(trigger: object = {}, chain: object = {}) {
  const queue = `q${++count}-${crypto.randomUUID().slice(0, 8)}`;
  const { name } = await publish({ triggers: { message: { type: 'queue', queue, ...trigger } }, output: 1, ...chain });
  return { queue, name };
}

/** What becomes of messages of a queue. */
async function deliver(queue: string, ...sent: Sent[]) {
  const messages = sent.map(({ attempts = 1, ...each }) => ({ timestamp: new Date(1_000), attempts, ...each }));
  const batch = createMessageBatch(queue, messages);
  const retries = batch.messages.map((message) => ({ id: message.id, retry: vi.spyOn(message, 'retry') }));
  const ctx = createExecutionContext();
  await worker.queue(batch, env, ctx);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, ctx);
  const again = retries.flatMap(({ id, retry }) => retry.mock.calls.map(([how]) => ({ id, ...how })));
  expect(retryMessages.map(({ msgId }) => msgId)).toEqual(again.map(({ id }) => id));
  return { acknowledged: explicitAcks, again };
}

const runsOf = async (chain: string) => {
  const { body } = await manage(`GET /runs?chain=${chain}`);
  return body['items'] as { id: string; status: string; triggerType: string }[];
};
const ended = (chain: string, runs: number) =>
  vi.waitFor(
    async () => {
      const list = await runsOf(chain);
      expect(list.map(({ status }) => status)).toEqual(Array.from({ length: runs }, () => 'succeeded'));
      return list;
    },
    { timeout: 10_000, interval: 50 },
  );

describe('a message', () => {
  it('that a step sends starts a run of the chain that listens to its queue', async () => {
    const receiver = await publish({
      triggers: { message: { type: 'queue', queue: 'orders', filter: '{{ trigger.body.for = "round trip" }}' } },
      output: '{{ { "body": trigger.body, "queue": trigger.headers.queue, "type": trigger.type } }}',
    });
    const sender = await publish({
      steps: {
        send: { use: 'queue.send', with: { queue: 'orders', body: { for: 'round trip', n: '{{ input.n }}' } } },
      },
      output: '{{ steps.send }}',
    });
    expect(await call(sender.route, { n: 7 })).toMatchObject({ status: 200, body: { sent: 1 } });
    const [run] = await ended(receiver.name, 1);
    expect((await manage(`GET /runs/${run?.id}`)).body).toMatchObject({
      triggerType: 'queue',
      output: { body: { for: 'round trip', n: 7 }, queue: 'orders', type: 'queue' },
    });
  });

  it('is acknowledged once its run is accepted, and starts no second run when it comes again', async () => {
    const { queue, name } = await listening();
    expect(await deliver(queue, { id: 'm1', body: { n: 1 } })).toEqual({ acknowledged: ['m1'], again: [] });
    expect(await deliver(queue, { id: 'm1', body: { n: 1 }, attempts: 2 })).toMatchObject({ acknowledged: ['m1'] });
    expect(await deliver(queue, { id: 'm2', body: { n: 1 } })).toMatchObject({ acknowledged: ['m2'] });
    await ended(name, 2);
  });

  it('whose run was accepted and the acknowledgement lost starts no second run', async () => {
    const { queue, name } = await listening();
    const { accept } = RunObject.prototype;
    const losing = vi.spyOn(RunObject.prototype, 'accept').mockImplementation(async function (this: RunObject, runs) {
      await accept.call(this, runs);
      throw new Error('lost');
    });
    expect(await deliver(queue, { id: 'm1', body: 1 })).toEqual({
      acknowledged: [],
      again: [{ id: 'm1', delaySeconds: LIMITS.queueRetrySeconds }],
    });
    losing.mockRestore();
    expect(await deliver(queue, { id: 'm1', body: 1, attempts: 2 })).toMatchObject({ acknowledged: ['m1'] });
    await ended(name, 1);
  });

  it('that cannot be accepted comes again later and later, and holds up no other', async () => {
    const { queue, name } = await listening({ filter: '{{ trigger.body.n > 0 }}' });
    const deep: unknown = JSON.parse('['.repeat(500) + ']'.repeat(500));
    const bad = [
      { id: 'deep', body: deep },
      { id: 'filter', body: { n: 'text' }, attempts: 3 },
      { id: 'late', body: deep, attempts: 50 },
    ];
    const delivered = await deliver(queue, ...bad, { id: 'good', body: { n: 1 } });
    expect(delivered.acknowledged).toEqual(['good']);
    expect(delivered.again).toEqual([
      { id: 'deep', delaySeconds: 1 },
      { id: 'filter', delaySeconds: 4 },
      { id: 'late', delaySeconds: LIMITS.queueRetryLongestSeconds },
    ]);
    await ended(name, 1);
  });

  it('that the filter refuses starts no run and does not come again', async () => {
    const { queue, name } = await listening({ filter: '{{ trigger.body.vip }}' });
    expect(await deliver(queue, { id: 'm1', body: { vip: false } })).toMatchObject({ acknowledged: ['m1'] });
    expect(await runsOf(name)).toEqual([]);
  });

  it('that no chain listens to comes again, and the log says why', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    expect(await deliver('nobodys', { id: 'm1', body: 1 })).toMatchObject({
      acknowledged: [],
      again: [{ id: 'm1' }],
    });
    expect(log.mock.calls.flat().join(' ')).toContain('no chain has a trigger for the queue');
    log.mockRestore();
  });

  it('starts a run of each chain that listens, and comes again while one of them does not take it', async () => {
    const first = await listening();
    const second = await publish({
      triggers: { message: { type: 'queue', queue: first.queue, filter: '{{ $error("not now") }}' } },
      output: 1,
    });
    expect(await deliver(first.queue, { id: 'm1', body: 1 })).toMatchObject({ acknowledged: [] });
    expect(await deliver(first.queue, { id: 'm1', body: 1 })).toMatchObject({ acknowledged: [] });
    await ended(first.name, 1);
    expect(await runsOf(second.name)).toEqual([]);
  });

  it.each([
    ['a text', 'plain', 'plain'],
    ['bytes', new Uint8Array([0, 222, 173]), 'AN6t'],
    ['nothing', undefined, null],
  ])('of %s becomes the body of the trigger', async (_, body, seen) => {
    const { queue, name } = await listening({}, { output: '{{ trigger.body }}' });
    await deliver(queue, { id: 'm1', body });
    const [run] = await ended(name, 1);
    expect((await manage(`GET /runs/${run?.id}`)).body['output']).toEqual(seen);
  });
});

describe('a trigger for a queue', () => {
  it.each([
    ['of the gateway itself', { queue: 'tidegate-steps' }, {}],
    ['without a name', { queue: '' }, {}],
    ['with a name that no queue has', { queue: 'Orders!' }, {}],
    ['of a chain that is inline', { queue: 'orders' }, { mode: 'inline' }],
  ])('%s is refused', async (_, trigger, chain) => {
    const document = { triggers: { message: { type: 'queue', ...trigger } }, steps: {}, ...chain };
    const { status, body } = await manage('PUT /chains/wrong', { name: 'wrong', ...document });
    expect([status, body['code']]).toEqual([422, 'chain.invalid']);
  });
});

describe('a step that sends', () => {
  const send = (params: object, options: CallOptions = { queues: queuesOf(env) }) =>
    actionsOf(queueConnector)('send', params, options);
  const batch = (messages: object[], options: CallOptions = { queues: queuesOf(env) }) =>
    actionsOf(queueConnector)('sendBatch', { queue: 'orders', messages }, options);
  /** A queue that keeps what it gets. */
  function recording(fails?: string) {
    const sent: unknown[] = [];
    const queue = {
      sendBatch: (messages: Iterable<MessageSendRequest>) => {
        if (fails !== undefined) return Promise.reject(new Error(fails));
        sent.push(...messages);
        return Promise.resolve();
      },
    };
    return { sent, options: { queues: new Map([['orders', queue as unknown as Queue]]) } };
  }

  it('says type and delay of each message', async () => {
    const { sent, options } = recording();
    const given = [
      { body: { n: 1 }, delaySeconds: 60 },
      { body: 'text', contentType: 'text' },
      { body: 'AN6t', contentType: 'bytes' },
    ];
    expect(await output(batch(given, options))).toEqual({ sent: 3 });
    expect(sent).toEqual([
      { body: { n: 1 }, contentType: 'json', delaySeconds: 60 },
      { body: 'text', contentType: 'text' },
      { body: new Uint8Array([0, 222, 173]), contentType: 'bytes' },
    ]);
  });

  it('to a queue that is not bound says which are, and what to add to wrangler.toml', async () => {
    const fault = await faultOf(send({ queue: 'new-orders', body: 1 }), 'connection.not-found');
    expect(fault.message).toMatch(/QUEUE_NEW_ORDERS.*There are: orders\..*wrangler\.toml/);
  });

  it.each(['STEPS', 'steps', 'tidegate-steps'])('reaches no queue of the gateway: %s', async (queue) => {
    const settled = await send({ queue, body: 1 }).catch(() => 'refused');
    expect(settled === 'refused' || (typeof settled === 'object' && !settled.ok)).toBe(true);
  });

  it.each([
    ['a message over 128 KB', [{ body: 'x'.repeat(128_000) }]],
    ['more than 256 KB together', Array.from({ length: 3 }, () => ({ body: 'x'.repeat(100_000) }))],
    ['a text that is none', [{ body: { a: 1 }, contentType: 'text' }]],
    ['bytes that are no base64', [{ body: 'no base64!', contentType: 'bytes' }]],
  ])('refuses %s, and sends nothing', async (_, messages) => {
    const { sent, options } = recording();
    await faultOf(batch(messages, options), 'step.params');
    expect(sent).toEqual([]);
  });

  it.each([
    ['Queue sendBatch failed: Too Many Requests', 'upstream.rate-limited', true],
    ['Queue sendBatch failed: Payload Too Large', 'upstream.rejected', false],
    ['Network connection lost', 'upstream.unavailable', true],
  ] as const)('tells what the queue says: %s', async (message, code, retryable) => {
    const fault = await faultOf(send({ queue: 'orders', body: 1 }, recording(message).options), code);
    expect(fault.retryable).toBe(retryable);
  });
});
