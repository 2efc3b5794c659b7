/**
 * The tables of a run object. Rows dominate the bill, so a run is one row, which each turn of it writes
 * once: with the run the first intent, then each result with the next intent, then the end. No index: the
 * id is the key. A journal that outgrows its row goes on in a table of its own.
 */

import type { Journal } from './drive.ts';
import { Keeper, missingOf, summaryOfRecord, type Blobs, type Loaded, type StoredRecord } from './blobs.ts';
import { FLOW_MARKS_SCHEMA } from './flow-marks.ts';
import type { BlobReference, StepEvent, StepKey } from '../core/engine/journal.ts';
import type { RunSummary } from '../core/engine/record.ts';
import type { RunStart, TriggerEvent } from '../core/engine/state.ts';
import { recordOf } from '../core/engine/view.ts';
import { fits } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { HeldFlow } from '../core/policy/flow.ts';

/** A run on its way to its object. */
export interface AcceptedRun {
  readonly id: string;
  readonly chain: string;
  readonly version: number;
  /** Unix time in milliseconds. */
  readonly receivedAt: number;
  /** {@link StoredStart} as JSON text: it crosses the call and goes to disk as it is. */
  readonly start: string;
  /** Flow control of its chain, or why that could not be told, as JSON text. */
  readonly flow?: string;
  /** It may come again under the same id, and then starts nothing. */
  readonly mayRepeat?: boolean;
  /** Events that it takes over from another run. */
  readonly carried?: readonly StepEvent[];
}

/** How a run's start is kept: `input` only where it is not the body of the event. */
export interface StoredStart {
  readonly trigger: string;
  readonly event: TriggerEvent;
  readonly input?: unknown;
  readonly parent?: Parent;
}

/** The step that waits for the run. */
export interface Parent {
  readonly run: string;
  readonly step: StepKey;
  /** How many chains have called each other to come here. */
  readonly depth: number;
}

export interface RunRow {
  readonly id: string;
  readonly chain: string;
  readonly version: number;
  readonly createdAt: number;
  readonly endedAt: number | undefined;
  readonly paused: boolean;
  /** When it is to be opened again; 0: at once. */
  readonly wakeAt: number;
  /** When it had its turn, where it waited for one. */
  readonly startedAt: number | undefined;
  readonly start: RunStart;
  readonly parent: Parent | undefined;
  /** The final record as JSON text, once the run has ended. */
  readonly record: string | undefined;
}

/** What a new instance must know of a run without opening it. */
export interface OpenRun {
  readonly id: string;
  readonly wakeAt: number;
  readonly paused: boolean;
  readonly flow: string | undefined;
}

export interface RunStore {
  has(id: string): boolean;
  read(id: string): RunRow | undefined;
  /** Runs that have not ended, the oldest first. */
  openRuns(): OpenRun[];
  endedSince(milliseconds: number): RunSummary[];
  /** The journal of a run that is not on disk yet; its first flush puts it there. */
  create(run: AcceptedRun): Journal;
  /** The journal of a run on disk, and what it holds; `missing` is what must be loaded before it can go on. */
  resume(id: string, loaded?: Loaded): ResumedJournal;
  /** Notes when the run must be opened again, for instances to come. */
  setWake(id: string, wakeAt: number): void;
  setPaused(id: string, paused: boolean): void;
  setFlow(id: string, flow: string): void;
  addWait(event: string, key: string | undefined, run: string, step: StepKey): void;
  /** The steps that wait for an event; those that named no key take any. */
  waitsFor(event: string, key: string | undefined): { readonly run: string; readonly step: StepKey }[];
  removeWait(event: string, run: string, step: StepKey): void;
  /** Deletes what ended before that time; returns how many runs. */
  prune(endedBefore: number): number;
  savedUntil(): number;
  setSavedUntil(milliseconds: number): void;
  /** A clock that never goes back, so that no run ends before what is saved already. */
  notBefore(milliseconds: number): number;
}

export interface ResumedJournal {
  readonly events: StepEvent[];
  readonly missing: BlobReference[];
  readonly journal: Journal;
}

