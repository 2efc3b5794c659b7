/** Connections. Their secrets are sealed by the vault before they come here. */

import { and, asc, eq } from 'drizzle-orm';
import { change, connect } from './database.ts';
import { connections } from './schema.ts';

/** `sealed` holds the object of secrets, by `connectionContext(tenant, connector, name)`. */
export type ConnectionRow = typeof connections.$inferSelect;

const isNamed = (tenant: string, name: string) => and(eq(connections.tenant, tenant), eq(connections.name, name));

/** `created` is false where a connection of that name was replaced. */
export async function saveConnection(
  db: D1Database,
  connection: Omit<ConnectionRow, 'createdAt' | 'updatedAt'>,
  actor: string,
  now: number,
): Promise<{ readonly row: ConnectionRow; readonly created: boolean }> {
  const database = connect(db);
  const { tenant, name, connector } = connection;
  const before = await loadConnection(db, tenant, name);
  const row = { ...connection, createdAt: before?.createdAt ?? now, updatedAt: now };
  await change(database, { at: now, actor, action: 'connection.save', subject: name, detail: { connector, tenant } }, [
    database
      .insert(connections)
      .values(row)
      .onConflictDoUpdate({ target: [connections.tenant, connections.name], set: row }),
  ]);
  return { row, created: before === undefined };
}

export async function loadConnection(db: D1Database, tenant: string, name: string): Promise<ConnectionRow | undefined> {
  return connect(db).select().from(connections).where(isNamed(tenant, name)).get();
}

export const listConnections = (db: D1Database, tenant: string): Promise<ConnectionRow[]> =>
  connect(db).select().from(connections).where(eq(connections.tenant, tenant)).orderBy(asc(connections.name)).all();

/** False where the tenant has none of that name. */
export async function removeConnection(
  db: D1Database,
  tenant: string,
  name: string,
  actor: string,
  now: number,
): Promise<boolean> {
  if ((await loadConnection(db, tenant, name)) === undefined) return false;
  const database = connect(db);
  await change(database, { at: now, actor, action: 'connection.remove', subject: name, detail: { tenant } }, [
    database.delete(connections).where(isNamed(tenant, name)),
  ]);
  return true;
}
