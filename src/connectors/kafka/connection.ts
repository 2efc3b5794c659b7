/** How a proxy of Kafka is reached. */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import type { Proxy, Wire } from '../../drivers/kafka/proxy.ts';
import { endpoint, text } from '../kit/object-schemas.ts';
import { originOf, type ActionContext, type ConnectionFacts, type SubscriptionContext } from '../kit/types.ts';

const settings = v.strictObject({
  url: v.pipe(endpoint, v.description('Of the proxy, e.g. https://kafka-rest.example.com.')),
  proxy: v.optional(
    v.pipe(
      v.picklist(['confluent', 'redpanda']),
      v.description("Confluent's REST Proxy, and what is compatible with it, or Redpanda's HTTP Proxy."),
    ),
    'confluent',
  ),
});

const secrets = v.strictObject({
  username: v.optional(v.pipe(text, v.excludes(':', 'Must not contain a colon.'))),
  password: v.optional(text),
  bearer: v.optional(v.pipe(text, v.description('In place of a user name and a password.'))),
});

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
type Context = ActionContext<Settings, Secrets> | SubscriptionContext<Settings, Secrets>;

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  origins: ({ url }) => [originOf(url)],
  probe: () => ({ action: 'ping', params: {} }),
};

function authorizationOf({ username, password, bearer }: Secrets): string | undefined {
  if (bearer !== undefined) return `Bearer ${bearer}`;
  if (username === undefined && password === undefined) return undefined;
  return `Basic ${Buffer.from(`${username ?? ''}:${password ?? ''}`).toString('base64')}`;
}

export const open = ({ connection: opened, fetch, signal, now }: Context): readonly [Proxy, Wire] => [
  { url: opened.settings.url, kind: opened.settings.proxy, authorization: authorizationOf(opened.secrets) },
  { fetch, signal, now },
];
