/** How a broker of MQTT is reached: over TCP, TLS, or a WebSocket. */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { MqttConnection, MqttDial } from '../../drivers/mqtt/session.ts';
import { socketOf, webAddressOf } from '../../drivers/mqtt/wire.ts';
import { originOf, type ActionContext, type ConnectionFacts, type SubscriptionContext } from '../kit/types.ts';

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.regex(
      /^(?:mqtts?:\/\/[^\s/?#@\\]+\/?|wss?:\/\/[^\s?#@\\]+)$/,
      'Must be mqtts://host, mqtt://host, wss://host/path or ws://host/path, without user name, query and fragment.',
    ),
    v.description('`mqtts` and `wss` are encrypted; the certificate must be valid for the host.'),
  ),
  version: v.optional(v.picklist(['5', '3.1.1']), '5'),
});

const secrets = v.strictObject({
  username: v.optional(v.pipe(v.string(), v.minLength(1))),
  password: v.optional(v.pipe(v.string(), v.minLength(1))),
});

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;
export type ListenContext = SubscriptionContext<Settings, Secrets>;

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'ping', params: {} }),
  origins: ({ url }) => (url.startsWith('ws') ? [originOf(webAddressOf(url))] : []),
  sockets: ({ url }) => {
    const address = socketOf(url);
    return address === undefined ? [] : [address];
  },
};

/** Fault `connection.invalid`. */
export function open(context: Context | ListenContext): Result<readonly [MqttConnection, MqttDial]> {
  const { settings: given, secrets: credentials } = context.connection;
  if (!URL.canParse(given.url)) return fail('connection.invalid', '`url` is no URL.');
  if (given.version === '3.1.1' && credentials.password !== undefined && credentials.username === undefined) {
    return fail('connection.invalid', 'A password of MQTT 3.1.1 needs a `username`.');
  }
  const { fetch, connect, signal } = context;
  return ok([
    { ...given, ...credentials },
    { fetch, connect, signal },
  ]);
}
