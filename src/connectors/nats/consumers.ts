/**
 * Consumers of streams, and the messages that they hand out.
 *
 * Guarantee: fetching acknowledges nothing. A message counts as done when the step `ack` says so, with the token that
 * came with it; else it is handed out again after the time of the consumer. So a run that fails loses none.
 */

import * as v from 'valibot';
import type { ConsumerInfo, JsMsg } from '@nats-io/jetstream';
import { connection, withJetStream, type JetStream } from './connection.ts';
import { as, bodyOf, headersIn, name, pattern, type Body } from './messages.ts';
import { nanoseconds, seconds, sequence } from './streams.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { fault, FaultError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export const shown = ({ stream_name: stream, name: consumer, created, ...info }: ConsumerInfo) => ({
  stream,
  consumer,
  created,
  pending: info.num_pending,
  unacknowledged: info.num_ack_pending,
  redelivered: info.num_redelivered,
  acknowledgedSequence: info.ack_floor.stream_seq,
});

interface ReadMessage extends Body {
  readonly subject: string;
  readonly sequence: number;
  readonly deliveries: number;
  readonly time: string;
  readonly headers: Readonly<Record<string, string>>;
}

export const readMessage = (message: JsMsg, form: 'json' | 'text' | 'base64'): ReadMessage => ({
  subject: message.subject,
  sequence: message.seq,
  deliveries: message.info.deliveryCount,
  time: message.time.toISOString(),
  headers: headersIn(message.headers),
  ...bodyOf(message.data, form),
});

/** @throws FaultError `step.params` where what it hands out cannot be acknowledged, or is not fetched */
export async function pullConsumer({ client }: JetStream, stream: string, consumer: string) {
  const found = await client.consumers.get(stream, consumer);
  const { config } = await found.info(true);
  if (config.ack_policy === 'explicit') return found;
  const message = `consumer: ${consumer} forgets what it hands out; one with the acknowledgement policy explicit is needed.`;
  throw new FaultError(fault('step.params', message));
}

const one = v.strictObject({ stream: name, consumer: name });

const token = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^\$JS\.ACK(?:\.[^\s\p{Cc}.*>]+){7,11}$/u, 'Must be the `ack` of a message that `fetch` gave.'),
);

/** The library has it, and does not say so. */
const tokenOf = (message: JsMsg): string => v.parse(v.object({ reply: v.string() }), message).reply;

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
        withJetStream(context, async ({ manager }) =>
          shown(
            await manager.consumers.add(stream, {
              durable_name: consumer,
              ack_policy: 'explicit',
              deliver_policy: from,
              ack_wait: nanoseconds(ackWaitSeconds),
              ...(subject !== undefined && { filter_subject: subject }),
              ...(maximum.maximumDeliveries !== undefined && { max_deliver: maximum.maximumDeliveries }),
              ...(maximum.maximumUnacknowledged !== undefined && { max_ack_pending: maximum.maximumUnacknowledged }),
            }),
          ),
        ),
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
        withJetStream(context, async ({ manager }) => shown(await manager.consumers.info(stream, consumer))),
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
        withJetStream(context, async ({ manager }) => ({ deleted: await manager.consumers.delete(stream, consumer) })),
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
          const found = await pullConsumer(jetstream, stream, consumer);
          const fetched = await found.fetch({ max_messages: limit, expires: waitSeconds * 1000 });
          const messages = [];
          for await (const each of fetched) messages.push({ ...readMessage(each, form), ack: tokenOf(each) });
          return { messages };
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
          await Promise.all(tokens.map((to) => session.request(to, word, { timeout: LIMITS.natsReplyMilliseconds })));
          return { acknowledged: tokens.length };
        }),
    },
    connection,
  ),
};
