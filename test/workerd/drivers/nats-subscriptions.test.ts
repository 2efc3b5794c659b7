import { describe, expect, it } from 'vitest';
import { nats } from '../../../src/connectors/nats/index.ts';
import { ok } from '../../../src/core/errors.ts';
import { output } from './fixtures.ts';
import { breakable, call, otherSide, overTcp, ownName } from './nats-fixtures.ts';
import { listenTo, type ListenOptions } from './subscriptions.ts';

const listen = (name: string, params: unknown, options?: ListenOptions) =>
  listenTo(nats, overTcp, name, params, options);

describe('a subject', () => {
  it('is heard from when the server has confirmed it until it is aborted', async () => {
    const subject = ownName('heard');
    const { events, ready, ended, stop } = listen('subject', { subject: `${subject}.*` });
    await ready;
    await output(call('publish', { subject: `${subject}.a`, json: { n: 1 }, headers: { 'X-Kind': 'k' }, reply: 'r' }));
    await expect.poll(() => events).toHaveLength(1);
    expect(events[0]).toEqual({
      body: { n: 1 },
      headers: { 'x-kind': 'k', 'nats-subject': `${subject}.a`, 'nats-reply': 'r', encoding: 'json' },
    });
    await stop();
    expect(await ended).toEqual(ok(undefined));
    await output(call('publish', { subject: `${subject}.a`, json: { n: 2 } }));
    expect(events).toHaveLength(1);
  });

  it('reaches one member of a queue group', async () => {
    const params = { subject: ownName('group'), queue: 'workers' };
    const members = [listen('subject', params), listen('subject', params)];
    await Promise.all(members.map(({ ready }) => ready));
    for (let count = 0; count < 20; count += 1) await output(call('publish', { subject: params.subject, json: count }));
    await expect.poll(() => members.flatMap(({ events }) => events)).toHaveLength(20);
    await Promise.all(members.map(({ stop }) => stop()));
  });

  it('ends with a fault where the connection is lost, and where its events are refused', async () => {
    const { connect: opening, breakOff } = breakable();
    const subject = ownName('lost');
    const lost = listen('subject', { subject }, { connect: opening });
    await lost.ready;
    await breakOff();
    expect(await lost.ended).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable', retryable: true } });
    const refusing = listen('subject', { subject }, { deliver: () => Promise.reject(new Error('no room')) });
    await refusing.ready;
    await output(call('publish', { subject }));
    await expect(refusing.ended).rejects.toThrow('no room');
  });

  it('whose messages come faster than their runs are accepted ends it, instead of filling the memory', async () => {
    const subject = ownName('flood');
    const begun = Promise.withResolvers<void>();
    const deliver = (): Promise<void> => {
      begun.resolve();
      return new Promise(() => undefined);
    };
    const flooded = listen('subject', { subject, as: 'text' }, { deliver });
    await flooded.ready;
    const other = await otherSide();
    other.publish(subject, 'first');
    await begun.promise;
    for (let count = 0; count < 10; count += 1) other.publish(subject, 'x'.repeat(1_000_000));
    expect(await flooded.ended).toMatchObject({ ok: false, fault: { code: 'upstream.too-large', retryable: true } });
  });
});

describe('a stream', () => {
  const ownStream = async (): Promise<string> => {
    const stream = ownName('T');
    await output(call('createStream', { stream, subjects: [`${stream}.>`], storage: 'memory' }));
    return stream;
  };
  const publish = (stream: string, json: unknown) => output(call('streamPublish', { subject: `${stream}.a`, json }));
  const consumerOf = (stream: string) => output(call('consumer', { stream, consumer: 'c' }));

  it('gives what was sent before, each with an id, and acknowledges it', async () => {
    const stream = await ownStream();
    await publish(stream, { n: 1 });
    const { events, ended, stop } = listen('stream', { stream, consumer: 'c' });
    await publish(stream, { n: 2 });
    await expect.poll(() => events).toHaveLength(2);
    expect(events.map(({ body }) => body)).toEqual([{ n: 1 }, { n: 2 }]);
    expect(events[0]?.id).toMatch(new RegExp(`^${stream}:1:20`));
    expect(events[0]?.headers).toMatchObject({
      'nats-sequence': '1',
      'nats-deliveries': '1',
      'nats-subject': `${stream}.a`,
    });
    await expect.poll(() => consumerOf(stream)).toMatchObject({ acknowledgedSequence: 2, unacknowledged: 0 });
    await stop();
    expect(await ended).toEqual(ok(undefined));
  });

  it('gives more than one batch, each message once, in order', async () => {
    const stream = await ownStream();
    const other = await otherSide();
    for (let count = 0; count < 350; count += 1) other.publish(`${stream}.a`, String(count));
    await other.flush();
    const { events, stop, ended } = listen('stream', { stream, consumer: 'c' });
    await expect.poll(() => events.length).toBe(350);
    expect(events.map(({ body }) => body)).toEqual(Array.from({ length: 350 }, (_, index) => index));
    await expect.poll(() => consumerOf(stream)).toMatchObject({ acknowledgedSequence: 350 });
    await stop();
    await ended;
  });

  it('acknowledges nothing whose delivery was refused, and gives it again with the same id', async () => {
    const stream = await ownStream();
    await publish(stream, { n: 1 });
    const seen: (string | undefined)[] = [];
    const refusing = listen(
      'stream',
      { stream, consumer: 'c' },
      {
        deliver: (events) => {
          seen.push(...events.map(({ id }) => id));
          return Promise.reject(new Error('no room'));
        },
      },
    );
    await expect(refusing.ended).rejects.toThrow('no room');
    expect(await consumerOf(stream)).toMatchObject({ acknowledgedSequence: 0 });
    const { events, stop, ended } = listen('stream', { stream, consumer: 'c' });
    await expect.poll(() => events).toHaveLength(1);
    expect(events[0]?.id).toBe(seen[0]);
    await stop();
    await ended;
  });

  it('acknowledges nothing where the connection is lost before the runs are durable', async () => {
    const stream = await ownStream();
    await publish(stream, { n: 1 });
    const { connect: opening, breakOff } = breakable();
    const lost = listen('stream', { stream, consumer: 'c' }, { connect: opening, deliver: breakOff });
    expect(await lost.ended).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable' } });
    expect(await consumerOf(stream)).toMatchObject({ acknowledgedSequence: 0, unacknowledged: 1 });
  });

  it('that is not there, or whose consumer is deleted meanwhile, ends it with what the server says', async () => {
    const missing = await listen('stream', { stream: ownName('none'), consumer: 'c' }).ended;
    expect(missing).toMatchObject({ ok: false, fault: { code: 'upstream.rejected' } });
    const stream = await ownStream();
    const { ready, ended } = listen('stream', { stream, consumer: 'c' });
    await ready;
    await publish(stream, {});
    await expect.poll(() => consumerOf(stream)).toMatchObject({ acknowledgedSequence: 1 });
    await output(call('deleteConsumer', { stream, consumer: 'c' }));
    expect(await ended).toMatchObject({ ok: false, fault: { code: 'upstream.rejected' } });
  });
});
