/** What the developer portal says of a route or trigger, and to whom. */

import * as v from 'valibot';

const schema = v.pipe(v.record(v.string(), v.unknown()), v.description('JSON Schema 2020-12.'));

export const docsSchema = v.pipe(
  v.strictObject({
    audience: v.optional(
      v.pipe(
        v.picklist(['public', 'callers', 'internal']),
        v.description('Who may read of it: anybody, whoever may call it, or nobody but the owner.'),
      ),
      'callers',
    ),
    summary: v.optional(v.pipe(v.string(), v.maxLength(200))),
    description: v.optional(v.pipe(v.string(), v.maxLength(8_000), v.description('CommonMark.'))),
    tags: v.optional(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(64)))),
    request: v.optional(v.pipe(schema, v.description('Of the body. Default in a chain: its `input`.'))),
    response: v.optional(v.pipe(schema, v.description('Of the body of a success.'))),
    query: v.optional(v.pipe(v.record(v.string(), schema), v.description('Parameters of the query by name.'))),
  }),
  v.description('What the developer portal says of it.'),
);

export type DocsDocument = v.InferOutput<typeof docsSchema>;

export const NO_DOCS: DocsDocument = { audience: 'callers' };
