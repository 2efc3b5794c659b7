/**
 * The one object that holds every schedule, with one alarm for the earliest.
 *
 * Guarantee: a tick starts one run. It is accepted under a key made of the tick before the row moves on, so
 * a crash in between repeats the acceptance, which finds the duplicate. A lost alarm is made up for by
 * `sweep`, which the cron trigger calls each minute and the launcher at start.
 * Accepted weakness: one object fires them all, about a thousand ticks a turn, so tens of thousands of
 * schedules on the same minute take some seconds to start.
 */

import { DurableObject } from 'cloudflare:workers';
import { acceptRuns, type RunRequest } from './accept.ts';
import { checkConfiguration, versionFor } from './configuration.ts';
import { requestlessEvent } from '../core/engine/state.ts';
import { dueTicks, nextTick, type DueTicks, type Missed } from '../core/policy/cron.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export interface ScheduleEntry {
  readonly chain: string;
  readonly version: number;
  /** Name of the trigger in the document. */
  readonly trigger: string;
  readonly cron: string;
  readonly timezone: string;
  readonly missed: Missed;
}

/** Times are unix milliseconds. */
export interface ScheduleState extends ScheduleEntry {
  /** The first tick that has not fired; null when there is none, or the cron cannot be read. */
  readonly nextAt: number | null;
  /** The newest tick that fired. */
  readonly lastAt: number | null;
  /** Turns in a row in which no run could be started. */
  readonly failures: number;
}

/** `wakeAt` is when the row is looked at: `nextAt`, or later after a failure or a part of a catch-up. */
type ScheduleRow = Record<string, SqlStorageValue> & {
  chain: string;
  trigger: string;
  version: number;
  cron: string;
  timezone: string;
  missed: string;
  nextAt: number;
};

/** No index: a scan of a few thousand rows a minute costs less than one more row written per tick. */
const TABLE = `
  CREATE TABLE IF NOT EXISTS schedules (
    chain TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    version INTEGER NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    missed TEXT NOT NULL,
    nextAt INTEGER,
    wakeAt INTEGER,
    lastAt INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (chain, "trigger")
  ) WITHOUT ROWID`;

/** Acceptances under way at a time; each writes in its own run object. */
const CONCURRENT_SCHEDULES = 16;
/** Between two turns of a catch-up, so that the object and the run objects answer others meanwhile. */
const TURN_PAUSE_MILLISECONDS = 250;
const ACCEPT_TIMEOUT_MILLISECONDS = 30_000;
const FIRST_RETRY_MILLISECONDS = 2_000;
const LAST_RETRY_MILLISECONDS = 5 * 60_000;

