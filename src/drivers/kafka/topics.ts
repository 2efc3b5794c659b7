/** What there is, and what is put there. */

import * as v from 'valibot';
import { fault, ok } from '../../core/errors.ts';
import { BINARY, call, parsed, type Proxy, type Wire } from './proxy.ts';

/** Which brokers there are; the cheapest question that needs the cluster and the credentials. */
export const brokers = async (proxy: Proxy, wire: Wire) =>
  parsed(v.object({ brokers: v.array(v.number()) }), await call(proxy, wire, { method: 'GET', path: ['brokers'] }));

export const topicNames = async (proxy: Proxy, wire: Wire) =>
  parsed(v.array(v.string()), await call(proxy, wire, { method: 'GET', path: ['topics'] }));

const topicSchema = v.object({
  name: v.string(),
  configs: v.nullish(v.record(v.string(), v.unknown()), {}),
  partitions: v.array(
    v.object({
      partition: v.number(),
      leader: v.nullish(v.number(), null),
      replicas: v.nullish(v.array(v.object({ broker: v.number(), leader: v.boolean(), in_sync: v.boolean() })), []),
    }),
  ),
});

export async function topicOf(proxy: Proxy, wire: Wire, topic: string) {
  const found = parsed(topicSchema, await call(proxy, wire, { method: 'GET', path: ['topics', topic] }));
  if (!found.ok) return found;
  const { name, configs, partitions } = found.value;
  return ok({
    name,
    configs,
    partitions: partitions.map(({ partition, leader, replicas }) => ({
      partition,
      leader,
      replicas: replicas.map(({ broker, in_sync: inSync }) => ({ broker, inSync })),
    })),
  });
}

/** Key and value in base64; without a value it deletes its key from a compacted topic. */
export interface OutgoingRecord {
  readonly key?: string;
  readonly value?: string;
  readonly partition?: number;
}

const offsetsSchema = v.object({
  offsets: v.array(
    v.object({
      partition: v.nullish(v.number()),
      offset: v.nullish(v.number()),
      error_code: v.nullish(v.number()),
      error: v.nullish(v.string()),
    }),
  ),
});

/** Confluent's code for an error of Kafka that may pass. */
const RETRIABLE = 50_003;
const NONE = 0;
const SHOWN_ERRORS = 20;

/**
 * Where the records are now: Confluent tells each one's place, Redpanda the first offset of each partition.
 *
 * Fault `upstream.rejected` where a record was refused, with what became of the others in `data`: sending all again
 * would double those that are there. `upstream.unavailable` only where none is there and all may be sent again.
 */
export async function produce(proxy: Proxy, wire: Wire, topic: string, records: readonly OutgoingRecord[]) {
  const reply = await call(proxy, wire, {
    method: 'POST',
    path: ['topics', topic],
    json: { records },
    contentType: BINARY,
  });
  const placed = parsed(offsetsSchema, reply);
  if (!placed.ok) return placed;
  const offsets = placed.value.offsets.map(({ partition, offset }) => ({ partition, offset }));
  const failed = placed.value.offsets.flatMap(({ partition, error_code: code, error }, index) =>
    (code ?? NONE) === NONE ? [] : [{ ...whichOf(proxy, index, partition), code, error: error?.slice(0, 500) }],
  );
  const [first] = failed;
  if (first === undefined) return ok({ offsets });
  const isNone = failed.length === offsets.length;
  const code = isNone && failed.every((each) => each.code === RETRIABLE) ? 'upstream.unavailable' : 'upstream.rejected';
  const what = 'record' in first ? `records[${first.record}]` : `Records of partition ${first.partition}`;
  const others = isNone ? '' : ' Others of the same call are in the topic.';
  const because = first.error ?? `error ${first.code}`;
  const told = { failed: failed.slice(0, SHOWN_ERRORS), failedCount: failed.length, offsets };
  return {
    ok: false,
    fault: fault(code, `${what}: Kafka did not take it: ${because}.${others}`, { data: told }),
  } as const;
}

const whichOf = ({ kind }: Proxy, index: number, partition: number | null | undefined) =>
  kind === 'confluent' ? { record: index } : { partition };

export const recordSchema = v.object({
  topic: v.string(),
  partition: v.number(),
  offset: v.number(),
  key: v.nullish(v.string(), null),
  value: v.nullish(v.string(), null),
});
/** Key and value in base64. */
export type IncomingRecord = v.InferOutput<typeof recordSchema>;
