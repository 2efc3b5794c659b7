/** How connections are, and which of them must be looked at. */

import { and, asc, eq, inArray, isNotNull, isNull, lt, lte, or, sql } from 'drizzle-orm';
import { connect } from './database.ts';
import type { ConnectionRow } from './connections.ts';
import { connectionHealth, connections, connectorSwitches, expiryWarnings } from './schema.ts';
import type { ConnectionRef } from '../core/chain/connection.ts';
import { LIMITS } from '../core/limits.ts';

export type HealthRow = typeof connectionHealth.$inferSelect;

/** Keeps since when it has been as it is. */
export async function saveHealth(db: D1Database, health: Omit<HealthRow, 'since'>): Promise<HealthRow> {
  const before = await loadHealth(db, health);
  const isSame = before !== undefined && (before.fault === null) === (health.fault === null);
  const row = { ...health, since: isSame ? before.since : health.at };
  await connect(db)
    .insert(connectionHealth)
    .values(row)
    .onConflictDoUpdate({ target: [connectionHealth.tenant, connectionHealth.name], set: row });
  return row;
}

export const loadHealth = (db: D1Database, { tenant, name }: ConnectionRef): Promise<HealthRow | undefined> =>
  connect(db)
    .select()
    .from(connectionHealth)
    .where(and(eq(connectionHealth.tenant, tenant), eq(connectionHealth.name, name)))
    .get();

/** Of a tenant. */
export const listHealth = (db: D1Database, tenant: string): Promise<HealthRow[]> =>
  connect(db).select().from(connectionHealth).where(eq(connectionHealth.tenant, tenant)).all();

const isHealthOf = and(eq(connectionHealth.tenant, connections.tenant), eq(connectionHealth.name, connections.name));

/** Connections whose probe is due, those first that have waited for longest. */
export async function listDue(db: D1Database, now: number, limit: number): Promise<ConnectionRow[]> {
  const rows = await connect(db)
    .select({ connection: connections })
    .from(connections)
    .leftJoin(connectionHealth, isHealthOf)
    .leftJoin(connectorSwitches, eq(connectorSwitches.connector, connections.connector))
    .where(
      and(
        isNotNull(connections.probeMinutes),
        isNull(connections.disabled),
        isNull(connectorSwitches.connector),
        or(isNull(connectionHealth.at), sql`${connectionHealth.at} + ${connections.probeMinutes} * 60000 <= ${now}`),
      ),
    )
    .orderBy(asc(connectionHealth.at))
    .limit(limit)
    .all();
  return rows.map(({ connection }) => connection);
}

export interface Expiring extends ConnectionRef {
  readonly expiresAt: number;
  /** The days of the last warning of this instant. */
  readonly warned: number | null;
}

/** Connections that expire until then and of which there is a warning to give, a page of them. */
export async function listExpiring(db: D1Database, until: number): Promise<Expiring[]> {
  const { tenant, name, expiresAt } = connections;
  const rows = await connect(db)
    .select({ tenant, name, expiresAt, warned: expiryWarnings.days })
    .from(connections)
    .leftJoin(
      expiryWarnings,
      and(eq(expiryWarnings.tenant, tenant), eq(expiryWarnings.name, name), eq(expiryWarnings.expiresAt, expiresAt)),
    )
    .where(and(lte(expiresAt, until), or(isNull(expiryWarnings.days), sql`${expiryWarnings.days} > 0`)))
    .orderBy(asc(expiresAt))
    .limit(LIMITS.importConnections)
    .all();
  return rows.flatMap((row) => (row.expiresAt === null ? [] : [{ ...row, expiresAt: row.expiresAt }]));
}

export async function saveWarning(db: D1Database, warning: typeof expiryWarnings.$inferSelect): Promise<void> {
  await connect(db)
    .insert(expiryWarnings)
    .values(warning)
    .onConflictDoUpdate({ target: [expiryWarnings.tenant, expiryWarnings.name], set: warning });
}

/** Deletes a bounded number of warnings of an instant before that, and of connections that are gone. */
export async function pruneWarnings(db: D1Database, before: number): Promise<void> {
  const database = connect(db);
  const rowid = sql`${expiryWarnings}.rowid`;
  const old = database
    .select({ rowid })
    .from(expiryWarnings)
    .leftJoin(
      connections,
      and(eq(connections.tenant, expiryWarnings.tenant), eq(connections.name, expiryWarnings.name)),
    )
    .where(or(isNull(connections.name), lt(expiryWarnings.expiresAt, before)))
    .limit(LIMITS.accessRowsPerTurn);
  await database.delete(expiryWarnings).where(inArray(sql`rowid`, old));
}
