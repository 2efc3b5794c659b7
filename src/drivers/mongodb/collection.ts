/** The commands on a collection (MongoDB Manual, "Database Commands"), and what of their replies counts. */

import * as v from 'valibot';
import { FaultError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Document } from './bson.ts';
import type { Session } from './session.ts';

/** Longer commands are ended by the server itself. */
const TIME = { maxTimeMS: LIMITS.mongoCommandMilliseconds };

export interface FindOptions {
  readonly filter: unknown;
  readonly projection?: unknown;
  readonly sort?: unknown;
  readonly skip?: number | undefined;
  readonly hint?: unknown;
  readonly collation?: unknown;
}

export interface Found {
  readonly documents: readonly unknown[];
  /** Whether there are more than were asked for. */
  readonly more: boolean;
}

const batch = v.array(v.unknown());
const cursorSchema = v.object({
  cursor: v.object({
    id: v.unknown(),
    ns: v.string(),
    firstBatch: v.optional(batch, []),
    nextBatch: v.optional(batch, []),
  }),
});

export function find(session: Session, collection: string, options: FindOptions, most: number): Promise<Found> {
  const command = { find: collection, ...options, limit: most + 1, batchSize: batchOf(most), ...TIME };
  return read(session, command, most);
}

export function aggregate(
  session: Session,
  collection: string,
  options: { readonly pipeline: unknown; readonly collation?: unknown; readonly hint?: unknown },
  most: number,
): Promise<Found> {
  const command = { aggregate: collection, ...options, cursor: { batchSize: batchOf(most) }, ...TIME };
  return read(session, command, most);
}

const batchOf = (most: number): number => Math.min(most + 1, LIMITS.databaseCursorRows);

/** Batch after batch, until there are enough; the bound of bytes is that of the socket. */
async function read(session: Session, command: Document, most: number): Promise<Found> {
  const documents: unknown[] = [];
  let { cursor } = v.parse(cursorSchema, await session.command(command));
  documents.push(...cursor.firstBatch);
  const name = cursor.ns.slice(cursor.ns.indexOf('.') + 1);
  while (!isZero(cursor.id) && documents.length <= most) {
    const id = typeof cursor.id === 'number' ? session.bson.Long.fromNumber(cursor.id) : cursor.id;
    const next = { getMore: id, collection: name, batchSize: batchOf(most - documents.length) };
    ({ cursor } = v.parse(cursorSchema, await session.command(next)));
    documents.push(...cursor.nextBatch);
  }
  if (!isZero(cursor.id)) await session.tell({ killCursors: name, cursors: [cursor.id] });
  return { documents: documents.slice(0, most), more: documents.length > most };
}

const isZero = (id: unknown): boolean => String(id) === '0';

const countSchema = v.array(v.object({ n: v.number() }));

/** By counting, as the figure that a collection keeps of itself is a guess after a crash. */
export async function count(session: Session, collection: string, filter: unknown): Promise<number> {
  const pipeline = [{ $match: filter }, { $group: { _id: 1, n: { $sum: 1 } } }];
  const { documents } = await aggregate(session, collection, { pipeline }, 1);
  return v.parse(countSchema, documents)[0]?.n ?? 0;
}

export async function distinct(
  session: Session,
  collection: string,
  field: string,
  filter: unknown,
): Promise<readonly unknown[]> {
  const reply = await session.command({ distinct: collection, key: field, query: filter, ...TIME });
  return v.parse(v.object({ values: batch }), reply).values;
}

/** One statement of a write, as its command has it. */
export type Write =
  | { readonly insert: Document }
  | {
      readonly update: {
        readonly q: unknown;
        readonly u: unknown;
        readonly multi: boolean;
        readonly upsert: boolean;
        readonly arrayFilters?: unknown;
        readonly collation?: unknown;
        readonly hint?: unknown;
      };
    }
  | { readonly delete: { readonly q: unknown; readonly limit: 0 | 1; readonly collation?: unknown } };

