/**
 * Keys and values, kept in a stream of their own (ADR-8 of NATS): the stream `KV_<bucket>`, one subject a key, whose
 * last message is the value, or says that the key is deleted. Its sequence is the revision of the key.
 */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { connection, withJetStream, type Context } from './connection.ts';
import { consumerInfo, pullAll } from './consumers.ts';
import { as, bodyOf, content, name, payloadOf, type Body, type Form } from './messages.ts';
import { deletion, expected, nanoseconds, seconds, sequence } from './streams.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { deliveryOf, type JetStream } from '../../drivers/nats/jetstream.ts';
import { parseHeaders, type NatsHeaders, type NatsMessage } from '../../drivers/nats/frames.ts';
import { fail, fault, FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

const key = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^[\w/=-]+(?:\.[\w/=-]+)*$/, 'Must consist of letters, digits and -_/= with single dots between them.'),
);
const place = { bucket: name, key };
const valued = v.strictObject({ ...place, ...content });

const streamOf = (bucket: string): string => `KV_${bucket}`;
const subjectOf = (bucket: string, of: string): string => `$KV.${bucket}.${of}`;

const OPERATION = 'KV-Operation';

const isDeleted = (headers: NatsHeaders): boolean =>
  headers.some(([header, value]) => header === OPERATION && /^(?:DEL|PURGE)$/.test(value));

interface Stored {
  readonly revision: number;
  readonly time: string;
  readonly headers: NatsHeaders;
  readonly payload: Uint8Array;
}

const base64 = v.pipe(
  v.optional(v.string(), ''),
  v.transform((text): Uint8Array => Buffer.from(text, 'base64')),
);
const storedMessage = v.object({
  message: v.object({ seq: v.number(), time: v.string(), hdrs: base64, data: base64 }),
});

const codeIn = (thrown: unknown): unknown => {
  const data: unknown = thrown instanceof FaultError ? thrown.fault.data : undefined;
  return typeof data === 'object' && data !== null ? Reflect.get(data, 'code') : undefined;
};

const NO_MESSAGE = 10037;
const WRONG_REVISION: readonly unknown[] = [10071, 10164];

/** The last message of a key, also where it says that the key is deleted; undefined for one that never was. */
async function lastOf(jetstream: JetStream, bucket: string, of: string): Promise<Stored | undefined> {
  try {
    const asked = { last_by_subj: subjectOf(bucket, of) };
    const { message } = await jetstream.ask(`STREAM.MSG.GET.${streamOf(bucket)}`, storedMessage, asked);
    const { headers } = parseHeaders(message.hdrs);
    return { revision: message.seq, time: message.time, headers, payload: message.data };
  } catch (thrown) {
    if (codeIn(thrown) === NO_MESSAGE) return undefined;
    throw thrown;
  }
}

interface Write {
  readonly bucket: string;
  readonly key: string;
  readonly payload?: Uint8Array;
  readonly headers?: NatsHeaders;
  /** Refused where the key has another. */
  readonly revision?: number | undefined;
}

/** One attempt and the next send the same id, so that the server stores one of them. */
async function write(jetstream: JetStream, { idempotencyKey }: Context, given: Write): Promise<number> {
  const { bucket, key: of, payload = new Uint8Array(), headers = [], revision } = given;
  const { seq } = await jetstream.publish(subjectOf(bucket, of), payload, [
    ...headers,
    ['Nats-Msg-Id', idempotencyKey],
    ...expected('Nats-Expected-Last-Subject-Sequence', revision),
  ]);
  return seq;
}

/** Undefined where the key has another revision. */
const writeIf = async (jetstream: JetStream, context: Context, given: Write): Promise<number | undefined> =>
  write(jetstream, context, given).catch((thrown: unknown) => {
    if (WRONG_REVISION.includes(codeIn(thrown))) return undefined;
    throw thrown;
  });

function entryOf({ revision, time, headers, payload }: Stored, form: Form) {
  const deleted = isDeleted(headers);
  const body: Body = deleted ? { body: null, encoding: 'json' } : bodyOf(payload, form);
  return { revision, time, deleted, ...body };
}

