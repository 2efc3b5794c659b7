/** Operations that change documents. */

import * as v from 'valibot';
import { fault, FaultError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { toJson } from '../../drivers/mongodb/bson.ts';
import * as commands from '../../drivers/mongodb/collection.ts';
import type { Write, Written } from '../../drivers/mongodb/collection.ts';
import type { Session } from '../../drivers/mongodb/session.ts';
import { collation, collection, defineOperation, document, filter, hint } from './operation.ts';

const upsert = v.optional(v.pipe(v.boolean(), v.description('Makes the document where the filter finds none.')), false);
const update = v.pipe(
  v.union([v.pipe(v.array(document), v.minLength(1)), document]),
  v.description('Update operators, e.g. `{ "$set": { "paid": true } }`, or a pipeline.'),
);
const arrayFilters = v.optional(v.array(document));
const ordered = v.optional(
  v.pipe(v.boolean(), v.description('`false`: goes on after a statement that failed, within statements of one kind.')),
  true,
);
const all = v.optional(
  v.pipe(v.boolean(), v.description('With an empty `filter`: must be true to change every document.')),
);

const change = { collection, filter, update, upsert, arrayFilters, collation, hint };
const CHANGE = { filter: 'query', update: 'query', arrayFilters: 'query', collation: 'query', hint: 'query' } as const;

const refuse = (message: string): never => {
  throw new FaultError(fault('step.params', message));
};

/** Without operators it would replace the document. */
function mustHaveOperators(given: unknown, path = 'update'): void {
  if (Array.isArray(given)) return;
  const keys = Object.keys(Object(given));
  if (keys.length > 0 && keys.every((key) => key.startsWith('$'))) return;
  refuse(`${path}: Must be of operators such as $set; whole documents are put by \`replaceOne\`.`);
}

function mustBeDocument(given: unknown, path = 'document'): void {
  const operator = Object.keys(Object(given)).find((key) => key.startsWith('$'));
  if (operator !== undefined) refuse(`${path}: A document has no field "${operator.slice(0, 50)}".`);
}

function mustMeanAll(filter: unknown, all: boolean | undefined): void {
  if (Object.keys(Object(filter)).length === 0 && all !== true) {
    refuse('filter: Is empty; set `all` to true to change every document.');
  }
}

const json = ({ bson }: Session, value: unknown): unknown => toJson(bson, value);

async function changed(session: Session, collection: string, write: Write): Promise<unknown> {
  const { matched, modified, upserted } = await commands.write(session, collection, [write]);
  return { matched, modified, upsertedId: json(session, upserted[0]?.id ?? null) };
}

const deleted = async (session: Session, collection: string, statement: Extract<Write, { delete: unknown }>) => ({
  deleted: (await commands.write(session, collection, [statement])).deleted,
});

const bulkStatement = v.union([
  v.strictObject({ insert: document }),
  v.strictObject({
    update: v.strictObject({ filter, update: document, many: v.optional(v.boolean(), false), upsert, arrayFilters }),
  }),
  v.strictObject({ replace: v.strictObject({ filter, document, upsert }) }),
  v.strictObject({ delete: v.strictObject({ filter, many: v.optional(v.boolean(), false) }) }),
]);

function writeOf(statement: v.InferOutput<typeof bulkStatement>, path: string): Write {
  if ('insert' in statement) {
    mustBeDocument(statement.insert, `${path}.insert`);
    return statement;
  }
  if ('delete' in statement) {
    const { filter, many } = statement.delete;
    return { delete: { q: filter, limit: many ? 0 : 1 } };
  }
  if ('replace' in statement) {
    const { filter, document, upsert } = statement.replace;
    mustBeDocument(document, `${path}.replace.document`);
    return { update: { q: filter, u: document, multi: false, upsert } };
  }
  const { filter, update, many, ...options } = statement.update;
  mustHaveOperators(update, `${path}.update.update`);
  return { update: { q: filter, u: update, multi: many, ...options } };
}

const summary = (session: Session, { insertedIds, upserted, ...counts }: Written) => ({
  ...counts,
  insertedIds: insertedIds.map((id) => json(session, id)),
  upserted: upserted.map(({ index, id }) => ({ index, id: json(session, id) })),
});

export const writes = {
  insertOne: defineOperation({
    title: 'Insert a document',
    effect: 'external',
    params: v.strictObject({ collection, document }),
    documents: { document: 'query' },
    example: { collection: 'orders', document: { customer: 'Ada', total: { $numberDecimal: '120.50' } } },
    async run(session, { collection, document }) {
      mustBeDocument(document);
      const { insertedIds } = await commands.write(session, collection, [{ insert: document }]);
      return { insertedId: json(session, insertedIds[0]) };
    },
  }),
  insertMany: defineOperation({
    title: 'Insert documents',
    effect: 'external',
    params: v.strictObject({
      collection,
      documents: v.pipe(v.array(document), v.minLength(1), v.maxLength(LIMITS.mongoBulkStatements)),
      ordered,
    }),
    documents: { documents: 'query' },
    example: { collection: 'orders', documents: [{ customer: 'Ada' }, { customer: 'Grace' }] },
    async run(session, { collection, documents, ordered }) {
      for (const [index, each] of documents.entries()) mustBeDocument(each, `documents[${index}]`);
      const statements = documents.map((insert) => ({ insert }));
      const { inserted, insertedIds } = await commands.write(session, collection, statements, ordered);
      return { inserted, insertedIds: insertedIds.map((id) => json(session, id)) };
    },
  }),
  updateOne: defineOperation({
    title: 'Update a document',
    effect: 'external',
    params: v.strictObject(change),
    documents: CHANGE,
    example: { collection: 'orders', filter: { _id: 7 }, update: { $set: { paid: true } } },
    run(session, { collection, filter, update, ...options }) {
      mustHaveOperators(update);
      return changed(session, collection, { update: { q: filter, u: update, multi: false, ...options } });
    },
  }),
  updateMany: defineOperation({
    title: 'Update documents',
    effect: 'external',
    params: v.strictObject({ ...change, all }),
    documents: CHANGE,
    example: { collection: 'orders', filter: { vip: true }, update: { $inc: { points: 10 } } },
    run(session, { collection, filter, update, all, ...options }) {
      mustMeanAll(filter, all);
      mustHaveOperators(update);
      return changed(session, collection, { update: { q: filter, u: update, multi: true, ...options } });
    },
  }),
  replaceOne: defineOperation({
    title: 'Replace a document',
    effect: 'external',
    params: v.strictObject({ collection, filter, document, upsert, collation, hint }),
    documents: { filter: 'query', document: 'query', collation: 'query', hint: 'query' },
    example: { collection: 'orders', filter: { _id: 7 }, document: { customer: 'Ada' }, upsert: true },
    run(session, { collection, filter, document, ...options }) {
      mustBeDocument(document);
      return changed(session, collection, { update: { q: filter, u: document, multi: false, ...options } });
    },
  }),
  deleteOne: defineOperation({
    title: 'Delete a document',
    effect: 'external',
    params: v.strictObject({ collection, filter, collation }),
    documents: { filter: 'query', collation: 'query' },
    example: { collection: 'orders', filter: { _id: 7 } },
    run: (session, { collection, filter, collation }) =>
      deleted(session, collection, { delete: { q: filter, limit: 1, collation } }),
  }),
  deleteMany: defineOperation({
    title: 'Delete documents',
    effect: 'idempotent',
    params: v.strictObject({ collection, filter, all, collation }),
    documents: { filter: 'query', collation: 'query' },
    example: { collection: 'sessions', filter: { endedAt: { $lt: { $date: '{{ input.before }}' } } } },
    run(session, { collection, filter, all, collation }) {
      mustMeanAll(filter, all);
      return deleted(session, collection, { delete: { q: filter, limit: 0, collation } });
    },
  }),
  findOneAndUpdate: defineOperation({
    title: 'Find a document and update it',
    effect: 'external',
    params: v.strictObject({
      ...change,
      sort: v.optional(document),
      projection: v.optional(document),
      returnDocument: v.optional(v.picklist(['before', 'after']), 'before'),
    }),
    documents: { ...CHANGE, sort: 'query', projection: 'expression' },
    example: {
      collection: 'jobs',
      filter: { state: 'waiting' },
      update: { $set: { state: 'taken' } },
      sort: { at: 1 },
      returnDocument: 'after',
    },
    async run(session, { collection, filter, update, projection, returnDocument, ...options }) {
      mustHaveOperators(update);
      const found = await commands.findAndModify(session, collection, {
        query: filter,
        update,
        new: returnDocument === 'after',
        fields: projection,
        ...options,
      });
      return { document: json(session, found) };
    },
  }),
  bulkWrite: defineOperation({
    title: 'Write in bulk',
    effect: 'external',
    params: v.strictObject({
      collection,
      statements: v.pipe(v.array(bulkStatement), v.minLength(1), v.maxLength(LIMITS.mongoBulkStatements)),
      ordered,
    }),
    documents: { statements: 'query' },
    example: {
      collection: 'stock',
      statements: [
        { insert: { _id: 'A1', left: 10 } },
        { update: { filter: { _id: 'B2' }, update: { $inc: { left: -1 } }, upsert: true } },
        { delete: { filter: { _id: 'C3' } } },
      ],
    },
    async run(session, { collection, statements, ordered }) {
      const list = statements.map((statement, index) => writeOf(statement, `statements[${index}]`));
      return summary(session, await commands.write(session, collection, list, ordered));
    },
  }),
};