export interface Written {
  inserted: number;
  /** In the order in which the documents were given. */
  readonly insertedIds: unknown[];
  matched: number;
  modified: number;
  deleted: number;
  /** Of documents that an upsert made, with the index of the statement. */
  readonly upserted: { readonly index: number; readonly id: unknown }[];
}

const writeSchema = v.object({
  n: v.number(),
  nModified: v.optional(v.number(), 0),
  upserted: v.optional(v.array(v.object({ index: v.number(), _id: v.unknown() })), []),
});

const LISTS = { insert: 'documents', update: 'updates', delete: 'deletes' } as const;
type Kind = keyof typeof LISTS;

/**
 * Writes in the order given, neighbours of one kind by one command. The first failure ends it, with `ordered` also
 * within a command.
 * @throws FaultError whose data tell the index of the statement at fault
 */
export async function write(
  session: Session,
  collection: string,
  writes: readonly Write[],
  ordered = true,
): Promise<Written> {
  const written: Written = { inserted: 0, insertedIds: [], matched: 0, modified: 0, deleted: 0, upserted: [] };
  let done = 0;
  for (const { kind, statements } of groupsOf(session, writes)) {
    if (kind === 'insert')
      written.insertedIds.push(...statements.map((document) => Object(document)['_id'] as unknown));
    const command = { [kind]: collection, [LISTS[kind]]: statements, ordered, ...TIME };
    const reply = await session.command(command).catch((thrown: unknown) => {
      throw counted(thrown, done);
    });
    const { n, nModified, upserted } = v.parse(writeSchema, reply);
    if (kind === 'insert') written.inserted += n;
    else if (kind === 'delete') written.deleted += n;
    else {
      written.matched += n - upserted.length;
      written.modified += nModified;
      written.upserted.push(...upserted.map(({ index, _id }) => ({ index: done + index, id: _id })));
    }
    done += statements.length;
  }
  return written;
}

/** The same failure, after statements that took effect, which its index counts in. */
function counted(thrown: unknown, done: number): unknown {
  if (done === 0 || !(thrown instanceof FaultError)) return thrown;
  const data = v.safeParse(v.looseObject({ index: v.number() }), thrown.fault.data);
  const moved = data.success && { data: { ...data.output, index: done + data.output.index } };
  return new FaultError({ ...thrown.fault, retryable: false, ...moved });
}

function groupsOf(
  session: Session,
  writes: readonly Write[],
): { readonly kind: Kind; readonly statements: unknown[] }[] {
  const groups: { kind: Kind; statements: unknown[] }[] = [];
  for (const each of writes) {
    const [kind, statement] = partsOf(session, each);
    const last = groups.at(-1);
    if (last?.kind === kind) last.statements.push(statement);
    else groups.push({ kind, statements: [statement] });
  }
  return groups;
}

function partsOf({ bson }: Session, each: Write): [kind: Kind, statement: unknown] {
  if ('update' in each) return ['update', each.update];
  if ('delete' in each) return ['delete', each.delete];
  // Named here, as drivers do, so that it is known without another question.
  return ['insert', Object.hasOwn(each.insert, '_id') ? each.insert : { _id: new bson.ObjectId(), ...each.insert }];
}

export interface FindAndModifyOptions {
  readonly query: unknown;
  readonly update: unknown;
  readonly new: boolean;
  readonly upsert: boolean;
  readonly sort?: unknown;
  readonly fields?: unknown;
  readonly arrayFilters?: unknown;
  readonly collation?: unknown;
}

/** The document, or null. */
export async function findAndModify(
  session: Session,
  collection: string,
  options: FindAndModifyOptions,
): Promise<unknown> {
  const reply = await session.command({ findAndModify: collection, ...options, ...TIME });
  return v.parse(v.object({ value: v.optional(v.unknown(), null) }), reply).value;
}
