/** Who may use the management API: management tokens of programs, and people who sign in elsewhere. */

import { asc, eq, or } from 'drizzle-orm';
import { appendAudit, connect, type Audit, type Database } from './database.ts';
import type { ChangedBy } from './keys.ts';
import { managementTokens, people } from './schema.ts';
import type { BatchItem } from 'drizzle-orm/batch';
import type { Role } from '../core/roles.ts';

export type ManagementTokenRow = typeof managementTokens.$inferSelect;
export type PersonRow = typeof people.$inferSelect;

/** No isolate holds these in memory, so that they raise no revision: each request looks them up. */
const audited = (database: Database, audit: Audit, statement: BatchItem<'sqlite'>) =>
  database.batch([appendAudit(database, audit), statement]);

export async function addManagementToken(db: D1Database, row: ManagementTokenRow, by: ChangedBy): Promise<void> {
  const database = connect(db);
  const { id, name, role, expiresAt } = row;
  const audit = { at: by.now, actor: by.actor, action: 'token.add', subject: id, detail: { name, role, expiresAt } };
  await audited(database, audit, database.insert(managementTokens).values(row));
}

export const listManagementTokens = (db: D1Database): Promise<ManagementTokenRow[]> =>
  connect(db).select().from(managementTokens).orderBy(asc(managementTokens.createdAt), asc(managementTokens.id)).all();

export const managementTokenByHash = (db: D1Database, hash: string): Promise<ManagementTokenRow | undefined> =>
  connect(db).select().from(managementTokens).where(eq(managementTokens.hash, hash)).get();

/** False where there is none of that id. */
export async function removeManagementToken(db: D1Database, id: string, by: ChangedBy): Promise<boolean> {
  const database = connect(db);
  const known = await database.select().from(managementTokens).where(eq(managementTokens.id, id)).get();
  if (known === undefined) return false;
  const audit = { at: by.now, actor: by.actor, action: 'token.remove', subject: id };
  await audited(database, audit, database.delete(managementTokens).where(eq(managementTokens.id, id)));
  return true;
}

export async function addPerson(db: D1Database, row: PersonRow, by: ChangedBy): Promise<void> {
  const database = connect(db);
  const { id, subject, email, role } = row;
  const audit = { at: by.now, actor: by.actor, action: 'person.add', subject: id, detail: { subject, email, role } };
  await audited(database, audit, database.insert(people).values(row));
}

export const listPeople = (db: D1Database): Promise<PersonRow[]> =>
  connect(db).select().from(people).orderBy(asc(people.createdAt), asc(people.id)).all();

export const loadPerson = (db: D1Database, id: string): Promise<PersonRow | undefined> =>
  connect(db).select().from(people).where(eq(people.id, id)).get();

export async function changeRole(db: D1Database, id: string, role: Role, by: ChangedBy): Promise<void> {
  const database = connect(db);
  const audit = { at: by.now, actor: by.actor, action: 'person.change', subject: id, detail: { role } };
  await audited(database, audit, database.update(people).set({ role }).where(eq(people.id, id)));
}

/** False where there is none of that id. */
export async function removePerson(db: D1Database, id: string, by: ChangedBy): Promise<boolean> {
  if ((await loadPerson(db, id)) === undefined) return false;
  const database = connect(db);
  const audit = { at: by.now, actor: by.actor, action: 'person.remove', subject: id };
  await audited(database, audit, database.delete(people).where(eq(people.id, id)));
  return true;
}

/** By subject, else by an address that is proved. A subject is never reassigned, an address may be. */
export async function findPerson(db: D1Database, subject: string, email?: string): Promise<PersonRow | undefined> {
  const bySubject = eq(people.subject, subject);
  const found = await connect(db)
    .select()
    .from(people)
    .where(email === undefined ? bySubject : or(bySubject, eq(people.email, email.toLowerCase())))
    .all();
  return found.find((row) => row.subject === subject) ?? found.find((row) => row.subject === null);
}