const SCHEMA = `
  create table if not exists runs (
    id text primary key, chain text not null, version integer not null, start text not null,
    created_at integer not null, ended_at integer, record text
  ) without rowid;
  create table if not exists journal (
    run text not null, sequence integer not null, events text not null, primary key (run, sequence)
  ) without rowid;
  create table if not exists meta (name text primary key, value integer not null) without rowid;
`;

/** One entry a version, from 1 on; an object applies those that it lacks. */
const MIGRATIONS = [
  `alter table runs add column events text not null default '';
   alter table runs add column wake_at integer not null default 0;
   alter table runs add column paused integer not null default 0;
   create table waits (
     event text not null, key text not null, run text not null, step text not null, primary key (event, key, run, step)
   ) without rowid;`,
  `alter table runs add column flow text; ${FLOW_MARKS_SCHEMA}`,
  // Those of before may repeat.
  `alter table runs add column remembered integer not null default 1;
   create table archives (key text primary key, until integer not null, runs blob not null) without rowid;`,
];

/** A run that has ended. */
export interface Ended {
  readonly id: string;
  readonly endedAt: number;
  /** It may come again under the same id. */
  readonly mayRepeat: boolean;
}

export interface RunStoreOptions {
  /** Where large outputs go; without it they stay here. */
  readonly blobs?: Blobs | undefined;
  /** Told of each end, in their order. */
  ended?(run: Ended): void;
  /** The id of a row that nobody needs any more. */
  spareRow?(): string | undefined;
}

export function openRunStore(storage: DurableObjectStorage, options: RunStoreOptions = {}): RunStore {
  const { sql } = storage;
  sql.exec(SCHEMA);
  const metaOf = (name: string): number =>
    Number(sql.exec('select value from meta where name = ?', name).toArray()[0]?.['value'] ?? 0);
  const setMeta = (name: string, value: number): void =>
    void sql.exec(
      'insert into meta values (?, ?) on conflict (name) do update set value = excluded.value',
      name,
      value,
    );
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (metaOf('schema') > index) continue;
    sql.exec(migration);
    setMeta('schema', index + 1);
  }
  let savedUntil = metaOf('saved_until');
  let savedUntilOnDisk = savedUntil;
  let latest = savedUntil;
  const notBefore = (milliseconds: number): number => (latest = Math.max(latest, milliseconds));
  return {
    notBefore,
    has: (id) => sql.exec('select 1 from runs where id = ?', id).toArray().length > 0,
    read: (id) => {
      const row = sql.exec('select * from runs where id = ?', id).toArray()[0];
      return row && rowOf(row);
    },
    openRuns: () =>
      sql
        .exec('select id, wake_at, paused, flow from runs where ended_at is null order by created_at')
        .toArray()
        .map((row) => ({
          id: String(row['id']),
          wakeAt: Number(row['wake_at']),
          paused: row['paused'] === 1,
          flow: row['flow'] === null ? undefined : String(row['flow']),
        })),
    endedSince: (milliseconds) =>
      sql
        .exec('select record from runs where ended_at >= ?', milliseconds)
        .toArray()
        .map((row) => summaryOfRecord(String(row['record']))),
    create: (run) => createJournal(sql, run, options, notBefore),
    resume: (id, loaded = new Map()) => resumeJournal(sql, id, loaded, options, notBefore),
    setWake: (id, wakeAt) => void sql.exec('update runs set wake_at = ?1 where id = ?2 and wake_at <> ?1', wakeAt, id),
    setFlow: (id, flow) => void sql.exec('update runs set flow = ?1 where id = ?2 and flow is not ?1', flow, id),
    setPaused: (id, paused) =>
      void sql.exec('update runs set paused = ?1, wake_at = 0 where id = ?2 and paused <> ?1', paused ? 1 : 0, id),
    addWait: (event, key, run, step) =>
      void sql.exec('insert or ignore into waits values (?, ?, ?, ?)', event, waitKey(key), run, JSON.stringify(step)),
    removeWait: (event, run, step) =>
      void sql.exec('delete from waits where event = ? and run = ? and step = ?', event, run, JSON.stringify(step)),
    waitsFor: (event, key) =>
      sql
        .exec('select run, step from waits where event = ? and key in (?, ?)', event, ANY, waitKey(key))
        .toArray()
        .map((row) => ({ run: String(row['run']), step: JSON.parse(String(row['step'])) as StepKey })),
    prune: (endedBefore) => {
      sql.exec('delete from journal where run in (select id from runs where ended_at < ?)', endedBefore);
      const pruned = sql.exec('delete from runs where ended_at < ?', endedBefore).rowsWritten;
      sql.exec('delete from waits where run not in (select id from runs where ended_at is null)');
      return pruned;
    },
    savedUntil: () => savedUntil,
    setSavedUntil: (milliseconds) => {
      savedUntil = milliseconds;
      // Being behind only means that some summaries are told twice after a restart.
      if (milliseconds - savedUntilOnDisk < LIMITS.savedUntilWriteMilliseconds) return;
      savedUntilOnDisk = milliseconds;
      setMeta('saved_until', milliseconds);
    },
  };
}

