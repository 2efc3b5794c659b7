/**
 * The tables of a run object. Rows dominate the bill, so a run of n effects writes n + 3 of them: the
 * run, the first intent, n results (each with the next intent), the end. No index: the id is the key.
 */

import type { AcceptedRun } from './run-object.ts';
import type { Journal } from './drive.ts';
import type { StepEvent } from '../core/engine/journal.ts';
import type { RunSummary } from '../core/engine/record.ts';
import type { RunStart, RunState, TriggerEvent } from '../core/engine/state.ts';
import { recordOf } from '../core/engine/view.ts';
import { fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

export interface RunRow {
  readonly id: string;
  readonly chain: string;
  readonly version: number;
  readonly createdAt: number;
  readonly endedAt: number | undefined;
  readonly start: RunStart;
  /** The final record as JSON text, once the run has ended. */
  readonly record: string | undefined;
}

export interface RunStore {
  /** False when a run of that id is already there. */
  insert(run: AcceptedRun): boolean;
  read(id: string): RunRow | undefined;
  openRuns(): string[];
  endedSince(milliseconds: number): RunSummary[];
  journalOf(id: string): { readonly events: StepEvent[]; readonly nextSequence: number };
  journal(id: string, nextSequence: number): Journal;
  savedUntil(): number;
  setSavedUntil(milliseconds: number): void;
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

/** How a run's start is kept: `input` only where it is not the body of the event. */
export interface StoredStart {
  readonly trigger: string;
  readonly event: TriggerEvent;
  readonly input?: unknown;
}

export function openRunStore(storage: DurableObjectStorage): RunStore {
  const { sql } = storage;
  sql.exec(SCHEMA);
  let savedUntil = Number(sql.exec("select value from meta where name = 'saved_until'").toArray()[0]?.['value'] ?? 0);
  let savedUntilOnDisk = savedUntil;
  return {
    insert: (run) => {
      const inserted = sql.exec(
        'insert into runs (id, chain, version, start, created_at) values (?, ?, ?, ?, ?) on conflict do nothing returning id',
        ...[run.id, run.chain, run.version, run.start, run.receivedAt],
      );
      return inserted.toArray().length > 0;
    },
    read: (id) => {
      const row = sql.exec('select * from runs where id = ?', id).toArray()[0];
      return row && rowOf(row);
    },
    openRuns: () =>
      sql
        .exec('select id from runs where ended_at is null order by created_at')
        .toArray()
        .map((row) => String(row['id'])),
    endedSince: (milliseconds) =>
      sql
        .exec('select record from runs where ended_at >= ?', milliseconds)
        .toArray()
        .map((row) => summaryOfRecord(String(row['record']))),
    journalOf: (id) => {
      const rows = sql.exec('select sequence, events from journal where run = ? order by sequence', id).toArray();
      const events = rows.flatMap((row) => JSON.parse(String(row['events'])) as StepEvent[]);
      return { events, nextSequence: Number(rows.at(-1)?.['sequence'] ?? -1) + 1 };
    },
    journal: (id, nextSequence) => journalOf(sql, id, nextSequence),
    savedUntil: () => savedUntil,
    setSavedUntil: (milliseconds) => {
      savedUntil = milliseconds;
      // Being behind only means that some summaries are told twice after a restart.
      if (milliseconds - savedUntilOnDisk < LIMITS.savedUntilWriteMilliseconds) return;
      savedUntilOnDisk = milliseconds;
      sql.exec(
        "insert into meta values ('saved_until', ?) on conflict (name) do update set value = excluded.value",
        milliseconds,
      );
    },
  };
}

function rowOf(row: Record<string, SqlStorageValue>): RunRow {
  const stored = JSON.parse(String(row['start'])) as StoredStart;
  const id = String(row['id']);
  const version = Number(row['version']);
  const input = 'input' in stored ? stored.input : stored.event.body;
  return {
    id,
    chain: String(row['chain']),
    version,
    createdAt: Number(row['created_at']),
    endedAt: row['ended_at'] === null ? undefined : Number(row['ended_at']),
    start: { id, version, trigger: stored.trigger, event: stored.event, input },
    record: row['record'] === null ? undefined : String(row['record']),
  };
}

/** Whether a text has that few bytes in UTF-8, which has up to three for each of its units. */
const fits = (text: string, limitBytes: number): boolean =>
  text.length * 3 <= limitBytes || new TextEncoder().encode(text).byteLength <= limitBytes;

function journalOf(sql: SqlStorage, id: string, nextSequence: number): Journal {
  let sequence = nextSequence;
  let pending: StepEvent[] = [];
  const flush = (): void => {
    if (pending.length === 0) return;
    const row = JSON.stringify(pending);
    // Each event fits a row; several large ones together may not.
    const rows = fits(row, LIMITS.runRecordBytes) ? [row] : pending.map((event) => JSON.stringify([event]));
    for (const events of rows) sql.exec('insert into journal values (?, ?, ?)', id, sequence++, events);
    pending = [];
  };
  return {
    record: (event) => pending.push(event),
    flush,
    check: (output) => {
      const limit = LIMITS.stepOutputBytes;
      if (fits(JSON.stringify(output ?? null), limit)) return undefined;
      return fault(
        'step.output-too-large',
        `The output is too large as JSON; a durable run stores up to ${limit} bytes.`,
      );
    },
    end: (run) => {
      flush();
      sql.exec('update runs set ended_at = ?, record = ? where id = ?', run.endedAt ?? 0, recordText(run), id);
    },
  };
}

/** A record that outgrows a row keeps its outcome and loses the outputs of its steps; the journal has them. */
function recordText(run: RunState): string {
  const record = recordOf(run);
  const text = JSON.stringify(record);
  if (fits(text, LIMITS.runRecordBytes)) return text;
  const steps = record.steps.map((step) => ({ ...step, output: undefined }));
  return JSON.stringify({ ...record, steps, input: undefined });
}

function summaryOfRecord(text: string): RunSummary {
  const {
    input: _input,
    output: _output,
    steps: _steps,
    ...summary
  } = JSON.parse(text) as RunSummary & {
    input: unknown;
    output: unknown;
    steps: unknown;
  };
  return summary;
}
