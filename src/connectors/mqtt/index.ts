/** `mqtt.*`: brokers of MQTT 3.1.1 and 5; see docs/mqtt.md. */

import * as v from 'valibot';
import { fail, ok } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { publish, type OutgoingMessage } from '../../drivers/mqtt/publish.ts';
import { retained } from '../../drivers/mqtt/receive.ts';
import { defineAction, type Connector } from '../kit/types.ts';
import { connection, facts, open, type Context } from './connection.ts';
import { incoming, messageEntries, outgoing, parseSchema } from './messages.ts';
import { topic as topicSubscription } from './subscription.ts';
import { filterSchema, hasForeignWildcards, topicSchema } from './topics.ts';

async function send(context: Context, messages: readonly OutgoingMessage[]) {
  const opened = open(context);
  return opened.ok ? publish(...opened.value, messages) : opened;
}

export const mqtt: Connector = {
  name: 'mqtt',
  title: 'MQTT',
  connection: facts,
  subscriptions: { topic: topicSubscription },
  actions: {
    ping: defineAction(
      {
        title: 'Ask whether the broker answers',
        effect: 'idempotent',
        params: v.strictObject({}),
        example: {},
        async run(_params, context) {
          const sent = await send(context, []);
          return sent.ok ? ok({}) : sent;
        },
      },
      connection,
    ),
    publish: defineAction(
      {
        title: 'Publish a message',
        effect: 'external',
        params: v.strictObject(messageEntries),
        example: { topic: 'devices/7/commands', json: { light: 'on' }, qos: 1 },
        async run(params, context) {
          const message = outgoing(params);
          if (!message.ok) return message;
          const sent = await send(context, [message.value]);
          return sent.ok ? ok({ published: 1 }) : sent;
        },
      },
      connection,
    ),
    'publish-many': defineAction(
      {
        title: 'Publish several messages',
        effect: 'external',
        params: v.strictObject({
          messages: v.pipe(
            v.array(v.strictObject(messageEntries)),
            v.minLength(1),
            v.maxLength(LIMITS.mqttMessages),
            v.description('In order. When one is refused, those before it are out, and some after it may be.'),
          ),
        }),
        example: { messages: [{ topic: 'devices/7/commands', json: { light: 'on' } }] },
        async run({ messages }, context) {
          const all: OutgoingMessage[] = [];
          for (const [index, each] of messages.entries()) {
            const message = outgoing(each, `messages[${index}]: `);
            if (!message.ok) return message;
            all.push(message.value);
          }
          const sent = await send(context, all);
          return sent.ok ? ok({ published: all.length }) : sent;
        },
      },
      connection,
    ),
    retained: defineAction(
      {
        title: 'Read retained messages',
        effect: 'idempotent',
        params: v.strictObject({
          filter: v.pipe(filterSchema, v.description('Wildcards count only where they are written, not in values.')),
          parse: parseSchema,
          limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.mqttMessages)), 100),
          quietMilliseconds: v.optional(
            v.pipe(
              v.number(),
              v.integer(),
              v.minValue(50),
              v.maxValue(30_000),
              v.description('After so long without another message, all are taken to be there.'),
            ),
            500,
          ),
        }),
        example: { filter: 'devices/+/state', parse: 'json' },
        async run(params, context) {
          const written = isObject(context.written) ? context.written['filter'] : undefined;
          if (hasForeignWildcards(params.filter, written)) {
            return fail('step.params', 'filter: A value must not bring "+" or "#" along; write wildcards yourself.');
          }
          const opened = open(context);
          if (!opened.ok) return opened;
          const found = await retained(...opened.value, params);
          if (!found.ok) return found;
          const messages: unknown[] = [];
          for (const packet of found.value) {
            const message = incoming(packet, params.parse);
            if (!message.ok) return message;
            messages.push(message.value);
          }
          return ok({ messages });
        },
      },
      connection,
    ),
    'clear-retained': defineAction(
      {
        title: 'Clear a retained message',
        effect: 'idempotent',
        params: v.strictObject({ topic: topicSchema }),
        example: { topic: 'devices/7/state' },
        async run({ topic }, context) {
          const cleared = await send(context, [{ topic, payload: new Uint8Array(), qos: 1, retain: true }]);
          return cleared.ok ? ok({}) : cleared;
        },
      },
      connection,
    ),
  },
};
