import { describe, expect, it } from 'vitest';
import { kafka } from '../../../src/connectors/kafka/index.ts';
import {
  credentials,
  groupOf,
  KINDS,
  newTopic,
  publish,
  requestsWith,
  standIn,
  type ProxyKind,
} from './kafka-fixtures.ts';
import { DEAD_ADDRESS, servers } from './fixtures.ts';
import { eventually, listenTo, type ListenOptions } from './subscriptions.ts';

const newGroup = (prefix = ''): string => `${prefix}g-${crypto.randomUUID()}`;
const listen = (proxy: ProxyKind, params: unknown, options?: ListenOptions) =>
  listenTo(kafka, credentials(proxy), 'topic', params, options);
const numbers = (count: number, first = 0) => Array.from({ length: count }, (_, index) => ({ json: first + index }));
const OVER = { ok: true, value: undefined };
const refuse = (): Promise<never> => Promise.reject(new Error('not durable'));

describe.each(KINDS)('records behind the proxy of %s', (proxy) => {
  it('come in order, from the oldest on, with what there is to know of them', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, { key: 'k', json: { n: 0 } }, { text: 'no json' }, { base64: '/w==' });
    const listening = listen(proxy, { topic, group });
    await listening.ready;
    await publish(proxy, topic, { key: 'gone', tombstone: true });
    await eventually(() => listening.events.length, 4);
    expect(await listening.stop()).toEqual(OVER);
    const headers = { 'kafka-topic': topic, 'kafka-partition': '0' };
    expect(listening.events).toMatchObject([
      {
        id: `${topic}:0:0`,
        body: { n: 0 },
        headers: { ...headers, 'kafka-offset': '0', 'kafka-key': 'k', 'kafka-key-encoding': 'text', encoding: 'json' },
      },
      { id: `${topic}:0:1`, body: 'no json', headers: { encoding: 'text' } },
      { id: `${topic}:0:2`, body: '/w==', headers: { encoding: 'base64' } },
      { id: `${topic}:0:3`, body: null, headers: { 'kafka-key': 'gone', encoding: 'tombstone' } },
    ]);
    expect(listening.events[1]?.headers).not.toHaveProperty('kafka-key');
  });

  it('are committed as the offset to go on with, and the instance is deleted at the end', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, ...numbers(45));
    const listening = listen(proxy, { topic, group });
    await eventually(() => listening.events.length, 45);
    await listening.stop();
    expect(await groupOf(proxy, group)).toEqual({ members: [], committed: { [`${topic}:0`]: 45 } });
  });

  it('that were accepted do not come again in the next session, and those after them do', async () => {
    const [topic, group] = [await newTopic(proxy, { partitions: 3 }), newGroup()];
    await publish(proxy, topic, ...numbers(20));
    const first = listen(proxy, { topic, group });
    await eventually(() => first.events.length, 20);
    await first.stop();
    await publish(proxy, topic, ...numbers(10, 20));
    const second = listen(proxy, { topic, group }, { cursor: first.events.at(-1)?.cursor });
    await eventually(() => second.events.length, 10);
    await second.stop();
    const bodies = second.events.map(({ body }) => Number(body));
    expect(bodies.toSorted((a, b) => a - b)).toEqual(numbers(10, 20).map(({ json }) => json));
  });

  it('that were not accepted are not committed, end the session, and come again under the same id', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, { text: 'kept' });
    const refusing = listen(proxy, { topic, group }, { deliver: refuse });
    await expect(refusing.ended).rejects.toThrow('not durable');
    expect(await groupOf(proxy, group)).toEqual({ members: [], committed: {} });
    const second = listen(proxy, { topic, group });
    await eventually(() => second.events.length, 1);
    await second.stop();
    expect(second.events).toMatchObject([{ id: `${topic}:0:0`, body: 'kept' }]);
  });

  it('are not committed before they were accepted, and are also when the end was asked for meanwhile', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, { text: 'waiting' });
    const accepted = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const accept = (): Promise<void> => {
      arrived.resolve();
      return accepted.promise;
    };
    const listening = listen(proxy, { topic, group }, { deliver: accept });
    await arrived.promise;
    expect(await groupOf(proxy, group)).toMatchObject({ committed: {} });
    const stopped = listening.stop();
    accepted.resolve();
    expect(await stopped).toEqual(OVER);
    expect(await groupOf(proxy, group)).toEqual({ members: [], committed: { [`${topic}:0`]: 1 } });
  });

  it('go on coming after the proxy has forgotten the instance', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, ...numbers(3));
    const listening = listen(proxy, { topic, group });
    await eventually(() => listening.events.length, 3);
    await standIn(proxy, `expire/${group}`);
    await publish(proxy, topic, ...numbers(2, 3));
    await eventually(() => listening.events.length, 5);
    await listening.stop();
    expect(listening.events.map(({ body }) => body)).toEqual([0, 1, 2, 3, 4]);
    expect(await groupOf(proxy, group)).toMatchObject({ members: [], committed: { [`${topic}:0`]: 5 } });
  });

  it('that were delivered while the instance was forgotten come again under the same ids', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, { text: 'twice' });
    let deliveries = 0;
    const accept = async (): Promise<void> => {
      if (deliveries++ === 0) await standIn(proxy, `expire/${group}`);
    };
    const listening = listen(proxy, { topic, group }, { deliver: accept });
    await expect
      .poll(async () => (await requestsWith(proxy, group)).filter((each) => each.startsWith('GET')).length, {
        timeout: 5_000,
      })
      .toBeGreaterThan(2);
    await listening.stop();
    expect(new Set(listening.events.map(({ id }) => id))).toEqual(new Set([`${topic}:0:0`]));
    expect(listening.events).toHaveLength(proxy === 'confluent' ? 2 : 1);
  });

  it('are taken over from a session that broke off without a goodbye', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, { text: 'a' });
    const mute: typeof fetch = (input, init) =>
      init?.method === 'DELETE' ? Promise.reject(new Error('gone')) : fetch(input, init);
    const first = listen(proxy, { topic, group }, { fetch: mute });
    await eventually(() => first.events.length, 1);
    await first.stop();
    expect((await groupOf(proxy, group)).members).toHaveLength(1);
    await publish(proxy, topic, { text: 'b' });
    const second = listen(proxy, { topic, group }, { cursor: first.events[0]?.cursor });
    await eventually(() => second.events.length, 1);
    await second.stop();
    expect(second.events).toMatchObject([{ body: 'b' }]);
    expect((await groupOf(proxy, group)).members).toEqual([]);
  });

  it('are committed by offsets alone, never by an empty commit', async () => {
    const [topic, group] = [await newTopic(proxy), newGroup()];
    await publish(proxy, topic, ...numbers(5));
    const listening = listen(proxy, { topic, group });
    await eventually(() => listening.events.length, 5);
    await listening.stop();
    const commits = (await requestsWith(proxy, group)).filter((each) => /^POST \S*\/offsets /.test(each));
    expect(commits.length).toBeGreaterThan(0);
    for (const each of commits) expect(each).toContain(topic);
  });

  it('end it where the connection is lost within a reply, and none is committed', async () => {
    const [topic, group] = [await newTopic(proxy, {}, 'break-'), newGroup()];
    const ended = await listen(proxy, { topic, group }).ended;
    expect(ended).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable' } });
    expect(await groupOf(proxy, group)).toEqual({ members: [], committed: {} });
  });

  it('end it where a reply is too large', async () => {
    const [topic, group] = [await newTopic(proxy, {}, 'large-'), newGroup()];
    expect(await listen(proxy, { topic, group }).ended).toMatchObject({ fault: { code: 'upstream.too-large' } });
  });

  it('do not hold up its end while the proxy waits for them', async () => {
    const [topic, group] = [await newTopic(proxy, {}, 'stall-'), newGroup()];
    const listening = listen(proxy, { topic, group });
    await expect
      .poll(() => requestsWith(proxy, `${group}`).then((all) => all.some((each) => each.startsWith('GET'))))
      .toBe(true);
    expect(await listening.stop()).toEqual(OVER);
    expect((await groupOf(proxy, group)).members).toEqual([]);
  });
});

