/**
 * The front of everything that is the owner's: match → preflight → authenticate → limit → idempotency → cache → target. A stage
 * that can answer from memory does so at once, so that a request leaves the isolate only for its work.
 */

import { authenticateExchange } from './auth/index.ts';
import { answerChain } from './chain.ts';
import { throughCache } from './cache/stage.ts';
import { allowCaller, preflight } from './cors.ts';
import { hostnameOf } from './event.ts';
import type { Exchange, Identity } from './exchange.ts';
import { withIdempotency, type Work } from './idempotency/stage.ts';
import { admit, type Admission } from './limits/admit.ts';
import { releaseAtEnd } from './limits/release.ts';
import { edited } from './response.ts';
import { answerRoute, versionOf } from './route.ts';
import type { Match } from './router.ts';
import { tablesOf, type Target } from './tables.ts';
import { fail, fault, faultOf, ok, problemResponse, type Result } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { andThen } from '../core/maybe-promise.ts';
import type { Env } from '../env.ts';
import {
  checkConfiguration,
  checkInBackground,
  currentConfiguration,
  versionFor,
  type Configuration,
} from '../runtime/configuration.ts';
import { recordTraffic } from '../telemetry/traffic.ts';

/** What is known of a request before its target is. */
export type Incoming = Pick<Exchange, 'request' | 'method' | 'url' | 'path' | 'headers' | 'hops'>;

/** Never rejects: a failure is an answer too. Each promise on the way costs time, so there is none that needs not be. */
export function handleRequest(incoming: Incoming, env: Env, ctx: ExecutionContext): Response | Promise<Response> {
  try {
    const configuration = currentConfiguration(env);
    if (configuration instanceof Promise) return lookAgain(configuration, incoming, env, ctx);
    checkInBackground(env, ctx);
    const found = find(configuration, incoming);
    // Another isolate may have published the route a moment ago.
    if (!found.ok) return lookAgain(checkConfiguration(env, LIMITS.configurationMissMilliseconds), incoming, env, ctx);
    return answer(exchangeOf(incoming, found.value, configuration, env, ctx), found.value);
  } catch (thrown) {
    return failed(thrown);
  }
}

async function lookAgain(
  loading: Promise<Configuration>,
  incoming: Incoming,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  try {
    const configuration = await loading;
    const found = find(configuration, incoming);
    if (!found.ok) return problemResponse(found.fault);
    return await answer(exchangeOf(incoming, found.value, configuration, env, ctx), found.value);
  } catch (thrown) {
    return failed(thrown);
  }
}

function exchangeOf(
  incoming: Incoming,
  { params, target }: Match<Target>,
  configuration: Configuration,
  env: Env,
  ctx: ExecutionContext,
): Exchange {
  const { request, method, url, path, headers, hops } = incoming;
  const receivedAt = Date.now();
  return {
    request,
    method,
    url,
    path,
    headers,
    hops,
    params,
    receivedAt,
    target: target.name,
    version: '',
    env,
    ctx,
    configuration,
  };
}

function find(configuration: Configuration, { method, headers, url, path }: Incoming): Result<Match<Target>> {
  const { targets } = tablesOf(configuration);
  const host = targets.hosted ? hostnameOf(url) : '';
  // A preflight asks for a method of which it is none.
  const asked = (method === 'OPTIONS' ? headers.get('access-control-request-method') : null) ?? method;
  let lookup = targets.find(asked, path, host);
  if (lookup.kind === 'method' && asked === 'HEAD') lookup = targets.find('GET', path, host);
  if (lookup.kind === 'method' && asked !== method) lookup = targets.find(method, path, host);
  if (lookup.kind === 'found') return ok(lookup.match);
  if (lookup.kind === 'missing') return fail('request.not-found', `Nothing answers ${path}.`);
  return fail('request.method', `${path} takes ${lookup.allowed.join(', ')}.`, { allow: lookup.allowed });
}

function answer(exchange: Exchange, match: Match<Target>): Response | Promise<Response> {
  const { cors } = match.target.policies;
  if (cors === undefined) return counted(exchange, match);
  const origin = exchange.headers.get('origin');
  const permission = origin === null ? undefined : preflight(cors, exchange, origin);
  if (permission !== undefined) return permission;
  const allowed = andThen(counted(exchange, match), (response) => allowCaller(cors, origin, response));
  return allowed instanceof Promise ? allowed.catch(failed) : allowed;
}

