/** Messages between their bytes and the JSON of a step. */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { encodeContent } from '../kit/content.ts';
import { deliveryOf } from '../../drivers/nats/jetstream.ts';
import type { NatsHeaders, NatsMessage } from '../../drivers/nats/frames.ts';
import { FaultError } from '../../core/errors.ts';

/**
 * A subject that a message is sent to. Those of the server itself are left to the actions that are made for them: a
 * value that came from outside must not turn a message into an order to the server.
 */
export const subject = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(
    /^(?!\$)[^\s\p{Cc}.*>]+(?:\.[^\s\p{Cc}.*>]+)*$/u,
    'Must be a subject: parts with dots between them, without spaces and wildcards, not beginning with $.',
  ),
);

/** A subject to listen on or to choose by: a part may be `*`, the last one `>`. */
export const pattern = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(
    /^(?!\$)(?:(?:[^\s\p{Cc}.*>]+|\*)\.)*(?:[^\s\p{Cc}.*>]+|\*|>)$/u,
    'Must be a subject without spaces, not beginning with $; `*` stands for one part, `>` for all at the end.',
  ),
);

/** Of a stream, a consumer or a bucket. */
export const name = v.pipe(v.string(), v.regex(/^[\w-]{1,255}$/, 'Must be a name of letters, digits, _ and -.'));

const headers = v.pipe(
  v.record(
    v.pipe(
      v.string(),
      v.regex(
        /^(?!nats-|kv-)[\w!#$%&'*+.^`|~-]+$/i,
        'Must be the name of a header; those of the server are parameters.',
      ),
    ),
    v.pipe(v.string(), v.regex(/^\P{Cc}*$/u, 'Must have no line breaks or other control characters.')),
  ),
  v.description('None that begins with `Nats-` or `KV-`: what the server reads is given by parameters.'),
);

export const content = {
  text: v.optional(v.pipe(v.string(), v.description('Sent as UTF-8.'))),
  json: v.optional(v.pipe(v.unknown(), v.description('Sent as JSON.'))),
  base64: v.optional(v.pipe(v.string(), v.description('Bytes in base64, sent as such.'))),
};

export const message = { subject, ...content, headers: v.optional(headers) };

type Content = { readonly [Form in keyof typeof content]?: unknown };

/** @throws FaultError `step.params` */
export function payloadOf({ text, json, base64 }: Content): Uint8Array {
  if (text === undefined && json === undefined && base64 === undefined) return new Uint8Array();
  const encoded = encodeContent({
    ...(text !== undefined && { text }),
    ...(json !== undefined && { json }),
    ...(base64 !== undefined && { base64 }),
  });
  if (!encoded.ok) throw new FaultError(encoded.fault);
  return encoded.value.bytes;
}

export const as = v.optional(
  v.pipe(
    v.picklist(['json', 'text', 'base64']),
    v.description('What `body` becomes. What is not JSON comes as text, what is not text as base64; see `encoding`.'),
  ),
  'json',
);

export interface Body {
  readonly body: unknown;
  readonly encoding: Form;
}

export type Form = 'json' | 'text' | 'base64';

/** Never fails: a message that cannot be read would come again and again. */
export function bodyOf(bytes: Uint8Array, wanted: Form): Body {
  if (wanted === 'base64') return { body: Buffer.from(bytes).toString('base64'), encoding: 'base64' };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bodyOf(bytes, 'base64');
  }
  if (wanted === 'text') return { body: text, encoding: 'text' };
  try {
    const body: unknown = JSON.parse(text);
    return { body, encoding: 'json' };
  } catch {
    return { body: text, encoding: 'text' };
  }
}

/** By name in lower case; several values of one name are joined. */
export function headersIn(headers: NatsHeaders): Record<string, string> {
  const joined = new Map<string, string>();
  for (const [given, value] of headers) {
    const lower = given.toLowerCase();
    const before = joined.get(lower);
    joined.set(lower, before === undefined ? value : `${before}, ${value}`);
  }
  return Object.fromEntries(joined);
}

interface ReadMessage extends Body {
  readonly subject: string;
  readonly sequence: number;
  readonly deliveries: number;
  readonly time: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Of a stream. */
export function readMessage(message: NatsMessage, form: Form): ReadMessage {
  const { sequence, deliveries, time } = deliveryOf(message);
  const headers = headersIn(message.headers);
  const at = new Date(time).toISOString();
  return { subject: message.subject, sequence, deliveries, time: at, headers, ...bodyOf(message.payload, form) };
}
