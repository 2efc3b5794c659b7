/** A message of RabbitMQ between AMQP and the JSON of a step. */

import { Buffer } from 'node:buffer';
import type { Message } from 'amqplib';
import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { OutgoingMessage } from '../../drivers/rabbitmq/messages.ts';
import { decodeContent, encodeContent } from '../kit/content.ts';
import type { SubscribedEvent } from '../kit/types.ts';

/** AMQP has one byte for the length of a name. */
const SHORT_BYTES = 255;
export const shortText = v.pipe(
  v.string(),
  v.check(
    (text) => new TextEncoder().encode(text).length <= SHORT_BYTES,
    `Must not have more than ${SHORT_BYTES} bytes in UTF-8.`,
  ),
);
export const name = v.pipe(shortText, v.minLength(1));

/** Values of one kind each: an object may pose as another type to the library that writes them. */
export const tableSchema = v.record(name, v.union([v.string(), v.number(), v.boolean()]));

export const messageSchema = v.strictObject({
  exchange: v.optional(
    v.pipe(shortText, v.description('Left out, the message goes to the queue that `routingKey` names.')),
    '',
  ),
  routingKey: v.optional(shortText, ''),
  text: v.optional(v.string()),
  json: v.optional(v.unknown()),
  base64: v.optional(v.string()),
  mandatory: v.optional(
    v.pipe(v.boolean(), v.description('Fail where no queue takes the message (the default), instead of dropping it.')),
    true,
  ),
  persistent: v.optional(v.pipe(v.boolean(), v.description('Survives a restart of the broker.')), true),
  messageId: v.optional(
    v.pipe(name, v.description('Left out, it is the idempotency key of the step: the same in every attempt.')),
  ),
  headers: v.optional(tableSchema),
  contentType: v.optional(shortText),
  contentEncoding: v.optional(shortText),
  correlationId: v.optional(shortText),
  replyTo: v.optional(shortText),
  type: v.optional(shortText),
  appId: v.optional(shortText),
  expirationMilliseconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))),
  priority: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255))),
});

/** Fault `step.params`. */
export function outgoing(
  {
    exchange,
    routingKey,
    text,
    json,
    base64,
    expirationMilliseconds,
    messageId,
    contentType,
    ...properties
  }: v.InferOutput<typeof messageSchema>,
  idempotencyKey: string,
  now: number,
): Result<OutgoingMessage> {
  const content = encodeContent({
    ...(text !== undefined && { text }),
    ...(json !== undefined && { json }),
    ...(base64 !== undefined && { base64 }),
  });
  if (!content.ok) return content;
  const given = Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
  return ok({
    exchange,
    routingKey,
    content: content.value.bytes,
    options: {
      ...given,
      messageId: messageId ?? idempotencyKey,
      contentType: contentType ?? content.value.contentType,
      timestamp: Math.floor(now / 1_000),
      ...(expirationMilliseconds !== undefined && { expiration: String(expirationMilliseconds) }),
    },
  });
}

export const parseSchema = v.optional(
  v.pipe(v.picklist(['text', 'json', 'base64']), v.description('How the content is to be read.')),
  'text',
);
type Form = v.InferOutput<typeof parseSchema>;

const typedSchema = v.object({ '!': v.string(), value: v.unknown() });
const decimalSchema = v.object({ digits: v.number(), places: v.number() });

/** A value of a table as JSON: instants in ISO 8601, bytes in base64, decimals as numbers. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const typed = v.safeParse(typedSchema, value);
  if (!typed.success) return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
  if (typed.output['!'] === 'timestamp') return instantOf(typed.output.value);
  const decimal = v.safeParse(decimalSchema, typed.output.value);
  return decimal.success ? decimal.output.digits / 10 ** decimal.output.places : plain(typed.output.value);
}

/** Of seconds since 1970; undefined for what is none. */
function instantOf(seconds: unknown): string | undefined {
  const date = new Date(Number(seconds) * 1_000);
  return seconds === undefined || Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Fault `upstream.invalid`. */
export function incoming({ content, fields, properties }: Message, parse: Form): Result<unknown> {
  const body = decodeContent(content, parse);
  if (!body.ok) {
    const what = parse === 'json' ? 'JSON' : 'text in UTF-8';
    return fail('upstream.invalid', `A message is not ${what}; get it with \`parse: base64\`.`);
  }
  const { headers, timestamp, deliveryMode, clusterId: _, ...others } = properties;
  return ok({
    body: body.value,
    exchange: fields.exchange,
    routingKey: fields.routingKey,
    redelivered: fields.redelivered,
    persistent: deliveryMode === 2,
    timestamp: instantOf(timestamp),
    headers: plain(headers ?? {}),
    ...others,
  });
}

const textOf = (value: unknown): string => {
  const known = plain(value);
  return typeof known === 'string' ? known : (JSON.stringify(known) ?? '');
};

/** What cannot be read as it should is delivered in base64 and marked: refused, it would come again without end. */
export function eventOf({ content, fields, properties }: Message, parse: Form): SubscribedEvent {
  const body = decodeContent(content, parse);
  const { messageId, headers = {}, ...others } = properties;
  const own = Object.entries(headers).map(([key, value]) => [`header-${key.toLowerCase()}`, textOf(value)]);
  const known = {
    'message-id': messageId,
    'content-type': others.contentType,
    'content-encoding': others.contentEncoding,
    'correlation-id': others.correlationId,
    'reply-to': others.replyTo,
    type: others.type,
    'app-id': others.appId,
    timestamp: instantOf(others.timestamp),
  };
  const told = Object.entries(known).filter(([, value]) => typeof value === 'string');
  return {
    ...(typeof messageId === 'string' && messageId !== '' && { id: messageId }),
    body: body.ok ? body.value : content.toString('base64'),
    headers: {
      ...Object.fromEntries(own),
      ...Object.fromEntries(told),
      exchange: fields.exchange,
      'routing-key': fields.routingKey,
      redelivered: String(fields.redelivered),
      ...(!body.ok && { unreadable: parse }),
    },
  };
}
