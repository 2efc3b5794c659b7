/** The route document as its author writes it. Its JSON Schema and reference come from the schema here. */

import * as v from 'valibot';
import { requestEditsSchema, responseEditsSchema } from './edits.ts';
import { POLICIES } from './policies.ts';
import { hostPattern, versionsSchema } from './versions.ts';
import { DURATION } from '../chain/duration.ts';
import { LIMITS } from '../limits.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

export const routeSchema = v.pipe(
  v.strictObject({
    $schema: v.optional(v.string()),
    name: v.pipe(v.string(), v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/), v.maxLength(64)),
    description: v.optional(v.pipe(v.string(), v.maxLength(2_000))),
    hosts: v.optional(
      v.pipe(v.array(hostPattern), v.minLength(1), v.description('Hosts that it answers on. Default: every host.')),
    ),
    methods: v.optional(v.pipe(v.array(v.picklist(METHODS)), v.minLength(1), v.description('Default: every method.'))),
    path: v.pipe(
      v.string(),
      v.regex(/^\//),
      v.maxLength(1024),
      v.examples(['/orders/{id}', '/files/{rest*}']),
      v.description('`{name}` stands for a whole segment, `{name*}` at the end for any number of them.'),
    ),
    upstream: v.pipe(v.string(), v.description('The pool that answers, by name.')),
    ...POLICIES,
    versions: v.optional(versionsSchema),
    request: v.optional(requestEditsSchema),
    response: v.optional(responseEditsSchema),
    timeout: v.optional(v.pipe(v.string(), v.regex(DURATION), v.description('Until the first byte of the reply.'))),
    bodyLimitBytes: v.optional(
      v.pipe(
        v.number(),
        v.integer(),
        v.minValue(0),
        v.maxValue(LIMITS.routeBodyBytes),
        v.description('Larger bodies of requests are refused with 413. Default: what the platform takes.'),
      ),
    ),
    compress: v.optional(
      v.pipe(v.boolean(), v.description('Compresses texts that the upstream sent as they are.')),
      false,
    ),
  }),
  v.title('Route'),
);

export type RouteDocument = v.InferOutput<typeof routeSchema>;
