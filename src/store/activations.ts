/**
 * Which version of a chain is the active one, and which was before.
 *
 * Guarantee: version, routes, revision and audit log change together or not at all; of two who change the
 * active version at once, one is told so.
 */

import { and, desc, eq } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { alias } from 'drizzle-orm/sqlite-core';
import { change, connect, isTaken, type Database } from './database.ts';
import { chainActivations, chainCanaries, chainRoutes, chains } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { shapeOf } from '../core/route/path.ts';

export interface Activation {
  readonly name: string;
  readonly version: number;
  readonly routes: readonly { readonly method: string; readonly path: string }[];
  readonly actor: string;
  /** Unix time in milliseconds. */
  readonly now: number;
}

/** Where an activation stands among those of its chain. */
interface Place {
  readonly sequence: number;
  /** The activation that a roll back returns to. */
  readonly before: number | null;
}

export interface Activated extends Place {
  readonly version: number;
  readonly previous: { readonly version: number; readonly before: number | null } | undefined;
}

/** The newest activation of a chain, also of a removed one. */
export const selectActivated = (database: Database, name: string) => {
  const previous = alias(chainActivations, 'previous');
  return database
    .select({
      sequence: chainActivations.sequence,
      version: chainActivations.version,
      before: chainActivations.before,
      previous: { version: previous.version, before: previous.before },
    })
    .from(chainActivations)
    .leftJoin(previous, and(eq(previous.chain, name), eq(previous.sequence, chainActivations.before)))
    .where(eq(chainActivations.chain, name))
    .orderBy(desc(chainActivations.sequence))
    .limit(1);
};

export async function loadActivated(db: D1Database, name: string): Promise<Activated | undefined> {
  const row = await selectActivated(connect(db), name).get();
  return row && { ...row, previous: row.previous ?? undefined };
}

export const after = (activated: Pick<Place, 'sequence'> | undefined): Place => ({
  sequence: (activated?.sequence ?? 0) + 1,
  before: activated?.sequence ?? null,
});

/** Makes a version the active one, with its routes; whatever canary there was is none of this version. */
export function activation(
  database: Database,
  { name, version, routes, actor, now }: Activation,
  { sequence, before }: Place,
): BatchItem<'sqlite'>[] {
  const state = { version, updatedAt: now, removedAt: null };
  return [
    database.insert(chainActivations).values({ chain: name, sequence, version, at: now, actor, before }),
    database
      .insert(chains)
      .values({ name, ...state })
      .onConflictDoUpdate({ target: chains.name, set: state }),
    database.delete(chainCanaries).where(eq(chainCanaries.chain, name)),
    database.delete(chainRoutes).where(eq(chainRoutes.chain, name)),
    ...routes.map(({ method, path }) =>
      database.insert(chainRoutes).values({ method, shape: shapeOf(path), chain: name }),
    ),
  ];
}

/** Faults `chain.route-taken`, `storage.unavailable`. */
export async function activateVersion(
  db: D1Database,
  activated: Activation,
  place: Place,
  action: 'chain.promote' | 'chain.rollback',
): Promise<Result<void>> {
  const database = connect(db);
  const { name, version, actor, now } = activated;
  try {
    const audit = { at: now, actor, action, subject: name, detail: { version } };
    await change(database, audit, activation(database, activated, place));
    return ok(undefined);
  } catch (thrown) {
    if (isTaken(thrown, 'chain_routes')) return refuseRoute(database, activated);
    if (!isTaken(thrown, 'chain_activations')) throw thrown;
    return fail('storage.unavailable', `Others change the chain ${name} at the same time; try again.`);
  }
}

export async function refuseRoute(
  database: Database,
  { name, routes }: Pick<Activation, 'name' | 'routes'>,
): Promise<Result<never>> {
  const taken = await database.select().from(chainRoutes);
  for (const { method, path } of routes) {
    const owner = taken.find((row) => row.method === method && row.shape === shapeOf(path));
    if (owner === undefined || owner.chain === name) continue;
    const message = `${method} ${path} belongs to the chain ${owner.chain}; choose another path or remove that chain.`;
    return fail('chain.route-taken', message);
  }
  return fail('chain.route-taken', 'Two triggers of the chain answer one route; give them different paths.');
}
