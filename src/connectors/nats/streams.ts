/** Streams of JetStream, which keep messages. */

import * as v from 'valibot';
import { connection, withJetStream } from './connection.ts';
import { message, name, pattern, payloadOf } from './messages.ts';
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

const streamInfo = v.object({
  config: v.object({ name: v.string(), subjects: v.nullish(v.array(v.string()), []) }),
  created: v.string(),
  state: v.object({
    messages: v.number(),
    bytes: v.number(),
    first_seq: v.number(),
    last_seq: v.number(),
    consumer_count: v.number(),
  }),
});

const shown = ({ config, state, created }: v.InferOutput<typeof streamInfo>) => ({
  stream: config.name,
  subjects: config.subjects,
  messages: state.messages,
  bytes: state.bytes,
  firstSequence: state.first_seq,
  lastSequence: state.last_seq,
  consumers: state.consumer_count,
  created,
});

const page = v.object({ total: v.number(), streams: v.nullish(v.array(streamInfo), []) });
const purgeAnswer = v.object({ purged: v.number() });
export const deletion = v.object({ success: v.boolean() });

/** A header of a condition, where there is one. */
export const expected = (header: string, value: string | number | undefined): [string, string][] =>
  value === undefined ? [] : [[header, String(value)]];

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
      run: ({ subject, headers = {}, messageId, stream, lastSequence, lastSubjectSequence, ...content }, context) =>
        withJetStream(context, async (jetstream) => {
          const { seq, ...ack } = await jetstream.publish(subject, payloadOf(content), [
            ...Object.entries(headers),
            ['Nats-Msg-Id', messageId ?? context.idempotencyKey],
            ...expected('Nats-Expected-Stream', stream),
            ...expected('Nats-Expected-Last-Sequence', lastSequence),
            ...expected('Nats-Expected-Last-Subject-Sequence', lastSubjectSequence),
          ]);
          return { stream: ack.stream, sequence: seq, duplicate: ack.duplicate };
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
        withJetStream(context, async (jetstream) =>
          shown(await jetstream.ask(`STREAM.CREATE.${params.stream}`, streamInfo, configOf(params))),
        ),
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
        withJetStream(context, async (jetstream) => shown(await jetstream.ask(`STREAM.INFO.${stream}`, streamInfo))),
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
        withJetStream(context, async (jetstream) => {
          const streams: ReturnType<typeof shown>[] = [];
          for (;;) {
            const asked = { offset: streams.length, ...(subject !== undefined && { subject }) };
            const answer = await jetstream.ask('STREAM.LIST', page, asked);
            streams.push(...answer.streams.map(shown));
            if (answer.streams.length === 0 || streams.length >= answer.total) return { streams };
          }
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
        withJetStream(context, async (jetstream) => {
          const chosen = { ...(filter !== undefined && { filter }), ...(seq !== undefined && { seq }) };
          const { purged } = await jetstream.ask(`STREAM.PURGE.${stream}`, purgeAnswer, chosen);
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
        withJetStream(context, async (jetstream) => {
          const { success: deleted } = await jetstream.ask(`STREAM.DELETE.${stream}`, deletion);
          return { deleted };
        }),
    },
    connection,
  ),
};
