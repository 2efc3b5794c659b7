import { describe, expect, it } from 'vitest';
import { mqtt } from '../../../src/connectors/mqtt/index.ts';
import { actionsOf, output, servers, type Credentials } from './fixtures.ts';
import { eventually, listenTo, type ListenOptions } from './subscriptions.ts';

const { url, webSocketUrl, cuttingUrl, username, password, reader } = servers.mqtt;
const credentials = (settings: Record<string, unknown>): Credentials => ({
  settings,
  secrets: { username, password },
});
const call = actionsOf(mqtt, credentials({ url }));
const publish = (topic: string, text: string, more: Record<string, unknown> = {}) =>
  output(call('publish', { topic, text, ...more }));
const unique = (name: string): string => `${name}/${crypto.randomUUID()}`;

describe.each([
  ['5 over TCP', { url }],
  ['3.1.1 over TCP', { url, version: '3.1.1' }],
  ['5 over WebSocket', { url: webSocketUrl }],
])('version %s', (_name, settings) => {
  const listen = (params: unknown, options?: ListenOptions) =>
    listenTo(mqtt, credentials(settings), 'topic', params, options);

  it.each([0, 1, 2])('delivers messages of QoS %i in order', async (qos) => {
    const base = unique('order');
    const listening = listen({ filters: [`${base}/+`], qos });
    await listening.ready;
    const messages = Array.from({ length: 60 }, (_, index) => ({ topic: `${base}/${index}`, text: `${index}`, qos }));
    await output(call('publish-many', { messages }));
    await eventually(() => listening.events.length, 60);
    expect(await listening.stop()).toEqual({ ok: true, value: undefined });
    expect(listening.events.map(({ body }) => body)).toEqual(messages.map(({ text }) => text));
    expect(listening.events[3]?.headers).toMatchObject({ topic: `${base}/3`, qos: String(qos), redelivered: 'false' });
  });

  it('brings what came while nobody listened', async () => {
    const topic = unique('away');
    const params = { filters: [topic], qos: 1 };
    const first = listen(params);
    await first.ready;
    await first.stop();
    await publish(topic, 'while away');
    const second = listen(params);
    await eventually(() => second.events.length, 1);
    await second.stop();
    expect(second.events.map(({ body }) => body)).toEqual(['while away']);
    const third = listen(params);
    await third.ready;
    await publish(topic, 'later');
    await eventually(() => third.events.length, 1);
    await third.stop();
    expect(third.events.map(({ body }) => body)).toEqual(['later']);
  });

  it.each([1, 2])('acknowledges at QoS %i nothing that was not accepted, and ends', async (qos) => {
    const topic = unique('refused');
    const params = { filters: [topic], qos };
    const refusing = listen(params, {
      deliver: () => {
        throw new Error('not durable');
      },
    });
    await refusing.ready;
    await publish(topic, 'kept', { qos });
    expect((await refusing.ended).ok).toBe(false);
    const second = listen(params);
    await eventually(() => second.events.length, 1);
    await second.stop();
    expect(second.events).toMatchObject([{ body: 'kept', headers: { redelivered: 'true' } }]);
  });

  it('has no more under way than it was told', async () => {
    const base = unique('window');
    const batches: number[] = [];
    const listening = listen(
      { filters: [`${base}/#`], qos: 1, inFlight: 3 },
      { deliver: (events) => void batches.push(events.length) },
    );
    await listening.ready;
    const messages = Array.from({ length: 20 }, (_, index) => ({ topic: `${base}/${index}`, text: 'x' }));
    await output(call('publish-many', { messages }));
    await eventually(() => listening.events.length, 20);
    await listening.stop();
    expect(Math.max(...batches)).toBeLessThanOrEqual(3);
  });
});

const listen = (params: unknown, settings: Record<string, unknown> = { url }) =>
  listenTo(mqtt, credentials(settings), 'topic', params);

