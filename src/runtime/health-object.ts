/**
 * Checks the targets of one pool, named like it, by an alarm.
 *
 * It asks the configuration before each turn, so a pool that is changed is checked as it is now, and one that is
 * removed is checked no more. A lost alarm is set again by the minute's sweep. A verdict survives the object; the
 * results that it is made of do not, so that after an eviction it takes the full count again to change it.
 * Accepted weakness: checks come from one place of the world.
 */

import { DurableObject } from 'cloudflare:workers';
import { checkConfiguration } from './configuration.ts';
import { checkTargets } from './health.ts';
import { hostOf } from './host.ts';
import { createVerdict, type Verdict } from '../core/proxy/health.ts';
import { LIMITS } from '../core/limits.ts';
import type { PoolPlan } from '../core/route/upstream.ts';
import type { Env } from '../env.ts';

const TABLES = `
  CREATE TABLE IF NOT EXISTS pool (name TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS unhealthy (url TEXT PRIMARY KEY) WITHOUT ROWID`;

export class HealthObject extends DurableObject<Env> {
  readonly #verdicts = new Map<string, Verdict>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(TABLES);
    for (const url of this.unhealthy()) this.#verdicts.set(url, createVerdict(false));
  }

  /** Starts the checks where they do not run, or would come later than the interval says. */
  async watch(pool: string, intervalMilliseconds: number): Promise<void> {
    const now = Date.now();
    const alarmAt = await this.ctx.storage.getAlarm();
    if (alarmAt !== null && alarmAt <= now + intervalMilliseconds) return;
    this.ctx.storage.sql.exec('INSERT INTO pool (name) VALUES (?) ON CONFLICT DO NOTHING', pool);
    await this.ctx.storage.setAlarm(now + 1);
  }

  /** Addresses of the targets that are out. */
  unhealthy(): string[] {
    return this.ctx.storage.sql
      .exec<{ url: string }>('SELECT url FROM unhealthy')
      .toArray()
      .map(({ url }) => url);
  }

  override async alarm(): Promise<void> {
    const [row] = this.ctx.storage.sql.exec<{ name: string }>('SELECT name FROM pool').toArray();
    if (row === undefined) return;
    let pool: PoolPlan | undefined;
    try {
      pool = (await checkConfiguration(this.env, LIMITS.healthConfigurationMilliseconds)).upstreams.get(row.name);
    } catch (thrown) {
      console.error(`the upstream ${row.name} could not be checked without the configuration`, thrown);
      await this.ctx.storage.setAlarm(Date.now() + LIMITS.healthConfigurationMilliseconds);
      return;
    }
    if (pool?.active === undefined) {
      this.#verdicts.clear();
      this.ctx.storage.sql.exec('DELETE FROM pool; DELETE FROM unhealthy');
      return;
    }
    const startedAt = Date.now();
    await this.#check(pool, pool.active);
    await this.ctx.storage.setAlarm(Math.max(startedAt + pool.active.intervalMilliseconds, Date.now() + 1));
  }

  async #check(pool: PoolPlan, active: NonNullable<PoolPlan['active']>): Promise<void> {
    const { sql } = this.ctx.storage;
    for (const url of this.#verdicts.keys()) {
      if (pool.urls.includes(url)) continue;
      this.#verdicts.delete(url);
      sql.exec('DELETE FROM unhealthy WHERE url = ?', url);
    }
    const changed = await checkTargets(hostOf(this.env).fetch, pool, active, this.#verdicts);
    for (const url of changed) {
      if (this.#verdicts.get(url)?.healthy === true) sql.exec('DELETE FROM unhealthy WHERE url = ?', url);
      else sql.exec('INSERT INTO unhealthy (url) VALUES (?) ON CONFLICT DO NOTHING', url);
    }
  }
}
