import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { nats } from '../../../src/connectors/nats/index.ts';
import { actionsOf, faultOf, output } from './fixtures.ts';
import { call, overTcp, ownName } from './nats-fixtures.ts';

const done = (action: string, params: unknown) => output(call(action, params));

async function ownStream(more: object = {}): Promise<{ stream: string; subject: string }> {
  const stream = ownName('S');
  await done('createStream', { stream, subjects: [`${stream}.>`], storage: 'memory', ...more });
  return { stream, subject: `${stream}.a` };
}

const fetched = v.object({
  messages: v.array(
    v.object({ body: v.unknown(), ack: v.string(), deliveries: v.number(), sequence: v.number(), subject: v.string() }),
  ),
});
const fetch = async (stream: string, limit = 10) =>
  v.parse(fetched, await done('fetch', { stream, consumer: 'c', limit })).messages;

describe('a stream', () => {
  it('is created, read, listed, purged and deleted', async () => {
    const { stream, subject } = await ownStream({ maximumAgeSeconds: 60, maximumMessages: 10 });
    // The same again changes nothing.
    await done('createStream', {
      stream,
      subjects: [`${stream}.>`],
      storage: 'memory',
      maximumAgeSeconds: 60,
      maximumMessages: 10,
    });
    await faultOf(call('createStream', { stream, subjects: ['other.>'] }), 'upstream.rejected');
    for (const text of ['1', '2', '3']) await done('streamPublish', { subject, text });
    await done('streamPublish', { subject: `${stream}.b`, text: '4' });
    expect(await done('stream', { stream })).toMatchObject({ stream, messages: 4, firstSequence: 1, lastSequence: 4 });
    expect(await done('streams', { subject })).toMatchObject({ streams: [{ stream }] });
    expect(await done('purgeStream', { stream, before: 2 })).toEqual({ purged: 1 });
    expect(await done('purgeStream', { stream, subject: `${stream}.b` })).toEqual({ purged: 1 });
    expect(await done('purgeStream', { stream })).toEqual({ purged: 2 });
    expect(await done('deleteStream', { stream })).toEqual({ deleted: true });
    await faultOf(call('stream', { stream }), 'upstream.rejected');
  });

  it('takes a message once, however often the step is tried', async () => {
    const { stream, subject } = await ownStream();
    const same = () =>
      output(actionsOf(nats, overTcp)('streamPublish', { subject, text: 'x' }, { idempotencyKey: 'run:pay:0' }));
    expect(await same()).toEqual({ stream, sequence: 1, duplicate: false });
    expect(await same()).toEqual({ stream, sequence: 1, duplicate: true });
    expect(await done('streamPublish', { subject, text: 'x', messageId: 'mine' })).toMatchObject({ sequence: 2 });
    expect(await done('streamPublish', { subject, text: 'y', messageId: 'mine' })).toMatchObject({ duplicate: true });
  });

  it('refuses for good what it is not, or is no longer, as the step expects', async () => {
    const { stream, subject } = await ownStream();
    await done('streamPublish', { subject, lastSequence: 0, lastSubjectSequence: 0, stream });
    for (const expected of [{ stream: 'OTHER' }, { lastSequence: 7 }, { lastSubjectSequence: 0 }]) {
      const fault = await faultOf(call('streamPublish', { subject, ...expected }), 'upstream.rejected');
      expect(fault.retryable).toBe(false);
    }
    expect(await done('stream', { stream })).toMatchObject({ messages: 1 });
  });

  it('that takes the subject is missed where there is none', async () => {
    const fault = await faultOf(call('streamPublish', { subject: ownName('none') }), 'upstream.rejected');
    expect(fault.message).toContain('no stream takes the subject');
  });

  it.each(['a.b', 'a b', '*', '>', 'a/b', '', 'A.CONSUMER.x'])('cannot have the name %j', async (stream) => {
    await expect(call('stream', { stream })).rejects.toThrow(v.ValiError);
    await expect(call('deleteStream', { stream })).rejects.toThrow(v.ValiError);
    await expect(call('fetch', { stream, consumer: 'c' })).rejects.toThrow(v.ValiError);
  });
});

