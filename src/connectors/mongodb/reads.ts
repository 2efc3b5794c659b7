/** Operations that change nothing. */

import * as v from 'valibot';
import { fault, FaultError } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { toJson } from '../../drivers/mongodb/bson.ts';
import * as commands from '../../drivers/mongodb/collection.ts';
import type { Session } from '../../drivers/mongodb/session.ts';
import { collation, collection, defineOperation, document, filter, hint } from './operation.ts';

const optionalFilter = v.optional(filter, {});
const projection = v.optional(v.pipe(document, v.description('Fields with 1 or 0, or expressions.')));
const sort = v.optional(v.pipe(document, v.description('Fields with 1 or -1, the first one first.')));
const limit = v.optional(
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(LIMITS.databaseReadRows),
    v.description(`\`more\` tells whether there are others. Default ${LIMITS.mongoDocumentsUsual}.`),
  ),
  LIMITS.mongoDocumentsUsual,
);
const skip = v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)));
const lookup = { collection, filter: optionalFilter, projection, sort, skip, collation, hint };
const READINGS = {
  filter: 'query',
  projection: 'expression',
  sort: 'query',
  collation: 'query',
  hint: 'query',
} as const;

const shown = ({ bson }: Session, { documents, more }: commands.Found) => ({
  documents: documents.map((each) => toJson(bson, each)),
  more,
});

/** Stages that change what others read, and so belong to no operation that may be repeated. */
const WRITING_STAGES = ['$out', '$merge'];

export const reads = {
  find: defineOperation({
    title: 'Find documents',
    effect: 'idempotent',
    params: v.strictObject({ ...lookup, limit }),
    documents: READINGS,
    example: {
      collection: 'orders',
      filter: { customer: '{{ input.customer }}', total: { $gte: 100 } },
      projection: { total: 1 },
      sort: { total: -1 },
      limit: 20,
    },
    async run(session, { collection, limit, ...options }) {
      return shown(session, await commands.find(session, collection, options, limit));
    },
  }),
  findOne: defineOperation({
    title: 'Find a document',
    effect: 'idempotent',
    params: v.strictObject(lookup),
    documents: READINGS,
    example: { collection: 'orders', filter: { _id: { $oid: '{{ input.id }}' } } },
    async run(session, { collection, ...options }) {
      const { documents } = await commands.find(session, collection, options, 1);
      return { document: toJson(session.bson, documents[0] ?? null) };
    },
  }),
  aggregate: defineOperation({
    title: 'Run an aggregation pipeline',
    effect: 'idempotent',
    params: v.strictObject({
      collection,
      pipeline: v.pipe(v.array(document), v.maxLength(1_000), v.description('Stages, but for `$out` and `$merge`.')),
      limit,
      collation,
      hint,
    }),
    documents: { pipeline: 'expression', collation: 'query', hint: 'query' },
    example: {
      collection: 'orders',
      pipeline: [{ $match: { vip: true } }, { $group: { _id: '$customer', total: { $sum: '$total' } } }],
    },
    async run(session, { collection, limit, ...options }) {
      for (const [index, stage] of options.pipeline.entries()) {
        const refused = WRITING_STAGES.find((name) => isObject(stage) && Object.hasOwn(stage, name));
        if (refused === undefined) continue;
        const message = `pipeline[${index}]: ${refused} writes, which an aggregation of a step does not; write by another action.`;
        throw new FaultError(fault('step.params', message));
      }
      return shown(session, await commands.aggregate(session, collection, options, limit));
    },
  }),
  count: defineOperation({
    title: 'Count documents',
    effect: 'idempotent',
    params: v.strictObject({ collection, filter: optionalFilter }),
    documents: { filter: 'query' },
    example: { collection: 'orders', filter: { vip: true } },
    run: async (session, { collection, filter }) => ({ count: await commands.count(session, collection, filter) }),
  }),
  distinct: defineOperation({
    title: 'List the values of a field',
    effect: 'idempotent',
    params: v.strictObject({ collection, field: v.pipe(v.string(), v.minLength(1)), filter: optionalFilter }),
    documents: { filter: 'query' },
    example: { collection: 'orders', field: 'customer' },
    async run(session, { collection, field, filter }) {
      const values = await commands.distinct(session, collection, field, filter);
      return { values: values.map((value) => toJson(session.bson, value)) };
    },
  }),
};
