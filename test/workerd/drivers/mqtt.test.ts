import { describe, expect, it } from 'vitest';
import { mqtt } from '../../../src/connectors/mqtt/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { url, webSocketUrl, tlsUrl, cuttingUrl, username, password, reader } = servers.mqtt;
const over = (settings: Record<string, unknown>, secrets: Record<string, unknown> = { username, password }) =>
  actionsOf(mqtt, { settings, secrets } satisfies Credentials);
const call = over({ url });
const cutting = over({ url: cuttingUrl });
const unique = (name: string): string => `${name}/${crypto.randomUUID()}`;

describe.each([
  ['TCP', '5', url],
  ['TCP', '3.1.1', url],
  ['WebSocket', '5', webSocketUrl],
  ['WebSocket', '3.1.1', webSocketUrl],
])('over %s in version %s', (_transport, version, address) => {
  const via = over({ url: address, version });
  const done = (action: string, params: unknown) => output(via(action, params));

  it('retained messages are published, read, overwritten and cleared', async () => {
    const topic = unique('state');
    expect(await done('retained', { filter: topic, quietMilliseconds: 100 })).toEqual({ messages: [] });
    expect(await done('publish', { topic, json: { on: true }, retain: true })).toEqual({ published: 1 });
    await done('publish', { topic, json: { on: false, name: 'ünï 🦊' }, retain: true, qos: 2 });
    expect(await done('retained', { filter: topic, parse: 'json' })).toMatchObject({
      messages: [{ topic, payload: { on: false, name: 'ünï 🦊' } }],
    });
    await done('clear-retained', { topic });
    expect(await done('retained', { filter: topic, quietMilliseconds: 100 })).toEqual({ messages: [] });
  });

  it.each([0, 1, 2])('several messages of QoS %i arrive, more than may be under way at a time', async (qos) => {
    const base = unique('many');
    const messages = Array.from({ length: 150 }, (_, index) => ({
      topic: `${base}/${index}`,
      text: `${index}`,
      qos,
      retain: true,
    }));
    expect(await done('publish-many', { messages })).toEqual({ published: 150 });
    const found = (await done('retained', { filter: `${base}/+`, limit: 1000 })) as { messages: unknown[] };
    expect(found.messages).toHaveLength(150);
    const few = (await done('retained', { filter: `${base}/#`, limit: 7 })) as { messages: unknown[] };
    expect(few.messages).toHaveLength(7);
  });

  it('bytes are kept as they are', async () => {
    const topic = unique('bytes');
    await done('publish', { topic, base64: 'AP/+gA==', retain: true });
    expect(await done('retained', { filter: topic, parse: 'base64' })).toMatchObject({
      messages: [{ payload: 'AP/+gA==' }],
    });
    await faultOf(via('retained', { filter: topic, parse: 'text' }), 'upstream.invalid');
  });

  it('a wrong password is refused for good, without a word of it', async () => {
    const wrong = over({ url: address, version }, { username, password: 'not-the-password' });
    const fault = await faultOf(wrong('ping', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-the-password');
  });

  it('the probe tells good credentials from none', async () => {
    expect(await done('ping', {})).toEqual({});
    await faultOf(over({ url: address, version }, {})('ping', {}), 'upstream.unauthorized');
  });
});

describe('properties of version 5', () => {
  it('go with the message', async () => {
    const topic = unique('properties');
    const properties = { contentType: 'text/plain', expirySeconds: 600, responseTopic: 'answers', correlation: 'c-1' };
    const message = { topic, text: 'x', retain: true, ...properties, properties: { tenant: 'acme', 'tenant 2': 'ä' } };
    await output(call('publish', message));
    expect(await output(call('retained', { filter: topic }))).toEqual({
      messages: [{ topic, payload: 'x', qos: 0, ...properties, properties: { tenant: 'acme', 'tenant 2': 'ä' } }],
    });
  });

  it('are refused in 3.1.1, which would lose them', async () => {
    const old = over({ url, version: '3.1.1' });
    const fault = await faultOf(old('publish', { topic: 'a', text: 'x', contentType: 'a/b' }), 'step.params');
    expect(fault.message).toContain('version');
  });
});

describe('names of topics', () => {
  it.each(['devices/+/x', '#', 'a/#', 'a\0b', ''])('such as %j are refused before anything is sent', async (topic) => {
    await expect(call('publish', { topic, text: 'x' })).rejects.toThrow(/topic|length/i);
    await expect(call('clear-retained', { topic })).rejects.toThrow(/topic|length/i);
    const responseTopic = topic;
    await expect(call('publish', { topic: 'a', text: 'x', responseTopic })).rejects.toThrow(/topic|length/i);
  });

  it.each(['a+/b', 'a/#/b', 'a#', 'a\0b'])('filters such as %j are refused', async (filter) => {
    await expect(call('retained', { filter })).rejects.toThrow('filter');
  });

  it.each([
    ['devices/+/secret', 'devices/{{ input.id }}/secret'],
    ['#', '{{ input.filter }}'],
    ['a/+/#', 'a/+/{{ input.rest }}'],
  ])('%s gets no wildcard from a value of %s', async (filter, filterAsWritten) => {
    const fault = await faultOf(call('retained', { filter }, { written: { filter: filterAsWritten } }), 'step.params');
    expect(fault.message).toContain('wildcards');
  });

  it('have the wildcards that their author wrote around a value', async () => {
    const base = unique('own');
    await output(call('publish', { topic: `${base}/x`, text: 'x', retain: true }));
    const found = await output(
      call('retained', { filter: `${base}/+` }, { written: { filter: '{{ input.base }}/+' } }),
    );
    expect(found).toMatchObject({ messages: [{ payload: 'x' }] });
  });
});

describe('what the broker does not allow', () => {
  const limited = over({ url }, { username: reader.username, password: reader.password });

  it('fails a publication for good', async () => {
    const fault = await faultOf(limited('publish', { topic: 'closed/a', text: 'x' }), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(fault.message).toContain('messages[0]');
  });

  it('is not read', async () => {
    const topic = unique('closed');
    await output(call('publish', { topic, text: 'hidden', retain: true }));
    const result = await limited('retained', { filter: topic, quietMilliseconds: 200 });
    expect(JSON.stringify(result)).not.toContain('hidden');
  });

  it('is told of messages that are too large', async () => {
    const fault = await faultOf(call('publish', { topic: 'large', text: 'x'.repeat(200_000) }), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
  });
});

describe('connections', () => {
  it.each(['mqtt://127.0.0.1:1', DEAD_ADDRESS.replace('http', 'ws') + '/mqtt'])(
    'to %s, where nobody listens, are unreachable, which may pass',
    async (address) => {
      expect((await faultOf(over({ url: address })('ping', {}), 'upstream.unreachable')).retryable).toBe(true);
    },
  );

  it('to a certificate that nobody trusts are refused', async () => {
    await faultOf(over({ url: tlsUrl })('ping', {}), 'upstream.unreachable');
  });

  it('to something else than MQTT say so', async () => {
    const web = servers.upstream.url;
    await faultOf(over({ url: web.replace('http', 'mqtt') })('ping', {}), 'upstream.invalid');
    await faultOf(over({ url: `${web.replace('http', 'ws')}/json` })('ping', {}), 'upstream.invalid');
  });

  it.each(['http://a.example', 'mqtt://user:secret@a.example', 'mqtt://a.example/x', 'wss://a.example/x?token=1'])(
    'to %s are refused as not valid',
    async (address) => {
      await expect(over({ url: address })('ping', {})).rejects.toThrow('Must be mqtts://');
    },
  );

  it.each([
    ['CUT-HERE', 0, 'upstream.unavailable', true],
    ['CUT-HERE', 1, 'upstream.unavailable', true],
    ['CUT-REPLY', 1, 'upstream.unavailable', true],
    ['CUT-HERE', 2, 'step.ambiguous', false],
    ['CUT-REPLY', 2, 'step.ambiguous', false],
  ] as const)('that break (%s) at QoS %i are %s', async (text, qos, code, retryable) => {
    const fault = await faultOf(cutting('publish', { topic: unique('cut'), text, qos }), code);
    expect(fault.retryable).toBe(retryable);
    expect(written(fault)).not.toContain(password);
  });

  it.each([0, 1])('that hang at QoS %i are given up with the step', async (qos) => {
    const params = { topic: unique('stall'), text: 'STALL-HERE', qos };
    const fault = await faultOf(cutting('publish', params, { signal: AbortSignal.timeout(200) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
  });

  it('are not opened for a step that was cancelled before', async () => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    const signal = AbortSignal.abort();
    await faultOf(over({ url: webSocketUrl })('ping', {}, { signal, fetch: never }), 'step.timeout');
  });
});

it('retained messages that are too large for the memory of an isolate are refused', async () => {
  const base = unique('sum');
  const messages = Array.from({ length: 95 }, (_, index) => ({
    topic: `${base}/${index}`,
    text: 'x'.repeat(95_000),
    retain: true,
  }));
  await output(call('publish-many', { messages }));
  await faultOf(call('retained', { filter: `${base}/#`, limit: 1000 }), 'upstream.too-large');
  await output(call('publish-many', { messages: messages.map(({ topic }) => ({ topic, text: '', retain: true })) }));
});
