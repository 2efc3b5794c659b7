/** Kafka's proxies of the test run, which are stand-ins: see scripts/servers/kafka-proxy.ts. */

import { kafka } from '../../../src/connectors/kafka/index.ts';
import { actionsOf, output, servers, type Credentials } from './fixtures.ts';

export type ProxyKind = 'confluent' | 'redpanda';
export const KINDS: readonly ProxyKind[] = ['confluent', 'redpanda'];

export function credentials(proxy: ProxyKind, secrets?: Record<string, unknown>): Credentials {
  const { url, username, password } = servers.kafka[proxy];
  return { settings: { url, proxy }, secrets: secrets ?? { username, password } };
}

export const callOf = (proxy: ProxyKind) => actionsOf(kafka, credentials(proxy));

/** What no proxy has. */
export async function standIn(proxy: ProxyKind, path: string, body?: unknown): Promise<unknown> {
  const reply = await fetch(`${servers.kafka[proxy].url}/stand-in/${path}`, {
    method: 'POST',
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const value: unknown = await reply.json();
  return value;
}

/** A topic of its own for each test. */
export async function newTopic(proxy: ProxyKind, options: Record<string, unknown> = {}, prefix = ''): Promise<string> {
  const name = `${prefix}t-${crypto.randomUUID()}`;
  await standIn(proxy, `topics/${name}`, options);
  return name;
}

export const publish = (proxy: ProxyKind, topic: string, ...records: unknown[]): Promise<unknown> =>
  output(callOf(proxy)('publish', { topic, records }));

export const groupOf = async (proxy: ProxyKind, group: string) =>
  (await standIn(proxy, `group/${group}`)) as {
    readonly members: readonly string[];
    readonly committed: Readonly<Record<string, number>>;
  };

export const requestsWith = async (proxy: ProxyKind, word: string): Promise<string[]> =>
  (await standIn(proxy, `requests/${word}`)) as string[];
