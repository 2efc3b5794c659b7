/** HTTP → route: choose the version, edit the request, pass it on, edit the reply. Bodies pass as streams. */

import { credentialHeaders } from './auth/index.ts';
import { editedRequest, editedResponse, scopeOf } from './edits.ts';
import type { Exchange } from './exchange.ts';
import { forward, type Outgoing } from './proxy/forward.ts';
import type { RouteTarget } from './tables.ts';
import { fail, fault, ok, problemResponse, type Result } from '../core/errors.ts';
import { isPlainPath } from '../core/route/path.ts';
import type { RoutePlan, VersionPlan } from '../core/route/plan.ts';

/** @param values of the parameters of the path, as received */
export async function answerRoute(
  exchange: Exchange,
  { route, version: choice }: RouteTarget,
  values: readonly string[],
): Promise<Response> {
  const chosen = 'by' in choice ? versionOf(choice, exchange) : ok(choice);
  if (!chosen.ok) return problemResponse(chosen.fault);
  const version = chosen.value;
  exchange.version = version.name ?? '';
  const refused = refusalOf(exchange, route, version);
  if (refused !== undefined) return noticed(version, refused);
  const pool = exchange.configuration.upstreams.get(version.upstream);
  if (pool === undefined) {
    return problemResponse(fault('upstream.not-found', `There is no upstream named ${version.upstream}.`));
  }
  const { request } = version;
  const editing = request === undefined ? plain(exchange) : editedRequest(request, exchange, route, version, values);
  const outgoing = editing instanceof Promise ? await editing : editing;
  if (!outgoing.ok) return problemResponse(outgoing.fault);
  const { timeoutMilliseconds: headersTimeoutMilliseconds, compress } = route;
  const credentials = credentialHeaders(route.policies.auth, exchange.headers);
  const scope = () => scopeOf(exchange, route, version);
  const options = { headersTimeoutMilliseconds, compress, credentials, scope };
  const reply = await forward(pool, exchange, outgoing.value, options);
  const answer =
    version.response === undefined ? reply : await editedResponse(version.response, exchange, route, version, reply);
  return noticed(version, answer);
}

/** The path and query of the request, as they are. */
function plain({ url }: Exchange): Result<Outgoing> {
  const path = url.slice(url.indexOf('/', url.indexOf('//') + 2));
  return ok({ path, headers: undefined, body: undefined });
}

function refusalOf({ path, headers, receivedAt }: Exchange, route: RoutePlan, version: VersionPlan) {
  // The upstream may read such a path differently from the router, and so answer what the route does not show.
  if (!isPlainPath(path)) return problemResponse(fault('request.invalid', 'The path must not hold dot segments.'));
  if (version.endsAt !== undefined && version.endsAt <= receivedAt) {
    return problemResponse(fault('version.gone', `The version ${version.name} has ended; use another.`));
  }
  const { bodyLimitBytes } = route;
  if (bodyLimitBytes !== undefined && Number(headers.get('content-length') ?? 0) > bodyLimitBytes) {
    return problemResponse(fault('request.too-large', `The body may have up to ${bodyLimitBytes} bytes.`));
  }
  return undefined;
}

function versionOf(
  { by, name, byDefault, versions }: Extract<RouteTarget['version'], { by: unknown }>,
  { headers, url }: Exchange,
): Result<VersionPlan> {
  const query = url.indexOf('?');
  const given =
    by === 'header' ? headers.get(name) : query === -1 ? null : new URLSearchParams(url.slice(query)).get(name);
  const version = given === null ? byDefault : versions.get(given);
  if (version !== undefined) return ok(version);
  const where = by === 'header' ? `the header ${name}` : `the query parameter ${name}`;
  return fail('version.unknown', `Name a version in ${where}: ${[...versions.keys()].join(', ')}.`);
}

/** RFC 9745 and RFC 8594: what callers of a version that will end are told. */
function noticed({ notices }: VersionPlan, response: Response): Response {
  if (notices.length === 0 || response.webSocket) return response;
  const told = new Response(response.body, response);
  for (const [name, value] of notices) told.headers.append(name, value);
  return told;
}
