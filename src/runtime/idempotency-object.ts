/**
 * Idempotency keys and the responses that they stand for. Many keys share an object; which one is chosen by
 * the hash of caller, target and key (`idempotencyStub`).
 *
 * Guarantee: of all requests with one key at most one is carried out at a time, and none after one whose
 * response is kept. Only the holder of the newest token changes a key, so a request that was given up for dead
 * cannot overwrite the response of the one that took its place.
 * Accepted weakness: a request whose isolate died gives its key free after `idempotencyLockMilliseconds`,
 * though it may have taken effect.
 */

import { DurableObject } from 'cloudflare:workers';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

/** A response as it is kept. */
export interface KeptResponse {
  readonly status: number;
  /** Name and value, in order, as JSON text. */
  readonly headers: string;
  /** Undefined where it was too large to be kept, or lies in R2. */
  readonly body: ArrayBuffer | undefined;
  /** Its key in R2. */
  readonly blob: string | undefined;
}

export type Begun =
  /** Carry it out, then `finish` or `release` with the token. `epoch`: responses that were not kept so far. */
  | { readonly kind: 'first'; readonly token: number; readonly epoch: number }
  | { readonly kind: 'running'; readonly freeInMilliseconds: number }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'done'; readonly response: KeptResponse };

export interface KeyedRequest {
  /** Hash of caller, target and key. */
  readonly id: string;
  /** Hash of what is asked for. */
  readonly fingerprint: string;
  readonly ttlMilliseconds: number;
}

type Row = Record<string, SqlStorageValue> & {
  fingerprint: string;
  token: number;
  epoch: number;
  lockedUntil: number | null;
  expiresAt: number;
  status: number | null;
  headers: string | null;
  body: ArrayBuffer | null;
  blob: string | null;
};

/** Free: no lock, no status. Held: a lock. Done: a status. No index: the sweep reads an hour's rows once. */
const TABLE = `
  create table if not exists keys (
    id text primary key, fingerprint text not null, token integer not null, epoch integer not null,
    locked_until integer, expires_at integer not null, status integer, headers text, body blob, blob text
  ) without rowid`;

const COLUMNS = `fingerprint, token, epoch, locked_until as lockedUntil, expires_at as expiresAt,
  status, headers, body, blob`;

export class IdempotencyObject extends DurableObject<Env> {
  #isArmed: boolean | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec(TABLE);
  }

  /** Replaced in tests. */
  protected now(): number {
    return Date.now();
  }

  /** Resolves when the lock is on disk. */
  async begin({ id, fingerprint, ttlMilliseconds }: KeyedRequest): Promise<Begun> {
    const now = this.now();
    const row = this.#read(id);
    const known = row !== undefined && Math.max(row.expiresAt, row.lockedUntil ?? 0) > now ? row : undefined;
    const isFree = known === undefined || (known.status === null && known.lockedUntil === null);
    if (!isFree) {
      if (known.fingerprint !== fingerprint) return { kind: 'mismatch' };
      if (known.status !== null) return { kind: 'done', response: keptOf(known, known.status) };
      const left = (known.lockedUntil ?? 0) - now;
      if (left > 0) return { kind: 'running', freeInMilliseconds: left };
    }
    if (row !== undefined && row.blob !== null) this.ctx.waitUntil(Promise.resolve(this.env.BLOBS?.delete(row.blob)));
    // Never a token of before, also where the key has expired.
    const token = (row?.token ?? 0) + 1;
    const epoch = known?.epoch ?? 0;
    this.ctx.storage.sql.exec(
      `insert or replace into keys (id, fingerprint, token, epoch, locked_until, expires_at) values (?, ?, ?, ?, ?, ?)`,
      ...[id, fingerprint, token, epoch, now + LIMITS.idempotencyLockMilliseconds, now + ttlMilliseconds],
    );
    await this.#arm(now);
    return { kind: 'first', token, epoch };
  }

  /** A sign of life. False: the key has another holder, or is gone. */
  async renew(id: string, token: number): Promise<boolean> {
    return this.#change(id, token, 'locked_until = ?', this.now() + LIMITS.idempotencyLockMilliseconds);
  }

  /** Keeps the response. False as above; then it is not kept. */
  async finish(id: string, token: number, { status, headers, body, blob }: KeptResponse): Promise<boolean> {
    const values = [status, headers, body ?? null, blob ?? null];
    return this.#change(id, token, 'locked_until = null, status = ?, headers = ?, body = ?, blob = ?', ...values);
  }

  /** The same key may try again; with `isNew`, as something that has not been tried before. */
  async release(id: string, token: number, isNew: boolean): Promise<boolean> {
    return this.#change(id, token, 'locked_until = null, epoch = epoch + ?', isNew ? 1 : 0);
  }

  override async alarm(): Promise<void> {
    this.#isArmed = false;
    const now = this.now();
    const { sql } = this.ctx.storage;
    const expired = sql
      .exec<{ id: string; blob: string | null }>(
        'select id, blob from keys where expires_at <= ?1 and ifnull(locked_until, 0) <= ?1 limit ?2',
        now,
        LIMITS.idempotencySweepRows,
      )
      .toArray();
    const blobs = expired.flatMap(({ blob }) => blob ?? []);
    // First, so that what cannot be deleted now is found again by the next sweep.
    if (blobs.length > 0) await this.env.BLOBS?.delete(blobs);
    for (const { id } of expired) sql.exec('delete from keys where id = ? and expires_at <= ?', id, now);
    const isFull = expired.length === LIMITS.idempotencySweepRows;
    if (isFull || sql.exec('select 1 from keys limit 1').toArray().length > 0)
      await this.#arm(now, isFull ? 1 : undefined);
  }

  #read(id: string): Row | undefined {
    return this.ctx.storage.sql.exec<Row>(`select ${COLUMNS} from keys where id = ?`, id).toArray()[0];
  }

  #change(id: string, token: number, assignments: string, ...values: readonly SqlStorageValue[]): boolean {
    const held = 'id = ? and token = ? and locked_until is not null';
    return (
      this.ctx.storage.sql.exec(`update keys set ${assignments} where ${held}`, ...values, id, token).rowsWritten > 0
    );
  }

  async #arm(now: number, inMilliseconds: number = LIMITS.idempotencySweepMilliseconds): Promise<void> {
    this.#isArmed ??= (await this.ctx.storage.getAlarm()) !== null;
    if (this.#isArmed) return;
    this.#isArmed = true;
    await this.ctx.storage.setAlarm(now + inMilliseconds);
  }
}

const keptOf = ({ headers, body, blob }: Row, status: number): KeptResponse => ({
  status,
  headers: headers ?? '[]',
  body: body ?? undefined,
  blob: blob ?? undefined,
});

/** @param id as in {@link KeyedRequest} */
export function idempotencyStub(env: Env, id: string): DurableObjectStub<IdempotencyObject> {
  const shard = Number.parseInt(id.slice(0, 8), 16) % LIMITS.idempotencyShards;
  return env.IDEMPOTENCY.getByName(`idempotency-${shard}`);
}
