import { describe, expect, it } from 'vitest';
import { nats } from '../../../src/connectors/nats/index.ts';
import { actionsOf, output, servers, type Credentials } from './fixtures.ts';

const { main } = servers.nats;
const secrets = { user: main.user, password: main.password };
const overWebSocket: Credentials = { settings: { url: main.webSocket }, secrets };
const overTcp: Credentials = { settings: { url: `nats://${main.tcp}` }, secrets };

describe.each([
  ['a WebSocket', overWebSocket],
  ['a socket', overTcp],
])('over %s', (_, credentials) => {
  const call = actionsOf(nats, credentials);
  it('pings', async () => {
    expect(await output(call('ping', {}))).toMatchObject({ jetstream: true });
  });
  it('streams', async () => {
    expect(await output(call('createStream', { stream: 'ORDERS', subjects: ['orders.>'] }))).toMatchObject({});
    console.log(await output(call('streamPublish', { subject: 'orders.a', json: { a: 1 } })));
    console.log(await output(call('streamPublish', { subject: 'orders.a', json: { a: 1 } })));
    console.log(await output(call('createConsumer', { stream: 'ORDERS', consumer: 'c' })));
    const fetched = await output(call('fetch', { stream: 'ORDERS', consumer: 'c', limit: 1 }));
    console.log(JSON.stringify(fetched));
    console.log(await output(call('kvCreateBucket', { bucket: 'b' })));
    console.log(await output(call('kvPut', { bucket: 'b', key: 'k', json: { a: 1 } })));
    console.log(await output(call('kvGet', { bucket: 'b', key: 'k' })));
    console.log(await output(call('kvKeys', { bucket: 'b' })));
    console.log(await output(call('deleteStream', { stream: 'ORDERS' })));
  });
});