/** A wait without a key; a key begins with `=`. */
const ANY = '';
const waitKey = (key: string | undefined): string => (key === undefined ? ANY : `=${key}`);

function rowOf(row: Record<string, SqlStorageValue>): RunRow {
  const stored = JSON.parse(String(row['start'])) as StoredStart;
  const id = String(row['id']);
  const version = Number(row['version']);
  return {
    id,
    chain: String(row['chain']),
    version,
    createdAt: Number(row['created_at']),
    endedAt: row['ended_at'] === null ? undefined : Number(row['ended_at']),
    paused: row['paused'] === 1,
    wakeAt: Number(row['wake_at']),
    startedAt: startedAtOf(row['flow']),
    start: startOf(id, version, stored),
    parent: stored.parent,
    record: row['record'] === null ? undefined : String(row['record']),
  };
}

function startedAtOf(flow: SqlStorageValue | undefined): number | undefined {
  return typeof flow === 'string' ? (JSON.parse(flow) as Partial<HeldFlow>).startedAt : undefined;
}

export const startOf = (id: string, version: number, stored: StoredStart): RunStart => ({
  id,
  version,
  trigger: stored.trigger,
  event: stored.event,
  input: 'input' in stored ? stored.input : stored.event.body,
});

/** Where the next events of a journal go. */
interface Place {
  stored: boolean;
  /** Characters of the row that are written again with each turn. */
  length: number;
  sequence: number;
}

type NotBefore = RunStore['notBefore'];

const COLUMNS = 'id, chain, version, start, created_at, flow, remembered, events, ended_at, record, wake_at, paused';
const VALUES = COLUMNS.replace(/\w+/g, '?');

function createJournal(sql: SqlStorage, run: AcceptedRun, options: RunStoreOptions, notBefore: NotBefore): Journal {
  const { id, chain, version, start, receivedAt, flow = null, mayRepeat = false } = run;
  const insert = (events: string, endedAt: number | null, record: string | null): void => {
    const values = [id, chain, version, start, receivedAt, flow, Number(mayRepeat), events, endedAt, record, 0, 0];
    const spare = options.spareRow?.();
    const taken =
      spare !== undefined &&
      sql.exec(`update runs set (${COLUMNS}) = (${VALUES}) where id = ?`, ...values, spare).rowsWritten > 0;
    if (!taken) sql.exec(`insert into runs (${COLUMNS}) values (${VALUES})`, ...values);
  };
  const journal = journalOf(
    sql,
    id,
    { stored: false, length: start.length, sequence: 0 },
    {
      keeper: new Keeper(options.blobs, id),
      notBefore,
      ended: (endedAt) => options.ended?.({ id, endedAt, mayRepeat }),
      insert: (events) => insert(events, null, null),
      insertEnded: (endedAt, record) => insert('', endedAt, record),
    },
  );
  for (const event of run.carried ?? []) journal.record(event);
  return journal;
}

