/** The requests that the stand-in for a proxy of Kafka takes; see kafka-proxy.ts. */

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Instance, StoredRecord, Topic } from './kafka-groups.ts';

export interface Call {
  readonly cluster: Cluster;
  readonly isRedpanda: boolean;
  readonly url: URL;
  readonly method: string;
  readonly contentType: string;
  readonly accept: string;
  readonly body: unknown;
  readonly instanceMilliseconds: number;
  readonly base: string;
}

export class Refusal extends Error {
  readonly status: number;
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
    this.status = code > 999 ? Math.floor(code / 100) : code;
  }
}

export const METADATA = 'application/vnd.kafka.v2+json';
const EMBEDDED = ['application/vnd.kafka.binary.v2+json', 'application/vnd.kafka.json.v2+json'];
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** `max.poll.records` of Confluent's proxy. */
const POLL_RECORDS = 30;

export type Reply = { readonly status?: number; readonly type?: string; readonly body?: unknown };
type Handler = (call: Call, ...names: string[]) => Reply | Promise<Reply>;

/** The members of a body: each that is there must be known, and of its kind. */
function members(
  body: unknown,
  known: Readonly<Record<string, 'string' | 'array' | 'number'>>,
): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Refusal(422, 'Unexpected end of input');
  for (const [name, value] of Object.entries(body)) {
    const kind = known[name];
    if (kind === undefined) throw new Refusal(422, `Unrecognized field: ${name}`);
    const actual = Array.isArray(value) ? 'array' : typeof value;
    if (actual !== kind && value !== null) throw new Refusal(422, `${name} is ${actual}, not ${kind}`);
  }
  return { ...body };
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

function needsType(call: Call, allowed: readonly string[]): void {
  if (!allowed.includes(call.contentType)) throw new Refusal(415, 'HTTP 415 Unsupported Media Type');
}

function queryOf({ url }: Call, known: readonly string[]): Record<string, number | undefined> {
  for (const name of url.searchParams.keys())
    if (!known.includes(name)) throw new Refusal(400, `unknown query ${name}`);
  return Object.fromEntries([...url.searchParams].map(([name, value]) => [name, Number(value)]));
}

function topicAt({ cluster }: Call, name: string): Topic {
  const topic = cluster.topics.get(name);
  if (topic === undefined) throw new Refusal(40_401, 'Topic not found.');
  return topic;
}

function instanceAt(call: Call, group: string, name: string): Instance {
  const instance = call.cluster.instances.get(`${group}/${name}`);
  if (instance === undefined) throw new Refusal(40_403, 'Consumer instance not found.');
  instance.expiresAt = Date.now() + call.instanceMilliseconds;
  return instance;
}

const encoded = (format: string, bytes: Buffer | null): unknown => {
  if (bytes === null) return null;
  if (format === 'binary') return bytes.toString('base64');
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new Refusal(50_002, 'Kafka error: cannot deserialize');
  }
};

const decoded = (isBinary: boolean, value: unknown): Buffer | null => {
  if (value === undefined || value === null) return null;
  if (!isBinary) return Buffer.from(JSON.stringify(value));
  if (typeof value !== 'string' || !BASE64.test(value)) throw new Refusal(422, 'Illegal base64 character');
  return Buffer.from(value, 'base64');
};

const TOPIC: Handler = (call, name = '') => ({
  body: {
    name,
    configs: { 'cleanup.policy': 'delete' },
    partitions: topicAt(call, name).partitions.map((_, partition) => ({
      partition,
      leader: 1,
      replicas: [{ broker: 1, leader: true, in_sync: true }],
    })),
  },
});

const PRODUCE: Handler = (call, name = '') => {
  needsType(call, EMBEDDED);
  const isBinary = call.contentType === EMBEDDED[0];
  const records = list(members(call.body, { records: 'array' })['records']).map((given) => {
    if (typeof given !== 'object' || given === null) throw new Refusal(422, 'a record is no object');
    const { key, value, partition, ...unknown } = given as Record<string, unknown>;
    if (Object.keys(unknown).length > 0) throw new Refusal(422, `Unrecognized field: ${Object.keys(unknown).join()}`);
    if (call.isRedpanda && (key === null || value === null)) throw new Refusal(422, 'parse error at null');
    return {
      record: { key: decoded(isBinary, key), value: decoded(isBinary, value) },
      partition: partition === undefined ? undefined : Number(partition),
    };
  });
  if (records.length === 0) throw new Refusal(422, 'records may not be empty');
  const placed = records.map(({ record, partition }) => place(call, name, record, partition));
  if (!call.isRedpanda) return { body: { offsets: placed, key_schema_id: null, value_schema_id: null } };
  // One entry for each partition, with the first offset.
  const first = new Map<number, unknown>();
  for (const each of placed) {
    const partition = each.partition ?? -1;
    if (!first.has(partition))
      first.set(partition, { ...each, error: undefined, partition, offset: each.offset ?? -1 });
  }
  return { body: { offsets: [...first.values()] } };
};

