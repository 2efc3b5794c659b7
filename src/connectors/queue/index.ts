/** `queue.*`: messages into Cloudflare Queues of the owner's; docs/queues.md tells how one is bound. */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { defineAction, type ActionContext, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

const queue = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'Must be lower-case words joined by hyphens.'),
  v.description('Of the bindings of the Worker: `orders` is the one named `QUEUE_ORDERS`.'),
);
const delaySeconds = v.optional(
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(0),
    v.maxValue(LIMITS.queueDelaySeconds),
    v.description('How long nobody gets it. Default: that of the queue.'),
  ),
);
const message = {
  body: v.pipe(v.unknown(), v.description('What is sent.')),
  contentType: v.optional(
    v.pipe(
      v.picklist(['json', 'text', 'bytes']),
      v.description('`text` and `bytes` take a text, the latter in base64.'),
    ),
    'json',
  ),
  delaySeconds,
};

type Message = v.InferOutput<v.StrictObjectSchema<typeof message, undefined>>;

export const queueConnector: Connector = {
  name: 'queue',
  title: 'Cloudflare Queues',
  actions: {
    send: defineAction({
      title: 'Send a message',
      effect: 'external',
      params: v.strictObject({ queue, ...message }),
      example: { queue: 'orders', body: { id: 42 }, delaySeconds: 60 },
      async run({ queue: name, ...given }, context) {
        const encoded = encode([given]);
        return encoded.ok ? send(context, name, encoded.value) : encoded;
      },
    }),
    sendBatch: defineAction({
      title: 'Send messages together, all of them or none',
      effect: 'external',
      params: v.strictObject({
        queue,
        messages: v.pipe(
          v.array(v.strictObject(message)),
          v.minLength(1),
          v.maxLength(LIMITS.queueBatchMessages),
          v.description('256 KB together, 128 KB each.'),
        ),
      }),
      example: { queue: 'orders', messages: [{ body: { id: 1 } }, { body: 'second', contentType: 'text' }] },
      async run({ queue: name, messages }, context) {
        const encoded = encode(messages);
        return encoded.ok ? send(context, name, encoded.value) : encoded;
      },
    }),
  },
};

async function send(
  { queues }: ActionContext,
  name: string,
  messages: readonly MessageSendRequest[],
): Promise<Result<unknown>> {
  const bound = queues?.get(name);
  if (bound === undefined) return notBound(name, [...(queues?.keys() ?? [])]);
  try {
    await bound.sendBatch(messages);
    return ok({ sent: messages.length });
  } catch (thrown) {
    return refusal(thrown);
  }
}

function notBound(name: string, others: readonly string[]): Result<never> {
  const binding = `QUEUE_${name.toUpperCase().replaceAll('-', '_')}`;
  const there = others.length === 0 ? 'There is none.' : `There are: ${others.join(', ')}.`;
  return fail(
    'connection.not-found',
    `No queue is bound as ${binding}. ${there} Add [[queues.producers]] with binding = "${binding}" to wrangler.toml and deploy.`,
  );
}

/** What the platform says (Queues, "Error codes"). Whether a call that broke off was taken is not known. */
function refusal(thrown: unknown): Result<never> {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (/too many requests|\b429\b/i.test(message)) {
    return fail('upstream.rate-limited', 'The queue takes no more messages now.', { detail: thrown });
  }
  if (/too large|\b413\b/i.test(message)) return fail('upstream.rejected', 'The queue takes no message of this size.');
  return fail('upstream.unavailable', 'The queue did not take the message.', { detail: thrown });
}

function encode(messages: readonly Message[]): Result<MessageSendRequest[]> {
  const encoded: MessageSendRequest[] = [];
  let total = 0;
  for (const [index, { body, contentType, delaySeconds }] of messages.entries()) {
    const made = encodeBody(body, contentType);
    if (!made.ok) return made;
    if (made.value.bytes > LIMITS.queueMessageBytes) {
      return fail('step.params', `Message ${index} has ${made.value.bytes} bytes; a queue takes 128 KB of one.`);
    }
    total += made.value.bytes;
    encoded.push({ body: made.value.body, contentType, ...(delaySeconds !== undefined && { delaySeconds }) });
  }
  if (total <= LIMITS.queueBatchBytes) return ok(encoded);
  return fail('step.params', `The messages have ${total} bytes; a queue takes 256 KB at a time.`);
}

function encodeBody(
  body: unknown,
  contentType: Message['contentType'],
): Result<{ readonly body: unknown; readonly bytes: number }> {
  if (contentType === 'json') return ok({ body, bytes: Buffer.byteLength(JSON.stringify(body ?? null)) });
  if (typeof body !== 'string')
    return fail('step.params', `body: must be a text where \`contentType\` is ${contentType}.`);
  if (contentType === 'text') return ok({ body, bytes: Buffer.byteLength(body) });
  const bytes = Buffer.from(body, 'base64');
  if (bytes.toString('base64') !== body) return fail('step.params', 'body: is not valid base64 with padding.');
  return ok({ body: new Uint8Array(bytes), bytes: bytes.byteLength });
}
