/**
 * Consumers of streams, and the messages that they hand out.
 *
 * Guarantee: fetching acknowledges nothing. A message counts as done when the step `ack` says so, with the token that
 * came with it; else it is handed out again after the time of the consumer. So a run that fails loses none.
 */

import * as v from 'valibot';
import { connection, withJetStream } from './connection.ts';
import { as, name, pattern, readMessage } from './messages.ts';
import { deletion, nanoseconds, seconds, sequence } from './streams.ts';
import { defineAction, type Action } from '../kit/types.ts';
import type { NatsMessage } from '../../drivers/nats/frames.ts';
import type { JetStream } from '../../drivers/nats/jetstream.ts';
import { Mailbox } from '../../drivers/nats/mailbox.ts';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export const consumerInfo = v.object({
  stream_name: v.string(),
  name: v.string(),
  created: v.string(),
  config: v.object({ ack_policy: v.string(), deliver_subject: v.optional(v.string()) }),
  ack_floor: v.object({ stream_seq: v.number() }),
  num_pending: v.number(),
  num_ack_pending: v.number(),
  num_redelivered: v.number(),
});

const shown = ({ stream_name: stream, name: consumer, created, ...info }: v.InferOutput<typeof consumerInfo>) => ({
  stream,
  consumer,
  created,
  pending: info.num_pending,
  unacknowledged: info.num_ack_pending,
  redelivered: info.num_redelivered,
  acknowledgedSequence: info.ack_floor.stream_seq,
});

interface NewConsumer {
  readonly stream: string;
  readonly consumer: string;
  readonly subject?: string | undefined;
  readonly from: 'all' | 'new' | 'last';
}

/** A durable one that waits for acknowledgements. */
export const addConsumer = (jetstream: JetStream, given: NewConsumer, more: object = {}) =>
  jetstream.ask(`CONSUMER.DURABLE.CREATE.${given.stream}.${given.consumer}`, consumerInfo, {
    stream_name: given.stream,
    config: {
      durable_name: given.consumer,
      ack_policy: 'explicit',
      deliver_policy: given.from,
      ...(given.subject !== undefined && { filter_subject: given.subject }),
      ...more,
    },
  });

/** @throws FaultError `step.params` where what it hands out cannot be acknowledged, or is not fetched */
export async function checkConsumer(jetstream: JetStream, stream: string, consumer: string): Promise<void> {
  const { config } = await jetstream.ask(`CONSUMER.INFO.${stream}.${consumer}`, consumerInfo);
  if (config.ack_policy === 'explicit' && config.deliver_subject === undefined) return;
  const message = `consumer: ${consumer} must be one to fetch from, with the acknowledgement policy explicit.`;
  throw new FaultError(fault('step.params', message));
}

/** At the end of what a consumer hands out: nothing there, or nothing more within the time. */
export const isEndOfPull = ({ status }: NatsMessage): boolean => status?.code === 404 || status?.code === 408;

/** @throws FaultError `upstream.rejected` for what the server says instead of messages, e.g. that the consumer is gone */
export function mustBeMessage({ status }: NatsMessage): void {
  if (status === undefined || status.code === 100) return;
  throw new FaultError(fault('upstream.rejected', `JetStream: ${status.text}.`, { data: { status: status.code } }));
}

/** Up to so many messages of a consumer. */
export async function pullAll(jetstream: JetStream, stream: string, consumer: string, batch: number, wait: number) {
  const mailbox = new Mailbox();
  jetstream.pull(stream, consumer, jetstream.session.inbox(mailbox.put).subject, { batch, expiresMilliseconds: wait });
  const messages: NatsMessage[] = [];
  while (messages.length < batch) {
    const came = await mailbox.take(batch, wait + LIMITS.natsReplyMilliseconds);
    const data = came.filter(({ status }) => status === undefined);
    messages.push(...data);
    if (came.length === 0 || came.some(isEndOfPull)) break;
    came.forEach(mustBeMessage);
  }
  return messages;
}

const one = v.strictObject({ stream: name, consumer: name });