function resumeJournal(
  sql: SqlStorage,
  id: string,
  loaded: Loaded,
  options: RunStoreOptions,
  notBefore: NotBefore,
): ResumedJournal {
  const keeper = new Keeper(options.blobs, id);
  const [own] = sql.exec('select events, length(start) as size, remembered from runs where id = ?', id).toArray();
  const rows = sql.exec('select sequence, events from journal where run = ? order by sequence', id).toArray();
  const text = String(own?.['events'] ?? '');
  const lines = [...text.split('\n'), ...rows.map((row) => String(row['events']))];
  const place = {
    stored: true,
    length: Number(own?.['size'] ?? 0) + text.length,
    sequence: Number(rows.at(-1)?.['sequence'] ?? -1) + 1,
  };
  const events = lines.flatMap((line) => (line === '' ? [] : (JSON.parse(line) as StepEvent[])));
  return {
    events: events.map((event) => keeper.whole(event, loaded)),
    missing: missingOf(events, loaded),
    journal: journalOf(sql, id, place, {
      keeper,
      notBefore,
      ended: (endedAt) => options.ended?.({ id, endedAt, mayRepeat: own?.['remembered'] !== 0 }),
      insert: () => {},
      insertEnded: () => {},
    }),
  };
}

interface Inserts {
  readonly keeper: Keeper;
  ended(endedAt: number): void;
  readonly notBefore: NotBefore;
  insert(events: string): void;
  insertEnded(endedAt: number, record: string): void;
}

function journalOf(sql: SqlStorage, id: string, place: Place, inserts: Inserts): Journal {
  let pending: StepEvent[] = [];
  // A run that goes on waits no more: after a restart it must be opened at once.
  const append = (events: string): void => {
    // A row is written as a whole, so a long one would be written over and over.
    if (place.sequence === 0 && place.length + events.length <= LIMITS.runRowCharacters) {
      place.length += events.length;
      sql.exec('update runs set events = events || char(10) || ?, wake_at = 0 where id = ?', events, id);
      return;
    }
    sql.exec('insert into journal values (?, ?, ?)', id, place.sequence++, events);
    sql.exec('update runs set wake_at = 0 where id = ? and wake_at <> 0', id);
  };
  const flush = (): void => {
    if (!place.stored) {
      const events = pending.length === 0 ? '' : JSON.stringify(pending);
      const fitting = place.length + events.length <= LIMITS.runRowCharacters;
      inserts.insert(fitting ? events : '');
      place.stored = true;
      if (fitting) {
        place.length += events.length;
        pending = [];
      }
    }
    if (pending.length === 0) return;
    const row = JSON.stringify(pending);
    // Each event fits a row; several large ones together may not.
    if (fits(row, LIMITS.runRecordBytes)) append(row);
    else for (const event of pending) append(JSON.stringify([event]));
    pending = [];
  };
  return {
    record: (event) => void pending.push(inserts.keeper.stored(event)),
    flush,
    check: (output, name) => inserts.keeper.check(output, name),
    end: (run) => {
      const endedAt = inserts.notBefore(run.endedAt ?? 0);
      const { record, whole } = recordText(inserts.keeper.record(recordOf(run)));
      // The record of a run that succeeded says how its last steps ended; nothing will take it up again.
      if (whole && run.status === 'succeeded') pending = [];
      else flush();
      if (place.stored) sql.exec('update runs set ended_at = ?, record = ? where id = ?', endedAt, record, id);
      else inserts.insertEnded(endedAt, record);
      place.stored = true;
      inserts.ended(endedAt);
    },
  };
}

/** A record that outgrows a row keeps its outcome and loses the outputs of its steps; the journal has them. */
function recordText(record: StoredRecord): { readonly record: string; readonly whole: boolean } {
  const text = JSON.stringify(record);
  if (fits(text, LIMITS.runRecordBytes)) return { record: text, whole: true };
  const steps = record.steps.map((step) => ({ ...step, output: undefined }));
  return { record: JSON.stringify({ ...record, steps, input: undefined }), whole: false };
}
