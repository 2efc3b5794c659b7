/**
 * Remembers which signed requests were seen: one object for each API key that signs.
 *
 * Guarantee: of two requests with the same signature or nonce, in whatever isolates, one is let in; the note is
 * on disk before the answer, so a crash forgets none. Accepted weakness: a round trip and a written row for each
 * signed request, which is the price of being exact.
 */

import { DurableObject } from 'cloudflare:workers';
import type { Env } from '../env.ts';

const TABLE = 'CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID';
/** Rows are forgotten in strides, so that one alarm serves many of them. */
const STRIDE_MILLISECONDS = 60_000;

export class ReplayObject extends DurableObject<Env> {
  #wakesAt: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(TABLE);
  }

  /**
   * True for who asks first.
   * @param until unix milliseconds, after which the request is too old anyway
   */
  async claim(id: string, until: number): Promise<boolean> {
    const { rowsWritten } = this.ctx.storage.sql.exec('INSERT OR IGNORE INTO seen VALUES (?, ?)', id, until);
    if (rowsWritten === 0) return false;
    this.#wakesAt ??= (await this.ctx.storage.getAlarm()) ?? undefined;
    if (this.#wakesAt === undefined) {
      this.#wakesAt = until + STRIDE_MILLISECONDS;
      await this.ctx.storage.setAlarm(this.#wakesAt);
    }
    return true;
  }

  override async alarm(): Promise<void> {
    const { sql } = this.ctx.storage;
    sql.exec('DELETE FROM seen WHERE until < ?', Date.now());
    this.#wakesAt = undefined;
    const [row] = sql.exec<{ until: number | null }>('SELECT max(until) AS until FROM seen').toArray();
    const last = row?.until ?? undefined;
    if (last === undefined) return;
    this.#wakesAt = last + STRIDE_MILLISECONDS;
    await this.ctx.storage.setAlarm(this.#wakesAt);
  }
}
