/** Webhook sources. Their secrets are sealed by the vault before they come here. */

import { and, asc, eq } from 'drizzle-orm';
import { change, connect, hasContent } from './database.ts';
import { sources } from './schema.ts';

/** `sealed` holds the list of secrets, by `sourceContext(scheme, name)`. Times are unix milliseconds. */
export type SourceRow = typeof sources.$inferSelect;

/** `created` is false where a source of that name was replaced. */
export async function saveSource(
  db: D1Database,
  source: Omit<SourceRow, 'createdAt' | 'updatedAt' | 'inbox'> & Partial<Pick<SourceRow, 'inbox'>>,
  actor: string,
  now: number,
): Promise<{ readonly row: SourceRow; readonly created: boolean }> {
  const database = connect(db);
  const before = await loadSource(db, source.name);
  const row = { inbox: null, ...source, createdAt: before?.createdAt ?? now, updatedAt: now };
  const { name, scheme } = source;
  await change(database, { at: now, actor, action: 'source.save', subject: name, detail: { scheme } }, [
    database.insert(sources).values(row).onConflictDoUpdate({ target: sources.name, set: row }),
  ]);
  return { row, created: before === undefined };
}

/**
 * Keeps the secret that a sender brought, unless the source got one meanwhile: then false. That its record was only
 * wrapped anew by a rotation does not matter.
 *
 * @param source as it was read
 */
export async function adoptSecret(db: D1Database, source: SourceRow, sealed: string, now: number): Promise<boolean> {
  const database = connect(db);
  const { name, scheme } = source;
  await change(database, { at: now, actor: 'handshake', action: 'source.adopt', subject: name, detail: { scheme } }, [
    database
      .update(sources)
      .set({ sealed, updatedAt: now })
      .where(and(eq(sources.name, name), hasContent(sources.sealed, source.sealed))),
  ]);
  return (await loadSource(db, name))?.sealed === sealed;
}

export async function loadSource(db: D1Database, name: string): Promise<SourceRow | undefined> {
  return connect(db).select().from(sources).where(eq(sources.name, name)).get();
}

export const listSources = (db: D1Database): Promise<SourceRow[]> =>
  connect(db).select().from(sources).orderBy(asc(sources.name)).all();

/** False where there is none of that name. */
export async function removeSource(db: D1Database, name: string, actor: string, now: number): Promise<boolean> {
  if ((await loadSource(db, name)) === undefined) return false;
  const database = connect(db);
  await change(database, { at: now, actor, action: 'source.remove', subject: name }, [
    database.delete(sources).where(eq(sources.name, name)),
  ]);
  return true;
}
