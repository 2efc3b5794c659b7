/**
 * Chains and their versions.
 *
 * Guarantee: a published version never changes and its number is never given twice; version, routes,
 * revision and audit log change together or not at all; two active chains never share a route.
 */

import { and, asc, desc, eq, isNull, sql } from 'drizzle-orm';
import { change, connect, isTaken, type Database } from './database.ts';
import { chainRoutes, chains, chainVersions } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';

export interface Publication {
  readonly name: string;
  readonly document: unknown;
  /** Of {@link document}, by `hashDocument`. */
  readonly hash: string;
  readonly routes: readonly { readonly method: string; readonly path: string }[];
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
 * Makes a document the active version of its chain. The document that is active already stays the same
 * version (`created: false`). Faults: `chain.route-taken`, `storage.unavailable`.
 */
export async function publishChain(
  db: D1Database,
  publication: Publication,
): Promise<Result<{ readonly version: number; readonly created: boolean }>> {
  const database = connect(db);
  for (let attempt = 0; attempt < PUBLISH_ATTEMPTS; attempt++) {
    const { active, latest } = await versionsOf(database, publication.name);
    if (active?.hash === publication.hash) return ok({ version: active.version, created: false });
    try {
      await writeVersion(database, publication, latest + 1);
      return ok({ version: latest + 1, created: true });
    } catch (thrown) {
      if (isTaken(thrown, 'chain_routes')) return await refuseRoute(database, publication);
      if (!isTaken(thrown, 'chain_versions')) throw thrown;
    }
  }
  return fail('storage.unavailable', `Others publish the chain ${publication.name} at the same time; try again.`);
}

async function versionsOf(database: Database, name: string) {
  const [active, latest] = await database.batch([
    database
      .select({ version: chains.version, hash: chainVersions.hash })
      .from(chains)
      .innerJoin(chainVersions, isActive)
      .where(and(eq(chains.name, name), isNull(chains.removedAt))),
    database
      .select({ version: sql<number>`coalesce(max(${chainVersions.version}), 0)` })
      .from(chainVersions)
      .where(eq(chainVersions.chain, name)),
  ]);
  return { active: active[0], latest: latest[0]?.version ?? 0 };
}

const isActive = and(eq(chainVersions.chain, chains.name), eq(chainVersions.version, chains.version));

async function writeVersion(database: Database, publication: Publication, version: number): Promise<void> {
  const { name, document, hash, now, actor } = publication;
  const state = { version, updatedAt: now, removedAt: null };
  const routes = publication.routes.map(({ method, path }) => ({ method, shape: shapeOf(path), chain: name }));
  await change(database, { at: now, actor, action: 'chain.publish', subject: name, detail: { version, hash } }, [
    database.insert(chainVersions).values({ chain: name, version, hash, document, createdAt: now }),
    database
      .insert(chains)
      .values({ name, ...state })
      .onConflictDoUpdate({ target: chains.name, set: state }),
    database.delete(chainRoutes).where(eq(chainRoutes.chain, name)),
    ...routes.map((route) => database.insert(chainRoutes).values(route)),
  ]);
}

const shapeOf = (path: string): string => path.replaceAll(/\{[^}/]*\}/g, '{}');

async function refuseRoute(database: Database, publication: Publication): Promise<Result<never>> {
  const taken = await database.select().from(chainRoutes);
  for (const { method, path } of publication.routes) {
    const owner = taken.find((row) => row.method === method && row.shape === shapeOf(path));
    if (owner === undefined || owner.chain === publication.name) continue;
    const message = `${method} ${path} belongs to the chain ${owner.chain}; choose another path or remove that chain.`;
    return fail('chain.route-taken', message);
  }
  return fail('chain.route-taken', 'Two triggers of the chain answer one route; give them different paths.');
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

/** Newest first; empty for a chain that was never published. Those of a removed chain are still there. */
export const listChainVersions = (db: D1Database, name: string): Promise<ChainSummary[]> =>
  connect(db)
    .select(summaryColumns)
    .from(chainVersions)
    .where(eq(chainVersions.chain, name))
    .orderBy(desc(chainVersions.version))
    .all();

/** False where there is no active chain of that name. */
export async function removeChain(db: D1Database, name: string, actor: string, now: number): Promise<boolean> {
  const database = connect(db);
  const { active } = await versionsOf(database, name);
  if (active === undefined) return false;
  await change(database, { at: now, actor, action: 'chain.remove', subject: name }, [
    database.update(chains).set({ removedAt: now, updatedAt: now }).where(eq(chains.name, name)),
    database.delete(chainRoutes).where(eq(chainRoutes.chain, name)),
  ]);
  return true;
}
