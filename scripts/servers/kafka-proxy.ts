/**
 * A stand-in for an HTTP proxy of Kafka: neither Kafka nor Redpanda is in npm or Debian. It speaks version 2 of
 * Confluent's REST API with its semantics (groups, commits, instances that expire), or Redpanda's part of it with
 * what is peculiar to that, and refuses what the public documents do not allow: unknown paths, members, query
 * parameters, content types. What it cannot show is how the real ones behave where the documents are silent.
 *
 * https://docs.confluent.io/platform/current/kafka-rest/api.html
 * https://docs.redpanda.com/api/doc/http-proxy/
 *
 * Below `/stand-in` a test makes topics, lets instances expire, and looks at groups and requests.
 * A topic misbehaves whose name begins with `stall-`, `break-`, `large-` or `garble-`.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Refusal, ROUTES, METADATA, type Call, type Reply } from './kafka-api.ts';
import { Cluster } from './kafka-groups.ts';
import { listen, type Running } from './process.ts';

export interface KafkaProxyServer extends Running {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly bearer: string;
}

interface Options {
  readonly proxy: 'confluent' | 'redpanda';
  /** After which an instance that is not used is forgotten. */
  readonly instanceMilliseconds?: number;
}

const LOGIN = { username: 'gateway', password: 'password-of-gateway', bearer: 'bearer-of-gateway' };
const AUTHORIZATIONS: readonly string[] = [
  `Basic ${Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64')}`,
  `Bearer ${LOGIN.bearer}`,
];
const INSTANCE_MILLISECONDS = 300_000;
const RECORD_BYTES = 1_048_588;
const LARGE_BYTES = 9 * 1024 * 1024;

export async function start({
  proxy,
  instanceMilliseconds = INSTANCE_MILLISECONDS,
}: Options): Promise<KafkaProxyServer> {
  const isRedpanda = proxy === 'redpanda';
  const cluster = new Cluster(!isRedpanda);
  const seen: string[] = [];
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  const { port, stop } = await listen(server);
  const base = `http://127.0.0.1:${port}`;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
    const text = Buffer.concat(chunks).toString();
    const url = new URL(request.url ?? '/', base);
    const { method = '' } = request;
    const call: Call = {
      cluster,
      isRedpanda,
      url,
      method,
      base,
      instanceMilliseconds,
      contentType: request.headers['content-type'] ?? '',
      accept: request.headers.accept ?? '',
      body: text === '' ? undefined : JSON.parse(text),
    };
    if (url.pathname.startsWith('/stand-in/')) return send(response, { body: control(call, seen) });
    seen.push(`${method} ${url.pathname} ${text}`);
    if (misbehaves(call, response)) return;
    try {
      if (!AUTHORIZATIONS.includes(request.headers.authorization ?? '')) throw new Refusal(401, 'Unauthorized');
      send(response, await answer(call));
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      send(response, { status: thrown.status, body: { error_code: thrown.code, message: thrown.message } });
    }
  }
  return { ...LOGIN, url: base, stop };
}

function send(response: ServerResponse, { status = 200, type = METADATA, body }: Reply): void {
  response.writeHead(status, { 'content-type': type });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function answer(call: Call): Promise<Reply> {
  call.cluster.expire(Date.now());
  for (const [pattern, handler, only] of ROUTES) {
    const match = pattern.exec(`${call.method} ${call.url.pathname}`);
    if (match === null || (only !== undefined && (only === 'redpanda') !== call.isRedpanda)) continue;
    return handler(call, ...match.slice(1).map(decodeURIComponent));
  }
  throw new Refusal(404, 'HTTP 404 Not Found');
}

/** By the topic that is named, or that the instance is subscribed to when it polls. */
function misbehaves({ cluster, url }: Call, response: ServerResponse): boolean {
  const [, kind, name = '', , member] = url.pathname.split('/');
  const isPoll = kind === 'consumers' && url.pathname.endsWith('/records');
  const topics =
    kind === 'topics' ? [name] : isPoll ? (cluster.instances.get(`${name}/${member}`)?.subscribed ?? []) : [];
  const how = /^(stall|break|large|garble)-/.exec(topics.join())?.[1];
  if (how === 'break') {
    response.writeHead(200, { 'content-type': METADATA, 'content-length': '100' }).write('{"half":');
    setTimeout(() => response.destroy(), 20);
  } else if (how === 'large') send(response, { body: 'x'.repeat(LARGE_BYTES) });
  else if (how === 'garble') response.writeHead(200).end('<html>');
  return how !== undefined;
}

/** What no proxy has; a test asks it without credentials. */
function control({ cluster, url, body }: Call, seen: string[]): unknown {
  const [, , what, name = ''] = url.pathname.split('/');
  if (what === 'requests') return seen.filter((each) => each.includes(name));
  if (what === 'expire') {
    for (const instance of cluster.instances.values()) if (instance.group === name) cluster.remove(instance);
    return {};
  }
  if (what === 'group') {
    const members = [...cluster.instances.values()].filter(({ group }) => group === name);
    return { members: members.map((each) => each.name), committed: Object.fromEntries(cluster.committedOf(name)) };
  }
  const {
    partitions = 1,
    maxBytes = RECORD_BYTES,
    refusal,
  } = (body ?? {}) as {
    partitions?: number;
    maxBytes?: number;
    refusal?: { code: number; message: string };
  };
  cluster.topics.set(name, { partitions: Array.from({ length: partitions }, () => []), maxBytes, refusal });
  return {};
}
