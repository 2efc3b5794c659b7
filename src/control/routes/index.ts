/** Routes: what is passed on to upstreams. */

import { documentEndpoints } from '../documents.ts';
import { API } from '../endpoint.ts';
import type { Issue } from '../../core/errors.ts';
import { compileRoute } from '../../core/route/compile.ts';
import { shapeOf } from '../../core/route/path.ts';
import type { RouteEntry, RoutePlan } from '../../core/route/plan.ts';
import { listRoutes, listUpstreams, loadRoute, removeRoute, saveRoute, type RoutePath } from '../../store/routes.ts';

/** What the route answers, one row for each host and method. */
const pathsOf = ({ entries }: RoutePlan): RoutePath[] =>
  entries.flatMap(({ hosts, methods, path }) =>
    (hosts.length === 0 ? [''] : hosts).flatMap((host) =>
      methods.map((method) => ({ host, method, shape: shapeOf(path) })),
    ),
  );

const versionsOf = ({ version }: RouteEntry) => ('by' in version ? [...version.versions.values()] : [version]);

async function warningsOf(db: D1Database, plan: RoutePlan): Promise<Issue[]> {
  const known = new Set((await listUpstreams(db)).map(({ name }) => name));
  const named = new Set(plan.entries.flatMap(versionsOf).map(({ upstream }) => upstream));
  return [...named]
    .filter((name) => !known.has(name))
    .map((name) => ({
      path: 'upstream',
      message: `There is no upstream "${name}" yet; PUT ${API}/upstreams/${name} makes it.`,
    }));
}

export const routes = documentEndpoints({
  title: 'Route',
  article: 'A',
  invalid: 'route.invalid',
  notFound: 'route.not-found',
  faults: ['route.taken'],
  removed: 'It answers no more.',
  compile: compileRoute,
  save: (db, row, plan) => saveRoute(db, row, pathsOf(plan)),
  list: listRoutes,
  load: loadRoute,
  remove: removeRoute,
  warnings: warningsOf,
});
