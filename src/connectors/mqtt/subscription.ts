/** `mqtt.topic`: what comes on topics, also what came while nobody listened. */

import * as v from 'valibot';
import { createHash } from 'node:crypto';
import { LIMITS } from '../../core/limits.ts';
import { listen } from '../../drivers/mqtt/receive.ts';
import { defineSubscription } from '../kit/types.ts';
import { connection, open, type ListenContext } from './connection.ts';
import { eventOf, parseSchema, qosSchema } from './messages.ts';
import { filterSchema } from './topics.ts';

const params = v.strictObject({
  filters: v.pipe(
    v.array(filterSchema),
    v.minLength(1),
    v.maxLength(100),
    v.description('With wildcards, and `$share/<group>/<filter>` where several share the messages.'),
  ),
  qos: qosSchema,
  parse: parseSchema,
  clientId: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[0-9A-Za-z_.:-]{1,64}$/, 'Must be 1 to 64 letters, digits, "_", ".", ":" or "-".'),
      v.description(
        'Under which the broker keeps messages. Needed where two triggers have the same connection and filters.',
      ),
    ),
  ),
  sessionExpirySeconds: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(0),
      v.maxValue(0xffff_ffff),
      v.description('How long the broker keeps messages while nobody listens. MQTT 5.'),
    ),
    24 * 3_600,
  ),
  inFlight: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.mqttInFlight)), 20),
});

/** A session of its own for each trigger, broker and list of filters; 23 letters and digits, which all brokers take. */
function clientIdOf({ subscriber, connection: { settings } }: ListenContext, filters: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([subscriber, settings.url, filters]));
  return `tidegate${hash.digest('hex').slice(0, 15)}`;
}

export const topic = defineSubscription(
  {
    title: 'Messages on topics',
    delivery: 'at-least-once',
    params,
    example: { filters: ['devices/+/state'], qos: 1, parse: 'json' },
    async run({ filters, qos, parse, clientId, sessionExpirySeconds, inFlight }, context) {
      const opened = open(context);
      if (!opened.ok) return opened;
      return listen(...opened.value, {
        clientId: clientId ?? clientIdOf(context, filters),
        filters,
        qos,
        expirySeconds: sessionExpirySeconds,
        inFlight,
        ready: () => context.ready(),
        deliver: (messages) => context.deliver(messages.map((message) => eventOf(message, parse))),
      });
    },
  },
  connection,
);
