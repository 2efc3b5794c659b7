/** Endpoints of applications. Signing keys and header values are sealed by the vault before they come here. */

import { and, asc, eq } from 'drizzle-orm';
import { changeApart, connect } from './database.ts';
import { webhookEndpoints } from './schema.ts';

/** `sealed` by `endpointContext(application, id)`. Times are unix milliseconds. */
export type EndpointRow = typeof webhookEndpoints.$inferSelect;

const isThe = (application: string, id: string) =>
  and(eq(webhookEndpoints.application, application), eq(webhookEndpoints.id, id));

export const loadEndpoint = (db: D1Database, application: string, id: string): Promise<EndpointRow | undefined> =>
  connect(db).select().from(webhookEndpoints).where(isThe(application, id)).get();

/** In the order in which they were made. */
export const listEndpoints = (db: D1Database, application: string): Promise<EndpointRow[]> =>
  connect(db)
    .select()
    .from(webhookEndpoints)
    .where(eq(webhookEndpoints.application, application))
    .orderBy(asc(webhookEndpoints.createdAt), asc(webhookEndpoints.id))
    .all();

/** @param action what the audit log calls it: `endpoint.add`, `endpoint.save`, `endpoint.rotate`, … */
export async function saveEndpoint(
  db: D1Database,
  row: EndpointRow,
  action: string,
  actor: string,
  now: number,
): Promise<void> {
  const database = connect(db);
  // The gateway itself may disable it meanwhile; see `setDisabled`.
  const { disabled: _disabled, createdAt: _createdAt, ...changed } = row;
  const { application, id, settings } = row;
  // No more of the address: many a webhook's path is its credential.
  const detail = { application, origin: URL.parse(settings.url)?.origin };
  await changeApart(database, { at: now, actor, action, subject: id, detail }, [
    database
      .insert(webhookEndpoints)
      .values(row)
      .onConflictDoUpdate({ target: [webhookEndpoints.application, webhookEndpoints.id], set: changed }),
  ]);
}

/** Changes nothing else, so that it loses no change that somebody makes meanwhile. */
export async function setDisabled(
  db: D1Database,
  application: string,
  id: string,
  disabled: EndpointRow['disabled'],
  actor: string,
  now: number,
): Promise<void> {
  const database = connect(db);
  const action = disabled === null ? 'endpoint.enable' : 'endpoint.disable';
  const detail = { application, ...(disabled && { reason: disabled.reason }) };
  await changeApart(database, { at: now, actor, action, subject: id, detail }, [
    database.update(webhookEndpoints).set({ disabled }).where(isThe(application, id)),
  ]);
}

export async function removeEndpoint(
  db: D1Database,
  application: string,
  id: string,
  actor: string,
  now: number,
): Promise<void> {
  const database = connect(db);
  await changeApart(database, { at: now, actor, action: 'endpoint.remove', subject: id, detail: { application } }, [
    database.delete(webhookEndpoints).where(isThe(application, id)),
  ]);
}
