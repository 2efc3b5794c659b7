/**
 * Routes and the upstreams that they lead to.
 *
 * Guarantee: a route, what it answers, the revision and the audit log change together or not at all; two
 * routes never answer the same host, method and path.
 */

import { asc, eq } from 'drizzle-orm';
import { change, connect, isTaken } from './database.ts';
import { routePaths, routes, upstreams } from './schema.ts';
import { fail, ok, type Result } from '../core/errors.ts';

/** The document was checked before it was stored. Times are unix milliseconds. */
export type RouteRow = typeof routes.$inferSelect;
export type UpstreamRow = typeof upstreams.$inferSelect;
export type RoutePath = Omit<typeof routePaths.$inferSelect, 'route'>;

/** D1 takes 100 parameters a statement, and a path four. */
const PATHS_PER_STATEMENT = 25;

/** Fault `route.taken`. */
export async function saveRoute(
  db: D1Database,
  row: RouteRow,
  paths: readonly RoutePath[],
): Promise<Result<{ readonly created: boolean }>> {
  const database = connect(db);
  const { name, updatedAt: at, updatedBy: actor } = row;
  const before = await loadRoute(db, name);
  const rows = paths.map((path) => ({ ...path, route: name }));
  const inserts = Array.from({ length: Math.ceil(rows.length / PATHS_PER_STATEMENT) }, (_, index) =>
    database.insert(routePaths).values(rows.slice(index * PATHS_PER_STATEMENT, (index + 1) * PATHS_PER_STATEMENT)),
  );
  try {
    await change(database, { at, actor, action: 'route.save', subject: name }, [
      database.insert(routes).values(row).onConflictDoUpdate({ target: routes.name, set: row }),
      database.delete(routePaths).where(eq(routePaths.route, name)),
      ...inserts,
    ]);
  } catch (thrown) {
    if (isTaken(thrown, 'route_paths')) return refuse(db, name, paths);
    throw thrown;
  }
  return ok({ created: before === undefined });
}

async function refuse(db: D1Database, name: string, paths: readonly RoutePath[]): Promise<Result<never>> {
  const taken = await connect(db).select().from(routePaths).all();
  for (const { host, method, shape } of paths) {
    const owner = taken.find((row) => row.host === host && row.method === method && row.shape === shape);
    if (owner === undefined || owner.route === name) continue;
    const what = `${method === '*' ? 'Every method' : method} of ${host}${shape}`;
    return fail('route.taken', `${what} belongs to the route ${owner.route}; choose another path or remove it.`);
  }
  return fail('route.taken', 'Two versions of the route answer the same requests; give them different paths or hosts.');
}

export const loadRoute = (db: D1Database, name: string): Promise<RouteRow | undefined> =>
  connect(db).select().from(routes).where(eq(routes.name, name)).get();

export const listRoutes = (db: D1Database): Promise<RouteRow[]> =>
  connect(db).select().from(routes).orderBy(asc(routes.name)).all();

/** False where there is none of that name. */
export async function removeRoute(db: D1Database, name: string, actor: string, now: number): Promise<boolean> {
  if ((await loadRoute(db, name)) === undefined) return false;
  const database = connect(db);
  await change(database, { at: now, actor, action: 'route.remove', subject: name }, [
    database.delete(routes).where(eq(routes.name, name)),
    database.delete(routePaths).where(eq(routePaths.route, name)),
  ]);
  return true;
}

export async function saveUpstream(db: D1Database, row: UpstreamRow): Promise<{ readonly created: boolean }> {
  const before = await loadUpstream(db, row.name);
  const database = connect(db);
  const { name, updatedAt: at, updatedBy: actor } = row;
  await change(database, { at, actor, action: 'upstream.save', subject: name }, [
    database.insert(upstreams).values(row).onConflictDoUpdate({ target: upstreams.name, set: row }),
  ]);
  return { created: before === undefined };
}

export const loadUpstream = (db: D1Database, name: string): Promise<UpstreamRow | undefined> =>
  connect(db).select().from(upstreams).where(eq(upstreams.name, name)).get();

export const listUpstreams = (db: D1Database): Promise<UpstreamRow[]> =>
  connect(db).select().from(upstreams).orderBy(asc(upstreams.name)).all();

export async function removeUpstream(db: D1Database, name: string, actor: string, now: number): Promise<boolean> {
  if ((await loadUpstream(db, name)) === undefined) return false;
  const database = connect(db);
  await change(database, { at: now, actor, action: 'upstream.remove', subject: name }, [
    database.delete(upstreams).where(eq(upstreams.name, name)),
  ]);
  return true;
}
