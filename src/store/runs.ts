/**
 * Runs as lists show them, and in full those whose journal is in no object.
 *
 * Guarantee: saving is idempotent and monotonic; a run that has ended is never shown as running again,
 * whatever order and however often its summaries arrive.
 * Accepted weakness: a summary is written after the fact, so the newest moments of a run may be missing.
 */

import { and, desc, eq, inArray, sql, type SQL } from 'drizzle-orm';
import { connect } from './database.ts';
import { runs } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import type { RunRecord, RunStatus, RunSummary, ShownFault } from '../core/engine/record.ts';
import { LIMITS } from '../core/limits.ts';

export interface RunFilter {
  readonly chain?: string;
  readonly status?: RunStatus;
  /** `next` of the previous page. */
  readonly after?: string;
  readonly limit: number;
}

/** `next` is undefined on the last page. */
export interface RunPage {
  readonly items: readonly RunSummary[];
  readonly next: string | undefined;
}

type RunRow = typeof runs.$inferInsert;

/** A parameter of D1 takes 2 MB; one row alone may come near to that. */
const CHUNK_CHARACTERS = 512 * 1024;

/** A row takes 2 MB; the record has most of it. */
const ERROR_BYTES = 64 * 1024;

export const TOO_LARGE = '[too large to keep]';

/** `record` is given for runs whose journal is in no object; values over `runRecordBytes` are left out of it. */
export async function saveRuns(
  db: D1Database,
  rows: readonly { readonly summary: RunSummary; readonly record?: RunRecord }[],
): Promise<void> {
  const statements: D1PreparedStatement[] = [];
  let chunk: string[] = [];
  let characters = 0;
  const close = (): void => {
    if (chunk.length > 0) statements.push(db.prepare(UPSERT).bind(`[${chunk.join(',')}]`));
    chunk = [];
    characters = 0;
  };
  for (const { summary, record } of rows) {
    const row = JSON.stringify(rowOf(summary, record));
    if (characters + row.length > CHUNK_CHARACTERS) close();
    chunk.push(row);
    characters += row.length;
  }
  close();
  if (statements.length > 0) await db.batch(statements);
}

/** All rows of a batch as one parameter: a statement takes only a hundred, and each costs time. */
const UPSERT = `
  insert into runs (id, chain, version, trigger, trigger_type, mode, status, created_at, ended_at, error, record)
  select value ->> 'id', value ->> 'chain', value ->> 'version', value ->> 'trigger', value ->> 'triggerType',
    value ->> 'mode', value ->> 'status', value ->> 'createdAt', value ->> 'endedAt', value -> 'error', value -> 'record'
  from json_each(?) where true
  on conflict (id) do update set
    status = excluded.status, ended_at = excluded.ended_at, error = excluded.error,
    record = coalesce(excluded.record, runs.record)
  where runs.status in ('queued', 'running', 'waiting') and excluded.status <> 'queued'`;

function rowOf(summary: RunSummary, record: RunRecord | undefined): RunRow {
  const { id, chain, version, trigger, triggerType, mode, status, createdAt, endedAt, error } = summary;
  const row = { id, chain, version, trigger, triggerType, mode, status, createdAt };
  return {
    ...row,
    endedAt: endedAt ?? undefined,
    error: shortened(error) ?? undefined,
    record: record === undefined ? undefined : (kept(record) ?? undefined),
  };
}

/** An error may carry an upstream's reply; a row that D1 refuses would keep its whole batch from being saved. */
const shortened = (error: ShownFault | undefined): RunRow['error'] => {
  if (error === undefined) return null;
  const { data: _data, issues: _issues, ...core } = error;
  return fits(error, ERROR_BYTES) ? error : core;
};

function kept({ input, output, steps }: RunRecord): RunRow['record'] {
  const whole = { input, output, steps };
  if (fits(whole, LIMITS.runRecordBytes)) return whole;
  const without = { input: TOO_LARGE, output: TOO_LARGE, steps: steps.map((step) => ({ ...step, output: TOO_LARGE })) };
  return fits(without, LIMITS.runRecordBytes) ? without : null;
}

