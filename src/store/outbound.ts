/**
 * Event types and applications. They are not part of the configuration that isolates hold: the objects of an
 * application read its own, so the number of customers costs nobody anything.
 */

import { asc, eq, gt } from 'drizzle-orm';
import { changeApart, connect, isTaken } from './database.ts';
import { applications, eventTypes, webhookEndpoints } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';

export type EventTypeRow = typeof eventTypes.$inferSelect;
export type ApplicationRow = typeof applications.$inferSelect;

export const loadEventType = (db: D1Database, name: string): Promise<EventTypeRow | undefined> =>
  connect(db).select().from(eventTypes).where(eq(eventTypes.name, name)).get();

export const listEventTypes = (db: D1Database): Promise<EventTypeRow[]> =>
  connect(db).select().from(eventTypes).orderBy(asc(eventTypes.name)).all();

/** `created` is false where one of that name was replaced. */
export async function saveEventType(
  db: D1Database,
  type: Omit<EventTypeRow, 'createdAt' | 'updatedAt'>,
  actor: string,
  now: number,
): Promise<{ readonly row: EventTypeRow; readonly created: boolean }> {
  const before = await loadEventType(db, type.name);
  const row = { ...type, createdAt: before?.createdAt ?? now, updatedAt: now };
  const database = connect(db);
  await changeApart(database, { at: now, actor, action: 'event-type.save', subject: type.name }, [
    database.insert(eventTypes).values(row).onConflictDoUpdate({ target: eventTypes.name, set: row }),
  ]);
  return { row, created: before === undefined };
}

/** Fault `application.taken` where another application has the uid. */
export async function addApplication(db: D1Database, row: ApplicationRow, actor: string): Promise<Result<void>> {
  const database = connect(db);
  const { id, name, uid, createdAt } = row;
  return untaken(uid, () =>
    changeApart(database, { at: createdAt, actor, action: 'application.add', subject: id, detail: { name, uid } }, [
      database.insert(applications).values(row),
    ]),
  );
}

/** Fault `application.taken` where another application has the uid. */
export async function saveApplication(db: D1Database, row: ApplicationRow, actor: string): Promise<Result<void>> {
  const database = connect(db);
  const { id, name, uid, updatedAt } = row;
  return untaken(uid, () =>
    changeApart(database, { at: updatedAt, actor, action: 'application.save', subject: id, detail: { name, uid } }, [
      database.update(applications).set({ name, uid, updatedAt }).where(eq(applications.id, id)),
    ]),
  );
}

async function untaken(uid: string | null, write: () => Promise<void>): Promise<Result<void>> {
  try {
    return ok(await write());
  } catch (thrown) {
    if (!isTaken(thrown, 'applications')) throw thrown;
    return fail('application.taken', `uid: Another application has the uid ${uid}; choose another or use that one.`);
  }
}

/** Of an id or a uid; no uid begins as ids do. */
export const loadApplication = (db: D1Database, id: string): Promise<ApplicationRow | undefined> =>
  connect(db)
    .select()
    .from(applications)
    .where(id.startsWith(APPLICATION_ID) ? eq(applications.id, id) : eq(applications.uid, id))
    .get();

export const APPLICATION_ID = 'app_';

/** By id. @param after the id of the last one of the page before, or the empty text */
export const listApplications = (db: D1Database, after: string, limit: number): Promise<ApplicationRow[]> =>
  connect(db)
    .select()
    .from(applications)
    .where(gt(applications.id, after))
    .orderBy(asc(applications.id))
    .limit(limit)
    .all();

/** Its endpoints go with it. */
export async function removeApplication(db: D1Database, id: string, actor: string, now: number): Promise<void> {
  const database = connect(db);
  await changeApart(database, { at: now, actor, action: 'application.remove', subject: id }, [
    database.delete(webhookEndpoints).where(eq(webhookEndpoints.application, id)),
    database.delete(applications).where(eq(applications.id, id)),
  ]);
}
