/**
 * A consumer instance: a member of a consumer group that the proxy keeps, until it is deleted or was not used for
 * some minutes.
 *
 * Guarantee: only offsets that were named are committed. A commit without them would also commit records that the
 * proxy has fetched and not handed out.
 */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { BINARY, call, errorCodeOf, INSTANCE_EXISTS, parsed, within, type Proxy, type Wire } from './proxy.ts';
import { recordSchema, type IncomingRecord } from './topics.ts';

export interface Instance {
  readonly proxy: Proxy;
  readonly wire: Wire;
  /** Segments of its address. `base_uri` of the proxy's reply is not followed: behind a gateway it is an inner one. */
  readonly path: readonly string[];
}

export interface NewInstance {
  readonly group: string;
  readonly name: string;
  readonly from: 'earliest' | 'latest';
}

/** What a proxy may call an instance; it becomes part of a path. */
const instanceSchema = v.object({
  instance_id: v.pipe(v.string(), v.maxLength(255), v.regex(/^(?!\.{1,2}$)[\w.-]+$/)),
});

const callOf = (wire: Wire): Wire => within(wire, LIMITS.kafkaCallMilliseconds, wire.signal);

/** An instance of this name that is there already was left behind by a session that broke off; it is replaced. */
export async function createInstance(proxy: Proxy, wire: Wire, given: NewInstance): Promise<Result<Instance>> {
  const created = await create(proxy, wire, given);
  if (created.ok || errorCodeOf(created.fault) !== INSTANCE_EXISTS) return created;
  await deleteInstance({ proxy, wire, path: ['consumers', given.group, 'instances', given.name] });
  return create(proxy, wire, given);
}

async function create(proxy: Proxy, wire: Wire, { group, name, from }: NewInstance): Promise<Result<Instance>> {
  const reply = await call(proxy, callOf(wire), {
    method: 'POST',
    path: ['consumers', group],
    json: {
      name,
      format: 'binary',
      'auto.offset.reset': from,
      'auto.commit.enable': 'false',
      // As texts, since Redpanda takes nothing else. Without the first Confluent waits out each poll.
      'fetch.min.bytes': '1',
      'consumer.request.timeout.ms': String(LIMITS.kafkaPollMilliseconds),
    },
  });
  const made = parsed(instanceSchema, reply);
  return made.ok ? ok({ proxy, wire, path: ['consumers', group, 'instances', made.value.instance_id] }) : made;
}

const post = ({ proxy, wire, path }: Instance, what: string, json: unknown): Promise<Result<unknown>> =>
  call(proxy, callOf(wire), { method: 'POST', path: [...path, what], json });

export const subscribe = (instance: Instance, topic: string): Promise<Result<unknown>> =>
  post(instance, 'subscription', { topics: [topic] });

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** Reads one partition from an offset on, as no member of the group. Confluent only. */
export async function assign(instance: Instance, place: Place): Promise<Result<unknown>> {
  const { topic, partition } = place;
  const assigned = await post(instance, 'assignments', { partitions: [{ topic, partition }] });
  return assigned.ok ? post(instance, 'positions', { offsets: [place] }) : assigned;
}

/** What has come; empty where nothing did within the time. */
export async function poll(
  { proxy, wire, path }: Instance,
  timeoutMilliseconds: number,
  signal = wire.signal,
): Promise<Result<IncomingRecord[]>> {
  const patient = within(wire, timeoutMilliseconds + LIMITS.kafkaCallMilliseconds, signal);
  const reply = await call(proxy, patient, {
    method: 'GET',
    path: [...path, 'records'],
    query: { timeout: timeoutMilliseconds, max_bytes: LIMITS.kafkaPollBytes[proxy.kind] },
    accept: BINARY,
  });
  return parsed(v.array(recordSchema), reply);
}

/**
 * @param last the last record of each partition that is done with. Confluent's proxy takes its offset and adds one;
 * Redpanda's stores what it is given, which for Kafka is the offset to go on with.
 */
export async function commit({ proxy, wire, path }: Instance, last: readonly Place[]): Promise<Result<unknown>> {
  if (last.length === 0) return fail('internal.unexpected', 'A commit without offsets would commit everything.');
  const places = last.map(({ topic, partition, offset }) => ({ topic, partition, offset }));
  const json =
    proxy.kind === 'confluent'
      ? { offsets: places }
      : { partitions: places.map((place) => ({ ...place, offset: place.offset + 1 })) };
  // What was delivered is committed also when the subscription is to end.
  const patient = within(wire, LIMITS.kafkaCallMilliseconds);
  return call(proxy, patient, { method: 'POST', path: [...path, 'offsets'], json });
}

/** So that its partitions go to others at once; a proxy that does not answer forgets it by itself. */
export const deleteInstance = ({ proxy, wire, path }: Instance): Promise<Result<unknown>> =>
  call(proxy, within(wire, LIMITS.kafkaGoodbyeMilliseconds), { method: 'DELETE', path });
