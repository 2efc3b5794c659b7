/** The commands of the stand-in for MongoDB: their replies as the manual has them. */

import { Long, ObjectId } from 'bson';
import { find as project } from 'mingo';
import { MongoError, type Doc, type Store, type Transaction } from './mongo-store.ts';

interface Cursor {
  readonly namespace: string;
  rest: unknown[];
}

/** What outlives one connection. */
export interface State {
  readonly store: Store;
  readonly cursors: Map<string, Cursor>;
  readonly sessions: Map<string, { readonly number: string; readonly transaction: Transaction | undefined }>;
  cursorId: number;
}

interface Call {
  readonly state: State;
  readonly database: string;
  readonly command: Doc;
  readonly transaction: Transaction | undefined;
}

const object = (value: unknown): Doc => Object(value) as Doc;
const list = (value: unknown): Doc[] => (Array.isArray(value) ? (value as Doc[]) : []);
const number = (value: unknown, usual: number): number => (value === undefined ? usual : Number(value));

const namespaceOf = ({ database, command }: Call, name: string): string => `${database}.${String(command[name])}`;

function cursorOf({ state }: Call, namespace: string, documents: unknown[], batchSize: number): Doc {
  const firstBatch = documents.slice(0, batchSize);
  const rest = documents.slice(batchSize);
  if (rest.length === 0) return { cursor: { id: Long.ZERO, ns: namespace, firstBatch } };
  const id = Long.fromNumber(++state.cursorId + 2 ** 40);
  state.cursors.set(id.toString(), { namespace, rest });
  return { cursor: { id, ns: namespace, firstBatch } };
}

/** Each statement on its own: what fails is listed, and ends the command where it is ordered. */
function each({ command }: Call, statements: readonly Doc[], write: (statement: Doc, index: number) => void): Doc {
  const writeErrors: Doc[] = [];
  for (const [index, statement] of statements.entries()) {
    try {
      write(statement, index);
    } catch (thrown) {
      if (!(thrown instanceof MongoError) || thrown.labels.length > 0) throw thrown;
      writeErrors.push({ index, code: thrown.code, errmsg: thrown.message });
      if (command['ordered'] !== false) break;
    }
  }
  return writeErrors.length === 0 ? {} : { writeErrors };
}

export const COMMANDS: Readonly<Record<string, (call: Call) => Doc>> = {
  ping: () => ({}),
  buildInfo: () => ({ version: '7.0.0', modules: ['a stand-in, not MongoDB'] }),
  insert(call) {
    const namespace = namespaceOf(call, 'insert');
    let n = 0;
    const failed = each(call, list(call.command['documents']), (doc) => {
      call.state.store.insert(namespace, doc, call.transaction);
      n++;
    });
    return { n, ...failed };
  },
  update(call) {
    const namespace = namespaceOf(call, 'update');
    const counts = { n: 0, nModified: 0 };
    const upserted: Doc[] = [];
    const failed = each(call, list(call.command['updates']), (statement, index) => {
      const done = call.state.store.update(namespace, { ...statement, newId: new ObjectId() }, call.transaction);
      counts.n += done.n;
      counts.nModified += done.nModified;
      if (done.upserted !== undefined) upserted.push({ index, _id: done.upserted });
    });
    return { ...counts, ...(upserted.length > 0 && { upserted }), ...failed };
  },
  delete(call) {
    const namespace = namespaceOf(call, 'delete');
    let n = 0;
    const failed = each(call, list(call.command['deletes']), ({ q, limit }) => {
      n += call.state.store.delete(namespace, object(q), Number(limit), call.transaction);
    });
    return { n, ...failed };
  },
  find(call) {
    const { filter, projection, sort, skip, limit, batchSize } = call.command;
    const namespace = namespaceOf(call, 'find');
    const found = call.state.store.find(namespace, object(filter), call.transaction);
    let cursor = project<Doc>(found, {}, object(projection)).skip(number(skip, 0));
    if (sort !== undefined) cursor = cursor.sort(object(sort) as Record<string, 1 | -1>);
    const most = number(limit, 0);
    const documents = most === 0 ? cursor.all() : cursor.limit(most).all();
    return cursorOf(call, namespace, documents, number(batchSize, 101));
  },
  aggregate(call) {
    const namespace = namespaceOf(call, 'aggregate');
    const documents = call.state.store.aggregate(namespace, list(call.command['pipeline']), call.transaction);
    return cursorOf(call, namespace, documents, number(object(call.command['cursor'])['batchSize'], 101));
  },
  distinct(call) {
    const { key, query } = call.command;
    const documents = call.state.store.find(namespaceOf(call, 'distinct'), object(query), call.transaction);
    return { values: [...new Set(documents.flatMap((doc) => doc[String(key)] ?? []))] };
  },
  getMore({ state, command }) {
    const id = String(command['getMore']);
    const cursor = state.cursors.get(id);
    if (cursor === undefined) throw new MongoError(43, 'CursorNotFound', `cursor id ${id} not found`);
    const nextBatch = cursor.rest.splice(0, number(command['batchSize'], cursor.rest.length));
    if (cursor.rest.length === 0) state.cursors.delete(id);
    return {
      cursor: { id: cursor.rest.length === 0 ? Long.ZERO : Long.fromString(id), ns: cursor.namespace, nextBatch },
    };
  },
  killCursors({ state, command }) {
    const killed = list(command['cursors']).filter((id) => state.cursors.delete(String(id)));
    return { cursorsKilled: killed };
  },
  findAndModify(call) {
    const { query, sort, update, new: isNew, upsert, fields, arrayFilters } = call.command;
    const { store } = call.state;
    const namespace = namespaceOf(call, 'findAndModify');
    const found = project<Doc>(store.find(namespace, object(query), call.transaction), {});
    const [doc] = (sort === undefined ? found : found.sort(object(sort) as Record<string, 1 | -1>)).all();
    const q = doc === undefined ? query : { _id: doc['_id'] };
    const done = store.update(
      namespace,
      { q, u: update, upsert, arrayFilters, newId: new ObjectId() },
      call.transaction,
    );
    const id = doc?.['_id'] ?? done.upserted;
    const after = id === undefined ? [] : store.find(namespace, { _id: id }, call.transaction);
    const value = isNew === true ? after[0] : doc;
    return { value: value === undefined ? null : (project<Doc>([value], {}, object(fields)).all()[0] ?? null) };
  },
  createIndexes(call) {
    const indexes = list(call.command['indexes']).map(({ name, key, unique }) => ({
      name: String(name),
      key: object(key),
      unique: unique === true,
    }));
    call.state.store.createIndexes(namespaceOf(call, 'createIndexes'), indexes);
    return {};
  },
  listIndexes(call) {
    const namespace = namespaceOf(call, 'listIndexes');
    return cursorOf(call, namespace, [...call.state.store.indexes(namespace)], 101);
  },
  listCollections(call) {
    const names = call.state.store.collections(call.database).map((name) => ({ name, type: 'collection' }));
    return cursorOf(call, `${call.database}.$cmd.listCollections`, names, 101);
  },
  drop(call) {
    if (call.state.store.drop(namespaceOf(call, 'drop'))) return {};
    throw new MongoError(26, 'NamespaceNotFound', 'ns not found');
  },
};
