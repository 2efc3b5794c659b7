/** Webhooks to the endpoints of customers. */

import * as v from 'valibot';
import { channelNames, eventTypeName } from '../../core/outbound/settings.ts';
import { defineAction, type Connector } from '../kit/types.ts';

export const webhooks: Connector = {
  name: 'webhooks',
  title: 'Webhooks out',
  actions: {
    send: defineAction({
      title: 'Send a message to the endpoints of an application',
      effect: 'keyed',
      params: v.strictObject({
        application: v.pipe(v.string(), v.minLength(1), v.description('Its id, or your own `uid` of the customer.')),
        eventType: eventTypeName,
        payload: v.pipe(v.unknown(), v.description('It must match the schema of the event type.')),
        channels: v.optional(channelNames),
      }),
      example: {
        application: '{{ input.customer }}',
        eventType: 'invoice.paid',
        payload: { invoice: '{{ input.invoice }}' },
      },
      run: ({ application, ...message }, context) => context.sendMessage(application, message),
    }),
  },
};
