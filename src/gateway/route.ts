/** HTTP → route: choose the version, edit the request, pass it on, edit the reply. Bodies pass as streams. */

import { credentialHeaders } from './auth/index.ts';
import { editedRequest, editedResponse } from './edits.ts';
import type { Exchange, Identity } from './exchange.ts';
import { forward, type Outgoing } from './proxy/forward.ts';
import { edited } from './response.ts';
import { scopeOf, type Around } from './scope.ts';
import type { RouteTarget } from './tables.ts';
import { fail, fault, ok, problemResponse, type Fault, type Result } from '../core/errors.ts';
import { andThen } from '../core/maybe-promise.ts';
import { isPlainPath } from '../core/route/path.ts';
import type { RoutePlan, VersionPlan } from '../core/route/plan.ts';
import { pathStart } from '../core/url.ts';

/** @param values of the parameters of the path, as received */
export function answerRoute(
  given: Exchange,
  target: RouteTarget,
  version: VersionPlan,
  values: readonly string[],
  identity: Identity | undefined,
): Response | Promise<Response> {
  const { route } = target;
  const refused = refusalOf(given, route, version);
  if (refused !== undefined) return told(refused, version, undefined);
  const pool = given.configuration.upstreams.get(version.upstream);
  if (pool === undefined) {
    return problemResponse(fault('upstream.not-found', `There is no upstream named ${version.upstream}.`));
  }
  const { exchange, isOver } = withBodyLimit(given, route.bodyLimitBytes);
  const around: Around = { exchange, route, version, identity };
  const { timeoutMilliseconds: headersTimeoutMilliseconds, compress } = route;
  const credentials = credentialHeaders(route.policies.auth, exchange.headers);
  const scope = () => scopeOf(around);
  const options = { headersTimeoutMilliseconds, compress, credentials, identity, scope };
  const send = (outgoing: Result<Outgoing>): Response | Promise<Response> => {
    if (!outgoing.ok) return problemResponse(outgoing.fault);
    const replying = forward(pool, exchange, outgoing.value, options);
    return isPassedOn(target, version, isOver) ? replying : finish(replying, target, around, isOver);
  };
  const editing = version.request === undefined ? plain(exchange) : editedRequest(version.request, around, values);
  return andThen(editing, send);
}

type IsOver = (() => boolean) | undefined;

/** Whether the reply goes to the caller as the upstream sent it. */
const isPassedOn = ({ version: choice }: RouteTarget, { response, notices }: VersionPlan, isOver: IsOver): boolean =>
  response === undefined && notices.length === 0 && isOver === undefined && !('by' in choice);

async function finish(
  replying: Promise<Response>,
  { route, version: choice }: RouteTarget,
  around: Around,
  isOver: IsOver,
): Promise<Response> {
  const { version } = around;
  const reply = await replying;
  if (isOver?.() === true) return problemResponse(tooLarge(route.bodyLimitBytes));
  const answer = version.response === undefined ? reply : await editedResponse(version.response, around, reply);
  return told(answer, version, 'by' in choice && choice.by === 'header' ? choice.name : undefined);
}

const tooLarge = (limitBytes: number | undefined): Fault =>
  fault('request.too-large', `The body may have up to ${limitBytes} bytes.`);

/** A body that tells its length is refused before; of another, what passes is counted. */
function withBodyLimit(
  exchange: Exchange,
  limitBytes: number | undefined,
): { readonly exchange: Exchange; readonly isOver: IsOver } {
  const { request, headers } = exchange;
  if (limitBytes === undefined || headers.has('content-length') || request.body === null) {
    return { exchange, isOver: undefined };
  }
  let passed = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      passed += chunk.byteLength;
      if (passed > limitBytes) controller.error(new Error('the body is too large'));
      else controller.enqueue(chunk);
    },
  });
  const counted = new Request(request, { method: exchange.method, body: request.body.pipeThrough(counter) });
  return { exchange: { ...exchange, request: counted }, isOver: () => passed > limitBytes };
}

/** The path and query of the request, as they are. */
function plain({ url }: Exchange): Result<Outgoing> {
  return ok({ path: url.slice(pathStart(url)) });
}

function refusalOf({ path, headers, receivedAt }: Exchange, route: RoutePlan, version: VersionPlan) {
  // The upstream may read such a path differently from the router, and so answer what the route does not show.
  if (!isPlainPath(path)) return problemResponse(fault('request.invalid', 'The path must not hold dot segments.'));
  if (version.endsAt !== undefined && version.endsAt <= receivedAt) {
    return problemResponse(fault('version.gone', `The version ${version.name} has ended; use another.`));
  }
  const { bodyLimitBytes } = route;
  if (bodyLimitBytes !== undefined && Number(headers.get('content-length') ?? 0) > bodyLimitBytes) {
    return problemResponse(tooLarge(bodyLimitBytes));
  }
  return undefined;
}

/** Fault `version.unknown`. */
export function versionOf({ version: choice }: RouteTarget, { headers, url }: Exchange): Result<VersionPlan> {
  if (!('by' in choice)) return ok(choice);
  const { by, name, byDefault, versions } = choice;
  const query = url.indexOf('?');
  const given =
    by === 'header' ? headers.get(name) : query === -1 ? null : new URLSearchParams(url.slice(query)).get(name);
  const version = given === null ? byDefault : versions.get(given);
  if (version !== undefined) return ok(version);
  const where = by === 'header' ? `the header ${name}` : `the query parameter ${name}`;
  return fail('version.unknown', `Name a version in ${where}: ${[...versions.keys()].join(', ')}.`);
}

/**
 * What callers of a version that will end are told (RFC 9745 and RFC 8594).
 * @param by the header that chooses the version, so that caches keep the versions apart
 */
function told(response: Response, { notices }: VersionPlan, by: string | undefined): Response {
  if (notices.length === 0 && by === undefined) return response;
  return edited(response, (headers) => {
    for (const [name, value] of notices) headers.append(name, value);
    if (by !== undefined) headers.append('vary', by);
  });
}
