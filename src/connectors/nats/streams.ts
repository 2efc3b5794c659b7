/** Streams of JetStream, which keep messages. */

import * as v from 'valibot';
import type { StreamInfo } from '@nats-io/jetstream';
import { connection, withJetStream } from './connection.ts';
import { headersOf, message, name, pattern, payloadOf } from './messages.ts';
import { defineAction, type Action } from '../kit/types.ts';

const NANOSECONDS_PER_SECOND = 1e9;
const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(Number.MAX_SAFE_INTEGER));
export const sequence = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
export const seconds = v.pipe(v.number(), v.minValue(0.1), v.maxValue(10 * 365 * 24 * 3600));
export const nanoseconds = (given: number): number => Math.round(given * NANOSECONDS_PER_SECOND);

const streamParams = v.strictObject({
  stream: name,
  subjects: v.pipe(v.array(pattern), v.minLength(1), v.maxLength(100)),
  storage: v.optional(v.picklist(['file', 'memory']), 'file'),
  retention: v.optional(
    v.pipe(
      v.picklist(['limits', 'interest', 'workqueue']),
      v.description('`workqueue` deletes a message once it is acknowledged.'),
    ),
    'limits',
  ),
  discard: v.optional(v.pipe(v.picklist(['old', 'new']), v.description('What goes when it is full.')), 'old'),
  maximumMessages: v.optional(count),
  maximumBytes: v.optional(count),
  maximumMessageBytes: v.optional(count),
  maximumAgeSeconds: v.optional(seconds),
  duplicateWindowSeconds: v.optional(
    v.pipe(seconds, v.description('How long the id of a message is known; the server says two minutes.')),
  ),
  replicas: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(5)), 1),
});

const configOf = ({ stream, subjects, ...given }: v.InferOutput<typeof streamParams>) => ({
  name: stream,
  subjects,
  storage: given.storage,
  retention: given.retention,
  discard: given.discard,
  num_replicas: given.replicas,
  ...(given.maximumMessages !== undefined && { max_msgs: given.maximumMessages }),
  ...(given.maximumBytes !== undefined && { max_bytes: given.maximumBytes }),
  ...(given.maximumMessageBytes !== undefined && { max_msg_size: given.maximumMessageBytes }),
  ...(given.maximumAgeSeconds !== undefined && { max_age: nanoseconds(given.maximumAgeSeconds) }),
  ...(given.duplicateWindowSeconds !== undefined && { duplicate_window: nanoseconds(given.duplicateWindowSeconds) }),
});

const shown = ({ config, state, created }: StreamInfo) => ({
  stream: config.name,
  subjects: config.subjects,
  messages: state.messages,
  bytes: state.bytes,
  firstSequence: state.first_seq,
  lastSequence: state.last_seq,
  consumers: state.consumer_count,
  created,
});

const one = v.strictObject({ stream: name });

export const streamActions: Readonly<Record<string, Action>> = {
  streamPublish: defineAction(
    {
      title: 'Publish a message to a stream, which confirms it',
      effect: 'keyed',
      params: v.strictObject({
        ...message,
        messageId: v.optional(
          v.pipe(
            v.string(),
            v.regex(/^\P{Cc}{1,256}$/u, 'Must have no control characters.'),
            v.description('The stream takes one message of an id. Default: the idempotency key of the step.'),
          ),
        ),
        stream: v.optional(v.pipe(name, v.description('Refused where another stream takes the subject.'))),
        lastSequence: v.optional(v.pipe(sequence, v.description('Refused where the stream has gone on since.'))),
        lastSubjectSequence: v.optional(
          v.pipe(sequence, v.description('Refused where the subject has a later message; 0: where it has any.')),
        ),
      }),
      example: { subject: 'orders.paid', json: { id: 42 }, stream: 'ORDERS' },
      run: ({ subject, headers, messageId, stream, lastSequence, lastSubjectSequence, ...content }, context) =>
        withJetStream(context, async ({ client }) => {
          const { duplicate, seq, ...ack } = await client.publish(subject, payloadOf(content), {
            msgID: messageId ?? context.idempotencyKey,
            headers: await headersOf(headers),
            expect: {
              ...(stream !== undefined && { streamName: stream }),
              ...(lastSequence !== undefined && { lastSequence }),
              ...(lastSubjectSequence !== undefined && { lastSubjectSequence }),
            },
          });
          return { stream: ack.stream, sequence: seq, duplicate };
        }),
    },
    connection,
  ),
  createStream: defineAction(
    {
      title: 'Create a stream',
      effect: 'idempotent',
      params: streamParams,
      example: { stream: 'ORDERS', subjects: ['orders.>'], maximumAgeSeconds: 604800 },
      run: (params, context) =>
        withJetStream(context, async ({ manager }) => shown(await manager.streams.add(configOf(params)))),
    },
    connection,
  ),
  stream: defineAction(
    {
      title: 'Read what a stream holds',
      effect: 'idempotent',
      params: one,
      example: { stream: 'ORDERS' },
      run: ({ stream }, context) =>
        withJetStream(context, async ({ manager }) => shown(await manager.streams.info(stream))),
    },
    connection,
  ),
  streams: defineAction(
    {
      title: 'List the streams',
      effect: 'idempotent',
      params: v.strictObject({
        subject: v.optional(v.pipe(pattern, v.description('Only those that take such a subject.'))),
      }),
      example: { subject: 'orders.>' },
      run: ({ subject }, context) =>
        withJetStream(context, async ({ manager }) => {
          const streams = [];
          for await (const info of manager.streams.list(subject)) streams.push(shown(info));
          return { streams };
        }),
    },
    connection,
  ),
  purgeStream: defineAction(
    {
      title: 'Delete the messages of a stream',
      effect: 'external',
      params: v.strictObject({
        stream: name,
        subject: v.optional(v.pipe(pattern, v.description('Only those of such a subject.'))),
        before: v.optional(v.pipe(sequence, v.description('Only those before this sequence.'))),
      }),
      example: { stream: 'ORDERS', subject: 'orders.test' },
      run: ({ stream, subject: filter, before: seq }, context) =>
        withJetStream(context, async ({ manager }) => {
          const chosen = filter === undefined ? undefined : { filter };
          const { purged } = await manager.streams.purge(stream, seq === undefined ? chosen : { ...chosen, seq });
          return { purged };
        }),
    },
    connection,
  ),
  deleteStream: defineAction(
    {
      title: 'Delete a stream with its messages and consumers',
      effect: 'external',
      params: one,
      example: { stream: 'ORDERS' },
      run: ({ stream }, context) =>
        withJetStream(context, async ({ manager }) => ({ deleted: await manager.streams.delete(stream) })),
    },
    connection,
  ),
};