const storedIn = (message: NatsMessage): Stored => {
  const { sequence: revision, time } = deliveryOf(message);
  return { revision, time: new Date(time).toISOString(), headers: message.headers, payload: message.payload };
};

interface Selection {
  readonly subject: string;
  /** Only the last message of each subject, without its payload. */
  readonly last: boolean;
}

/** What a bucket holds of some subjects, by a consumer that lasts no longer than it is needed. */
async function readAll(jetstream: JetStream, bucket: string, { subject, last }: Selection): Promise<NatsMessage[]> {
  const stream = streamOf(bucket);
  const { name: consumer, num_pending: pending } = await jetstream.ask(`CONSUMER.CREATE.${stream}`, consumerInfo, {
    stream_name: stream,
    config: {
      ack_policy: 'none',
      deliver_policy: last ? 'last_per_subject' : 'all',
      filter_subject: subject,
      headers_only: last,
      mem_storage: true,
      inactive_threshold: nanoseconds(LIMITS.natsReplyMilliseconds / 1000),
    },
  });
  if (pending > LIMITS.natsKeys) {
    const message = `The bucket ${bucket} has ${pending} entries; ${LIMITS.natsKeys} can be read at a time.`;
    throw new FaultError(fault('upstream.too-large', message));
  }
  const messages =
    pending === 0 ? [] : await pullAll(jetstream, stream, consumer, pending, LIMITS.natsReplyMilliseconds);
  await jetstream.ask(`CONSUMER.DELETE.${stream}.${consumer}`, deletion);
  return messages;
}

async function createKey(jetstream: JetStream, context: Context, given: Write): Promise<number | undefined> {
  const first = await writeIf(jetstream, context, { ...given, revision: 0 });
  if (first !== undefined) return first;
  // A key that was deleted still has a message.
  const last = await lastOf(jetstream, given.bucket, given.key);
  if (last === undefined || !isDeleted(last.headers)) return undefined;
  return writeIf(jetstream, context, { ...given, revision: last.revision });
}

const flattened = <T>(result: Result<Result<T>>): Result<T> => (result.ok ? result.value : result);

