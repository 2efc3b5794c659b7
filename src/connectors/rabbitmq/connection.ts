/** How a RabbitMQ is reached: AMQP 0-9-1 over TLS, or in the clear. */

import * as v from 'valibot';
import type { RabbitmqConnection, SocketWire } from '../../drivers/rabbitmq/session.ts';
import { hostName, password, portOr, tlsOr, user } from '../kit/address.ts';
import type { ActionContext, ConnectionFacts, SubscriptionContext } from '../kit/types.ts';

const settings = v.strictObject({
  host: hostName,
  port: portOr(5671),
  vhost: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(255)), '/'),
  tls: tlsOr('`verify` (amqps) requires a certificate that is valid for `host`; `disable` is in the clear.'),
});

const secrets = v.strictObject({ user, password });

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
