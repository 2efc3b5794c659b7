/** What a chain may listen to. */

import * as v from 'valibot';
import { connection, inSession, withJetStream, type Listening } from './connection.ts';
import { addConsumer, checkConsumer, isEndOfPull, mustBeMessage } from './consumers.ts';
import { as, bodyOf, headersIn, name, pattern, readMessage, type Form } from './messages.ts';
import { defineSubscription, type SubscribedEvent, type Subscription } from '../kit/types.ts';
import type { NatsMessage } from '../../drivers/nats/frames.ts';
import type { JetStream } from '../../drivers/nats/jetstream.ts';
import { Mailbox } from '../../drivers/nats/mailbox.ts';
import { FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** An end that was asked for is none that failed. */
const unlessAborted = (result: Result<void>, { signal }: Listening): Result<void> =>
  signal.aborted ? ok(undefined) : result;

function subjectEvent(message: NatsMessage, form: Form): SubscribedEvent {
  const { body, encoding } = bodyOf(message.payload, form);
  const reply = message.reply === undefined ? {} : { 'nats-reply': message.reply };
  return { body, headers: { ...headersIn(message.headers), 'nats-subject': message.subject, encoding, ...reply } };
}

function streamEvent(message: NatsMessage, stream: string, form: Form): SubscribedEvent {
  const { body, encoding, subject, sequence, deliveries, time, headers } = readMessage(message, form);
  const own = { 'nats-subject': subject, 'nats-sequence': String(sequence), 'nats-deliveries': String(deliveries) };
  // The time tells a stream from one that was deleted and made anew under its name.
  return { id: `${stream}:${sequence}:${time}`, body, headers: { ...headers, ...own, 'nats-time': time, encoding } };
}

const streamParams = v.strictObject({
  stream: name,
  consumer: v.pipe(name, v.description('The durable consumer; it is made where there is none.')),
  subject: v.optional(v.pipe(pattern, v.description('Of a consumer that is made: only messages of such a subject.'))),
  from: v.optional(v.pipe(v.picklist(['all', 'new', 'last']), v.description('Of a consumer that is made.')), 'all'),
  as,
});
type StreamParams = v.InferOutput<typeof streamParams>;

const NO_CONSUMER = 404;

async function findOrCreate(jetstream: JetStream, given: StreamParams): Promise<void> {
  await checkConsumer(jetstream, given.stream, given.consumer).catch(async (thrown: unknown) => {
    const data: unknown = thrown instanceof FaultError ? thrown.fault.data : undefined;
    const status: unknown = typeof data === 'object' && data !== null ? Reflect.get(data, 'status') : undefined;
    // It is also what a stream is that is not there; making the consumer tells which.
    if (status !== NO_CONSUMER) throw thrown;
    await addConsumer(jetstream, given);
  });
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const ACK = encode('+ACK');
const NAK = encode('-NAK');

const answer = ({ session }: JetStream, messages: readonly NatsMessage[], word: Uint8Array): void => {
  for (const { reply, status } of messages) {
    if (reply !== undefined && status === undefined) session.publish(reply, word);
  }
};

async function followStream(jetstream: JetStream, params: StreamParams, context: Listening): Promise<void> {
  await findOrCreate(jetstream, params);
  context.ready();
  const { stream, consumer } = params;
  const pull = { batch: LIMITS.natsEventBatch, expiresMilliseconds: LIMITS.natsPullMilliseconds };
  const mailbox = new Mailbox();
  const inbox = jetstream.session.inbox(mailbox.put);
  let awaited = 0;
  while (!context.signal.aborted) {
    if (awaited <= 0) {
      jetstream.pull(stream, consumer, inbox.subject, pull);
      awaited = pull.batch;
    }
    const came = await mailbox.take(pull.batch, pull.expiresMilliseconds + LIMITS.natsReplyMilliseconds);
    const batch = came.filter(({ status }) => status === undefined);
    awaited = came.length === 0 || came.some(isEndOfPull) ? 0 : awaited - batch.length;
    try {
      if (batch.length > 0) await context.deliver(batch.map((message) => streamEvent(message, stream, params.as)));
      else await jetstream.session.flush();
    } catch (refused) {
      // First, or the server would hand out here what is given back.
      inbox.close();
      await jetstream.session.flush();
      answer(jetstream, [...batch, ...(await mailbox.take(Infinity, 0))], NAK);
      await jetstream.session.flush();
      throw refused;
    }
    answer(jetstream, batch, ACK);
    for (const message of came) if (!isEndOfPull(message)) mustBeMessage(message);
  }
  await jetstream.session.flush();
}

export const subscriptions: Readonly<Record<string, Subscription>> = {
  subject: defineSubscription(
    {
      title: 'Messages of a subject',
      delivery: 'at-most-once',
      params: v.strictObject({
        subject: pattern,
        queue: v.optional(v.pipe(name, v.description('Of the members of a queue group each message reaches one.'))),
        as,
      }),
      example: { subject: 'orders.*', queue: 'tidegate' },
      async run({ subject, queue, as: form }, context) {
        const result = await inSession(
          context,
          async (session): Promise<void> => {
            const mailbox = new Mailbox();
            session.listen(subject, mailbox.put, queue);
            await session.flush();
            context.ready();
            while (!context.signal.aborted) {
              const messages = await mailbox.take(LIMITS.natsEventBatch, LIMITS.natsPullMilliseconds);
              if (messages.length > 0) await context.deliver(messages.map((message) => subjectEvent(message, form)));
              // Nothing else would tell a server that is gone from one that has nothing to say.
              else await session.flush();
            }
          },
          Infinity,
        );
        return unlessAborted(result, context);
      },
    },
    connection,
  ),
  stream: defineSubscription(
    {
      title: 'Messages of a stream',
      delivery: 'at-least-once',
      params: streamParams,
      example: { stream: 'ORDERS', consumer: 'tidegate', subject: 'orders.paid' },
      async run(params, context) {
        const follow = (jetstream: JetStream): Promise<void> => followStream(jetstream, params, context);
        return unlessAborted(await withJetStream(context, follow, Infinity), context);
      },
    },
    connection,
  ),
};
