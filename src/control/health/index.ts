/** Whether the gateway answers. It looks at nothing else, so that a probe costs nothing. */

import * as v from 'valibot';
import { VERSION } from './version.ts';
import { endpoint } from '../endpoint.ts';
import { ok } from '../../core/errors.ts';

export const health = [
  endpoint({
    id: 'getHealth',
    tag: 'Health',
    summary: 'Tell that the gateway answers',
    access: 'public',
    method: 'GET',
    path: '/_/health',
    replies: {
      200: { description: 'It does.', schema: v.strictObject({ status: v.literal('ok'), version: v.string() }) },
    },
    handle: async () => ok({ status: 200, body: { status: 'ok', version: VERSION } }),
  }),
];
