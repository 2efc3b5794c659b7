/** The rotation of the master key that is under way, or was the last. */

import { and, eq } from 'drizzle-orm';
import { changeApart, connect, appendAudit } from './database.ts';
import type { ChangedBy } from './keys.ts';
import { vaultRotation } from './schema.ts';

export type RotationRow = typeof vaultRotation.$inferSelect;

const ONLY = 1;

export const loadRotation = (db: D1Database): Promise<RotationRow | undefined> =>
  connect(db).select().from(vaultRotation).where(eq(vaultRotation.id, ONLY)).get();

/** Begins from the start, also where one is under way. */
export async function beginRotation(
  db: D1Database,
  { version, total }: Pick<RotationRow, 'version' | 'total'>,
  { actor, now }: ChangedBy,
): Promise<void> {
  const database = connect(db);
  const row: RotationRow = {
    id: ONLY,
    version,
    total,
    startedAt: now,
    startedBy: actor,
    finishedAt: null,
    cursor: { table: 0, after: [], wrapped: 0 },
    unreadable: [],
  };
  await changeApart(database, { at: now, actor, action: 'vault.rotate', subject: `master key ${version}` }, [
    database.insert(vaultRotation).values(row).onConflictDoUpdate({ target: vaultRotation.id, set: row }),
  ]);
}

/** Keeps how far it came, unless another rotation has begun meanwhile. */
export async function saveRotation(db: D1Database, rotation: RotationRow): Promise<void> {
  const database = connect(db);
  const { version, startedAt, finishedAt, unreadable } = rotation;
  const update = database
    .update(vaultRotation)
    .set(rotation)
    .where(and(eq(vaultRotation.id, ONLY), eq(vaultRotation.startedAt, startedAt)));
  if (finishedAt === null) return void (await update);
  const audit = { at: finishedAt, actor: 'gateway', action: 'vault.rotated', subject: `master key ${version}` };
  await database.batch([update, appendAudit(database, { ...audit, detail: { unreadable } })]);
}
