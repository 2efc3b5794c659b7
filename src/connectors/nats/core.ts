/** Messages that NATS passes on at once, to whoever listens. */

import * as v from 'valibot';
import { connection, inSession } from './connection.ts';
import { as, bodyOf, headersIn, message, payloadOf, subject } from './messages.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { LIMITS } from '../../core/limits.ts';

export const coreActions: Readonly<Record<string, Action>> = {
  ping: defineAction(
    {
      title: 'Ask whether the server answers',
      effect: 'pure',
      params: v.strictObject({}),
      example: {},
      run: (_params, context) =>
        inSession(context, async (session) => {
          const { version, server_name: server, jetstream, max_payload: maximumBytes } = session.info;
          await session.flush();
          return { server, version, jetstream, maximumBytes };
        }),
    },
    connection,
  ),
  publish: defineAction(
    {
      title: 'Publish a message to whoever listens',
      effect: 'external',
      params: v.strictObject({
        ...message,
        reply: v.optional(v.pipe(subject, v.description('Where an answer is to go.'))),
      }),
      example: { subject: 'orders.paid', json: { id: 42 }, headers: { 'X-Source': 'shop' } },
      run: ({ subject: to, reply, headers = {}, ...content }, context) =>
        inSession(context, async (session) => {
          const payload = payloadOf(content);
          session.publish(to, payload, { headers: Object.entries(headers), ...(reply !== undefined && { reply }) });
          // Answered after what was published: a refusal of the server has come by then.
          await session.flush();
          return { bytes: payload.byteLength };
        }),
    },
    connection,
  ),
  request: defineAction(
    {
      title: 'Send a request and wait for its reply',
      effect: 'external',
      params: v.strictObject({
        ...message,
        timeoutMilliseconds: v.optional(
          v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.stepTimeoutLongestMilliseconds)),
          5_000,
        ),
        as,
      }),
      example: { subject: 'stock.reserve', json: { sku: 'A1', quantity: 2 }, timeoutMilliseconds: 2000 },
      run: ({ subject: to, headers = {}, timeoutMilliseconds, as: form, ...content }, context) =>
        inSession(context, async (session) => {
          const options = { timeoutMilliseconds, headers: Object.entries(headers) };
          const reply = await session.request(to, payloadOf(content), options);
          return { ...bodyOf(reply.payload, form), headers: headersIn(reply.headers) };
        }),
    },
    connection,
  ),
};
