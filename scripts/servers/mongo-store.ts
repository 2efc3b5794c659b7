/**
 * What the stand-in for MongoDB keeps: documents in memory, with unique indexes and transactions that see a
 * snapshot and conflict at a document, as those of MongoDB do. Queries, updates and pipelines are mingo's.
 */

import { EJSON } from 'bson';
import { aggregate, Query } from 'mingo';
import { updateOne } from 'mingo/updater';

export type Doc = Record<string, unknown>;

/** An error as a reply tells of it. */
export class MongoError extends Error {
  readonly code: number;
  readonly codeName: string;
  readonly labels: readonly string[];
  constructor(code: number, codeName: string, message: string, labels: readonly string[] = []) {
    super(message);
    this.code = code;
    this.codeName = codeName;
    this.labels = labels;
  }
}

interface Index {
  readonly name: string;
  readonly key: Doc;
  readonly unique: boolean;
}

/** Documents by their identifier; a document is never changed, only replaced. */
type Collection = Map<string, Doc>;

export interface Transaction {
  readonly snapshot: Map<string, Collection>;
  readonly changed: Map<string, { readonly namespace: string; readonly id: string }>;
}

const idOf = (doc: Doc): string => EJSON.stringify({ id: doc['_id'] }, { relaxed: false });
const same = (a: unknown, b: unknown): boolean => EJSON.stringify({ a }) === EJSON.stringify({ a: b });
const isOperators = (value: unknown): boolean =>
  Object.getPrototypeOf(Object(value)) === Object.prototype &&
  Object.keys(Object(value)).some((key) => key.startsWith('$'));

const valueAt = (doc: unknown, path: string): unknown =>
  path.split('.').reduce((value: unknown, key) => Object(value)[key] as unknown, doc);

export class Store {
  readonly #collections = new Map<string, Collection>();
  readonly #indexes = new Map<string, Index[]>();
  readonly #locks = new Map<string, Transaction>();

