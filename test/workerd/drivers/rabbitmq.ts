/** The RabbitMQ of the test run, which starts when this asks for it. */

import * as v from 'valibot';
import { rabbitmq } from '../../../src/connectors/rabbitmq/index.ts';
import { actionsOf, output, servers } from './fixtures.ts';

const reply = await fetch(servers.rabbitmq.url);
if (!reply.ok) throw new Error(`RabbitMQ did not start: ${await reply.text()}`);

const address = v.parse(
  v.object({
    port: v.number(),
    tlsPort: v.number(),
    cuttingPort: v.number(),
    user: v.string(),
    password: v.string(),
    reader: v.object({ user: v.string(), password: v.string() }),
    closedVhost: v.string(),
  }),
  await reply.json(),
);

export const { port, tlsPort, cuttingPort, user, password, reader, closedVhost } = address;

export const credentials = (settings: Record<string, unknown> = {}, secrets: Record<string, unknown> = {}) => ({
  settings: { host: '127.0.0.1', port, tls: 'disable', ...settings },
  secrets: { user, password, ...secrets },
});
export const over = (...given: Parameters<typeof credentials>) => actionsOf(rabbitmq, credentials(...given));
export const call = over();
export const done = (action: string, params: unknown) => output(call(action, params));

/** A queue of its own for each test. */
export async function declared(more: Record<string, unknown> = {}): Promise<string> {
  const queue = `test-${crypto.randomUUID()}`;
  await done('queue-declare', { queue, ...more });
  return queue;
}