/** Texts of a third of the bound fit in any alphabet, and need not be encoded to know it. */
function fits(value: unknown, bytes: number): boolean {
  const text = JSON.stringify(value);
  return text.length * 3 <= bytes || (text.length <= bytes && new TextEncoder().encode(text).byteLength <= bytes);
}

/** The ids of a version's newest runs that have succeeded or failed. */
export async function listEndedRuns(db: D1Database, chain: string, version: number, limit: number): Promise<string[]> {
  const rows = await connect(db)
    .select({ id: runs.id })
    .from(runs)
    .where(and(eq(runs.chain, chain), eq(runs.version, version), inArray(runs.status, ['succeeded', 'failed'])))
    .orderBy(desc(runs.createdAt))
    .limit(limit);
  return rows.map((row) => row.id);
}

/** Deletes runs that began before that time, a page at a time, so that no statement takes long. */
export async function pruneRuns(db: D1Database, createdBefore: number): Promise<void> {
  const page = 'delete from runs where id in (select id from runs where created_at < ? order by created_at limit 1000)';
  await db.prepare(page).bind(createdBefore).run();
}

/**
 * Newest first. Runs that begin meanwhile neither shift nor repeat what the next page shows.
 * Fault `request.invalid` for a cursor that no page gave.
 */
export async function listRuns(db: D1Database, filter: RunFilter): Promise<Result<RunPage>> {
  const conditions: (SQL | undefined)[] = [];
  if (filter.chain !== undefined) conditions.push(eq(runs.chain, filter.chain));
  if (filter.status !== undefined) conditions.push(eq(runs.status, filter.status));
  // Said literally, because SQLite takes a partial index only where the query implies its condition.
  if (filter.status !== undefined && filter.status !== 'succeeded') conditions.push(sql`status <> 'succeeded'`);
  if (filter.after !== undefined) {
    const position = readCursor(filter.after);
    if (position === undefined) {
      return fail('request.invalid', 'after: This is no cursor; take "next" of the previous page as it is.');
    }
    conditions.push(sql`(${runs.createdAt}, ${runs.id}) < (${position.createdAt}, ${position.id})`);
  }
  const rows = await connect(db)
    .select(summaryColumns)
    .from(runs)
    .where(and(...conditions))
    .orderBy(desc(runs.createdAt), desc(runs.id))
    .limit(filter.limit + 1)
    .all();
  const items = rows.slice(0, filter.limit).map(summaryOf);
  const last = items.at(-1);
  return ok({ items, next: rows.length > filter.limit && last !== undefined ? cursorAfter(last) : undefined });
}

/** A summary alone where the journal, and so the rest, is in an object. */
export async function loadRun(db: D1Database, id: string): Promise<RunRecord | RunSummary | undefined> {
  const row = await connect(db).select().from(runs).where(eq(runs.id, id)).get();
  if (row === undefined) return undefined;
  const { record, ...summary } = row;
  if (record === null) return summaryOf(summary);
  // JSON drops what is undefined, and so an absent member.
  return { ...summaryOf(summary), input: record.input, output: record.output, steps: record.steps };
}

const summaryColumns = {
  id: runs.id,
  chain: runs.chain,
  version: runs.version,
  trigger: runs.trigger,
  triggerType: runs.triggerType,
  mode: runs.mode,
  status: runs.status,
  createdAt: runs.createdAt,
  endedAt: runs.endedAt,
  error: runs.error,
};

const summaryOf = (row: Omit<typeof runs.$inferSelect, 'record'>): RunSummary => ({
  ...row,
  endedAt: row.endedAt ?? undefined,
  error: row.error ?? undefined,
});

const cursorAfter = (run: RunSummary): string => btoa(`${run.createdAt}.${run.id}`).replace(/=+$/, '');

function readCursor(cursor: string): { readonly createdAt: number; readonly id: string } | undefined {
  try {
    const [, createdAt, id] = /^(\d{1,16})\.([\w-]{1,128})$/.exec(atob(cursor)) ?? [];
    return createdAt === undefined || id === undefined ? undefined : { createdAt: Number(createdAt), id };
  } catch {
    return undefined;
  }
}
