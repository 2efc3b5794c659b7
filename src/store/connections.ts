/** Connections. Their secrets are sealed by the vault before they come here. */

import { and, asc, eq } from 'drizzle-orm';
import { change, connect } from './database.ts';
import type { ChangedBy } from './keys.ts';
import { connectionHealth, connections, connectorSwitches, type SwitchedOff } from './schema.ts';
import type { ConnectionRef } from '../core/chain/connection.ts';

/** `sealed` holds the object of secrets, by `connectionContext(tenant, connector, name)`. */
export type ConnectionRow = typeof connections.$inferSelect;

const isNamed = (tenant: string, name: string) => and(eq(connections.tenant, tenant), eq(connections.name, name));

/** `created` is false where a connection of that name was replaced. One that is switched off stays so. */
export async function saveConnection(
  db: D1Database,
  connection: Omit<ConnectionRow, 'createdAt' | 'updatedAt' | 'disabled'>,
  actor: string,
  now: number,
): Promise<{ readonly row: ConnectionRow; readonly created: boolean }> {
  const database = connect(db);
  const { tenant, name, connector } = connection;
  const before = await loadConnection(db, tenant, name);
  const { createdAt = now, disabled = null } = before ?? {};
  const row = { ...connection, createdAt, updatedAt: now, disabled };
  // Who switches it off meanwhile has the last word.
  const { disabled: _disabled, ...changed } = row;
  await change(database, { at: now, actor, action: 'connection.save', subject: name, detail: { connector, tenant } }, [
    database
      .insert(connections)
      .values(row)
      .onConflictDoUpdate({ target: [connections.tenant, connections.name], set: changed }),
  ]);
  return { row, created: before === undefined };
}

export async function loadConnection(db: D1Database, tenant: string, name: string): Promise<ConnectionRow | undefined> {
  return connect(db).select().from(connections).where(isNamed(tenant, name)).get();
}

/** @param tenant undefined: those of all, the owner's first */
export const listConnections = (db: D1Database, tenant: string | undefined): Promise<ConnectionRow[]> =>
  connect(db)
    .select()
    .from(connections)
    .where(tenant === undefined ? undefined : eq(connections.tenant, tenant))
    .orderBy(asc(connections.tenant), asc(connections.name))
    .all();

/** Switches a connection off, or on again with null. False where the tenant has none of that name. */
export async function switchConnection(
  db: D1Database,
  { tenant, name }: ConnectionRef,
  disabled: SwitchedOff | null,
  { actor, now }: ChangedBy,
): Promise<boolean> {
  if ((await loadConnection(db, tenant, name)) === undefined) return false;
  const database = connect(db);
  const action = disabled === null ? 'connection.enable' : 'connection.disable';
  const detail = { tenant, ...(disabled && { reason: disabled.reason }) };
  await change(database, { at: now, actor, action, subject: name, detail }, [
    database.update(connections).set({ disabled }).where(isNamed(tenant, name)),
  ]);
  return true;
}

/** Switches all steps of a connector off, or on again with null. */
export async function switchConnector(
  db: D1Database,
  connector: string,
  disabled: SwitchedOff | null,
  { actor, now }: ChangedBy,
): Promise<void> {
  const database = connect(db);
  const action = disabled === null ? 'connector.enable' : 'connector.disable';
  const detail = disabled === null ? {} : { reason: disabled.reason };
  await change(database, { at: now, actor, action, subject: connector, detail }, [
    disabled === null
      ? database.delete(connectorSwitches).where(eq(connectorSwitches.connector, connector))
      : database
          .insert(connectorSwitches)
          .values({ connector, disabled })
          .onConflictDoUpdate({ target: connectorSwitches.connector, set: { disabled } }),
  ]);
}

export const listSwitches = (db: D1Database): Promise<(typeof connectorSwitches.$inferSelect)[]> =>
  connect(db).select().from(connectorSwitches).orderBy(asc(connectorSwitches.connector)).all();

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
    database.delete(connectionHealth).where(and(eq(connectionHealth.tenant, tenant), eq(connectionHealth.name, name))),
  ]);
  return true;
}
