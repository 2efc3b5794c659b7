/**
 * Runs as lists show them, and inline runs in full.
 *
 * Guarantee: saving is idempotent and monotonic; a run that has ended is never shown as running again,
 * whatever order and however often its summaries arrive.
 * Accepted weakness: a summary is written after the fact, so the newest moments of a run may be missing.
 */

import { and, desc, eq, inArray, sql } from 'drizzle-orm';
import { connect } from './database.ts';
import { runs } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import type { RunRecord, RunStatus, RunSummary, ShownFault } from '../core/engine/record.ts';
import { fits } from '../core/json.ts';
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

/** `record` is given for inline runs; values over `runRecordBytes` are left out of it. */
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
  on conflict (chain, created_at, id) do update set
    status = excluded.status, ended_at = excluded.ended_at, error = excluded.error,
    record = coalesce(excluded.record, runs.record)
  where runs.status in ('queued', 'running', 'waiting') and excluded.status not in ('queued', runs.status)`;

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
  return fits(JSON.stringify(error), ERROR_BYTES) ? error : core;
};

function kept({ input, output, steps }: RunRecord): RunRow['record'] {
  const whole = { input, output, steps };
  if (fits(JSON.stringify(whole), LIMITS.runRecordBytes)) return whole;
  const without = { input: TOO_LARGE, output: TOO_LARGE, steps: steps.map((step) => ({ ...step, output: TOO_LARGE })) };
  return fits(JSON.stringify(without), LIMITS.runRecordBytes) ? without : null;
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

/** The chains of all rows that fulfil a condition, by one seek each. */
const chainsWhere = (table: string, condition: string): string => `chains (name) as (
    select min(chain) from ${table} where ${condition}
    union all
    select (select min(chain) from ${table} where chain > chains.name and ${condition}) from chains where name is not null
  )`;

const PRUNE = `
  with recursive ${chainsWhere('runs', 'true')}
  delete from runs where (chain, created_at, id) in (
    select chain, created_at, id from chains join runs on chain = name and created_at < ? limit 1000
  )`;

/** Deletes runs that began before that time, a page at a time, so that no statement takes long. */
export async function pruneRuns(db: D1Database, createdBefore: number): Promise<void> {
  await db.prepare(PRUNE).bind(createdBefore).run();
}

const COLUMNS = 'id, chain, version, trigger, trigger_type, mode, status, created_at, ended_at, error';
const NEWEST_FIRST = 'order by created_at desc, id desc';

/**
 * Newest first. Runs that begin meanwhile neither shift nor repeat what the next page shows.
 * Fault `request.invalid` for a cursor that no page gave.
 */
export async function listRuns(db: D1Database, filter: RunFilter): Promise<Result<RunPage>> {
  const values: unknown[] = [];
  const bound = (value: unknown): string => `?${values.push(value)}`;
  let [table, matches] = ['runs', 'true'];
  if (filter.status !== undefined) matches = `status = ${bound(filter.status)}`;
  if (filter.status !== undefined && filter.status !== 'succeeded') {
    // Said literally, because SQLite takes a partial index only where the query implies its condition.
    matches += ` and status <> 'succeeded'`;
    // And by itself it would read all runs of the chain.
    table = 'runs indexed by runs_by_status';
  }
  let follows = 'true';
  if (filter.after !== undefined) {
    const position = readCursor(filter.after);
    if (position === undefined) {
      return fail('request.invalid', 'after: This is no cursor; take "next" of the previous page as it is.');
    }
    follows = `(created_at, id) < (${bound(position.createdAt)}, ${bound(position.id)})`;
  }
  const limit = bound(filter.limit + 1);
  const query =
    filter.chain === undefined
      ? listOfAll(table, matches, follows, limit)
      : `select ${COLUMNS} from ${table} where chain = ${bound(filter.chain)} and ${matches} and ${follows}
         ${NEWEST_FIRST} limit ${limit}`;
  const { results } = await db
    .prepare(query)
    .bind(...values)
    .all<ListedRow>();
  const items = results.slice(0, filter.limit).map(listed);
  const last = items.at(-1);
  return ok({ items, next: results.length > filter.limit && last !== undefined ? cursorAfter(last) : undefined });
}

/**
 * The lists of all chains as one, without an index over all of them: the newest run of each chain waits in a
 * queue; whichever is taken is followed by the next of its chain. A seek for each chain and each run shown.
 */
function listOfAll(table: string, matches: string, follows: string, limit: string): string {
  const newest = (condition: string): string =>
    `(select created_at, id from ${table} where ${condition} and ${matches} ${NEWEST_FIRST} limit 1)`;
  const merging = (from: string, chain: string, condition: string): string =>
    `select run.chain, run.created_at, run.id from ${from} cross join runs as run
     on run.chain = ${chain} and (run.created_at, run.id) = ${newest(`chain = ${chain} and ${condition}`)}`;
  const older = '(created_at, id) < (merged.created_at, merged.id)';
  return `
    with recursive ${chainsWhere(table, matches)},
    merged (chain, created_at, id) as (
      ${merging('chains', 'chains.name', follows)}
      union all
      ${merging('merged', 'merged.chain', older)}
      order by 2 desc, 3 desc limit ${limit}
    )
    select ${COLUMNS} from merged join runs using (chain, created_at, id) ${NEWEST_FIRST}`;
}

/** An inline run. A durable one is asked of its object, which its id names. */
export async function loadInlineRun(db: D1Database, id: string): Promise<RunRecord | undefined> {
  const row = await connect(db)
    .select()
    .from(runs)
    .where(and(eq(runs.id, id), sql`mode = 'inline'`))
    .get();
  if (row === undefined) return undefined;
  const { record, ...summary } = row;
  // JSON drops what is undefined, and so an absent member.
  const { input, output, steps } = record ?? { input: undefined, output: undefined, steps: [] };
  return { ...summaryOf(summary), input, output, steps };
}

/** A row as SQL gives it. */
interface ListedRow extends Pick<RunSummary, 'id' | 'chain' | 'version' | 'trigger' | 'mode' | 'status'> {
  readonly trigger_type: RunSummary['triggerType'];
  readonly created_at: number;
  readonly ended_at: number | null;
  readonly error: string | null;
}

const listed = ({ trigger_type, created_at, ended_at, error, ...row }: ListedRow): RunSummary => ({
  ...row,
  triggerType: trigger_type,
  createdAt: created_at,
  endedAt: ended_at ?? undefined,
  error: error === null ? undefined : (JSON.parse(error) as ShownFault),
});

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