const token = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^\$JS\.ACK(?:\.[^\s\p{Cc}.*>]+){7,11}$/u, 'Must be the `ack` of a message that `fetch` gave.'),
);

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export const consumerActions: Readonly<Record<string, Action>> = {
  createConsumer: defineAction(
    {
      title: 'Create a durable consumer of a stream',
      effect: 'idempotent',
      params: v.strictObject({
        ...one.entries,
        subject: v.optional(v.pipe(pattern, v.description('Only messages of such a subject.'))),
        from: v.optional(v.picklist(['all', 'new', 'last']), 'all'),
        ackWaitSeconds: v.optional(
          v.pipe(seconds, v.description('After which a message that is not acknowledged comes again.')),
          30,
        ),
        maximumDeliveries: v.optional(v.pipe(sequence, v.minValue(1))),
        maximumUnacknowledged: v.optional(v.pipe(sequence, v.minValue(1))),
      }),
      example: { stream: 'ORDERS', consumer: 'billing', subject: 'orders.paid', ackWaitSeconds: 60 },
      run: ({ stream, consumer, subject, from, ackWaitSeconds, ...maximum }, context) =>
        withJetStream(context, async (jetstream) => {
          const more = {
            ack_wait: nanoseconds(ackWaitSeconds),
            ...(maximum.maximumDeliveries !== undefined && { max_deliver: maximum.maximumDeliveries }),
            ...(maximum.maximumUnacknowledged !== undefined && { max_ack_pending: maximum.maximumUnacknowledged }),
          };
          return shown(await addConsumer(jetstream, { stream, consumer, subject, from }, more));
        }),
    },
    connection,
  ),
  consumer: defineAction(
    {
      title: 'Read where a consumer stands',
      effect: 'idempotent',
      params: one,
      example: { stream: 'ORDERS', consumer: 'billing' },
      run: ({ stream, consumer }, context) =>
        withJetStream(context, async (jetstream) =>
          shown(await jetstream.ask(`CONSUMER.INFO.${stream}.${consumer}`, consumerInfo)),
        ),
    },
    connection,
  ),
  deleteConsumer: defineAction(
    {
      title: 'Delete a consumer',
      effect: 'external',
      params: one,
      example: { stream: 'ORDERS', consumer: 'billing' },
      run: ({ stream, consumer }, context) =>
        withJetStream(context, async (jetstream) => {
          const { success: deleted } = await jetstream.ask(`CONSUMER.DELETE.${stream}.${consumer}`, deletion);
          return { deleted };
        }),
    },
    connection,
  ),
  fetch: defineAction(
    {
      title: 'Fetch messages, to be acknowledged by `ack`',
      effect: 'idempotent',
      params: v.strictObject({
        ...one.entries,
        limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.natsFetchMessages)), 10),
        waitSeconds: v.optional(
          v.pipe(
            v.number(),
            v.minValue(1),
            v.maxValue(60),
            v.description('How long to wait for so many; what has come by then is given.'),
          ),
          1,
        ),
        as,
      }),
      example: { stream: 'ORDERS', consumer: 'billing', limit: 10 },
      run: ({ stream, consumer, limit, waitSeconds, as: form }, context) =>
        withJetStream(context, async (jetstream) => {
          await checkConsumer(jetstream, stream, consumer);
          const pulled = await pullAll(jetstream, stream, consumer, limit, Math.round(waitSeconds * 1000));
          return { messages: pulled.map((each) => ({ ...readMessage(each, form), ack: each.reply })) };
        }),
    },
    connection,
  ),
  ack: defineAction(
    {
      title: 'Say what became of fetched messages',
      effect: 'idempotent',
      params: v.strictObject({
        tokens: v.pipe(
          v.array(token),
          v.minLength(1),
          v.maxLength(LIMITS.natsFetchMessages),
          v.description('The `ack` of each message.'),
        ),
        outcome: v.optional(
          v.pipe(
            v.picklist(['done', 'again', 'never']),
            v.description('`again`: hand it out once more. `never`: not done, but to be handed out no more.'),
          ),
          'done',
        ),
        delaySeconds: v.optional(v.pipe(seconds, v.description('For `again`: not before.'))),
      }),
      example: { tokens: ['$JS.ACK.ORDERS.billing.1.7.3.1767225600000000000.0'] },
      run: ({ tokens, outcome, delaySeconds }, context) =>
        withJetStream(context, async ({ session }) => {
          const again =
            delaySeconds === undefined ? '-NAK' : `-NAK ${JSON.stringify({ delay: nanoseconds(delaySeconds) })}`;
          const word = encode({ done: '+ACK', again, never: '+TERM' }[outcome]);
          // Each is answered, so that one that never arrived shows.
          await Promise.all(
            tokens.map((to) => session.request(to, word, { timeoutMilliseconds: LIMITS.natsReplyMilliseconds })),
          );
          return { acknowledged: tokens.length };
        }),
    },
    connection,
  ),
};