export class SchedulerObject extends DurableObject<Env> {
  /** The alarm as it is set; null: none; undefined: not known yet. */
  #armedAt: number | null | undefined;
  #turn: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(TABLE);
  }

  /** Replaced in tests, where time stands still and acceptance fails on demand. */
  protected now(): number {
    return Date.now();
  }

  protected async start(shardKey: string, requests: readonly RunRequest[]): Promise<unknown> {
    return acceptRuns(this.env, shardKey, await withCanaries(this.env, requests));
  }

  /** Makes the given schedules the only ones. A schedule whose cron and zone are unchanged keeps its next tick. */
  async reconcile(schedules: readonly ScheduleEntry[]): Promise<void> {
    const { sql } = this.ctx.storage;
    const now = this.now();
    const wanted = new Map(schedules.map((entry) => [keyOf(entry), entry]));
    this.ctx.storage.transactionSync(() => {
      for (const stored of this.list()) {
        const entry = wanted.get(keyOf(stored));
        if (entry === undefined) {
          sql.exec('DELETE FROM schedules WHERE chain = ? AND "trigger" = ?', stored.chain, stored.trigger);
        } else if (isSameTiming(entry, stored)) {
          wanted.delete(keyOf(entry));
          if (entry.version === stored.version && entry.missed === stored.missed) continue;
          sql.exec(
            'UPDATE schedules SET version = ?, missed = ? WHERE chain = ? AND "trigger" = ?',
            entry.version,
            entry.missed,
            entry.chain,
            entry.trigger,
          );
        }
      }
      for (const { chain, trigger, version, cron, timezone, missed } of wanted.values()) {
        const nextAt = firstTick(cron, timezone, now);
        sql.exec(
          `INSERT INTO schedules (chain, "trigger", version, cron, timezone, missed, nextAt, wakeAt)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
           ON CONFLICT DO UPDATE SET version = ?3, cron = ?4, timezone = ?5, missed = ?6,
             nextAt = ?7, wakeAt = ?7, failures = 0`,
          ...[chain, trigger, version, cron, timezone, missed, nextAt ?? null],
        );
      }
    });
    await this.#arm(now);
  }

  list(): ScheduleState[] {
    return this.ctx.storage.sql
      .exec<Record<string, SqlStorageValue> & ScheduleState>(
        'SELECT chain, "trigger", version, cron, timezone, missed, nextAt, lastAt, failures FROM schedules',
      )
      .toArray();
  }

  /** Fires what is due and sets the alarm anew, also where the platform lost it. */
  async sweep(): Promise<void> {
    this.#armedAt = await this.ctx.storage.getAlarm();
    await this.#fireDue();
  }

  override async alarm(): Promise<void> {
    this.#armedAt = null;
    await this.#fireDue();
  }

  /** Alarm and sweep may come together: the second joins the turn of the first. */
  #fireDue(): Promise<void> {
    this.#turn ??= this.#takeTurn().finally(() => {
      this.#turn = undefined;
    });
    return this.#turn;
  }

  async #takeTurn(): Promise<void> {
    const due = this.#due(this.now());
    let ticksLeft: number = LIMITS.ticksPerTurn;
    const work = async (): Promise<void> => {
      for (let row = due.shift(); row !== undefined && ticksLeft > 0; row = due.shift()) {
        const ticks = ticksOf(row, this.now(), Math.min(ticksLeft, LIMITS.ticksPerSchedule));
        ticksLeft -= ticks.fire.length;
        await this.#fire(row, ticks);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT_SCHEDULES }, work));
    await this.#arm(this.now() + TURN_PAUSE_MILLISECONDS);
  }

  /** First those that are on time, so that a catch-up does not make them late; then the longest waiting. */
  #due(now: number): ScheduleRow[] {
    return this.ctx.storage.sql
      .exec<ScheduleRow>(
        `SELECT chain, "trigger", version, cron, timezone, missed, nextAt FROM schedules
         WHERE wakeAt <= ? ORDER BY nextAt < ?, wakeAt LIMIT ?`,
        now,
        now - LIMITS.scheduleLateMilliseconds,
        LIMITS.ticksPerTurn,
      )
      .toArray();
  }

  /** Never throws: one schedule that cannot start its run holds up no other. */
  async #fire(row: ScheduleRow, { fire, next }: DueTicks): Promise<void> {
    try {
      const requests = fire.map((tick) => requestOf(row, tick, this.now()));
      if (requests.length > 0) await inTime(this.start(`schedule:${keyOf(row)}`, requests));
    } catch (thrown) {
      console.error(`schedule ${row.trigger} of chain ${row.chain} could not start its run`, thrown);
      this.#postpone(row);
      return;
    }
    const wakeAt = next === undefined ? null : Math.max(next, this.now() + TURN_PAUSE_MILLISECONDS);
    // `nextAt` as it was: while the runs were being accepted the schedule may have been changed.
    this.ctx.storage.sql.exec(
      `UPDATE schedules SET nextAt = ?, wakeAt = ?, lastAt = ifnull(?, lastAt), failures = 0
       WHERE chain = ? AND "trigger" = ? AND nextAt = ?`,
      ...[next ?? null, wakeAt, fire.at(-1) ?? null, row.chain, row.trigger, row.nextAt],
    );
  }

  #postpone(row: ScheduleRow): void {
    this.ctx.storage.sql.exec(
      `UPDATE schedules SET failures = failures + 1, wakeAt = ? + min(?, ? << min(failures, 10))
       WHERE chain = ? AND "trigger" = ? AND nextAt = ?`,
      ...[this.now(), LAST_RETRY_MILLISECONDS, FIRST_RETRY_MILLISECONDS, row.chain, row.trigger, row.nextAt],
    );
  }

  /**
   * Sets the alarm to the earliest schedule, though not before an instant. Called without a wait since the
   * last row was written, so that both are one write. An alarm that is right already costs nothing.
   */
  #arm(notBefore: number): Promise<void> {
    const earliest = this.ctx.storage.sql
      .exec<{ wakeAt: number | null }>('SELECT min(wakeAt) AS wakeAt FROM schedules')
      .one().wakeAt;
    // An alarm that is set to now inside the alarm's own handler is lost.
    const alarmAt = earliest === null ? null : Math.max(earliest, notBefore, this.now() + 1);
    if (alarmAt === this.#armedAt) return Promise.resolve();
    this.#armedAt = alarmAt;
    return alarmAt === null ? this.ctx.storage.deleteAlarm() : this.ctx.storage.setAlarm(alarmAt);
  }
}

/**
 * The canary's part of the ticks, where this isolate knows of one. A schedule does not depend on D1, and a
 * tick that comes again is the same run, whichever version was chosen for it.
 */
async function withCanaries(env: Env, requests: readonly RunRequest[]): Promise<readonly RunRequest[]> {
  try {
    const { chains } = await checkConfiguration(env, LIMITS.configurationAgeMilliseconds);
    return requests.map((request) => {
      const chain = chains.get(request.chain);
      // The row knows of a newer version before this isolate does.
      return chain?.version === request.version
        ? { ...request, version: versionFor(chain, request.dedupeKey).version }
        : request;
    });
  } catch (thrown) {
    console.error('schedules start without a look at the configuration', thrown);
    return requests;
  }
}

/** A run object that does not answer must not hold up the turn; the tick's key makes a second try safe. */
async function inTime(acceptance: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the run object did not answer')), ACCEPT_TIMEOUT_MILLISECONDS);
  });
  await Promise.race([acceptance, late]).finally(() => clearTimeout(timer));
}

const keyOf = ({ chain, trigger }: { readonly chain: string; readonly trigger: string }): string =>
  `${chain}:${trigger}`;

const isSameTiming = (one: ScheduleEntry, other: ScheduleEntry): boolean =>
  one.cron === other.cron && one.timezone === other.timezone;

/** Publishing refuses a cron that cannot be read; if one comes all the same, it must not stop the others. */
function firstTick(cron: string, timezone: string, now: number): number | undefined {
  try {
    return nextTick(cron, timezone, now);
  } catch (thrown) {
    console.error(`the schedule ${cron} in ${timezone} cannot be read`, thrown);
    return undefined;
  }
}

function ticksOf(row: ScheduleRow, now: number, limit: number): DueTicks {
  const missed = row.missed === 'all' || row.missed === 'latest' ? row.missed : 'skip';
  return dueTicks(row, row.nextAt - 1, now, missed, limit);
}

const requestOf = (row: ScheduleRow, tick: number, now: number): RunRequest => ({
  chain: row.chain,
  version: row.version,
  trigger: row.trigger,
  dedupeKey: `schedule:${keyOf(row)}:${tick}`,
  event: requestlessEvent('schedule', { scheduledAt: new Date(tick).toISOString() }, now),
});
