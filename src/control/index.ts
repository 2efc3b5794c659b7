/** The management API under `/_/api/v1`, and `/_/health`. */

import { Hono } from 'hono';
import * as v from 'valibot';
import { applications } from './applications/index.ts';
import { authorizations } from './authorizations/index.ts';
import { cache } from './cache/index.ts';
import { chains } from './chains/index.ts';
import { connections } from './connections/index.ts';
import { connectionSwitches } from './connections/switches.ts';
import { bundles } from './connections/bundle.ts';
import { API, endpoint, type Endpoint, type Reply } from './endpoint.ts';
import { eventTypes } from './event-types/index.ts';
import { events } from './events/index.ts';
import { newFailures, principalOf } from './guard.ts';
import { health } from './health/index.ts';
import { keys } from './keys/index.ts';
import { openApiDocument } from './openapi.ts';
import type { ControlPorts } from './ports.ts';
import { routes } from './routes/index.ts';
import { people } from './people/index.ts';
import { tokens } from './people/tokens.ts';
import { ANYBODY, type Principal } from './principal.ts';
import { runs } from './runs/index.ts';
import { sourceEvents } from './sources/events.ts';
import { sourceEventsAgain } from './sources/events-again.ts';
import { sources } from './sources/index.ts';
import { subscriptions } from './subscriptions/index.ts';
import { traffic } from './traffic/index.ts';
import { upstreams } from './upstreams/index.ts';
import { vault } from './vault/index.ts';
import { FaultError, fault, ok, problemResponse, type Fault } from '../core/errors.ts';
import { mayAs } from '../core/roles.ts';
import type { Trust } from '../runtime/address.ts';
import { storageFault } from '../store/database.ts';

const openApi = endpoint({
  id: 'getOpenApi',
  tag: 'Health',
  summary: 'Read this document',
  access: 'public',
  method: 'GET',
  path: `${API}/openapi.json`,
  replies: { 200: { description: 'OpenAPI 3.1.', schema: v.record(v.string(), v.unknown()) } },
  handle: async () => ok({ status: 200, body: apiDocument() }),
});

/** Every operation that the API has. */
export const endpoints: readonly Endpoint[] = [
  ...health,
  openApi,
  ...chains,
  ...runs,
  ...events,
  ...routes,
  ...upstreams,
  ...subscriptions,
  ...sources,
  ...sourceEvents,
  ...sourceEventsAgain,
  ...connections,
  ...authorizations,
  ...connectionSwitches,
  ...bundles,
  ...vault,
  ...keys,
  ...traffic,
  ...eventTypes,
  ...applications,
  ...cache,
  ...tokens,
  ...people,
];

let document: Record<string, unknown> | undefined;

/** The OpenAPI document, made when it is first asked for. */
export const apiDocument = (): Record<string, unknown> => (document ??= openApiDocument(endpoints));

interface Variables {
  ports: ControlPorts;
  principal: Principal;
}

/** @param portsOf called once for each request; it must not wait */
export function createControl<Bindings extends Trust>(
  portsOf: (env: Bindings, ctx: Pick<ExecutionContext, 'waitUntil'>) => ControlPorts,
): Hono<{ Bindings: Bindings; Variables: Variables }> {
  const app = new Hono<{ Bindings: Bindings; Variables: Variables }>();
  const failures = newFailures();

  const register = (item: Endpoint) =>
    app.on(item.method, item.path.replaceAll(/\{(\w+)\}/g, ':$1'), async (c) => {
      const principal = c.get('principal');
      const needed = item.role ?? 'owner';
      if (item.access !== 'public' && !mayAs(principal.role, needed)) {
        return refuse(
          fault('auth.forbidden', `This needs the role ${needed}; ${principal.actor} is ${principal.role}.`),
        );
      }
      const result = await item.answer(c.req.raw, c.req.param(), c.get('ports'), principal);
      return result.ok ? respond(result.value) : refuse(result.fault);
    });

  app.use(async (c, next) => {
    c.set('ports', portsOf(c.env, c.executionCtx));
    c.set('principal', ANYBODY);
    await next();
  });
  for (const item of endpoints) if (item.access === 'public') register(item);
  // Whatever is registered from here on, and whatever is not there at all, is for those who have a role.
  app.use(async (c, next) => {
    const principal = await principalOf(c.req.raw, c.env, c.get('ports'), failures);
    if (!principal.ok) return refuse(principal.fault);
    c.set('principal', principal.value);
    return next();
  });
  for (const item of endpoints) if (item.access !== 'public') register(item);
  app.notFound((c) => unrouted(c.req.method, c.req.path));
  app.onError((thrown) => refuse(faultFrom(thrown)));
  return app;
}

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

function respond({ status, body, location, response }: Reply): Response {
  if (response !== undefined) return response;
  const headers = { ...HEADERS, ...(location === undefined ? {} : { location }) };
  return body === undefined ? new Response(null, { status, headers }) : Response.json(body, { status, headers });
}

function refuse(value: Fault): Response {
  if (value.detail !== undefined) console.error(`control: ${value.code}`, value.detail);
  const response = problemResponse(value);
  for (const [name, content] of Object.entries(HEADERS)) response.headers.set(name, content);
  return response;
}

function faultFrom(thrown: unknown): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  return (
    storageFault(thrown) ??
    fault('internal.unexpected', 'Something unexpected happened; the log of the gateway tells more.', {
      detail: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
    })
  );
}

/** The answer where no endpoint has both this path and this method. */
function unrouted(method: string, path: string): Response {
  const allowed = new Set<string>(endpoints.filter((item) => isAt(item, path)).map((item) => item.method));
  if (allowed.size === 0) return refuse(fault('request.not-found', `There is nothing at ${path}.`));
  if (allowed.has('GET')) allowed.add('HEAD');
  const allow = [...allowed, 'OPTIONS'];
  if (method === 'OPTIONS')
    return new Response(null, { status: 204, headers: { ...HEADERS, allow: allow.join(', ') } });
  return refuse(fault('request.method', `${path} takes ${allow.join(', ')}.`, { allow }));
}

function isAt({ path }: Endpoint, asked: string): boolean {
  const parts = path.split('/');
  const given = asked.split('/');
  return parts.length === given.length && parts.every((part, index) => part.startsWith('{') || part === given[index]);
}
