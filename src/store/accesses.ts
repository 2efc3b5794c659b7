/** The access log of the vault, and the uses of connections. */

import { and, asc, desc, eq, inArray, lt, sql } from 'drizzle-orm';
import { connect } from './database.ts';
import { connectionUses, vaultAccesses } from './schema.ts';
import { LIMITS } from '../core/limits.ts';

export type AccessRow = typeof vaultAccesses.$inferSelect;
export type Access = Omit<AccessRow, 'id'>;
/** `run` is the last one. */
export type ConnectionUse = typeof connectionUses.$inferSelect;

/** A statement for each kind, however many. */
export async function saveAccesses(
  db: D1Database,
  accesses: readonly Access[],
  uses: readonly ConnectionUse[],
): Promise<void> {
  const database = connect(db);
  if (accesses.length > 0) {
    await database.run(sql`
      insert into ${vaultAccesses} (at, kind, tenant, connector, name, readable, reader)
      select a.value ->> 'at', a.value ->> 'kind', a.value ->> 'tenant', a.value ->> 'connector', a.value ->> 'name',
        a.value ->> 'readable', a.value -> 'reader'
      from json_each(${JSON.stringify(accesses)}) as a
    `);
  }
  if (uses.length === 0) return;
  await database.run(sql`
    insert into ${connectionUses} (tenant, name, chain, uses, used_at, run)
    select u.value ->> 'tenant', u.value ->> 'name', u.value ->> 'chain', u.value ->> 'uses', u.value ->> 'usedAt',
      u.value ->> 'run'
    from json_each(${JSON.stringify(uses)}) as u
    where true
    on conflict (tenant, name, chain) do update
      set uses = uses + excluded.uses, run = excluded.run, used_at = max(used_at, excluded.used_at)
  `);
}

export interface AccessFilter {
  readonly tenant?: string | undefined;
  readonly name?: string | undefined;
  readonly kind?: AccessRow['kind'] | undefined;
  /** Only older ones than the access of that id. */
  readonly before?: number | undefined;
}

/** The newest first, one more than a page so that the caller sees whether there are more. */
export const listAccesses = (db: D1Database, { tenant, name, kind, before }: AccessFilter): Promise<AccessRow[]> =>
  connect(db)
    .select()
    .from(vaultAccesses)
    .where(
      and(
        tenant === undefined ? undefined : eq(vaultAccesses.tenant, tenant),
        name === undefined ? undefined : eq(vaultAccesses.name, name),
        kind === undefined ? undefined : eq(vaultAccesses.kind, kind),
        before === undefined ? undefined : lt(vaultAccesses.id, before),
      ),
    )
    .orderBy(desc(vaultAccesses.id))
    .limit(LIMITS.accessesPerPage + 1)
    .all();

export const listUses = (db: D1Database, tenant: string, name: string): Promise<ConnectionUse[]> =>
  connect(db)
    .select()
    .from(connectionUses)
    .where(and(eq(connectionUses.tenant, tenant), eq(connectionUses.name, name)))
    .orderBy(asc(connectionUses.chain))
    .all();

/** Deletes a bounded number of those that are older; the next turn goes on. */
export async function pruneAccesses(db: D1Database, before: number): Promise<void> {
  const database = connect(db);
  const old = database
    .select({ id: vaultAccesses.id })
    .from(vaultAccesses)
    .where(lt(vaultAccesses.at, before))
    .orderBy(asc(vaultAccesses.id))
    .limit(LIMITS.accessRowsPerTurn);
  await database.delete(vaultAccesses).where(inArray(vaultAccesses.id, old));
}

/** The same for uses of connections; a chain that uses one again is counted anew. */
export async function pruneUses(db: D1Database, before: number): Promise<void> {
  const database = connect(db);
  const rowid = sql`rowid`;
  const old = database
    .select({ rowid })
    .from(connectionUses)
    .where(lt(connectionUses.usedAt, before))
    .limit(LIMITS.accessRowsPerTurn);
  await database.delete(connectionUses).where(inArray(rowid, old));
}
