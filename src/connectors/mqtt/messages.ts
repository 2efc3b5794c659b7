/** A message of MQTT between its packet and the JSON of a step. */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import type { IPublishPacket } from 'mqtt-packet';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { OutgoingMessage } from '../../drivers/mqtt/publish.ts';
import { decodeContent, encodeContent } from '../kit/content.ts';
import type { SubscribedEvent } from '../kit/types.ts';
import { topicSchema } from './topics.ts';

const text = v.pipe(v.string(), v.maxLength(65_535));

export const qosSchema = v.optional(
  v.pipe(
    v.picklist([0, 1, 2]),
    v.description('0: once at most, 1: once at least (the default), 2: once, while the connection lasts.'),
  ),
  1,
);

export const messageEntries = {
  topic: topicSchema,
  text: v.optional(v.string()),
  json: v.optional(v.unknown()),
  base64: v.optional(v.string()),
  qos: qosSchema,
  retain: v.optional(v.pipe(v.boolean(), v.description('The broker keeps it for whoever subscribes later.')), false),
  contentType: v.optional(v.pipe(text, v.description('MQTT 5.'))),
  expirySeconds: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff_ffff), v.description('MQTT 5.')),
  ),
  responseTopic: v.optional(v.pipe(topicSchema, v.description('MQTT 5.'))),
  correlation: v.optional(v.pipe(text, v.description('MQTT 5: what an answer is to carry.'))),
  properties: v.optional(v.pipe(v.record(text, text), v.description('MQTT 5: user properties.'))),
};

const messageSchema = v.strictObject(messageEntries);

/** Fault `step.params`. @param path where the message stands, e.g. `messages[0]: ` */
export function outgoing(message: v.InferOutput<typeof messageSchema>, path = ''): Result<OutgoingMessage> {
  const content = encodeContent(message, path);
  if (!content.ok) return content;
  const { topic, qos, retain, contentType, expirySeconds, responseTopic, correlation, properties } = message;
  const known = {
    ...(contentType !== undefined && { contentType }),
    ...(expirySeconds !== undefined && { messageExpiryInterval: expirySeconds }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlation !== undefined && { correlationData: Buffer.from(correlation) }),
    ...(properties !== undefined && { userProperties: properties }),
  };
  const hasProperties = Object.keys(known).length > 0;
  return ok({ topic, qos, retain, payload: content.value.bytes, ...(hasProperties && { properties: known }) });
}

export const parseSchema = v.optional(
  v.pipe(v.picklist(['text', 'json', 'base64']), v.description('How the payload is to be read.')),
  'text',
);
type Form = v.InferOutput<typeof parseSchema>;

const bytesOf = ({ payload }: IPublishPacket): Uint8Array => Buffer.from(payload);

/** Fault `upstream.invalid` with the topic. */
export function incoming(packet: IPublishPacket, parse: Form): Result<unknown> {
  const payload = decodeContent(bytesOf(packet), parse);
  if (!payload.ok) {
    const what = parse === 'json' ? 'JSON' : 'text in UTF-8';
    return fail('upstream.invalid', `The payload of ${packet.topic} is not ${what}; read it with \`parse: base64\`.`);
  }
  const { contentType, responseTopic, correlationData, messageExpiryInterval, userProperties } =
    packet.properties ?? {};
  return ok({
    topic: packet.topic,
    payload: payload.value,
    qos: packet.qos,
    contentType,
    expirySeconds: messageExpiryInterval,
    responseTopic,
    correlation: correlationData?.toString(),
    properties: userProperties && { ...userProperties },
  });
}

/**
 * What cannot be read as it should is delivered all the same, in base64 and marked: refused, it would come again
 * without end and hold back what comes after it.
 */
export function eventOf(packet: IPublishPacket, parse: Form): SubscribedEvent {
  const body = decodeContent(bytesOf(packet), parse);
  const { contentType, responseTopic, correlationData, userProperties = {} } = packet.properties ?? {};
  const own = Object.entries(userProperties).map(([name, value]) => [`property-${name.toLowerCase()}`, String(value)]);
  return {
    body: body.ok ? body.value : Buffer.from(bytesOf(packet)).toString('base64'),
    headers: {
      ...Object.fromEntries(own),
      topic: packet.topic,
      qos: String(packet.qos),
      retained: String(packet.retain),
      redelivered: String(packet.dup),
      ...(!body.ok && { unreadable: parse }),
      ...(contentType !== undefined && { 'content-type': contentType }),
      ...(responseTopic !== undefined && { 'response-topic': responseTopic }),
      ...(correlationData !== undefined && { correlation: correlationData.toString() }),
    },
  };
}
