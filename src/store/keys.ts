/** API keys: only their hashes are here. */

import { asc, eq } from 'drizzle-orm';
import { change, connect } from './database.ts';
import { apiKeys } from './schema.ts';

/** `hash` by `hashKey`; `expiresAt` in unix milliseconds or null for a key that does not expire. */
export type KeyRow = typeof apiKeys.$inferSelect;

export async function addKey(db: D1Database, key: KeyRow, actor: string): Promise<void> {
  const database = connect(db);
  const { id, name, scopes, expiresAt, createdAt } = key;
  await change(
    database,
    { at: createdAt, actor, action: 'key.add', subject: id, detail: { name, scopes, expiresAt } },
    [database.insert(apiKeys).values(key)],
  );
}

export const listKeys = (db: D1Database): Promise<KeyRow[]> =>
  connect(db).select().from(apiKeys).orderBy(asc(apiKeys.createdAt), asc(apiKeys.id)).all();

/** False where there is none of that id. */
export async function removeKey(db: D1Database, id: string, actor: string, now: number): Promise<boolean> {
  const database = connect(db);
  const found = await database.select({ id: apiKeys.id }).from(apiKeys).where(eq(apiKeys.id, id)).get();
  if (found === undefined) return false;
  await change(database, { at: now, actor, action: 'key.remove', subject: id }, [
    database.delete(apiKeys).where(eq(apiKeys.id, id)),
  ]);
  return true;
}
