/** Records of a partition from an offset on, without a place in a consumer group. */

import * as v from 'valibot';
import { ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { assign, createInstance, deleteInstance, poll, type Place } from './consumer.ts';
import { BINARY, call, parsed, within, type Proxy, type Wire } from './proxy.ts';
import { recordSchema, type IncomingRecord } from './topics.ts';

export interface Range extends Place {
  readonly limit: number;
  /** How long the proxy waits for records where there are none. */
  readonly waitMilliseconds: number;
}

type Next = (offset: number) => Promise<Result<readonly IncomingRecord[]>>;

/** Up to `limit` records in order; fewer where no more come, or they are large. */
export async function readRange(proxy: Proxy, wire: Wire, range: Range): Promise<Result<readonly IncomingRecord[]>> {
  if (proxy.kind === 'redpanda') return gather(range, (offset) => fetchFrom(proxy, wire, { ...range, offset }));
  const name = `tidegate-${crypto.randomUUID()}`;
  const created = await createInstance(proxy, wire, { group: name, name, from: 'earliest' });
  if (!created.ok) return created;
  const { topic, partition, offset, waitMilliseconds } = range;
  try {
    const assigned = await assign(created.value, { topic, partition, offset });
    return assigned.ok ? await gather(range, () => poll(created.value, waitMilliseconds)) : assigned;
  } finally {
    await deleteInstance(created.value);
  }
}

async function gather({ limit, offset }: Range, next: Next): Promise<Result<readonly IncomingRecord[]>> {
  const records: IncomingRecord[] = [];
  let expected = offset;
  let characters = 0;
  while (records.length < limit && characters < LIMITS.kafkaPublishBytes) {
    const came = await next(expected);
    if (!came.ok) return came;
    // Redpanda sends whole batches, also what of them comes before the offset.
    const fresh = came.value.filter((record) => record.offset >= expected);
    if (fresh.length === 0) break;
    records.push(...fresh);
    expected = (fresh.at(-1)?.offset ?? expected) + 1;
    for (const { key, value } of fresh) characters += (key?.length ?? 0) + (value?.length ?? 0);
  }
  return ok(records.slice(0, limit));
}

async function fetchFrom(proxy: Proxy, wire: Wire, { topic, partition, offset, waitMilliseconds }: Range) {
  const patient = within(wire, waitMilliseconds + LIMITS.kafkaCallMilliseconds, wire.signal);
  const reply = await call(proxy, patient, {
    method: 'GET',
    path: ['topics', topic, 'partitions', String(partition), 'records'],
    query: { offset, timeout: waitMilliseconds, max_bytes: LIMITS.kafkaPollBytes.redpanda },
    accept: BINARY,
  });
  return parsed(v.array(recordSchema), reply);
}