  begin(): Transaction {
    const snapshot = new Map([...this.#collections].map(([name, documents]) => [name, new Map(documents)]));
    return { snapshot, changed: new Map() };
  }

  commit(transaction: Transaction): void {
    for (const { namespace, id } of transaction.changed.values()) {
      const doc = transaction.snapshot.get(namespace)?.get(id);
      if (doc === undefined) this.#live(namespace).delete(id);
      else this.#live(namespace).set(id, doc);
    }
    this.abort(transaction);
  }

  abort(transaction: Transaction): void {
    for (const [key, holder] of this.#locks) if (holder === transaction) this.#locks.delete(key);
  }

  find(namespace: string, filter: Doc, transaction?: Transaction): Doc[] {
    checkFilter(filter);
    const query = new Query(filter);
    return [...this.#read(namespace, transaction).values()].filter((doc) => query.test(doc));
  }

  aggregate(namespace: string, pipeline: Doc[], transaction?: Transaction): Doc[] {
    const database = namespace.slice(0, namespace.indexOf('.') + 1);
    const collectionResolver = (name: string): Doc[] => [...this.#read(database + name, transaction).values()];
    try {
      return aggregate([...this.#read(namespace, transaction).values()], pipeline, { collectionResolver });
    } catch (thrown) {
      throw new MongoError(40324, 'Location40324', thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  insert(namespace: string, doc: Doc, transaction?: Transaction): void {
    if (this.#read(namespace, transaction).has(idOf(doc))) throw duplicate(namespace, '_id_', doc['_id']);
    this.#put(namespace, doc, transaction);
  }

  update(
    namespace: string,
    statement: Doc,
    transaction?: Transaction,
  ): { n: number; nModified: number; upserted?: unknown } {
    const { q, u, multi, upsert, arrayFilters } = statement;
    const filter = Object(q) as Doc;
    const found = this.find(namespace, filter, transaction);
    const chosen = multi === true ? found : found.slice(0, 1);
    if (chosen.length === 0 && upsert === true) {
      const doc = updated(seedOf(filter), u, arrayFilters, true);
      if (!('_id' in doc)) doc['_id'] = statement['newId'];
      this.insert(namespace, doc, transaction);
      return { n: 1, nModified: 0, upserted: doc['_id'] };
    }
    let nModified = 0;
    for (const doc of chosen) {
      const next = updated(doc, u, arrayFilters, false);
      if (same(next, doc)) continue;
      this.#put(namespace, next, transaction);
      nModified++;
    }
    return { n: chosen.length, nModified };
  }

  delete(namespace: string, filter: Doc, limit: number, transaction?: Transaction): number {
    const found = this.find(namespace, filter, transaction);
    const chosen = limit === 0 ? found : found.slice(0, limit);
    for (const doc of chosen) this.#remove(namespace, idOf(doc), transaction);
    return chosen.length;
  }

  createIndexes(namespace: string, indexes: readonly Index[]): void {
    const known = this.#indexes.get(namespace) ?? [];
    this.#live(namespace);
    const added = indexes.filter(({ name }) => known.every((index) => index.name !== name));
    this.#indexes.set(namespace, [...known, ...added]);
  }

  indexes(namespace: string): readonly Index[] {
    return [{ name: '_id_', key: { _id: 1 }, unique: true }, ...(this.#indexes.get(namespace) ?? [])];
  }

  collections(database: string): string[] {
    const prefix = `${database}.`;
    return [...this.#collections.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length));
  }

  drop(namespace: string): boolean {
    this.#indexes.delete(namespace);
    return this.#collections.delete(namespace);
  }

  #live(namespace: string): Collection {
    const found = this.#collections.get(namespace) ?? new Map<string, Doc>();
    this.#collections.set(namespace, found);
    return found;
  }

  #read(namespace: string, transaction: Transaction | undefined): Collection {
    if (transaction === undefined) return this.#live(namespace);
    const found = transaction.snapshot.get(namespace) ?? new Map<string, Doc>();
    transaction.snapshot.set(namespace, found);
    return found;
  }

  #put(namespace: string, doc: Doc, transaction: Transaction | undefined): void {
    const id = idOf(doc);
    this.#lock(namespace, id, transaction);
    for (const { name, key, unique } of this.#indexes.get(namespace) ?? []) {
      if (!unique) continue;
      const fields = Object.keys(key);
      const other = [...this.#read(namespace, transaction)].find(
        ([otherId, each]) => otherId !== id && fields.every((field) => same(valueAt(each, field), valueAt(doc, field))),
      );
      if (other !== undefined)
        throw duplicate(
          namespace,
          name,
          fields.map((field) => valueAt(doc, field)),
        );
    }
    this.#read(namespace, transaction).set(id, doc);
  }

  #remove(namespace: string, id: string, transaction: Transaction | undefined): void {
    this.#lock(namespace, id, transaction);
    this.#read(namespace, transaction).delete(id);
  }

  /** A document that another transaction has changed, or that was changed since the snapshot, is a conflict. */
  #lock(namespace: string, id: string, transaction: Transaction | undefined): void {
    const key = `${namespace}:${id}`;
    const holder = this.#locks.get(key);
    const isMine = transaction !== undefined && holder === transaction;
    const isStale =
      transaction !== undefined &&
      !isMine &&
      this.#live(namespace).get(id) !== transaction.snapshot.get(namespace)?.get(id);
    if ((holder !== undefined && !isMine) || isStale) {
      throw new MongoError(112, 'WriteConflict', 'Caused by :: Write conflict during plan execution', [
        'TransientTransactionError',
      ]);
    }
    if (transaction === undefined) return;
    this.#locks.set(key, transaction);
    transaction.changed.set(key, { namespace, id });
  }
}

const duplicate = (namespace: string, index: string, value: unknown): MongoError => {
  const text = EJSON.stringify({ value });
  return new MongoError(
    11000,
    'DuplicateKey',
    `E11000 duplicate key error collection: ${namespace} index: ${index} dup key: ${text}`,
  );
};

/** Unknown operators at the top, which mingo words in its own way. */
function checkFilter(filter: Doc): void {
  if ('$where' in filter) throw new MongoError(2, 'BadValue', '$where is not there in the stand-in');
  try {
    new Query(filter);
  } catch (thrown) {
    throw new MongoError(2, 'BadValue', thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** The fields that an upsert takes from its filter. */
const seedOf = (filter: Doc): Doc =>
  Object.fromEntries(
    Object.entries(filter)
      .filter(([key]) => !key.startsWith('$'))
      .flatMap(([key, value]) => {
        const equal = isOperators(value) ? (Object(value)['$eq'] as unknown) : value;
        return equal === undefined ? [] : [[key, equal] as const];
      }),
  );

function updated(doc: Doc, change: unknown, arrayFilters: unknown, isInsert: boolean): Doc {
  if (!Array.isArray(change) && !isOperators(change)) {
    const id = Object(change)['_id'] as unknown;
    const replacement = { ...('_id' in doc && { _id: doc['_id'] }), ...Object(change) } as Doc;
    if (id !== undefined && '_id' in doc && !same(id, doc['_id'])) throw immutable();
    return replacement;
  }
  const { $setOnInsert, ...operators } = Array.isArray(change) ? { $setOnInsert: undefined } : (Object(change) as Doc);
  const copy = EJSON.deserialize(EJSON.serialize(doc, { relaxed: false }), { relaxed: true }) as Doc;
  const documents = [copy];
  try {
    const modifier = (Array.isArray(change) ? change : operators) as Doc;
    if (Array.isArray(change) || Object.keys(operators).length > 0) {
      updateOne(documents, {}, modifier, { ...(Array.isArray(arrayFilters) && { arrayFilters }) });
    }
  } catch (thrown) {
    throw new MongoError(9, 'FailedToParse', thrown instanceof Error ? thrown.message : String(thrown));
  }
  const next = { ...documents[0], ...(isInsert ? Object(seedOf(Object($setOnInsert) as Doc)) : {}) } as Doc;
  if ('_id' in doc && !same(next['_id'], doc['_id'])) throw immutable();
  return next;
}

const immutable = (): MongoError =>
  new MongoError(66, 'ImmutableField', "Performing an update on the path '_id' would modify the immutable field '_id'");