describe('a group', () => {
  it('without offsets may begin with what comes from now on', async () => {
    const [topic, group] = [await newTopic('confluent'), newGroup()];
    await publish('confluent', topic, { text: 'old' });
    const listening = listen('confluent', { topic, group, from: 'latest' });
    await listening.ready;
    await publish('confluent', topic, { text: 'new' });
    await eventually(() => listening.events.length, 1);
    await listening.stop();
    expect(listening.events).toMatchObject([{ body: 'new' }]);
  });

  it('may not do so with Redpanda, which is said before it is asked', async () => {
    const group = newGroup();
    const ended = await listen('redpanda', { topic: 'a', group, from: 'latest' }).ended;
    expect(ended).toMatchObject({ ok: false, fault: { code: 'step.params' } });
    expect(await requestsWith('redpanda', group)).toEqual([]);
  });

  it('of another name begins anew, whatever the cursor says', async () => {
    const [topic, group] = [await newTopic('confluent'), newGroup()];
    await publish('confluent', topic, ...numbers(3));
    const first = listen('confluent', { topic, group });
    await eventually(() => first.events.length, 3);
    await first.stop();
    const second = listen('confluent', { topic, group: `${group}-anew` }, { cursor: first.events.at(-1)?.cursor });
    await eventually(() => second.events.length, 3);
    await second.stop();
    expect(second.events.map(({ id }) => id)).toEqual(first.events.map(({ id }) => id));
  });

  it('shares its partitions with other members', async () => {
    const [topic, group] = [await newTopic('confluent', { partitions: 2 }), newGroup()];
    const both = [listen('confluent', { topic, group }), listen('confluent', { topic, group })];
    await Promise.all(both.map(({ ready }) => ready));
    await publish('confluent', topic, { text: 'a', partition: 0 }, { text: 'b', partition: 1 });
    await Promise.all(both.map(({ events }) => eventually(() => events.length, 1)));
    await Promise.all(both.map((each) => each.stop()));
  });

  it.each(['../topics', '..', 'a/b', 'a b', 'a?b', ''])('named %j is refused', (group) => {
    expect(() => listen('confluent', { topic: 'a', group })).toThrow();
  });
});