describe('a consumer', () => {
  it('hands out messages until each is acknowledged', async () => {
    const { stream, subject } = await ownStream();
    await done('createConsumer', { stream, consumer: 'c', ackWaitSeconds: 0.2 });
    await done('streamPublish', { subject, json: { n: 1 }, headers: { 'X-Kind': 'first' } });
    await done('streamPublish', { subject, json: { n: 2 } });
    const [first, second] = await fetch(stream, 2);
    expect(first).toMatchObject({ body: { n: 1 }, deliveries: 1, sequence: 1, subject });
    expect(await done('ack', { tokens: [first?.ack] })).toEqual({ acknowledged: 1 });
    // Nobody said what became of the second.
    const [again] = await fetch(stream, 1);
    expect(again).toMatchObject({ body: { n: 2 }, deliveries: 2 });
    await done('ack', { tokens: [again?.ack] });
    // Once more does no harm: a step may be tried again.
    await done('ack', { tokens: [again?.ack, second?.ack] });
    expect(await done('consumer', { stream, consumer: 'c' })).toMatchObject({
      pending: 0,
      unacknowledged: 0,
      acknowledgedSequence: 2,
    });
    expect(await fetch(stream)).toEqual([]);
  });

  it('hands out at once what is to be done again, and no more what never is', async () => {
    const { stream, subject } = await ownStream();
    await done('createConsumer', { stream, consumer: 'c' });
    await done('streamPublish', { subject, text: 'x' });
    const [first] = await fetch(stream, 1);
    await done('ack', { tokens: [first?.ack], outcome: 'again' });
    const [second] = await fetch(stream, 1);
    expect(second?.deliveries).toBe(2);
    await done('ack', { tokens: [second?.ack], outcome: 'never' });
    expect(await fetch(stream)).toEqual([]);
    await done('deleteConsumer', { stream, consumer: 'c' });
    await faultOf(call('fetch', { stream, consumer: 'c' }), 'upstream.rejected');
    await faultOf(call('deleteConsumer', { stream, consumer: 'c' }), 'upstream.rejected');
  });

  it('that hands out more than a step may hold fails it, and keeps the messages', async () => {
    const { stream, subject } = await ownStream();
    await done('createConsumer', { stream, consumer: 'c' });
    const text = 'x'.repeat(1_900_000);
    for (let count = 0; count < 5; count += 1) await done('streamPublish', { subject, text });
    await faultOf(call('fetch', { stream, consumer: 'c', limit: 5 }), 'upstream.too-large');
    expect(await done('consumer', { stream, consumer: 'c' })).toMatchObject({ unacknowledged: 5 });
  });

  it.each([
    'orders.paid',
    '$JS.API.STREAM.DELETE.A.b.c.d.e.f',
    '$JS.ACK.a',
    '$JS.ACK.a.b.1.2.3.4.5 x',
    '$JS.ACK.a.b.1.2.3.4.*',
  ])('is not told by the token %j', async (token) => {
    await expect(call('ack', { tokens: [token] })).rejects.toThrow(v.ValiError);
  });
});

describe('keys and values', () => {
  const ownBucket = async (): Promise<string> => {
    const bucket = ownName('B');
    await done('kvCreateBucket', { bucket, history: 5, storage: 'memory' });
    return bucket;
  };

  it('are set, read, changed and deleted, with a revision each time', async () => {
    const bucket = await ownBucket();
    const at = { bucket, key: 'user.42' };
    expect(await done('kvGet', at)).toEqual({ found: false });
    expect(await done('kvPut', { ...at, json: { name: 'Ada' } })).toEqual({ revision: 1 });
    expect(await done('kvGet', at)).toMatchObject({ found: true, body: { name: 'Ada' }, revision: 1 });
    expect(await done('kvUpdate', { ...at, text: 'Grace', revision: 1 })).toEqual({ revision: 2 });
    const fault = await faultOf(call('kvUpdate', { ...at, text: 'late', revision: 1 }), 'upstream.rejected');
    expect(fault.message).toContain('another revision than 1');
    expect(await done('kvGet', at)).toMatchObject({ body: 'Grace', encoding: 'text' });
    await done('kvDelete', at);
    expect(await done('kvGet', at)).toEqual({ found: false });
    expect(await done('kvHistory', at)).toMatchObject({
      entries: [{ body: { name: 'Ada' } }, { body: 'Grace' }, { deleted: true, body: null }],
    });
    await done('kvDelete', { ...at, history: 'delete' });
    expect(await done('kvHistory', at)).toMatchObject({ entries: [{ deleted: true }] });
  });

  it('are created once, and again after they were deleted', async () => {
    const bucket = await ownBucket();
    const lock = { bucket, key: 'lock', text: 'mine' };
    expect(await done('kvCreate', lock)).toEqual({ created: true, revision: 1 });
    expect(await done('kvCreate', { ...lock, text: 'yours' })).toEqual({ created: false });
    expect(await done('kvGet', { bucket, key: 'lock' })).toMatchObject({ body: 'mine' });
    await done('kvDelete', { bucket, key: 'lock' });
    expect(await done('kvCreate', lock)).toEqual({ created: true, revision: 3 });
  });

  it('of a step that is tried again are written once', async () => {
    const bucket = await ownBucket();
    const put = () =>
      output(actionsOf(nats, overTcp)('kvPut', { bucket, key: 'k', text: 'x' }, { idempotencyKey: 'run:put:0' }));
    expect([await put(), await put()]).toEqual([{ revision: 1 }, { revision: 1 }]);
  });

  it('are listed without those that are deleted', async () => {
    const bucket = await ownBucket();
    for (const key of ['a', 'b.c', 'b.d', 'gone']) await done('kvPut', { bucket, key, text: 'x' });
    await done('kvDelete', { bucket, key: 'gone' });
    expect(await done('kvKeys', { bucket })).toEqual({ keys: ['a', 'b.c', 'b.d'] });
    expect(await done('kvKeys', { bucket, prefix: 'b' })).toEqual({ keys: ['b.c', 'b.d'] });
    expect(await done('kvKeys', { bucket: await ownBucket() })).toEqual({ keys: [] });
  });

  it.each(['', '.a', 'a.', 'a..b', 'a b', '*', '>', 'a.>', 'ä', 'a\r\nb', '$'])(
    'cannot have the key %j',
    async (key) => {
      for (const action of ['kvGet', 'kvPut', 'kvDelete', 'kvHistory']) {
        await expect(call(action, { bucket: 'b', key }), action).rejects.toThrow(v.ValiError);
      }
    },
  );

  it('of a bucket that is not there are refused', async () => {
    await faultOf(call('kvGet', { bucket: 'none', key: 'a' }), 'upstream.rejected');
    await faultOf(call('kvPut', { bucket: 'none', key: 'a', text: 'x' }), 'upstream.rejected');
  });
});
