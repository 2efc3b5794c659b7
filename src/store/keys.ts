/** API keys: only their hashes are here. */

import { asc, eq, getTableColumns, sql } from 'drizzle-orm';
import { change, connect } from './database.ts';
import { apiKeys, apiKeyUses } from './schema.ts';

/** `hash` by `hashKey`; times in unix milliseconds; `expiresAt` null for a key that does not expire. */
export type KeyRow = typeof apiKeys.$inferSelect;

export interface ListedKey extends KeyRow {
  /** To the minute; null where it was never used. */
  readonly usedAt: number | null;
}

/** Who changes what, and when. */
export interface ChangedBy {
  readonly actor: string;
  readonly now: number;
}

export async function addKey(db: D1Database, key: KeyRow, { actor, now }: ChangedBy): Promise<void> {
  const database = connect(db);
  const { id, name, scopes, expiresAt, owner, tenant } = key;
  const detail = { name, scopes, expiresAt, owner, tenant };
  await change(database, { at: now, actor, action: 'key.add', subject: id, detail }, [
    database.insert(apiKeys).values(key),
  ]);
}

const selectListed = (db: D1Database) =>
  connect(db)
    .select({ ...getTableColumns(apiKeys), usedAt: apiKeyUses.usedAt })
    .from(apiKeys)
    .leftJoin(apiKeyUses, eq(apiKeyUses.key, apiKeys.id));

export const listKeys = (db: D1Database): Promise<ListedKey[]> =>
  selectListed(db).orderBy(asc(apiKeys.createdAt), asc(apiKeys.id)).all();

export const loadKey = (db: D1Database, id: string): Promise<ListedKey | undefined> =>
  selectListed(db).where(eq(apiKeys.id, id)).get();

/** @param action `key.change` or `key.rotate`, for the audit log; the names of what changed go there too */
export async function changeKey(
  db: D1Database,
  id: string,
  action: string,
  values: Partial<Omit<KeyRow, 'id' | 'createdAt'>>,
  { actor, now }: ChangedBy,
): Promise<void> {
  const database = connect(db);
  const { hash: _hash, previousHash: _previous, signing: _signing, hint: _hint, ...told } = values;
  await change(database, { at: now, actor, action, subject: id, detail: told }, [
    database.update(apiKeys).set(values).where(eq(apiKeys.id, id)),
  ]);
}

/** False where there is none of that id. */
export async function removeKey(db: D1Database, id: string, { actor, now }: ChangedBy): Promise<boolean> {
  const database = connect(db);
  const found = await database.select({ id: apiKeys.id }).from(apiKeys).where(eq(apiKeys.id, id)).get();
  if (found === undefined) return false;
  await change(database, { at: now, actor, action: 'key.remove', subject: id }, [
    database.delete(apiKeys).where(eq(apiKeys.id, id)),
    database.delete(apiKeyUses).where(eq(apiKeyUses.key, id)),
  ]);
  return true;
}

/** Notes the last uses of keys, by id. One statement, however many; a later use stays. */
export async function saveKeyUses(db: D1Database, uses: ReadonlyMap<string, number>): Promise<void> {
  // Only of keys that are there: one may have been revoked meanwhile.
  await connect(db).run(sql`
    insert into ${apiKeyUses} (key, used_at)
    select use.value ->> 0, use.value ->> 1 from json_each(${JSON.stringify([...uses])}) as use
    where exists (select 1 from ${apiKeys} where ${apiKeys.id} = use.value ->> 0)
    on conflict (key) do update set used_at = max(used_at, excluded.used_at)
  `);
}
