/** How a RabbitMQ is reached: AMQP 0-9-1 over TLS, or in the clear. */

import * as v from 'valibot';
import type { RabbitmqConnection, SocketWire } from '../../drivers/rabbitmq/session.ts';
import type { ActionContext, ConnectionFacts, SubscriptionContext } from '../kit/types.ts';

const settings = v.strictObject({
  host: v.pipe(
    v.string(),
    v.regex(/^[^\s:/?#@\\[\]]+$/, 'Must be the name or the IPv4 address of a host, without a port.'),
  ),
  port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)), 5671),
  vhost: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(255)), '/'),
  tls: v.optional(
    v.pipe(
      v.picklist(['verify', 'disable']),
      v.description('`verify` (amqps) requires a certificate that is valid for `host`; `disable` is in the clear.'),
    ),
    'verify',
  ),
});

const secrets = v.strictObject({
  user: v.pipe(v.string(), v.minLength(1)),
  password: v.pipe(v.string(), v.minLength(1)),
});

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'ping', params: {} }),
  origins: () => [],
  sockets: ({ host, port }) => [{ hostname: host, port }],
};

export const open = ({
  connection: { settings: given, secrets: credentials },
  connect,
  signal,
}: Context | SubscriptionContext<Settings, Secrets>): readonly [RabbitmqConnection, SocketWire] => [
  { ...given, ...credentials },
  { connect, signal },
];