function place({ cluster, isRedpanda }: Call, name: string, record: StoredRecord, partition: number | undefined) {
  const topic = cluster.topics.get(name);
  const refused = (code: number, error: string, ofKafka: number) => ({
    partition: null,
    offset: null,
    error_code: isRedpanda ? ofKafka : code,
    error,
  });
  if (topic === undefined) return refused(50_003, `Topic ${name} not present in metadata after 60000 ms.`, 3);
  if (topic.refusal !== undefined) return refused(topic.refusal.code, topic.refusal.message, 7);
  if (partition !== undefined && topic.partitions[partition] === undefined) {
    return refused(50_002, `Invalid partition given with record: ${partition} is not in the range`, 3);
  }
  const size = (record.key?.length ?? 0) + (record.value?.length ?? 0);
  if (size > topic.maxBytes) return refused(50_002, `The message is ${size} bytes when serialized`, 10);
  return { ...cluster.append(topic, record, partition), error_code: null, error: null };
}

const CREATE: Handler = (call, group = '') => {
  needsType(call, [METADATA]);
  const { cluster, isRedpanda, base, instanceMilliseconds } = call;
  // Texts: Redpanda takes no numbers, and Confluent reads both.
  const given = members(call.body, {
    name: 'string',
    format: 'string',
    'auto.offset.reset': 'string',
    'auto.commit.enable': 'string',
    'fetch.min.bytes': 'string',
    'consumer.request.timeout.ms': 'string',
  });
  const text = (name: string, usual: string): string => (typeof given[name] === 'string' ? given[name] : usual);
  const name = text('name', `rest-consumer-${randomUUID()}`);
  const from = text('auto.offset.reset', 'earliest');
  if (isRedpanda && from !== 'earliest') throw new Refusal(422, 'auto.offset must be earliest');
  if (isRedpanda && text('auto.commit.enable', 'false') !== 'false')
    throw new Refusal(422, 'auto.commit must be false');
  if (cluster.instances.has(`${group}/${name}`))
    throw new Refusal(40_902, 'Consumer with specified ID already exists.');
  cluster.instances.set(`${group}/${name}`, {
    group,
    name,
    from,
    format: text('format', 'binary'),
    waitMilliseconds: Number(text('consumer.request.timeout.ms', '1000')),
    isEager: isRedpanda || text('fetch.min.bytes', '-1') === '1',
    subscribed: [],
    positions: new Map(),
    buffer: [],
    isManual: false,
    expiresAt: Date.now() + instanceMilliseconds,
  });
  const id = group.startsWith('climbing-') ? '../../../topics/climbed' : name;
  const origin = group.startsWith('elsewhere-') ? 'http://169.254.169.254' : base;
  return { body: { instance_id: id, base_uri: `${origin}/consumers/${group}/instances/${id}` } };
};

const DELETE: Handler = (call, group = '', name = '') => {
  if (call.isRedpanda) needsType(call, [METADATA]);
  call.cluster.remove(instanceAt(call, group, name));
  return { status: 204 };
};

const SUBSCRIBE: Handler = (call, group = '', name = '') => {
  needsType(call, [METADATA]);
  const instance = instanceAt(call, group, name);
  if (instance.isManual) throw new Refusal(40_903, 'Illegal state: Subscription to topics, partitions are exclusive');
  instance.subscribed = list(members(call.body, { topics: 'array' })['topics']).map(String);
  call.cluster.rebalance(group);
  return { status: 204 };
};

interface Place {
  readonly at: string;
  readonly offset: number;
}

function placesOf(call: Call, member: string): Place[] {
  return list(members(call.body, { [member]: 'array' })[member]).map((given) => {
    const { topic, partition, offset } = members(given, { topic: 'string', partition: 'number', offset: 'number' });
    const at = `${String(topic)}:${String(partition)}`;
    if (call.cluster.partitionAt(at) === undefined) throw new Refusal(40_402, 'Partition not found.');
    return { at, offset: Number(offset) };
  });
}

const ASSIGN: Handler = (call, group = '', name = '') => {
  needsType(call, [METADATA]);
  const instance = instanceAt(call, group, name);
  if (instance.subscribed.length > 0) throw new Refusal(40_903, 'Illegal state: Subscription to topics is exclusive');
  instance.isManual = true;
  instance.positions = new Map(placesOf(call, 'partitions').map(({ at }) => [at, 0]));
  return { status: 204 };
};

const SEEK: Handler = (call, group = '', name = '') => {
  needsType(call, [METADATA]);
  const { positions } = instanceAt(call, group, name);
  for (const { at, offset } of placesOf(call, 'offsets')) {
    if (!positions.has(at)) throw new Refusal(40_903, `Illegal state: No current assignment for partition ${at}`);
    positions.set(at, offset);
  }
  return { status: 204 };
};