export const kvActions: Readonly<Record<string, Action>> = {
  kvCreateBucket: defineAction(
    {
      title: 'Create a bucket of keys and values',
      effect: 'idempotent',
      params: v.strictObject({
        bucket: name,
        history: v.optional(
          v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(64), v.description('Values kept of each key.')),
          1,
        ),
        ttlSeconds: v.optional(v.pipe(seconds, v.description('After which a value is gone.'))),
        storage: v.optional(v.picklist(['file', 'memory']), 'file'),
        replicas: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(5)), 1),
      }),
      example: { bucket: 'sessions', history: 5, ttlSeconds: 3600 },
      run: ({ bucket, history, ttlSeconds, storage, replicas }, context) =>
        withJetStream(context, async (jetstream) => {
          await jetstream.ask(`STREAM.CREATE.${streamOf(bucket)}`, v.object({ config: v.object({}) }), {
            name: streamOf(bucket),
            subjects: [subjectOf(bucket, '>')],
            max_msgs_per_subject: history,
            storage,
            num_replicas: replicas,
            discard: 'new',
            deny_delete: true,
            allow_rollup_hdrs: true,
            allow_direct: true,
            ...(ttlSeconds !== undefined && {
              max_age: nanoseconds(ttlSeconds),
              // Not longer than the messages last.
              duplicate_window: nanoseconds(Math.min(ttlSeconds, 120)),
            }),
          });
          return { bucket };
        }),
    },
    connection,
  ),
  kvGet: defineAction(
    {
      title: 'Read the value of a key',
      effect: 'idempotent',
      params: v.strictObject({ ...place, as }),
      example: { bucket: 'sessions', key: 'user.42' },
      run: ({ bucket, key: of, as: form }, context) =>
        withJetStream(context, async (jetstream) => {
          const last = await lastOf(jetstream, bucket, of);
          if (last === undefined || isDeleted(last.headers)) return { found: false };
          const { deleted: _, ...entry } = entryOf(last, form);
          return { found: true, ...entry };
        }),
    },
    connection,
  ),
  kvPut: defineAction(
    {
      title: 'Set the value of a key',
      effect: 'keyed',
      params: valued,
      example: { bucket: 'sessions', key: 'user.42', json: { name: 'Ada' } },
      run: ({ bucket, key: of, ...given }, context) =>
        withJetStream(context, async (jetstream) => ({
          revision: await write(jetstream, context, { bucket, key: of, payload: payloadOf(given) }),
        })),
    },
    connection,
  ),
  kvCreate: defineAction(
    {
      title: 'Set the value of a key that has none',
      effect: 'keyed',
      params: valued,
      example: { bucket: 'locks', key: 'nightly', text: 'mine' },
      run: ({ bucket, key: of, ...given }, context) =>
        withJetStream(context, async (jetstream) => {
          const revision = await createKey(jetstream, context, { bucket, key: of, payload: payloadOf(given) });
          return revision === undefined ? { created: false } : { created: true, revision };
        }),
    },
    connection,
  ),
  kvUpdate: defineAction(
    {
      title: 'Change the value of a key that nobody has changed since',
      effect: 'keyed',
      params: v.strictObject({
        ...valued.entries,
        revision: v.pipe(sequence, v.description('The one that was read; with another the step fails.')),
      }),
      example: { bucket: 'sessions', key: 'user.42', json: { name: 'Grace' }, revision: 7 },
      run: async ({ bucket, key: of, revision, ...given }, context) =>
        flattened(
          await withJetStream(context, async (jetstream) => {
            const made = await writeIf(jetstream, context, { bucket, key: of, payload: payloadOf(given), revision });
            const message = `The key ${of} has another revision than ${revision}; read it again.`;
            return made === undefined ? fail('upstream.rejected', message) : ok({ revision: made });
          }),
        ),
    },
    connection,
  ),
  kvDelete: defineAction(
    {
      title: 'Delete a key',
      effect: 'keyed',
      params: v.strictObject({
        ...place,
        history: v.optional(
          v.pipe(v.picklist(['keep', 'delete']), v.description('What becomes of its earlier values.')),
          'keep',
        ),
      }),
      example: { bucket: 'sessions', key: 'user.42' },
      run: ({ bucket, key: of, history }, context) =>
        withJetStream(context, async (jetstream) => {
          const headers: NatsHeaders =
            history === 'keep'
              ? [[OPERATION, 'DEL']]
              : [
                  [OPERATION, 'PURGE'],
                  ['Nats-Rollup', 'sub'],
                ];
          return { revision: await write(jetstream, context, { bucket, key: of, headers }) };
        }),
    },
    connection,
  ),
  kvKeys: defineAction(
    {
      title: 'List the keys of a bucket',
      effect: 'idempotent',
      params: v.strictObject({
        bucket: name,
        prefix: v.optional(v.pipe(key, v.description('Only those that go on with a dot behind it.'))),
      }),
      example: { bucket: 'sessions', prefix: 'user' },
      run: ({ bucket, prefix }, context) =>
        withJetStream(context, async (jetstream) => {
          const subject = subjectOf(bucket, prefix === undefined ? '>' : `${prefix}.>`);
          const last = await readAll(jetstream, bucket, { subject, last: true });
          const start = subjectOf(bucket, '').length;
          return { keys: last.filter(({ headers }) => !isDeleted(headers)).map((each) => each.subject.slice(start)) };
        }),
    },
    connection,
  ),
  kvHistory: defineAction(
    {
      title: 'Read the values that a key has had',
      effect: 'idempotent',
      params: v.strictObject({ ...place, as }),
      example: { bucket: 'sessions', key: 'user.42' },
      run: ({ bucket, key: of, as: form }, context) =>
        withJetStream(context, async (jetstream) => {
          const messages = await readAll(jetstream, bucket, { subject: subjectOf(bucket, of), last: false });
          return { entries: messages.map((message) => entryOf(storedIn(message), form)) };
        }),
    },
    connection,
  ),
};