it('members of a group share the messages', async () => {
  const base = unique('shared');
  const members = ['a', 'b'].map((name) =>
    listen({
      filters: [`$share/group/${base}/#`],
      clientId: `${base.slice(-9)}${name}`,
    }),
  );
  await Promise.all(members.map(({ ready }) => ready));
  const messages = Array.from({ length: 20 }, (_, index) => ({ topic: `${base}/${index}`, text: `${index}` }));
  await output(call('publish-many', { messages }));
  await eventually(() => members.reduce((sum, { events }) => sum + events.length, 0), 20);
  await Promise.all(members.map((each) => each.stop()));
  const bodies = members.flatMap(({ events }) => events.map(({ body }) => Number(body)));
  expect(bodies.toSorted((a, b) => a - b)).toEqual(messages.map((_, index) => index));
  for (const { events } of members) expect(events.length).toBeGreaterThan(0);
});

it('retained messages come once, not again with each opening', async () => {
  const topic = unique('kept');
  await publish(topic, 'old', { retain: true });
  const first = listen({ filters: [topic] });
  await eventually(() => first.events.length, 1);
  await first.stop();
  expect(first.events).toMatchObject([{ body: 'old', headers: { retained: 'true' } }]);
  const second = listen({ filters: [topic] });
  await second.ready;
  await publish(topic, 'new');
  await eventually(() => second.events.length, 1);
  await second.stop();
  expect(second.events.map(({ body }) => body)).toEqual(['new']);
});

it('payloads that cannot be read are delivered and marked, so that they hold back nothing', async () => {
  const topic = unique('broken');
  const listening = listen({ filters: [topic], parse: 'json' });
  await listening.ready;
  await publish(topic, '{"half":', { properties: { Trace: 't-1' } });
  await publish(topic, '{"whole":true}');
  await eventually(() => listening.events.length, 2);
  await listening.stop();
  expect(listening.events).toMatchObject([
    { body: btoa('{"half":'), headers: { unreadable: 'json', 'property-trace': 't-1' } },
    { body: { whole: true } },
  ]);
});

it('a user property cannot pose as the topic', async () => {
  const topic = unique('posing');
  const listening = listen({ filters: [topic] });
  await listening.ready;
  await publish(topic, 'x', { properties: { topic: 'admin', __proto__x: 'y' } });
  await eventually(() => listening.events.length, 1);
  await listening.stop();
  expect(listening.events[0]?.headers).toMatchObject({ topic, 'property-topic': 'admin' });
});

it('a lost connection ends it, and what was not acknowledged comes at the next opening', async () => {
  const topic = unique('lost');
  const params = { filters: [topic], clientId: topic.slice(-20) };
  const first = listen(params, { url: cuttingUrl });
  await first.ready;
  await publish(topic, 'CUT-DELIVERY');
  expect(await first.ended).toEqual({ ok: true, value: undefined });
  expect(first.events).toEqual([]);
  const second = listen(params);
  await eventually(() => second.events.length, 1);
  await second.stop();
  expect(second.events.map(({ body }) => body)).toEqual(['CUT-DELIVERY']);
});

it('a session that another client takes over ends, with what it has not acknowledged left to the other', async () => {
  const topic = unique('twice');
  const params = { filters: [topic], clientId: crypto.randomUUID() };
  const first = listen(params);
  await first.ready;
  const second = listen(params);
  await second.ready;
  await first.ended;
  await publish(topic, 'x');
  await eventually(() => second.events.length, 1);
  await second.stop();
  expect(first.events).toEqual([]);
});

it('a filter that the broker refuses, and wrong credentials, end it with a fault', async () => {
  const wrong = { settings: { url }, secrets: { username, password: 'not-the-password' } };
  const refused = await listenTo(mqtt, wrong, 'topic', { filters: ['a'] }).ended;
  expect(refused).toMatchObject({ ok: false, fault: { code: 'upstream.unauthorized' } });
  expect(JSON.stringify(refused)).not.toContain('not-the-password');
  const nobody = { settings: { url: 'mqtt://127.0.0.1:1' }, secrets: { ...reader } };
  const unreachable = await listenTo(mqtt, nobody, 'topic', { filters: ['a'] }).ended;
  expect(unreachable).toMatchObject({ ok: false, fault: { code: 'upstream.unreachable' } });
});
