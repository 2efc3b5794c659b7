/** Events that runs wait for. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { ok } from '../../core/errors.ts';

const body = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(256), v.description('As in `event` of the `flow.wait` steps.')),
  key: v.optional(
    v.pipe(
      v.union([v.pipe(v.string(), v.maxLength(1_024)), v.number()]),
      v.description('Only steps that wait for this key, or for any, take the event.'),
    ),
  ),
  data: v.optional(v.pipe(v.unknown(), v.description('What the steps give as `data`.'))),
});

export const events = [
  endpoint({
    id: 'sendEvent',
    tag: 'Events',
    summary: 'Send an event to the runs that wait for it',
    role: 'developer',
    method: 'POST',
    path: `${API}/events`,
    body: jsonBody(body),
    replies: {
      200: {
        description: 'Every run that waited has it, on disk. Runs that begin to wait later do not get it.',
        schema: v.strictObject({ delivered: v.pipe(v.number(), v.integer()) }),
      },
    },
    async handle({ ports, body: { name, key, data } }) {
      const delivered = await ports.sendEvent(name, key === undefined ? undefined : String(key), data);
      return ok({ status: 200, body: { delivered } });
    },
  }),
];