const COMMIT: Handler = (call, group = '', name = '') => {
  needsType(call, [METADATA]);
  const { positions } = instanceAt(call, group, name);
  const committed = call.cluster.committedOf(group);
  // Also what was fetched and not handed out.
  if (call.body === undefined) for (const [at, position] of positions) committed.set(at, position);
  else if (call.isRedpanda) for (const { at, offset } of placesOf(call, 'partitions')) committed.set(at, offset);
  else for (const { at, offset } of placesOf(call, 'offsets')) committed.set(at, offset + 1);
  return call.isRedpanda ? { status: 204 } : { body: [] };
};

const shown = ({ cluster }: Call, format: string, { at, offset }: Place) => {
  const { key, value } = cluster.partitionAt(at)?.[offset] ?? { key: null, value: null };
  const colon = at.lastIndexOf(':');
  const where = { topic: at.slice(0, colon), partition: Number(at.slice(colon + 1)), offset };
  return {
    ...where,
    key: encoded(format, key),
    value: encoded(format, value),
    size: (key?.length ?? 0) + (value?.length ?? 0),
  };
};

const POLL: Handler = async (call, group = '', name = '') => {
  const instance = instanceAt(call, group, name);
  if (call.accept !== `application/vnd.kafka.${instance.format}.v2+json`) {
    throw new Refusal(40_601, 'The requested embedded data format does not match the deserializer');
  }
  const query = queryOf(call, ['timeout', 'max_bytes']);
  const bound = query['max_bytes'] ?? Infinity;
  const until = Date.now() + Math.min(query['timeout'] ?? Infinity, instance.waitMilliseconds);
  const records: unknown[] = [];
  let bytes = 0;
  for (let isFull = false; !isFull; await delay(10)) {
    if (call.cluster.instances.get(`${group}/${name}`) !== instance)
      throw new Refusal(40_403, 'Consumer instance not found.');
    call.cluster.fetch(instance, POLL_RECORDS);
    for (let next = instance.buffer[0]; next !== undefined; next = instance.buffer[0]) {
      const { size, ...record } = shown(call, instance.format, next);
      isFull = bytes + size >= bound && !(call.isRedpanda && records.length === 0);
      if (isFull) break;
      records.push(record);
      bytes += size;
      instance.buffer.shift();
    }
    if (isFull || (instance.isEager && bytes > 0) || Date.now() >= until) break;
  }
  instance.expiresAt = Date.now() + call.instanceMilliseconds;
  return { type: call.accept, body: records };
};

/** Redpanda's: whole batches, here of four records, so that it may begin before the offset. */
const FETCH: Handler = async (call, topic = '', partition = '') => {
  const { offset, timeout, max_bytes: bound } = queryOf(call, ['offset', 'timeout', 'max_bytes']);
  if (offset === undefined || timeout === undefined || bound === undefined)
    throw new Refusal(400, 'Missing mandatory parameter');
  if (!EMBEDDED.includes(call.accept)) throw new Refusal(406, 'HTTP 406 Not Acceptable');
  const at = `${topic}:${partition}`;
  const log = call.cluster.partitionAt(at);
  if (log === undefined) throw new Refusal(40_402, 'unknown_topic_or_partition');
  const until = Date.now() + timeout;
  while (log.length <= offset && Date.now() < until) await delay(10);
  if (log.length <= offset) return { type: call.accept, body: [] };
  const start = offset - (offset % 4);
  const format = call.accept === EMBEDDED[0] ? 'binary' : 'json';
  const body = log.slice(start, start + 4).map((_, index) => {
    const { size: _size, ...record } = shown(call, format, { at, offset: start + index });
    return record;
  });
  return { type: call.accept, body };
};

export const ROUTES: readonly (readonly [RegExp, Handler, ('confluent' | 'redpanda')?])[] = [
  [/^GET \/brokers$/, () => ({ body: { brokers: [1] } })],
  [/^GET \/topics$/, ({ cluster }) => ({ body: [...cluster.topics.keys()] })],
  [/^GET \/topics\/([^/]+)$/, TOPIC, 'confluent'],
  [/^POST \/topics\/([^/]+)$/, PRODUCE],
  [/^GET \/topics\/([^/]+)\/partitions\/(\d+)\/records$/, FETCH, 'redpanda'],
  [/^POST \/consumers\/([^/]+)$/, CREATE],
  [/^DELETE \/consumers\/([^/]+)\/instances\/([^/]+)$/, DELETE],
  [/^POST \/consumers\/([^/]+)\/instances\/([^/]+)\/subscription$/, SUBSCRIBE],
  [/^POST \/consumers\/([^/]+)\/instances\/([^/]+)\/assignments$/, ASSIGN, 'confluent'],
  [/^POST \/consumers\/([^/]+)\/instances\/([^/]+)\/positions$/, SEEK, 'confluent'],
  [/^GET \/consumers\/([^/]+)\/instances\/([^/]+)\/records$/, POLL],
  [/^POST \/consumers\/([^/]+)\/instances\/([^/]+)\/offsets$/, COMMIT],
];