describe('a proxy', () => {
  it('whose base_uri names another host is asked at the address of the connection all the same', async () => {
    const [topic, group] = [await newTopic('confluent'), newGroup('elsewhere-')];
    await publish('confluent', topic, { text: 'a' });
    const origins = new Set<string>();
    const watching: typeof fetch = (input, init) => {
      origins.add(new URL(String(input)).origin);
      return fetch(input, init);
    };
    const listening = listen('confluent', { topic, group }, { fetch: watching });
    await eventually(() => listening.events.length, 1);
    await listening.stop();
    expect([...origins]).toEqual([servers.kafka.confluent.url]);
  });

  it('whose instance has a name that would leave the group is not asked further', async () => {
    const group = newGroup('climbing-');
    const ended = await listen('confluent', { topic: 'a', group }).ended;
    expect(ended).toMatchObject({ ok: false, fault: { code: 'upstream.invalid' } });
    expect(await requestsWith('confluent', group)).toHaveLength(1);
  });

  it('that does not know what it has just made is one of several, which is told', async () => {
    const [topic, group] = [await newTopic('confluent'), newGroup()];
    const spread: typeof fetch = async (input, init) => {
      const reply = await fetch(input, init);
      if (String(input).endsWith('/subscription')) await standIn('confluent', `expire/${group}`);
      return reply;
    };
    const ended = await listen('confluent', { topic, group }, { fetch: spread }).ended;
    expect(ended).toMatchObject({ ok: false, fault: { code: 'upstream.unavailable' } });
    expect(JSON.stringify(ended)).toContain('one proxy');
  });

  it('that is not there, or does not take the credentials, is a fault without a word of them', async () => {
    const params = { topic: 'a', group: newGroup() };
    const nowhere = { ...credentials('confluent'), settings: { url: DEAD_ADDRESS } };
    expect(await listenTo(kafka, nowhere, 'topic', params).ended).toMatchObject({
      fault: { code: 'upstream.unreachable' },
    });
    const wrong = credentials('confluent', { username: 'gateway', password: 'not-it-0123' });
    const refused = await listenTo(kafka, wrong, 'topic', params).ended;
    expect(refused).toMatchObject({ ok: false, fault: { code: 'upstream.unauthorized' } });
    expect(JSON.stringify(refused)).not.toContain('not-it-0123');
  });
});

it('a cursor that is not of this subscription is as none', async () => {
  const [topic, group] = [await newTopic('confluent'), newGroup()];
  await publish('confluent', topic, { text: 'a' });
  for (const cursor of ['', 'nonsense', '{"instance":"../../topics"}', '7']) {
    const listening = listen('confluent', { topic, group: `${group}-${cursor.length}` }, { cursor });
    await eventually(() => listening.events.length, 1);
    await listening.stop();
  }
});
