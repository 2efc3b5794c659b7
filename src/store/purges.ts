/** Purges of the cache. Each is a revision, after which what was stored before it counts no more. */

import { sql } from 'drizzle-orm';
import { change, connect } from './database.ts';
import { cachePurges, configuration } from './schema.ts';
import { LIMITS } from '../core/limits.ts';

/** The scope of everything. */
export const EVERYTHING = '*';

/**
 * The oldest of too many purges are forgotten one by one, and everything before the newest of them is stale
 * instead: too much is purged, never too little.
 */
export async function addPurges(db: D1Database, scopes: readonly string[], actor: string, now: number): Promise<void> {
  const database = connect(db);
  const revision = sql`(select ${configuration.revision} from ${configuration})`;
  const tooMany = sql`select scope, revision from ${cachePurges} where scope <> ${EVERYTHING}
    order by revision desc, scope limit -1 offset ${LIMITS.cachePurges}`;
  await change(database, { at: now, actor, action: 'cache.purge', subject: scopes.join(' ').slice(0, 1_000) }, [
    ...scopes.map((scope) =>
      database
        .insert(cachePurges)
        .values({ scope, revision })
        .onConflictDoUpdate({ target: cachePurges.scope, set: { revision } }),
    ),
    database
      .insert(cachePurges)
      .select(sql`select ${EVERYTHING}, max(revision) from (${tooMany}) where true having count(*) > 0`)
      .onConflictDoUpdate({
        target: cachePurges.scope,
        set: { revision: sql`max(${cachePurges.revision}, excluded.revision)` },
      }),
    database.delete(cachePurges).where(sql`${cachePurges.scope} in (select scope from (${tooMany}))`),
  ]);
}
