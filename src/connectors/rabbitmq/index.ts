/** `rabbitmq.*`: RabbitMQ over AMQP 0-9-1; see docs/rabbitmq.md. */

import * as v from 'valibot';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { consume, get, publish } from '../../drivers/rabbitmq/messages.ts';
import { administer } from '../../drivers/rabbitmq/topology.ts';
import { defineAction, defineSubscription, type Connector } from '../kit/types.ts';
import { connection, facts, open } from './connection.ts';
import { eventOf, incoming, messageSchema, name, outgoing, parseSchema } from './messages.ts';
import { topology } from './topology.ts';

const several = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.rabbitmqMessages));

const queueSubscription = defineSubscription(
  {
    title: 'Messages of a queue',
    delivery: 'at-least-once',
    params: v.strictObject({
      queue: name,
      parse: parseSchema,
      prefetch: v.optional(v.pipe(several, v.description('Messages under way without an acknowledgement.')), 20),
    }),
    example: { queue: 'orders', parse: 'json', prefetch: 20 },
    run: ({ queue, parse, prefetch }, context) =>
      consume(...open(context), {
        queue,
        prefetch,
        ready: () => context.ready(),
        deliver: (messages) => context.deliver(messages.map((message) => eventOf(message, parse))),
      }),
  },
  connection,
);

export const rabbitmq: Connector = {
  name: 'rabbitmq',
  title: 'RabbitMQ',
  connection: facts,
  subscriptions: { queue: queueSubscription },
  actions: {
    ping: defineAction(
      {
        title: 'Ask whether the broker answers',
        effect: 'idempotent',
        params: v.strictObject({}),
        example: {},
        run: (_params, context) => administer(...open(context), () => Promise.resolve({})),
      },
      connection,
    ),
    publish: defineAction(
      {
        title: 'Publish a message',
        effect: 'keyed',
        params: messageSchema,
        example: { exchange: 'shop', routingKey: 'order.paid', json: { id: 42 } },
        async run(params, context) {
          const message = outgoing(params, context.idempotencyKey, context.now());
          if (!message.ok) return message;
          const published = await publish(...open(context), message.value);
          return published.ok ? ok({ messageId: message.value.options.messageId }) : published;
        },
      },
      connection,
    ),
    get: defineAction(
      {
        title: 'Get messages of a queue',
        effect: 'external',
        params: v.strictObject({
          queue: name,
          parse: parseSchema,
          limit: v.optional(several, 1),
          acknowledge: v.optional(
            v.pipe(v.boolean(), v.description('Without it the messages stay in the queue, marked as redelivered.')),
            true,
          ),
        }),
        example: { queue: 'orders', parse: 'json', limit: 10 },
        run: ({ parse, ...query }, context) =>
          get(...open(context), query, (found) => {
            const messages: unknown[] = [];
            for (const each of found) {
              const message = incoming(each, parse);
              if (!message.ok) return message;
              messages.push(message.value);
            }
            return ok({ messages, remaining: found.at(-1)?.fields.messageCount ?? 0 });
          }),
      },
      connection,
    ),
    ...topology,
  },
};
