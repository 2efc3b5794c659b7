/** What a chain may listen to. */

import * as v from 'valibot';
import type { Msg } from '@nats-io/nats-core';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { connection, inSession, withJetStream, type JetStream, type Listening } from './connection.ts';
import { pullConsumer, readMessage } from './consumers.ts';
import { as, bodyOf, headersIn, name, pattern } from './messages.ts';
import { defineSubscription, type SubscribedEvent, type Subscription } from '../kit/types.ts';
import { fault, FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** An end that was asked for is none that failed. */
const unlessAborted = (result: Result<void>, { signal }: Listening): Result<void> =>
  signal.aborted ? ok(undefined) : result;

const subjectEvent = (message: Msg, form: 'json' | 'text' | 'base64'): SubscribedEvent => {
  const { body, encoding } = bodyOf(message.data, form);
  const reply = message.reply === undefined || message.reply === '' ? {} : { 'nats-reply': message.reply };
  return { body, headers: { ...headersIn(message.headers), 'nats-subject': message.subject, encoding, ...reply } };
};

const streamEvent = (message: JsMsg, stream: string, form: 'json' | 'text' | 'base64'): SubscribedEvent => {
  const { body, encoding, subject, sequence, deliveries, time, headers } = readMessage(message, form);
  const own = { 'nats-subject': subject, 'nats-sequence': String(sequence), 'nats-deliveries': String(deliveries) };
  // The time tells a stream from one that was deleted and made anew under its name.
  return { id: `${stream}:${sequence}:${time}`, body, headers: { ...headers, ...own, 'nats-time': time, encoding } };
};

function closedDoor(): PromiseWithResolvers<void> {
  const door = Promise.withResolvers<void>();
  // Whoever waits for it hears of an error; at times nobody does.
  door.promise.catch(() => undefined);
  return door;
}

/** Messages in the order in which they came; what waits is bounded, since nothing holds their senders back. */
function createMailbox() {
  const waiting: Msg[] = [];
  let bytes = 0;
  let wake = closedDoor();
  return {
    put(error: Error | null, message: Msg): void {
      bytes += error === null ? message.data.byteLength : 0;
      if (error !== null) wake.reject(error);
      else if (bytes > LIMITS.responseBodyBytes) wake.reject(new FaultError(TOO_MANY));
      else {
        waiting.push(message);
        wake.resolve();
      }
    },
    async take(): Promise<Msg[]> {
      await wake.promise;
      const taken = waiting.splice(0, LIMITS.natsEventBatch);
      for (const { data } of taken) bytes -= data.byteLength;
      if (waiting.length === 0) wake = closedDoor();
      return taken;
    },
  };
}

const TOO_MANY = fault('upstream.too-large', 'NATS: Messages come faster than their runs are accepted.', {
  retryable: true,
});

async function findOrCreate(jetstream: JetStream, given: StreamParams): ReturnType<typeof pullConsumer> {
  const { stream, consumer, subject, from } = given;
  await jetstream.manager.consumers.info(stream, consumer).catch(async (thrown: unknown) => {
    if (!(thrown instanceof Error) || thrown.name !== 'ConsumerNotFoundError') throw thrown;
    await jetstream.manager.consumers.add(stream, {
      durable_name: consumer,
      ack_policy: 'explicit',
      deliver_policy: from,
      ...(subject !== undefined && { filter_subject: subject }),
    });
  });
  return pullConsumer(jetstream, stream, consumer);
}

const streamParams = v.strictObject({
  stream: name,
  consumer: v.pipe(name, v.description('The durable consumer; it is made where there is none.')),
  subject: v.optional(v.pipe(pattern, v.description('Of a consumer that is made: only messages of such a subject.'))),
  from: v.optional(v.pipe(v.picklist(['all', 'new', 'last']), v.description('Of a consumer that is made.')), 'all'),
  as,
});
type StreamParams = v.InferOutput<typeof streamParams>;

/** Events of one delivery: what has come by now, and not more than the bounds. */
async function* batchesOf(messages: ConsumerMessages): AsyncGenerator<JsMsg[]> {
  let batch: JsMsg[] = [];
  for await (const message of messages) {
    batch.push(message);
    if (messages.getPending() > 0 && batch.length < LIMITS.natsEventBatch) continue;
    yield batch;
    batch = [];
  }
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
            const mailbox = createMailbox();
            session.subscribe(subject, { callback: mailbox.put, ...(queue !== undefined && { queue }) });
            await session.flush();
            context.ready();
            while (!context.signal.aborted) {
              const messages = await mailbox.take();
              await context.deliver(messages.map((message) => subjectEvent(message, form)));
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
        const result = await withJetStream(
          context,
          async (jetstream): Promise<void> => {
            const found = await findOrCreate(jetstream, params);
            const messages = await found.consume({
              max_messages: LIMITS.natsEventBatch,
              abort_on_missing_resource: true,
            });
            context.ready();
            for await (const batch of batchesOf(messages)) {
              const delivered = context.deliver(batch.map((each) => streamEvent(each, params.stream, params.as)));
              await delivered.catch(async (refused: unknown) => {
                for (const message of batch) message.nak();
                await jetstream.session.flush();
                throw refused;
              });
              for (const message of batch) message.ack();
            }
          },
          Infinity,
        );
        return unlessAborted(result, context);
      },
    },
    connection,
  ),
};
