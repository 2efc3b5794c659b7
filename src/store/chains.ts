/**
 * Chains and their versions.
 *
 * Guarantee: a published version never changes and its number is never given twice; version, routes,
 * revision and audit log change together or not at all; two active chains never share a route.
 */

import { and, asc, desc, eq, isNull } from 'drizzle-orm';
import { activation, after, refuseRoute, selectActivated } from './activations.ts';
import { change, connect, isTaken, type Database } from './database.ts';
import { chainCanaries, chainRoutes, chains, chainVersions } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';

export interface Publication {
  readonly name: string;
  readonly document: unknown;
  /** Of {@link document}, by `hashDocument`. */
  readonly hash: string;
  readonly routes: readonly { readonly method: string; readonly path: string }[];
  /** Default true; false: no run takes the version yet. */
  readonly activate?: boolean;
  readonly actor: string;
  /** Unix time in milliseconds. */
  readonly now: number;
}

export interface ChainVersion {
  readonly name: string;
  readonly version: number;
  readonly hash: string;
  readonly document: unknown;
  readonly createdAt: number;
}

export type ChainSummary = Omit<ChainVersion, 'document'>;

/** Each attempt loses only to another publish of the same chain that succeeded. */
const PUBLISH_ATTEMPTS = 32;

/**
 * Makes a document the active version of its chain, or with `activate: false` a version that no run takes
 * yet. The document that is active already, or is the newest one, stays the same version
 * (`created: false`). Faults: `chain.route-taken`, `storage.unavailable`.
 */
export async function publishChain(
  db: D1Database,
  publication: Publication,
): Promise<Result<{ readonly version: number; readonly created: boolean }>> {
  const database = connect(db);
  for (let attempt = 0; attempt < PUBLISH_ATTEMPTS; attempt++) {
    const { active, newest, activated } = await versionsOf(database, publication.name);
    const same = [active, publication.activate === false ? newest : undefined].find(
      (known) => known?.hash === publication.hash,
    );
    if (same !== undefined) return ok({ version: same.version, created: false });
    const version = (newest?.version ?? 0) + 1;
    try {
      await writeVersion(database, publication, version, after(activated));
      return ok({ version, created: true });
    } catch (thrown) {
      if (isTaken(thrown, 'chain_routes')) return await refuseRoute(database, publication);
      if (!isTaken(thrown, 'chain_versions') && !isTaken(thrown, 'chain_activations')) throw thrown;
    }
  }
  return fail('storage.unavailable', `Others publish the chain ${publication.name} at the same time; try again.`);
}

async function versionsOf(database: Database, name: string) {
  const columns = { version: chainVersions.version, hash: chainVersions.hash };
  const [active, newest, activated] = await database.batch([
    database
      .select(columns)
      .from(chains)
      .innerJoin(chainVersions, isActive)
      .where(and(eq(chains.name, name), isNull(chains.removedAt))),
    database
      .select(columns)
      .from(chainVersions)
      .where(eq(chainVersions.chain, name))
      .orderBy(desc(chainVersions.version))
      .limit(1),
    selectActivated(database, name),
  ]);
  return { active: active[0], newest: newest[0], activated: activated[0] };
}

const isActive = and(eq(chainVersions.chain, chains.name), eq(chainVersions.version, chains.version));

async function writeVersion(
  database: Database,
  publication: Publication,
  version: number,
  place: ReturnType<typeof after>,
): Promise<void> {
  const { name, document, hash, now, actor, activate } = publication;
  const row = { chain: name, version, hash, document, createdAt: now, publishedBy: actor };
  const detail = { version, hash, ...(activate === false && { active: false }) };
  await change(database, { at: now, actor, action: 'chain.publish', subject: name, detail }, [
    database.insert(chainVersions).values(row),
    ...(activate === false ? [] : activation(database, { ...publication, version }, place)),
  ]);
}

/** A version of a chain, removed or not; without `version` the active one. */
export async function loadChainVersion(
  db: D1Database,
  name: string,
  version?: number,
): Promise<ChainVersion | undefined> {
  const database = connect(db);
  const [row] =
    version === undefined
      ? await activeChains(database).where(and(eq(chains.name, name), isNull(chains.removedAt)))
      : await database
          .select(versionColumns)
          .from(chainVersions)
          .where(and(eq(chainVersions.chain, name), eq(chainVersions.version, version)));
  return row;
}

const summaryColumns = {
  name: chainVersions.chain,
  version: chainVersions.version,
  hash: chainVersions.hash,
  createdAt: chainVersions.createdAt,
};
const versionColumns = { ...summaryColumns, document: chainVersions.document };

const activeChains = (database: Database) =>
  database.select(versionColumns).from(chains).innerJoin(chainVersions, isActive).$dynamic();

/** Every active chain with its document; for {@link Database.batch}. */
export const selectActiveChains = (database: Database) => activeChains(database).where(isNull(chains.removedAt));

export const listChains = (db: D1Database): Promise<ChainSummary[]> =>
  connect(db)
    .select(summaryColumns)
    .from(chains)
    .innerJoin(chainVersions, isActive)
    .where(isNull(chains.removedAt))
    .orderBy(asc(chains.name))
    .all();

export interface ListedVersion extends ChainSummary {
  /** Null for versions of before this was kept. */
  readonly publishedBy: string | null;
  /** New runs take it, but for the canary's part. */
  readonly active: boolean;
  /** Percent of new runs that take it. */
  readonly weight: number;
}

/** Newest first; empty for a chain that was never published. Those of a removed chain are still there. */
export async function listChainVersions(db: D1Database, name: string): Promise<ListedVersion[]> {
  const database = connect(db);
  const [versions, active, canaries] = await database.batch([
    database
      .select({ ...summaryColumns, publishedBy: chainVersions.publishedBy })
      .from(chainVersions)
      .where(eq(chainVersions.chain, name))
      .orderBy(desc(chainVersions.version)),
    database
      .select({ version: chains.version })
      .from(chains)
      .where(and(eq(chains.name, name), isNull(chains.removedAt))),
    database.select().from(chainCanaries).where(eq(chainCanaries.chain, name)),
  ]);
  const [canary] = canaries;
  const weightOf = (version: number): number => {
    if (version === canary?.version) return canary.weight;
    return version === active[0]?.version ? 100 - (canary?.weight ?? 0) : 0;
  };
  return versions.map((row) => ({
    ...row,
    active: row.version === active[0]?.version,
    weight: weightOf(row.version),
  }));
}

/** False where there is no active chain of that name. */
export async function removeChain(db: D1Database, name: string, actor: string, now: number): Promise<boolean> {
  const database = connect(db);
  const { active } = await versionsOf(database, name);
  if (active === undefined) return false;
  await change(database, { at: now, actor, action: 'chain.remove', subject: name }, [
    database.update(chains).set({ removedAt: now, updatedAt: now }).where(eq(chains.name, name)),
    database.delete(chainRoutes).where(eq(chainRoutes.chain, name)),
    database.delete(chainCanaries).where(eq(chainCanaries.chain, name)),
  ]);
  return true;
}
