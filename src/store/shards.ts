/** Run objects near a location, which exist once a caller has come from there. */

import { connect } from './database.ts';
import { runShards } from './schema.ts';

export const addShard = async (db: D1Database, name: string): Promise<void> =>
  void (await connect(db).insert(runShards).values({ name }).onConflictDoNothing());

export const loadShards = async (db: D1Database): Promise<readonly string[]> =>
  (await connect(db).select().from(runShards)).map(({ name }) => name);
