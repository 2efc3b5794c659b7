/** A record between the base64 of the proxy and the JSON of a step. */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { IncomingRecord, OutgoingRecord } from '../../drivers/kafka/topics.ts';
import { decodeContent, encodeContent } from '../kit/content.ts';
import type { SubscribedEvent } from '../kit/types.ts';

/** Kafka's own grammar; it lets no name leave its segment of a path. */
const legal = (what: string, limit: number) =>
  v.pipe(
    v.string(),
    v.maxLength(limit),
    v.regex(/^(?!\.{1,2}$)[A-Za-z0-9._-]+$/, `Must be the name of a ${what}: letters, digits, ".", "_" and "-".`),
  );
export const topicName = legal('topic', 249);
export const groupName = legal('consumer group', 255);
export const partitionNumber = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0x7fff_ffff));
export const offsetNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

export const as = v.optional(
  v.pipe(
    v.picklist(['json', 'text', 'base64']),
    v.description('What `body` becomes. What is not JSON comes as text, what is not text as base64; see `encoding`.'),
  ),
  'json',
);
type Form = v.InferOutput<typeof as>;

const outgoingSchema = v.strictObject({
  key: v.optional(v.pipe(v.string(), v.description('As UTF-8. Records with the same key go to the same partition.'))),
  keyBase64: v.optional(v.pipe(v.string(), v.description('A key of any bytes.'))),
  text: v.optional(v.string()),
  json: v.optional(v.unknown()),
  base64: v.optional(v.string()),
  tombstone: v.optional(
    v.pipe(v.literal(true), v.description('No value: it deletes the key from a topic that is compacted.')),
  ),
  partition: v.optional(
    v.pipe(partitionNumber, v.description('Left out, Kafka chooses, by the key where there is one.')),
  ),
});
type Given = v.InferOutput<typeof outgoingSchema>;

export const outgoingRecords = v.pipe(
  v.array(outgoingSchema),
  v.minLength(1),
  v.maxLength(LIMITS.kafkaRecords),
  v.description('In order, each with one of `text`, `json`, `base64` and `tombstone`.'),
);

/** Fault `step.params`: all are looked at before any is sent. */
export function encodeRecords(given: readonly Given[]): Result<OutgoingRecord[]> {
  const records: OutgoingRecord[] = [];
  let total = 0;
  for (const [index, record] of given.entries()) {
    const at = `records[${index}]: `;
    const key = keyOf(record, at);
    if (!key.ok) return key;
    const value = valueOf(record, at);
    if (!value.ok) return value;
    const size = (key.value?.byteLength ?? 0) + (value.value?.byteLength ?? 0);
    if (size > LIMITS.kafkaRecordBytes) {
      return fail('step.params', `${at}Key and value have ${size} bytes; a record takes ${LIMITS.kafkaRecordBytes}.`);
    }
    total += size;
    if (total > LIMITS.kafkaPublishBytes) {
      return fail('step.params', `records: Have more than ${LIMITS.kafkaPublishBytes} bytes; publish fewer at a time.`);
    }
    records.push({
      ...(key.value !== undefined && { key: toBase64(key.value) }),
      ...(value.value !== undefined && { value: toBase64(value.value) }),
      ...(record.partition !== undefined && { partition: record.partition }),
    });
  }
  return ok(records);
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function keyOf({ key, keyBase64 }: Given, at: string): Result<Uint8Array | undefined> {
  if (key !== undefined && keyBase64 !== undefined) return fail('step.params', `${at}Give \`key\` or \`keyBase64\`.`);
  if (key !== undefined) return ok(Buffer.from(key));
  if (keyBase64 === undefined) return ok(undefined);
  const encoded = encodeContent({ base64: keyBase64 });
  return encoded.ok
    ? ok(encoded.value.bytes)
    : fail('step.params', `${at}\`keyBase64\` is not valid base64 with padding.`);
}

function valueOf({ text, json, base64, tombstone, key, keyBase64 }: Given, at: string): Result<Uint8Array | undefined> {
  if (tombstone === undefined) {
    const encoded = encodeContent({ text, json, base64 }, at);
    return encoded.ok ? ok(encoded.value.bytes) : encoded;
  }
  if (text !== undefined || json !== undefined || base64 !== undefined) {
    return fail('step.params', `${at}A \`tombstone\` has no value; remove one of the two.`);
  }
  if (key === undefined && keyBase64 === undefined) return fail('step.params', `${at}A \`tombstone\` needs a key.`);
  return ok(undefined);
}

/** As text where it is UTF-8. */
function readKey(key: string | null): { readonly key: string | null; readonly keyEncoding: 'text' | 'base64' } {
  const text = key === null ? undefined : decodeContent(Buffer.from(key, 'base64'), 'text');
  return text?.ok === true ? { key: String(text.value), keyEncoding: 'text' } : { key, keyEncoding: 'base64' };
}

/** What cannot be read as it should comes in another form: refused, it would come again without end. */
function readValue(value: string | null, wanted: Form): { readonly body: unknown; readonly encoding: string } {
  if (value === null) return { body: null, encoding: 'tombstone' };
  const bytes = Buffer.from(value, 'base64');
  for (const form of wanted === 'json' ? (['json', 'text'] as const) : ([wanted] as const)) {
    const body = decodeContent(bytes, form);
    if (body.ok) return { body: body.value, encoding: form };
  }
  return { body: value, encoding: 'base64' };
}

export const readRecord = ({ partition, offset, key, value }: IncomingRecord, form: Form) => ({
  partition,
  offset,
  ...readKey(key),
  ...readValue(value, form),
});

export function eventOf(record: IncomingRecord, form: Form, cursor: string): SubscribedEvent {
  const { topic, partition, offset } = record;
  const { key, keyEncoding, body, encoding } = readRecord(record, form);
  return {
    id: `${topic}:${partition}:${offset}`,
    body,
    headers: {
      'kafka-topic': topic,
      'kafka-partition': String(partition),
      'kafka-offset': String(offset),
      ...(key !== null && { 'kafka-key': key, 'kafka-key-encoding': keyEncoding }),
      encoding,
    },
    cursor,
  };
}