/** Never rejects: a failure is an answer too. */
function counted(exchange: Exchange, match: Match<Target>): Response | Promise<Response> {
  const { env, ctx, target, receivedAt } = exchange;
  let caller = '';
  const count = (response: Response): Response => {
    recordTraffic(env, ctx, { target, version: exchange.version, caller }, response.status, receivedAt);
    return response;
  };
  const fell = (thrown: unknown): Response => count(failed(thrown));
  const proceed = (identity: Result<Identity | undefined>): Response | Promise<Response> => {
    if (!identity.ok) return problemResponse(identity.fault);
    if (identity.value !== undefined) caller = callerOf(identity.value);
    return limited(exchange, match, identity.value);
  };
  try {
    const identifying = authenticateExchange(match.target.policies.auth, exchange);
    const answering = andThen(identifying, proceed);
    return answering instanceof Promise ? answering.then(count, fell) : count(answering);
  } catch (thrown) {
    return fell(thrown);
  }
}

function failed(thrown: unknown): Response {
  const reason = faultOf(thrown);
  console.error('request failed', reason.code, reason.detail ?? reason.message);
  return problemResponse(reason);
}

/** Who asks, for the figures: subjects of tokens are too many to be told apart. */
const callerOf = ({ id }: Identity): string => id.split('|', 1)[0] ?? id;

function limited(
  exchange: Exchange,
  match: Match<Target>,
  identity: Identity | undefined,
): Response | Promise<Response> {
  const { limits } = match.target.policies;
  const ofKey = identity?.key?.limits ?? undefined;
  if (limits === undefined && ofKey === undefined) return work(exchange, match, identity);
  const admission = admit(limits, exchange, identity, ofKey);
  return andThen(admission, (known) => admitted(known, exchange, match, identity));
}

function admitted(
  admission: Admission,
  exchange: Exchange,
  match: Match<Target>,
  identity: Identity | undefined,
): Response | Promise<Response> {
  if (!admission.ok) {
    const { fault: reason, headers } = admission;
    return withHeaders(problemResponse(reason, isObject(reason.data) ? reason.data : undefined), headers);
  }
  const { headers = [], release } = admission;
  if (release !== undefined) return releasing(release, headers, exchange, () => work(exchange, match, identity));
  return andThen(work(exchange, match, identity), (response) => withHeaders(response, headers));
}

async function releasing(
  release: () => void,
  headers: HeaderPairs,
  { ctx }: Exchange,
  begin: () => Response | Promise<Response>,
): Promise<Response> {
  try {
    return releaseAtEnd(withHeaders(await begin(), headers), release, ctx);
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/** Idempotency, then cache, then the target; each may hand on a request of its own. */
function work(
  exchange: Exchange,
  { target, values }: Match<Target>,
  identity: Identity | undefined,
): Response | Promise<Response> {
  const { idempotency, cache } = target.policies;
  const reach = targetOf(exchange, target, values, identity);
  if (reach instanceof Response) return reach;
  if (idempotency === undefined && cache === undefined) return reach(exchange, undefined);
  const through: Work = async (request, dedupeKey) => {
    const inner = within(exchange, request);
    if (cache === undefined) return reach(inner, dedupeKey);
    return throughCache(cache, inner, identity, async (asked) => reach(within(inner, asked), dedupeKey));
  };
  return idempotency === undefined
    ? through(exchange.request, undefined)
    : withIdempotency(idempotency, exchange, identity, through);
}

type Reach = (exchange: Exchange, dedupeKey: string | undefined) => Response | Promise<Response>;

/** What answers. Its version is chosen here, since responses of two versions are never one in the cache. */
function targetOf(
  exchange: Exchange,
  target: Target,
  values: readonly string[],
  identity: Identity | undefined,
): Reach | Response {
  if (target.kind === 'route') {
    const version = versionOf(target, exchange);
    if (!version.ok) return problemResponse(version.fault);
    exchange.version = version.value.name ?? '';
    return (inner) => answerRoute(inner, target, version.value, values, identity);
  }
  // What a preflight matched is the method that it asks for.
  if (exchange.method === 'OPTIONS') {
    const { method } = target.trigger;
    return problemResponse(fault('request.method', `${exchange.path} takes ${method}.`, { allow: [method] }));
  }
  const version = versionFor(target.chain, undefined);
  exchange.version = String(version.version);
  return (inner, dedupeKey) => answerChain(inner, { chain: version, trigger: target.trigger, dedupeKey, identity });
}

const within = (exchange: Exchange, request: Request): Exchange =>
  request === exchange.request
    ? exchange
    : { ...exchange, request, url: request.url, headers: request.headers, method: request.method };

type HeaderPairs = readonly (readonly [string, string])[];

const withHeaders = (response: Response, given: HeaderPairs): Response =>
  given.length === 0
    ? response
    : edited(response, (headers) => {
        for (const [name, value] of given) headers.set(name, value);
      });
