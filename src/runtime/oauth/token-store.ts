/** What a {@link TokenObject} keeps on disk. Everything that must not be read is sealed before it comes here. */

import * as v from 'valibot';
import type { Sealed } from '../../vault/vault.ts';

const TABLES = `
  CREATE TABLE IF NOT EXISTS tokens (id INTEGER PRIMARY KEY CHECK (id = 1), facts TEXT NOT NULL, sealed TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS pending (
    id TEXT PRIMARY KEY, facts TEXT NOT NULL, sealed TEXT NOT NULL, expires_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID`;

const factsSchema = v.object({
  /** Rises with each token. */
  generation: v.number(),
  fingerprint: v.string(),
  obtainedAt: v.number(),
  refreshAt: v.number(),
  expiresAt: v.number(),
  scopes: v.nullable(v.array(v.string())),
  refreshable: v.boolean(),
  /** How often the server replaced the refresh token. */
  rotations: v.number(),
  /** Start of a refresh of which no end is known. */
  attemptAt: v.nullable(v.number()),
  /** The last refresh that a refusal brought about. */
  forcedAt: v.nullable(v.number()),
  /** Why it will not be refreshed any more; the token is used until it expires. */
  problem: v.nullable(v.string()),
  /** When it is renewed though nobody uses it, and whose it is then; missing in what older versions wrote. */
  renewal: v.optional(v.object({ at: v.number(), tenant: v.string(), name: v.string() })),
});

/** All times in unix milliseconds. */
export type TokenFacts = v.InferOutput<typeof factsSchema>;

export interface HeldTokens {
  readonly facts: TokenFacts;
  readonly sealed: Sealed;
}

const pendingSchema = v.variant('kind', [
  v.object({
    kind: v.literal('code'),
    fingerprint: v.string(),
    redirectUri: v.string(),
    /** SHA-256 of what the browser that began has in its cookie. */
    browser: v.string(),
    issuer: v.optional(v.string()),
    namesItself: v.boolean(),
    returnUrl: v.optional(v.string()),
    actor: v.string(),
  }),
  v.object({
    kind: v.literal('device'),
    tenant: v.string(),
    name: v.string(),
    fingerprint: v.string(),
    intervalMilliseconds: v.number(),
    actor: v.string(),
  }),
]);

export type PendingFacts = v.InferOutput<typeof pendingSchema>;

export interface Pending<Facts extends PendingFacts = PendingFacts> {
  readonly facts: Facts;
  readonly sealed: Sealed;
  readonly expiresAt: number;
}

const DEVICE = 'device';
type Row = Readonly<Record<'facts' | 'sealed', string>>;

export class TokenStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(TABLES);
  }

  tokens(): HeldTokens | undefined {
    const [row] = this.#sql.exec<Row>('SELECT facts, sealed FROM tokens').toArray();
    return row && { facts: v.parse(factsSchema, JSON.parse(row.facts)), sealed: row.sealed };
  }

  saveTokens({ facts, sealed }: HeldTokens): void {
    this.#sql.exec('INSERT OR REPLACE INTO tokens VALUES (1, ?, ?)', JSON.stringify(facts), sealed);
  }

  removeTokens(): void {
    this.#sql.exec('DELETE FROM tokens; DELETE FROM pending');
  }

  /** False where the session was used before. */
  useSession(id: string, expiresAt: number, now: number): boolean {
    this.#sql.exec('DELETE FROM sessions WHERE expires_at < ?', now);
    return this.#sql.exec('INSERT INTO sessions VALUES (?, ?) ON CONFLICT DO NOTHING', id, expiresAt).rowsWritten > 0;
  }

  isUsed(session: string): boolean {
    return this.#sql.exec('SELECT 1 FROM sessions WHERE id = ?', session).toArray().length > 0;
  }

  /** @param most how many may be under way; the ones that end first go */
  addPending(id: string, { facts, sealed, expiresAt }: Pending, now: number, most: number): void {
    this.#sql.exec('DELETE FROM pending WHERE expires_at < ?', now);
    this.#sql.exec('INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?)', id, JSON.stringify(facts), sealed, expiresAt);
    const kept = 'SELECT id FROM pending ORDER BY expires_at DESC LIMIT ?';
    this.#sql.exec(`DELETE FROM pending WHERE id NOT IN (${kept})`, most);
  }

  /** What is taken is gone: a state is good once. */
  takePending(id: string): Pending | undefined {
    const found = this.#pending(id);
    this.#sql.exec('DELETE FROM pending WHERE id = ?', id);
    return found;
  }

  device(): Pending<Extract<PendingFacts, { kind: 'device' }>> | undefined {
    const found = this.#pending(DEVICE);
    return found?.facts.kind === 'device' ? { ...found, facts: found.facts } : undefined;
  }

  saveDevice(pending: Pending<Extract<PendingFacts, { kind: 'device' }>>, now: number, most: number): void {
    this.addPending(DEVICE, pending, now, most);
  }

  removeDevice(): void {
    this.#sql.exec('DELETE FROM pending WHERE id = ?', DEVICE);
  }

  #pending(id: string): Pending | undefined {
    const [row] = this.#sql
      .exec<Row & { expires_at: number }>('SELECT facts, sealed, expires_at FROM pending WHERE id = ?', id)
      .toArray();
    return (
      row && { facts: v.parse(pendingSchema, JSON.parse(row.facts)), sealed: row.sealed, expiresAt: row.expires_at }
    );
  }
}
