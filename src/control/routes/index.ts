/** Routes: what is passed on to upstreams. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import type { BodyReader } from '../request.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { parseChainText } from '../../core/chain/text.ts';
import { fail, ok, type Issue } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { compileRoute } from '../../core/route/compile.ts';
import { shapeOf } from '../../core/route/path.ts';
import type { RouteEntry, RoutePlan } from '../../core/route/plan.ts';
import {
  listRoutes,
  listUpstreams,
  loadRoute,
  removeRoute,
  saveRoute,
  type RoutePath,
  type RouteRow,
} from '../../store/routes.ts';

const TAG = 'Routes';
const PATH = `${API}/routes/{name}`;

const document: BodyReader<unknown> = {
  read: parseChainText,
  schema: v.pipe(v.record(v.string(), v.unknown()), v.description('A route document; `name` may be left out.')),
  optional: false,
};

const shown = v.strictObject({
  name: v.string(),
  document: v.record(v.string(), v.unknown()),
  updatedAt: instant,
  updatedBy: v.string(),
});

const saved = v.strictObject({
  ...shown.entries,
  warnings: v.pipe(
    v.array(v.strictObject({ path: v.string(), message: v.string() })),
    v.description('What is not there yet and will make requests fail.'),
  ),
});

const show = ({ name, document: text, updatedAt, updatedBy }: RouteRow) => ({
  name,
  document: text,
  updatedAt: iso(updatedAt),
  updatedBy,
});

const notFound = (name: string) => fail('route.not-found', `There is no route named ${name}.`);

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

export const routes = [
  endpoint({
    id: 'saveRoute',
    tag: TAG,
    summary: 'Make or replace a route',
    role: 'developer',
    method: 'PUT',
    path: PATH,
    body: document,
    replies: {
      200: { description: 'It was replaced, and is live.', schema: saved },
      201: { description: 'It was made, and is live.', schema: saved },
    },
    faults: ['route.invalid', 'route.taken'],
    async handle({ ports, actor, params: { name }, body: given }) {
      const named = isObject(given) && !Object.hasOwn(given, 'name') ? { name, ...given } : given;
      const compiled = compileRoute(named);
      if (!compiled.ok) return compiled;
      const plan = compiled.value;
      if (plan.name !== name) {
        const message = `The document is named "${plan.name}", the address "${name}"; make them equal, or leave the name out.`;
        return refuse('route.invalid', [{ path: 'name', message }]);
      }
      const row = { name, document: named, updatedAt: ports.now(), updatedBy: actor };
      const stored = await saveRoute(ports.db, row, pathsOf(plan));
      if (!stored.ok) return stored;
      await ports.configurationChanged();
      const warnings = await warningsOf(ports.db, plan);
      return ok({
        status: stored.value.created ? 201 : 200,
        body: { ...show(row), warnings },
        location: `${API}/routes/${name}`,
      });
    },
  }),

  endpoint({
    id: 'listRoutes',
    tag: TAG,
    summary: 'List the routes',
    role: 'viewer',
    method: 'GET',
    path: `${API}/routes`,
    replies: { 200: { description: 'Ordered by name.', schema: listOf(shown) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listRoutes(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'getRoute',
    tag: TAG,
    summary: 'Read a route',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'The document as it was saved.', schema: shown } },
    faults: ['route.not-found'],
    async handle({ ports, params: { name } }) {
      const row = await loadRoute(ports.db, name);
      return row === undefined ? notFound(name) : ok({ status: 200, body: show(row) });
    },
  }),

  endpoint({
    id: 'removeRoute',
    tag: TAG,
    summary: 'Remove a route',
    role: 'developer',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'It answers no more.' } },
    faults: ['route.not-found'],
    async handle({ ports, actor, params: { name } }) {
      if (!(await removeRoute(ports.db, name, actor, ports.now()))) return notFound(name);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
