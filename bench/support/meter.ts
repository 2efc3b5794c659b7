/**
 * Counts what a Worker uses of the platform, as the platform bills it, by standing around the methods of its
 * bindings and its storage. Only the build of `npm run bench -- cost` has it.
 *
 * Accepted weakness: it counts for the whole isolate, so the object is also called awake while the Worker in
 * front of it waits for D1; a D1 statement that writes by `first()` or `raw()` would be missed, since these
 * hand out no meta.
 */

const counts = {
  workerRequests: 0,
  objectRequests: 0,
  alarmsRun: 0,
  alarmsSet: 0,
  objectBytes: 0,
  d1RowsWritten: 0,
  d1RowsRead: 0,
  d1Bytes: 0,
  queueOperations: 0,
  r2Writes: 0,
  r2Reads: 0,
  r2Bytes: 0,
};
type Counter = keyof typeof counts;

/** All since the isolate began, except for the bytes and what is under way, which are of now. */
export type Usage = Readonly<
  Record<Counter | 'objectRowsWritten' | 'objectRowsRead' | 'awakeMilliseconds' | 'underWay', number>
>;

/** A cursor counts while it is read, so all are kept. */
const cursors: Pick<SqlStorageCursor<Record<string, SqlStorageValue>>, 'rowsRead' | 'rowsWritten'>[] = [];
/** Whatever keeps an object from hibernating; while there is any, its duration is billed. */
let underWay = 0;
let awakeSince = 0;
let awakeMilliseconds = 0;

export function count(counter: Counter, by = 1): void {
  counts[counter] += by;
}

export function readUsage(): Usage {
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    ...counts,
    objectRowsWritten: sum(cursors.map((cursor) => cursor.rowsWritten)),
    objectRowsRead: sum(cursors.map((cursor) => cursor.rowsRead)),
    awakeMilliseconds: awakeMilliseconds + (underWay > 0 ? Date.now() - awakeSince : 0),
    underWay,
  };
}

function begin(): void {
  if (underWay++ === 0) awakeSince = Date.now();
}

function end(): void {
  if (--underWay === 0) awakeMilliseconds += Date.now() - awakeSince;
}

/** Returns what was given, because the promise of a call to an object can do more than resolve. */
export function keepAwake<T>(work: T): T {
  if (!isThenable(work)) return work;
  begin();
  work.then(end, end);
  return work;
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof Reflect.get(value, 'then') === 'function';

/** A call of a method that is billed, once it has given its result. */
interface Call {
  readonly owner: unknown;
  readonly parameters: readonly unknown[];
  readonly result: unknown;
}

type Note = (call: Call) => void;

const counting =
  (counter: Counter, by = 1): Note =>
  () =>
    count(counter, by);

/** Messages are billed by operation: one to write, one to read, one to delete. */
const QUEUE_OPERATIONS = 3;
const queuedBatch: Note = ({ parameters: [messages] }) =>
  count('queueOperations', QUEUE_OPERATIONS * (messages as readonly unknown[]).length);

const noteSql: Note = ({ owner, result }) => {
  cursors.push(result as (typeof cursors)[number]);
  // Only here, since nobody else may ask the storage of an object.
  counts.objectBytes = (owner as SqlStorage).databaseSize;
};

const noteD1: Note = ({ result }) => {
  for (const { meta } of (Array.isArray(result) ? result : [result]) as D1Result[]) {
    count('d1RowsWritten', meta.rows_written);
    count('d1RowsRead', meta.rows_read);
    counts.d1Bytes = meta.size_after;
  }
};

const notePut: Note = ({ result }) => {
  count('r2Writes');
  count('r2Bytes', (result as R2Object).size);
};

/** By the name of the class: which methods are billed. */
const BILLED: Readonly<Record<string, Readonly<Record<string, Note>>>> = {
  SqlStorage: { exec: noteSql },
  DurableObjectStorage: { setAlarm: counting('alarmsSet') },
  D1Database: { batch: noteD1 },
  D1PreparedStatement: { run: noteD1, all: noteD1 },
  WorkerQueue: { send: counting('queueOperations', QUEUE_OPERATIONS), sendBatch: queuedBatch },
  R2Bucket: {
    put: notePut,
    list: counting('r2Writes'),
    createMultipartUpload: counting('r2Writes'),
    get: counting('r2Reads'),
    head: counting('r2Reads'),
  },
};

const metered = new Set<object>();

/** Meters the class of a value, if any of its methods is billed. */
function meter(value: object): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (typeof prototype !== 'object' || prototype === null || metered.has(prototype)) return;
  metered.add(prototype);
  for (const [name, note] of Object.entries(BILLED[value.constructor.name] ?? {})) {
    around(prototype, name, (call) => {
      if (isThenable(call.result)) {
        const noteLater = (result: unknown): void => note({ ...call, result });
        void keepAwake(call.result).then(noteLater, () => {});
      } else note(call);
      return call.result;
    });
  }
}

function around(target: object, name: string, then: (call: Call) => unknown): void {
  const original: unknown = Reflect.get(target, name);
  if (typeof original !== 'function') throw new Error(`there is no method ${name} to meter`);
  Reflect.set(target, name, function (this: unknown, ...parameters: unknown[]): unknown {
    return then({ owner: this, parameters, result: Reflect.apply(original, this, parameters) });
  });
}

/** To be called before the object's own constructor reads its tables. */
export function meterStorage(storage: DurableObjectStorage): void {
  meter(storage);
  meter(storage.sql);
}

/** Bindings that are billed by what they lead to. */
const FREE: ReadonlySet<string> = new Set(['Fetcher', 'DurableObjectNamespace']);

/** Meters every binding; calling it again does nothing. @throws for one of which nobody said how it is billed */
export function meterBindings(env: object): void {
  for (const [name, binding] of Object.entries(env) as [string, unknown][]) {
    if (typeof binding !== 'object' || binding === null || metered.has(binding)) continue;
    const kind = binding.constructor.name;
    if (!(kind in BILLED) && !FREE.has(kind)) throw new Error(`env.${name}: say in BILLED how a ${kind} is billed`);
    metered.add(binding);
    meter(binding);
    if (kind === 'D1Database') meter((binding as D1Database).prepare('select 1'));
    if (kind !== 'DurableObjectNamespace') continue;
    for (const method of ['get', 'getByName']) around(binding, method, ({ result }) => meteredStub(result));
  }
}

/** Each call of a method on a stub is a request to the object. */
function meteredStub(stub: unknown): unknown {
  return new Proxy(stub as object, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property);
      if (typeof member !== 'function') return member;
      return (...parameters: unknown[]): unknown => {
        count('objectRequests');
        // Not `member.apply`, which would name a member of what the object returns.
        return keepAwake(Reflect.apply(member, target, parameters) as unknown);
      };
    },
  });
}

/** A timer that has not fired keeps an object from hibernating. */
export function meterTimers(): void {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const pending = new Set<unknown>();
  const over = (timer: unknown): void => {
    if (pending.delete(timer)) end();
  };
  const setMetered = (callback: (...parameters: unknown[]) => void, delay?: number, ...parameters: unknown[]) => {
    const timer = set(() => {
      over(timer);
      callback(...parameters);
    }, delay);
    begin();
    pending.add(timer);
    return timer;
  };
  const clearMetered = (timer: Parameters<typeof clear>[0]): void => {
    over(timer);
    clear(timer);
  };
  Object.assign(globalThis, { setTimeout: setMetered, clearTimeout: clearMetered });
  around(scheduler, 'wait', ({ result }) => keepAwake(result));
}
