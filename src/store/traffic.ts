/** Figures of traffic: a row for each minute, later each hour, of a target, version and caller. */

import { and, asc, eq, gte, lt } from 'drizzle-orm';
import { connect } from './database.ts';
import { traffic } from './schema.ts';
import { merge, noFigures, type Figures, type Tally } from '../core/traffic.ts';
import { LIMITS } from '../core/limits.ts';

const HOUR = 3_600_000;

/** Adds to what is there. Tallies of one row may come several times. */
export async function addTraffic(db: D1Database, tallies: readonly Tally[]): Promise<void> {
  const merged = new Map<string, Tally>();
  for (const tally of tallies) {
    const key = JSON.stringify([tally.at, tally.target, tally.version, tally.caller]);
    const known = merged.get(key);
    if (known === undefined) merged.set(key, { ...tally, statuses: [...tally.statuses], buckets: [...tally.buckets] });
    else merge(known, tally);
  }
  if (merged.size > 0)
    await db
      .prepare(UPSERT)
      .bind(JSON.stringify([...merged.values()]))
      .run();
}

/** A row holds its counts as JSON, so they are added by the statement itself, and a bound can be added later. */
const sums = (column: string, length: number): string =>
  `json_array(${Array.from({ length }, (_, index) => `(traffic.${column} ->> ${index}) + (excluded.${column} ->> ${index})`).join(', ')})`;

const UPSERT = `
  insert into traffic (at, seconds, target, version, caller, requests, statuses, total_milliseconds, buckets)
  select value ->> 'at', 60, value ->> 'target', value ->> 'version', value ->> 'caller', value ->> 'requests',
    value -> 'statuses', value ->> 'totalMilliseconds', value -> 'buckets'
  from json_each(?) where true
  on conflict (at, seconds, target, version, caller) do update set
    requests = traffic.requests + excluded.requests,
    total_milliseconds = traffic.total_milliseconds + excluded.total_milliseconds,
    statuses = ${sums('statuses', noFigures().statuses.length)},
    buckets = ${sums('buckets', noFigures().buckets.length)}`;

export interface TrafficFilter {
  /** Unix milliseconds: from the first on, before the second. */
  readonly from: number;
  readonly to: number;
  readonly target?: string | undefined;
  readonly version?: string | undefined;
  readonly caller?: string | undefined;
  /** What a line stands for, besides its time. */
  readonly group: readonly ('target' | 'version' | 'caller')[];
  /** Length of the time of a line; undefined: one line for the whole time. */
  readonly stepMilliseconds: number | undefined;
}

export interface TrafficLine extends Figures {
  readonly at: number;
  readonly target: string | undefined;
  readonly version: string | undefined;
  readonly caller: string | undefined;
}

/** Ordered by time. */
export async function readTraffic(db: D1Database, filter: TrafficFilter): Promise<TrafficLine[]> {
  const { from, to, group, stepMilliseconds } = filter;
  const equal = (['target', 'version', 'caller'] as const).flatMap((name) =>
    filter[name] === undefined ? [] : [eq(traffic[name], filter[name])],
  );
  const rows = await connect(db)
    .select()
    .from(traffic)
    .where(and(gte(traffic.at, from), lt(traffic.at, to), ...equal))
    .orderBy(asc(traffic.at))
    .limit(LIMITS.trafficRows)
    .all();
  const lines = new Map<string, TrafficLine>();
  for (const row of rows) {
    const at = stepMilliseconds === undefined ? from : row.at - (row.at % stepMilliseconds);
    const named = (name: 'target' | 'version' | 'caller') => (group.includes(name) ? row[name] : undefined);
    const facts = { at, target: named('target'), version: named('version'), caller: named('caller') };
    const key = JSON.stringify(facts);
    let line = lines.get(key);
    if (line === undefined) lines.set(key, (line = { ...facts, ...noFigures() }));
    merge(line, row);
  }
  return [...lines.values()];
}

/** Makes hours of the minutes that are older than a day or two, and forgets hours past their time. */
export async function foldTraffic(db: D1Database, now: number): Promise<void> {
  const database = connect(db);
  const before = Math.floor((now - LIMITS.trafficMinutesMilliseconds) / HOUR) * HOUR;
  const oldest = await database
    .select({ at: traffic.at })
    .from(traffic)
    .where(and(eq(traffic.seconds, 60), lt(traffic.at, before)))
    .orderBy(asc(traffic.at))
    .limit(1)
    .get();
  if (oldest === undefined) return;
  // An hour at a time: the sweep comes each minute.
  const hour = Math.floor(oldest.at / HOUR) * HOUR;
  const within = and(eq(traffic.seconds, 60), gte(traffic.at, hour), lt(traffic.at, hour + HOUR));
  const rows = await database.select().from(traffic).where(within).all();
  const hours = new Map<string, (typeof rows)[number]>();
  for (const row of rows) {
    const key = JSON.stringify([row.target, row.version, row.caller]);
    const known = hours.get(key);
    if (known === undefined) hours.set(key, { ...row, at: hour, seconds: 3_600 });
    else merge(known, row);
  }
  await db.batch([
    db.prepare(FOLD).bind(JSON.stringify([...hours.values()])),
    db.prepare('delete from traffic where seconds = 60 and at >= ? and at < ?').bind(hour, hour + HOUR),
    db.prepare('delete from traffic where at < ?').bind(now - LIMITS.trafficHoursMilliseconds),
  ]);
}

const FOLD = UPSERT.replace("value ->> 'at', 60,", "value ->> 'at', 3600,");
