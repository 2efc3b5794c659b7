import { describe, expect, it } from 'vitest';
import { kafka } from '../../../src/connectors/kafka/index.ts';
import { callOf, credentials, KINDS, newTopic, publish, requestsWith, standIn } from './kafka-fixtures.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written } from './fixtures.ts';
import { probesWork } from './probes.ts';

const call = callOf('confluent');

describe.each(KINDS)('with the proxy of %s', (proxy) => {
  const ask = callOf(proxy);

  it('the brokers answer, by a password or a token', async () => {
    expect(await output(ask('ping', {}))).toEqual({ brokers: [1] });
    const { bearer } = servers.kafka[proxy];
    expect(await output(actionsOf(kafka, credentials(proxy, { bearer }))('ping', {}))).toEqual({ brokers: [1] });
  });

  it('topics are listed', async () => {
    const topic = await newTopic(proxy);
    expect(await output(ask('topics', {}))).toMatchObject({ topics: expect.arrayContaining([topic]) });
  });

  it('what was published is read as it was, whatever it is', async () => {
    const topic = await newTopic(proxy);
    await publish(
      proxy,
      topic,
      { key: 'ü', json: { text: 'ünï "quoted"', big: 1e21 } },
      { key: '42', text: ' not json ' },
      { keyBase64: '/w==', base64: '/wA=' },
      { key: 'gone', tombstone: true },
      { json: null },
    );
    expect(await output(ask('read', { topic, partition: 0, offset: 0 }))).toEqual({
      records: [
        {
          partition: 0,
          offset: 0,
          key: 'ü',
          keyEncoding: 'text',
          body: { text: 'ünï "quoted"', big: 1e21 },
          encoding: 'json',
        },
        { partition: 0, offset: 1, key: '42', keyEncoding: 'text', body: ' not json ', encoding: 'text' },
        { partition: 0, offset: 2, key: '/w==', keyEncoding: 'base64', body: '/wA=', encoding: 'base64' },
        { partition: 0, offset: 3, key: 'gone', keyEncoding: 'text', body: null, encoding: 'tombstone' },
        { partition: 0, offset: 4, key: null, keyEncoding: 'base64', body: null, encoding: 'json' },
      ],
      nextOffset: 5,
    });
  });

  it('a range is read from its offset on, as far as asked, over several replies', async () => {
    const topic = await newTopic(proxy, { partitions: 2 });
    const records = Array.from({ length: 70 }, (_, index) => ({ json: index, partition: 1 }));
    await publish(proxy, topic, ...records);
    const read = (offset: number, limit: number) => output(ask('read', { topic, partition: 1, offset, limit }));
    const bodies = (value: unknown): unknown =>
      (value as { records: { body: unknown }[] }).records.map(({ body }) => body);
    const part = await read(6, 60);
    expect(bodies(part)).toEqual(Array.from({ length: 60 }, (_, index) => index + 6));
    expect(part).toMatchObject({ nextOffset: 66 });
    expect(await read(66, 60)).toMatchObject({ nextOffset: 70 });
    expect(await output(ask('read', { topic, partition: 1, offset: 70, waitMilliseconds: 100 }))).toEqual({
      records: [],
      nextOffset: 70,
    });
  });

  it('a partition that is not there is refused', async () => {
    const topic = await newTopic(proxy);
    expect((await faultOf(ask('read', { topic, partition: 7, offset: 0 }), 'upstream.rejected')).retryable).toBe(false);
    await faultOf(ask('publish', { topic, records: [{ text: 'a', partition: 7 }] }), 'upstream.rejected');
  });

  it.each([
    ['username', { username: 'not-it-0123', password: servers.kafka[proxy].password }],
    ['password', { username: servers.kafka[proxy].username, password: 'not-it-0123' }],
    ['bearer', { bearer: 'not-it-0123' }],
    ['nothing', {}],
  ])('a wrong %s is told without a word of it', async (_, secrets) => {
    const fault = await faultOf(actionsOf(kafka, credentials(proxy, secrets))('ping', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-it-0123');
    expect(written(fault)).not.toContain(btoa('gateway:not-it-0123'));
  });
});

describe('a topic', () => {
  it('is told with its partitions and their replicas', async () => {
    const topic = await newTopic('confluent', { partitions: 2 });
    expect(await output(call('topic', { topic }))).toEqual({
      name: topic,
      configs: { 'cleanup.policy': 'delete' },
      partitions: [0, 1].map((partition) => ({ partition, leader: 1, replicas: [{ broker: 1, inSync: true }] })),
    });
  });

  it('that is not there is refused for good', async () => {
    const fault = await faultOf(call('topic', { topic: 'nobody' }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { status: 404, errorCode: 40_401 } });
  });

  it('cannot be told by the proxy of Redpanda, which is said before it is asked', async () => {
    const topic = await newTopic('redpanda');
    await faultOf(callOf('redpanda')('topic', { topic }), 'step.params');
    expect(await requestsWith('redpanda', topic)).toEqual([]);
  });

  it.each(['../brokers', '..', '.', 'a/b', 'a?b=c', 'a#b', 'a b', 'a\r\nx: y', '%2e%2e', 'ü', '', 'x'.repeat(250)])(
    'named %j is refused before anything is sent',
    async (topic) => {
      await expect(call('topic', { topic })).rejects.toThrow();
      await expect(call('publish', { topic, records: [{ text: 'a' }] })).rejects.toThrow();
      await expect(call('read', { topic, partition: 0, offset: 0 })).rejects.toThrow();
    },
  );
});

describe('records', () => {
  it('tell where they are, by key or by partition', async () => {
    const topic = await newTopic('confluent', { partitions: 4 });
    const published = await publish('confluent', topic, { text: 'a', partition: 3 }, { text: 'b', partition: 3 });
    expect(published).toEqual({
      offsets: [
        { partition: 3, offset: 0 },
        { partition: 3, offset: 1 },
      ],
    });
    const keyed = (await publish('confluent', topic, { key: 'k', text: 'a' }, { key: 'k', text: 'b' })) as {
      offsets: { partition: number }[];
    };
    expect(keyed.offsets[0]?.partition).toBe(keyed.offsets[1]?.partition);
  });

  it('that Kafka refused are named, and are not sent again with those that it took', async () => {
    const topic = await newTopic('confluent', { maxBytes: 10 });
    const records = [{ text: 'small' }, { text: 'x'.repeat(11) }, { text: 'small' }];
    const fault = await faultOf(call('publish', { topic, records }), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
    expect(fault.message).toContain('records[1]');
    expect(fault.message).toContain('Others of the same call are in the topic');
    expect(fault.data).toMatchObject({
      failedCount: 1,
      failed: [{ record: 1, code: 50_002 }],
      offsets: [{ offset: 0 }, { offset: null }, { offset: 1 }],
    });
  });

  it('of which none was taken may be sent again where that may pass', async () => {
    const refusal = { code: 50_003, message: 'not enough replicas' };
    const topic = await newTopic('confluent', { refusal });
    const fault = await faultOf(
      call('publish', { topic, records: [{ text: 'a' }, { text: 'b' }] }),
      'upstream.unavailable',
    );
    expect(fault.retryable).toBe(true);
    expect(fault.message).toContain('records[0]');
  });

  it('that Redpanda refused are named by their partition', async () => {
    const topic = await newTopic('redpanda', { maxBytes: 10 });
    const sent = callOf('redpanda')('publish', { topic, records: [{ text: 'x'.repeat(11), partition: 0 }] });
    const fault = await faultOf(sent, 'upstream.rejected');
    expect(fault.data).toMatchObject({ failed: [{ partition: -1, code: 10 }] });
  });

  it.each([
    ['without a value', { key: 'a' }],
    ['with two values', { text: 'a', json: 1 }],
    ['with two keys', { key: 'a', keyBase64: 'YQ==', text: 'a' }],
    ['with a key that is no base64', { keyBase64: 'a', text: 'a' }],
    ['with a value that is no base64', { base64: '*' }],
    ['with a tombstone that has a value', { key: 'a', tombstone: true, text: 'a' }],
    ['with a tombstone without a key', { tombstone: true }],
    ['larger than a broker takes', { text: 'x'.repeat(1_048_001) }],
  ])('%s are refused by their index, before any is sent', async (_, record) => {
    const topic = await newTopic('confluent');
    const fault = await faultOf(call('publish', { topic, records: [{ text: 'fine' }, record] }), 'step.params');
    expect(fault.message).toMatch(/^records\[1\]: /);
    expect(await requestsWith('confluent', topic)).toEqual([]);
  });

  it('that are too large together are refused before any is sent', async () => {
    const topic = await newTopic('confluent');
    const records = Array.from({ length: 6 }, () => ({ text: 'x'.repeat(1_000_000) }));
    expect((await faultOf(call('publish', { topic, records }), 'step.params')).message).toMatch(/^records: /);
    expect(await requestsWith('confluent', topic)).toEqual([]);
  });

  it.each([[[]], [[{ text: 'a', headers: {} }]], [[{ text: 'a', partition: -1 }]], [[{ text: 'a', partition: 0.5 }]]])(
    'as %j are no parameters',
    async (records) => {
      await expect(call('publish', { topic: 'a', records })).rejects.toThrow();
    },
  );
});

describe('a reading', () => {
  it('leaves no instance and commits nothing', async () => {
    const topic = await newTopic('confluent');
    await publish('confluent', topic, { text: 'a' });
    await output(call('read', { topic, partition: 0, offset: 0, waitMilliseconds: 100 }));
    const [assigned = ''] = await requestsWith('confluent', topic).then((all) =>
      all.filter((each) => each.includes('/assignments')),
    );
    const group = /consumers\/([^/]+)/.exec(assigned)?.[1] ?? '';
    expect(await standIn('confluent', `group/${group}`)).toEqual({ members: [], committed: {} });
    const sent = await requestsWith('confluent', group);
    expect(sent.filter((each) => each.startsWith('POST') && each.includes('/offsets'))).toEqual([]);
    expect(sent.at(-1)).toMatch(/^DELETE /);
  });
});

describe('a call may be made again', () => {
  it('where nobody listens', async () => {
    const nowhere = actionsOf(kafka, { ...credentials('confluent'), settings: { url: DEAD_ADDRESS } });
    const fault = await faultOf(nowhere('ping', {}), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
    expect(written(fault)).not.toContain(servers.kafka.confluent.password);
  });

  it('where the connection is lost within the reply', async () => {
    const topic = await newTopic('confluent', {}, 'break-');
    expect((await faultOf(call('topic', { topic }), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('where it took too long', async () => {
    const topic = await newTopic('confluent', {}, 'stall-');
    const late = call('topic', { topic }, { signal: AbortSignal.timeout(100) });
    expect((await faultOf(late, 'step.timeout')).retryable).toBe(true);
  });

  it('where it was given up in the middle, which also takes back its instance', async () => {
    const topic = await newTopic('confluent');
    const signal = AbortSignal.timeout(200);
    await faultOf(
      call('read', { topic, partition: 0, offset: 0, waitMilliseconds: 5_000 }, { signal }),
      'step.timeout',
    );
    const sent = await requestsWith('confluent', topic);
    const group = /consumers\/([^/]+)/.exec(sent[0] ?? '')?.[1] ?? '';
    expect(group).not.toBe('');
    expect(await standIn('confluent', `group/${group}`)).toMatchObject({ members: [] });
  });
});

describe('a reply', () => {
  it('that is too large for the memory of an isolate is refused', async () => {
    const topic = await newTopic('confluent', {}, 'large-');
    await faultOf(call('topic', { topic }), 'upstream.too-large');
  });

  it('that is not of the API is unreadable', async () => {
    const topic = await newTopic('confluent', {}, 'garble-');
    await faultOf(call('topic', { topic }), 'upstream.invalid');
    const other: typeof fetch = () => Promise.resolve(Response.json({ brokers: 'none' }));
    await faultOf(call('ping', {}, { fetch: other }), 'upstream.invalid');
  });

  it('that redirects is not followed with the credentials', async () => {
    const asked: string[] = [];
    const moved: typeof fetch = (input) => {
      asked.push(String(input));
      return Promise.resolve(new Response(null, { status: 307, headers: { location: 'https://evil.example/' } }));
    };
    await faultOf(call('ping', {}, { fetch: moved }), 'upstream.invalid');
    expect(asked).toEqual([`${servers.kafka.confluent.url}/brokers`]);
  });
});

const { url, username, password, bearer } = servers.kafka.confluent;
probesWork({
  'Kafka by a password': {
    connector: 'kafka',
    settings: { url },
    secrets: { username, password },
    wrong: { password: 'canary' },
    dead: { settings: { url: DEAD_ADDRESS } },
  },
  'Kafka by a token': {
    connector: 'kafka',
    settings: { url: servers.kafka.redpanda.url, proxy: 'redpanda' },
    secrets: { bearer },
    wrong: { bearer: 'canary' },
    dead: { settings: { url: DEAD_ADDRESS } },
  },
});
