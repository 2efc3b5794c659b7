import { describe, expect, it } from 'vitest';
import { rabbitmq } from '../../../src/connectors/rabbitmq/index.ts';
import { actionsOf, faultOf, output, servers, written } from './fixtures.ts';
import { call, closedVhost, cuttingPort, declared, done, over, password, reader, tlsPort, user } from './rabbitmq.ts';

const cutting = over({ port: cuttingPort });

describe('messages', () => {
  it('are published to a queue, looked at, and taken out of it', async () => {
    const queue = await declared();
    expect(await done('get', { queue })).toEqual({ messages: [], remaining: 0 });
    for (const id of [1, 2, 3]) {
      expect(await done('publish', { routingKey: queue, json: { id, name: 'ünï 🦊' } })).toEqual({
        messageId: 'run:step:0',
      });
    }
    const look = { queue, parse: 'json', limit: 2, acknowledge: false };
    expect(await done('get', look)).toMatchObject({
      messages: [{ body: { id: 1 }, redelivered: false }, { body: { id: 2, name: 'ünï 🦊' } }],
      remaining: 1,
    });
    expect(await done('get', { queue, parse: 'json', limit: 10 })).toMatchObject({
      messages: [{ body: { id: 1 }, redelivered: true }, { body: { id: 2 } }, { body: { id: 3 } }],
      remaining: 0,
    });
    expect(await done('queue-info', { queue })).toEqual({ queue, messages: 0, consumers: 0 });
  });

  it('keep their properties and headers', async () => {
    const queue = await declared();
    const properties = {
      messageId: 'm-1',
      contentType: 'text/x',
      contentEncoding: 'utf-8',
      correlationId: 'c-1',
      replyTo: 'answers',
      type: 'order.paid',
      appId: 'shop',
      priority: 3,
      headers: { tenant: 'acme', attempt: 2, big: 9007199254740991, share: 0.5, vip: true, ä: 'ö' },
    };
    await done('publish', { routingKey: queue, text: 'x', ...properties, expirationMilliseconds: 60_000 });
    expect(await done('get', { queue })).toMatchObject({
      messages: [{ body: 'x', ...properties, expiration: '60000', persistent: true, routingKey: queue, exchange: '' }],
    });
  });

  it('of any bytes are kept as they are', async () => {
    const queue = await declared();
    await done('publish', { routingKey: queue, base64: 'AP/+gA==' });
    await faultOf(call('get', { queue, parse: 'text' }), 'upstream.invalid');
    expect(await done('get', { queue, parse: 'base64' })).toMatchObject({ messages: [{ body: 'AP/+gA==' }] });
  });

  it('of more than a frame arrive whole', async () => {
    const queue = await declared();
    const text = 'x'.repeat(1_000_000);
    await done('publish', { routingKey: queue, text });
    expect(await done('get', { queue })).toMatchObject({ messages: [{ body: text }] });
  });

  it('that are too large together for the memory of an isolate stay in the queue', async () => {
    const queue = await declared();
    const text = 'x'.repeat(3_000_000);
    for (let count = 0; count < 3; count += 1) await done('publish', { routingKey: queue, text });
    await faultOf(call('get', { queue, limit: 3 }), 'upstream.too-large');
    await expect.poll(() => done('queue-info', { queue })).toMatchObject({ messages: 3 });
  });

  it('that cannot be read are not acknowledged', async () => {
    const queue = await declared();
    await done('publish', { routingKey: queue, text: '{"half":' });
    await faultOf(call('get', { queue, parse: 'json' }), 'upstream.invalid');
    await expect.poll(() => done('queue-info', { queue })).toMatchObject({ messages: 1 });
  });

  it('that no queue takes fail, unless that is meant', async () => {
    const nowhere = { routingKey: `nowhere-${crypto.randomUUID()}`, text: 'x' };
    const fault = await faultOf(call('publish', nowhere), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
    await done('publish', { ...nowhere, mandatory: false });
  });

  it('that a full queue refuses may be sent again later', async () => {
    const queue = await declared({ maxLength: 1, overflow: 'reject-publish' });
    await done('publish', { routingKey: queue, text: 'first' });
    expect(
      (await faultOf(call('publish', { routingKey: queue, text: 'second' }), 'upstream.unavailable')).retryable,
    ).toBe(true);
  });

  it('cannot be written as another type than they have', async () => {
    const queue = await declared();
    const headers = { at: { '!': 'timestamp', value: 1 } };
    await expect(call('publish', { routingKey: queue, text: 'x', headers })).rejects.toThrow('received Object');
    await faultOf(
      call('publish', { routingKey: queue, text: 'x', headers: { large: 'x'.repeat(200_000) } }),
      'step.params',
    );
  });

  it.each([
    { routingKey: 'x'.repeat(256), text: 'x' },
    { exchange: 'ä'.repeat(200), text: 'x' },
  ])('with names that AMQP cannot carry are refused before anything is sent', async (params) => {
    await expect(call('publish', params)).rejects.toThrow('255 bytes');
  });

  it('with two contents, or none, are refused', async () => {
    await faultOf(call('publish', { routingKey: 'a', text: 'x', json: 1 }), 'step.params');
    await faultOf(call('publish', { routingKey: 'a' }), 'step.params');
  });
});

describe('queues and exchanges', () => {
  it('are declared, bound, unbound, purged and deleted', async () => {
    const queue = await declared({ type: 'quorum' });
    const exchange = `exchange-${crypto.randomUUID()}`;
    expect(await done('exchange-declare', { exchange, type: 'topic' })).toEqual({ exchange });
    await done('bind', { queue, exchange, routingKey: 'order.*' });
    await done('publish', { exchange, routingKey: 'order.paid', text: 'x' });
    await faultOf(call('publish', { exchange, routingKey: 'invoice.paid', text: 'x' }), 'upstream.rejected');
    await expect.poll(() => done('queue-info', { queue })).toMatchObject({ messages: 1 });
    await done('unbind', { queue, exchange, routingKey: 'order.*' });
    await faultOf(call('publish', { exchange, routingKey: 'order.paid', text: 'x' }), 'upstream.rejected');
    await faultOf(call('queue-delete', { queue: await filled(), ifEmpty: true }), 'upstream.rejected');
    await done('exchange-delete', { exchange });
    expect(await done('queue-delete', { queue })).toMatchObject({ messages: 1 });
    await faultOf(call('queue-info', { queue }), 'upstream.rejected');
  });

  it('give what was purged', async () => {
    const queue = await filled();
    expect(await done('queue-purge', { queue })).toEqual({ messages: 1 });
    expect(await done('get', { queue })).toMatchObject({ messages: [] });
  });

  it('move what expires to the dead letters', async () => {
    const dead = await declared();
    const queue = await declared({ deadLetterExchange: '', deadLetterRoutingKey: dead, messageTtlMilliseconds: 1 });
    await done('publish', { routingKey: queue, text: 'late' });
    await expect.poll(() => done('queue-info', { queue: dead })).toMatchObject({ messages: 1 });
    expect(await done('get', { queue: dead })).toMatchObject({
      messages: [
        {
          body: 'late',
          headers: {
            'x-first-death-reason': 'expired',
            'x-death': [{ time: expect.stringMatching(/^20.*Z$/) as unknown }],
          },
        },
      ],
    });
  });

  it('that are there otherwise are not changed', async () => {
    const queue = await declared();
    const fault = await faultOf(call('queue-declare', { queue, durable: false }), 'upstream.rejected');
    expect(fault.message).toContain('inequivalent arg');
  });

  it('that are not there are named', async () => {
    expect((await faultOf(call('get', { queue: 'not-there' }), 'upstream.rejected')).message).toContain('not-there');
    const fault = await faultOf(call('publish', { exchange: 'no-exchange', text: 'x' }), 'upstream.rejected');
    expect(fault.message).toContain('no-exchange');
  });

  async function filled(): Promise<string> {
    const queue = await declared();
    await done('publish', { routingKey: queue, text: 'x' });
    return queue;
  }
});

describe('connections', () => {
  it('tell by the probe whether the broker takes the credentials', async () => {
    const { action, params } = rabbitmq.connection?.probe?.({}) ?? { action: '', params: {} };
    expect(await done(action, params)).toEqual({});
    const wrong = over({}, { password: 'not-the-password' });
    const fault = await faultOf(wrong(action, params), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-the-password');
  });

  it.each(['not-there', closedVhost])('to the virtual host %s name it', async (vhost) => {
    const fault = await faultOf(over({ vhost })('ping', {}), 'connection.invalid');
    expect(fault.message).toContain(vhost);
  });

  it('may do only what the broker allows, and the user is not named', async () => {
    const queue = await declared();
    const limited = over({}, { ...reader });
    for (const [action, params] of [
      ['publish', { routingKey: queue, exchange: 'amq.direct', text: 'x' }],
      ['queue-declare', { queue: 'new' }],
      ['queue-delete', { queue }],
    ] as const) {
      const fault = await faultOf(limited(action, params), 'upstream.unauthorized');
      expect(fault.message).not.toContain(reader.user);
    }
  });

  it('to an address where nobody listens are unreachable, which may pass', async () => {
    expect((await faultOf(over({ port: 1 })('ping', {}), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('to a certificate that nobody trusts are refused', async () => {
    await faultOf(over({ host: 'localhost', port: tlsPort, tls: 'verify' })('ping', {}), 'upstream.unreachable');
  });

  it('to something else than RabbitMQ say so', async () => {
    const { port } = new URL(servers.upstream.url);
    await faultOf(over({ port: Number(port) })('ping', {}), 'upstream.unreachable');
  });

  it.each(['CUT-HERE', 'CUT-REPLY'])(
    'that break while publishing (%s) may be tried again with the same id',
    async (text) => {
      const queue = await declared();
      const fault = await faultOf(cutting('publish', { routingKey: queue, text }), 'upstream.unavailable');
      expect(fault.retryable).toBe(true);
      expect(written(fault)).not.toContain(password);
      expect(written(fault)).not.toContain(user);
      if (text === 'CUT-REPLY') {
        await expect
          .poll(() => done('get', { queue, acknowledge: false }))
          .toMatchObject({ messages: [{ messageId: 'run:step:0' }] });
      }
    },
  );

  it('that hang are given up with the step', async () => {
    const params = { routingKey: await declared(), text: 'STALL-HERE' };
    const fault = await faultOf(cutting('publish', params, { signal: AbortSignal.timeout(200) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
  });

  it('are not opened for a step that was cancelled before', async () => {
    const connect = () => {
      throw new Error('connected');
    };
    await faultOf(call('ping', {}, { signal: AbortSignal.abort(), connect }), 'step.timeout');
  });

  it('go to no other host than their own', () => {
    const facts = rabbitmq.connection;
    expect(facts?.sockets?.({ host: 'a.example', port: 5671 }, {})).toEqual([{ hostname: 'a.example', port: 5671 }]);
    expect(facts?.origins?.({}, {})).toEqual([]);
  });

  it.each(['a.example:5671', 'user@a.example', 'a.example/vhost', ''])(
    'to %j are refused as not valid',
    async (host) => {
      const wrong = actionsOf(rabbitmq, { settings: { host }, secrets: { user, password } });
      await expect(output(wrong('ping', {}))).rejects.toThrow('Must be the name');
    },
  );

  it('of many steps at once keep their messages apart', async () => {
    const queues = await Promise.all(Array.from({ length: 8 }, () => declared()));
    await Promise.all(queues.map((queue) => done('publish', { routingKey: queue, text: queue })));
    const found = await Promise.all(queues.map((queue) => done('get', { queue })));
    expect(found).toMatchObject(queues.map((queue) => ({ messages: [{ body: queue }] })));
  });
});
