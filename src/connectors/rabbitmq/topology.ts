/** Actions on queues, exchanges and bindings. */

import * as v from 'valibot';
import { ok } from '../../core/errors.ts';
import { administer } from '../../drivers/rabbitmq/topology.ts';
import { defineAction } from '../kit/types.ts';
import { connection, open } from './connection.ts';
import { name, shortText, tableSchema } from './messages.ts';

const queue = v.strictObject({ queue: name });
const flag = (preset: boolean) => v.optional(v.boolean(), preset);
const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const further = v.optional(v.pipe(tableSchema, v.description('Further arguments, e.g. `x-queue-mode`.')), {});

const binding = v.strictObject({
  queue: name,
  exchange: name,
  routingKey: v.optional(shortText, ''),
  arguments: v.optional(v.pipe(tableSchema, v.description('What a `headers` exchange compares.')), {}),
});

const queueParams = v.strictObject({
  queue: name,
  type: v.optional(v.picklist(['classic', 'quorum', 'stream']), 'classic'),
  durable: flag(true),
  autoDelete: flag(false),
  messageTtlMilliseconds: v.optional(count),
  maxLength: v.optional(count),
  overflow: v.optional(v.picklist(['drop-head', 'reject-publish', 'reject-publish-dlx'])),
  deadLetterExchange: v.optional(shortText),
  deadLetterRoutingKey: v.optional(shortText),
  arguments: further,
});

/** Only what was given: a declaration must be the same each time. */
function argumentsOf(params: v.InferOutput<typeof queueParams>) {
  const known = {
    'x-queue-type': params.type,
    'x-message-ttl': params.messageTtlMilliseconds,
    'x-max-length': params.maxLength,
    'x-overflow': params.overflow,
    'x-dead-letter-exchange': params.deadLetterExchange,
    'x-dead-letter-routing-key': params.deadLetterRoutingKey,
  };
  const given = Object.entries(known).filter(([, value]) => value !== undefined);
  return { ...params.arguments, ...Object.fromEntries(given) };
}

export const topology = {
  'queue-declare': defineAction(
    {
      title: 'Declare a queue',
      effect: 'idempotent',
      params: queueParams,
      example: { queue: 'orders', type: 'quorum', deadLetterExchange: 'orders-dead' },
      run: (params, context) =>
        administer(...open(context), async (channel) => {
          const { durable, autoDelete } = params;
          const found = await channel.assertQueue(params.queue, {
            durable,
            autoDelete,
            arguments: argumentsOf(params),
          });
          return { queue: found.queue, messages: found.messageCount, consumers: found.consumerCount };
        }),
    },
    connection,
  ),
  'queue-info': defineAction(
    {
      title: 'Count the messages of a queue',
      effect: 'idempotent',
      params: queue,
      example: { queue: 'orders' },
      run: (params, context) =>
        administer(...open(context), async (channel) => {
          const found = await channel.checkQueue(params.queue);
          return { queue: found.queue, messages: found.messageCount, consumers: found.consumerCount };
        }),
    },
    connection,
  ),
  'queue-purge': defineAction(
    {
      title: 'Remove the messages of a queue',
      effect: 'idempotent',
      params: queue,
      example: { queue: 'orders' },
      run: (params, context) =>
        administer(...open(context), async (channel) => ({
          messages: (await channel.purgeQueue(params.queue)).messageCount,
        })),
    },
    connection,
  ),
  'queue-delete': defineAction(
    {
      title: 'Delete a queue',
      effect: 'idempotent',
      params: v.strictObject({ queue: name, ifUnused: flag(false), ifEmpty: flag(false) }),
      example: { queue: 'orders', ifEmpty: true },
      run: ({ queue: of, ...conditions }, context) =>
        administer(...open(context), async (channel) => ({
          messages: (await channel.deleteQueue(of, conditions)).messageCount,
        })),
    },
    connection,
  ),
  'exchange-declare': defineAction(
    {
      title: 'Declare an exchange',
      effect: 'idempotent',
      params: v.strictObject({
        exchange: name,
        type: v.pipe(name, v.description('`direct`, `topic`, `fanout`, `headers`, or one of a plugin.')),
        durable: flag(true),
        autoDelete: flag(false),
        internal: flag(false),
        alternateExchange: v.optional(shortText),
        arguments: further,
      }),
      example: { exchange: 'orders', type: 'topic' },
      async run({ exchange, type, alternateExchange, ...options }, context) {
        const further = { ...options, ...(alternateExchange !== undefined && { alternateExchange }) };
        return administer(...open(context), (channel) => channel.assertExchange(exchange, type, further));
      },
    },
    connection,
  ),
  'exchange-delete': defineAction(
    {
      title: 'Delete an exchange',
      effect: 'idempotent',
      params: v.strictObject({ exchange: name, ifUnused: flag(false) }),
      example: { exchange: 'orders' },
      async run({ exchange, ifUnused }, context) {
        const deleted = await administer(...open(context), (channel) => channel.deleteExchange(exchange, { ifUnused }));
        return deleted.ok ? ok({}) : deleted;
      },
    },
    connection,
  ),
  bind: defineAction(
    {
      title: 'Bind a queue to an exchange',
      effect: 'idempotent',
      params: binding,
      example: { queue: 'orders', exchange: 'shop', routingKey: 'order.*' },
      async run(params, context) {
        const { queue: to, exchange, routingKey } = params;
        const bound = await administer(...open(context), (channel) =>
          channel.bindQueue(to, exchange, routingKey, params.arguments),
        );
        return bound.ok ? ok({}) : bound;
      },
    },
    connection,
  ),
  unbind: defineAction(
    {
      title: 'Unbind a queue from an exchange',
      effect: 'idempotent',
      params: binding,
      example: { queue: 'orders', exchange: 'shop', routingKey: 'order.*' },
      async run(params, context) {
        const { queue: to, exchange, routingKey } = params;
        const unbound = await administer(...open(context), (channel) =>
          channel.unbindQueue(to, exchange, routingKey, params.arguments),
        );
        return unbound.ok ? ok({}) : unbound;
      },
    },
    connection,
  ),
};
