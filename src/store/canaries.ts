/**
 * Canaries, and the outcomes by which they are judged.
 *
 * Accepted weakness: outcomes are those of run summaries. Under load not every inline run has one; which have
 * does not depend on the version, so a sample still compares the versions.
 */

import { and, desc, eq, gt, inArray, isNotNull, sql } from 'drizzle-orm';
import { change, connect, type Database } from './database.ts';
import { chainCanaries, chainVersions, runs } from './schema.ts';
import { LIMITS } from '../core/limits.ts';
import {
  slowAfter,
  type CanaryFigures,
  type CanarySettings,
  type Judgement,
  type Tally,
} from '../core/policy/canary.ts';

export type CanaryRow = typeof chainCanaries.$inferSelect;

/** Canaries that get runs, with their documents; for {@link Database.batch}. */
export const selectActiveCanaries = (database: Database) =>
  database
    .select({
      chain: chainCanaries.chain,
      version: chainCanaries.version,
      weight: chainCanaries.weight,
      document: chainVersions.document,
    })
    .from(chainCanaries)
    .innerJoin(
      chainVersions,
      and(eq(chainVersions.chain, chainCanaries.chain), eq(chainVersions.version, chainCanaries.version)),
    )
    .where(gt(chainCanaries.weight, 0));

export const loadCanary = (db: D1Database, chain: string): Promise<CanaryRow | undefined> =>
  connect(db).select().from(chainCanaries).where(eq(chainCanaries.chain, chain)).get();

export interface NewCanary extends CanarySettings {
  readonly chain: string;
  readonly version: number;
  readonly stable: number;
  readonly actor: string;
  /** Unix time in milliseconds. */
  readonly now: number;
}

/** Begins a canary, or begins to count anew under other settings; the same one again changes nothing. */
export async function startCanary(db: D1Database, canary: NewCanary): Promise<void> {
  const { actor, now, ...settings } = canary;
  const known = await loadCanary(db, canary.chain);
  const running = known !== undefined && known.weight > 0;
  if (running && isSame(known, settings)) return;
  const row: CanaryRow = {
    ...settings,
    startedAt: now,
    startedBy: actor,
    // Isolates that hold the weight of before must not be counted by the new one.
    countedFrom: running ? now + 2 * LIMITS.configurationAgeMilliseconds : now,
    slowMilliseconds: null,
    timedFrom: null,
    rolledBackAt: null,
    reason: null,
    judgement: null,
  };
  const database = connect(db);
  const detail = { version: canary.version, weight: canary.weight };
  await change(database, { at: now, actor, action: 'chain.canary', subject: canary.chain, detail }, [
    database.insert(chainCanaries).values(row).onConflictDoUpdate({ target: chainCanaries.chain, set: row }),
  ]);
}

const isSame = (known: CanaryRow, settings: Omit<NewCanary, 'actor' | 'now'>): boolean =>
  (['version', 'stable', 'weight', 'minimumRuns', 'errorRateIncrease', 'latencyIncrease'] as const).every(
    (field) => known[field] === settings[field],
  );

/** The stable version takes all runs again. */
export async function endCanary(db: D1Database, { chain, version }: CanaryRow, actor: string, now: number) {
  const database = connect(db);
  await change(database, { at: now, actor, action: 'chain.canary-end', subject: chain, detail: { version } }, [
    database.delete(chainCanaries).where(eq(chainCanaries.chain, chain)),
  ]);
}

/** Keeps the row, so that it can be seen why. */
export async function rollBackCanary(
  db: D1Database,
  { chain, version, startedAt }: CanaryRow,
  judgement: Judgement,
  now: number,
): Promise<void> {
  const database = connect(db);
  const { reason } = judgement;
  const detail = { version, reason };
  await change(database, { at: now, actor: 'gateway', action: 'chain.canary-rollback', subject: chain, detail }, [
    database
      .update(chainCanaries)
      .set({ weight: 0, rolledBackAt: now, reason: reason ?? null, judgement })
      // Not one that has been begun anew meanwhile.
      .where(and(eq(chainCanaries.chain, chain), eq(chainCanaries.startedAt, startedAt))),
  ]);
}

/** From what time on runs are slow, by the newest runs of the stable version; kept once it is known. */
export async function withThreshold(db: D1Database, canary: CanaryRow, now: number): Promise<CanaryRow> {
  const { chain, stable, startedAt, latencyIncrease, slowMilliseconds } = canary;
  if (latencyIncrease === null || slowMilliseconds !== null) return canary;
  const database = connect(db);
  const ended = await database
    .select({ milliseconds: sql<number>`${runs.endedAt} - ${runs.createdAt}` })
    .from(runs)
    .where(
      and(
        eq(runs.chain, chain),
        eq(runs.version, stable),
        isNotNull(runs.endedAt),
        inArray(runs.status, ['succeeded', 'failed']),
      ),
    )
    .orderBy(desc(runs.createdAt))
    .limit(LIMITS.canaryLatencyRuns);
  if (ended.length < LIMITS.canaryLatencyRunsLeast) return canary;
  const found = {
    slowMilliseconds: slowAfter(
      ended.map((row) => row.milliseconds),
      latencyIncrease,
    ),
    timedFrom: now,
  };
  await database
    .update(chainCanaries)
    .set(found)
    .where(and(eq(chainCanaries.chain, chain), eq(chainCanaries.startedAt, startedAt)));
  return { ...canary, ...found };
}

/**
 * What became of the runs of both versions. Left out: cancelled runs, and those that the gateway itself failed.
 * For latency, runs count once each would be known to be slow, whether or not they have ended.
 */
const OUTCOMES = `
  select version,
    sum(status in ('succeeded', 'failed')) as runs,
    sum(status = 'failed') as failed,
    sum(created_at >= ?5 and created_at + ?6 < ?7) as timed,
    sum(created_at >= ?5 and created_at + ?6 < ?7 and coalesce(ended_at, ?7) - created_at > ?6) as slow
  from (
    select version, status, created_at, ended_at from runs
    where chain = ?1 and created_at >= ?2 and version in (?3, ?4) and status <> 'cancelled'
      and coalesce(error ->> 'code', '') not in ('storage.unavailable', 'vault.closed', 'vault.unreadable')
    order by created_at limit ?8
  ) group by version`;

export async function countOutcomes(db: D1Database, canary: CanaryRow, now: number): Promise<CanaryFigures> {
  const { chain, version, stable, countedFrom, timedFrom, slowMilliseconds } = canary;
  const { results } = await db
    .prepare(OUTCOMES)
    .bind(
      ...[chain, countedFrom, version, stable],
      ...[Math.max(timedFrom ?? 0, countedFrom), slowMilliseconds ?? 0, now, LIMITS.canaryRuns],
    )
    .all<{ version: number; runs: number; failed: number; timed: number; slow: number }>();
  const tally = (all: 'runs' | 'timed', bad: 'failed' | 'slow'): Tally => {
    const of = (wanted: number) => {
      const row = results.find((each) => each.version === wanted);
      return { runs: row?.[all] ?? 0, bad: row?.[bad] ?? 0 };
    };
    return { stable: of(stable), canary: of(version) };
  };
  return {
    errors: tally('runs', 'failed'),
    latency: slowMilliseconds === null ? undefined : tally('timed', 'slow'),
    slowMilliseconds: slowMilliseconds ?? undefined,
  };
}
