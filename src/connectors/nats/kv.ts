/**
 * Keys and values, kept in a stream of their own (ADR-8 of NATS): the stream `KV_<bucket>`, one subject a key, whose
 * last message is the value, or says that the key is deleted. Its sequence is the revision of the key.
 */

import * as v from 'valibot';
import type { JsMsg, JetStreamPublishOptions, StoredMsg } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/nats-core';
import { connection, withJetStream, type Context, type JetStream } from './connection.ts';
import { as, bodyOf, content, headersOf, name, payloadOf, type Body } from './messages.ts';
import { nanoseconds, seconds, sequence } from './streams.ts';
import { defineAction, type Action } from '../kit/types.ts';
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
const isDeleted = (headers: MsgHdrs | undefined): boolean => /^(?:DEL|PURGE)$/.test(headers?.get(OPERATION) ?? '');

/** The last message of a key, also where it says that the key is deleted. */
const lastOf = ({ manager }: JetStream, bucket: string, of: string): Promise<StoredMsg | null> =>
  manager.streams.getMessage(streamOf(bucket), { last_by_subj: subjectOf(bucket, of) });

interface Write {
  readonly bucket: string;
  readonly key: string;
  readonly payload?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Refused where the key has another. */
  readonly revision?: number | undefined;
}

/** One attempt and the next send the same id, so that the server stores one of them. */
async function write({ client }: JetStream, context: Context, given: Write): Promise<number> {
  const options: Partial<JetStreamPublishOptions> = {
    msgID: context.idempotencyKey,
    headers: await headersOf(given.headers),
    expect: given.revision === undefined ? {} : { lastSubjectSequence: given.revision },
  };
  const { seq } = await client.publish(subjectOf(given.bucket, given.key), given.payload, options);
  return seq;
}

const WRONG_REVISION: ReadonlySet<number> = new Set([10071, 10164]);

/** By what JetStream says of it; undefined where something else is wrong. */
const isWrongRevision = (thrown: unknown): boolean =>
  typeof thrown === 'object' && thrown !== null && WRONG_REVISION.has(Number(Reflect.get(thrown, 'code')));

/** Undefined where the key has another revision. */
const writeIf = async (jetstream: JetStream, context: Context, given: Write): Promise<number | undefined> =>
  write(jetstream, context, given).catch((thrown: unknown) => {
    if (isWrongRevision(thrown)) return undefined;
    throw thrown;
  });

interface Entry extends Body {
  readonly revision: number;
  readonly time: string;
  readonly deleted: boolean;
}

const entryOf = (message: StoredMsg | JsMsg, form: Body['encoding']): Entry => {
  const deleted = isDeleted('header' in message ? message.header : message.headers);
  const body: Body = deleted ? { body: null, encoding: 'json' } : bodyOf(message.data, form);
  return { revision: message.seq, time: message.time.toISOString(), deleted, ...body };
};

interface Selection {
  readonly subject: string;
  readonly last: boolean;
  readonly maximum: number;
}

/** What a bucket holds of some subjects, by a consumer that lasts no longer than it is needed. */
async function readAll({ client, manager }: JetStream, bucket: string, wanted: Selection): Promise<JsMsg[]> {
  const { name: consumer, num_pending: pending } = await manager.consumers.add(streamOf(bucket), {
    ack_policy: 'none',
    deliver_policy: wanted.last ? 'last_per_subject' : 'all',
    filter_subject: wanted.subject,
    headers_only: wanted.last,
    mem_storage: true,
    inactive_threshold: nanoseconds(LIMITS.natsReplyMilliseconds / 1000),
  });
  const messages: JsMsg[] = [];
  if (pending > wanted.maximum) {
    const message = `The bucket ${bucket} has ${pending} entries; ${wanted.maximum} can be read at a time.`;
    throw new FaultError(fault('upstream.too-large', message));
  }
  const found = await client.consumers.get(streamOf(bucket), consumer);
  while (messages.length < pending) {
    const fetched = await found.fetch({
      max_messages: Math.min(pending - messages.length, LIMITS.natsFetchMessages),
      expires: LIMITS.natsReplyMilliseconds,
    });
    const before = messages.length;
    for await (const message of fetched) messages.push(message);
    if (messages.length === before) break;
  }
  await manager.consumers.delete(streamOf(bucket), consumer);
  return messages;
}

async function createKey(jetstream: JetStream, context: Context, given: Write): Promise<number | undefined> {
  const first = await writeIf(jetstream, context, { ...given, revision: 0 });
  if (first !== undefined) return first;
  // A key that was deleted still has a message.
  const last = await lastOf(jetstream, given.bucket, given.key);
  if (last === null || !isDeleted(last.header)) return undefined;
  return writeIf(jetstream, context, { ...given, revision: last.seq });
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
        withJetStream(context, async ({ manager }) => {
          await manager.streams.add({
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
          if (last === null || isDeleted(last.header)) return { found: false };
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
          const headers: Record<string, string> =
            history === 'keep' ? { [OPERATION]: 'DEL' } : { [OPERATION]: 'PURGE', 'Nats-Rollup': 'sub' };
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
          const last = await readAll(jetstream, bucket, { subject, last: true, maximum: LIMITS.natsKeys });
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
          const selection = { subject: subjectOf(bucket, of), last: false, maximum: LIMITS.natsKeys };
          const messages = await readAll(jetstream, bucket, selection);
          return { entries: messages.map((message) => entryOf(message, form)) };
        }),
    },
    connection,
  ),
};
