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
import { fail, fault, faultOf, problemResponse, type Result } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import {
  checkConfiguration,
  checkInBackground,
  currentConfiguration,
  versionFor,
  type Configuration,
} from '../runtime/configuration.ts';
import { recordTraffic } from '../telemetry/traffic.ts';

type Found = Result<{ readonly match: Match<Target>; readonly configuration: Configuration }>;

/** What is known of a request before its target is. */
export type Incoming = Pick<Exchange, 'request' | 'url' | 'path' | 'headers' | 'hops'>;

export async function handleRequest(incoming: Incoming, env: Env, ctx: ExecutionContext): Promise<Response> {
  try {
    const { request, url, path, headers, hops } = incoming;
    const { method } = request;
    const loaded = currentConfiguration(env);
    const configuration = loaded instanceof Promise ? await loaded : loaded;
    checkInBackground(env, ctx);
    let found = find(configuration, headers, method, url, path);
    if (!found.ok) {
      // Another isolate may have published the route a moment ago.
      const checked = await checkConfiguration(env, LIMITS.configurationMissMilliseconds);
      if (checked !== configuration) found = find(checked, headers, method, url, path);
    }
    if (!found.ok) return problemResponse(found.fault);
    const { match } = found.value;
    const exchange: Exchange = {
      request,
      method,
      url,
      path,
      headers,
      hops,
      params: match.params,
      receivedAt: Date.now(),
      target: match.target.name,
      version: '',
      env,
      ctx,
      configuration: found.value.configuration,
    };
    return await answer(exchange, match);
  } catch (thrown) {
    return failed(thrown);
  }
}

function find(configuration: Configuration, headers: Headers, method: string, url: string, path: string): Found {
  const { targets } = tablesOf(configuration);
  const host = targets.hosted ? hostnameOf(url) : '';
  // A preflight asks for a method of which it is none.
  const asked = (method === 'OPTIONS' ? headers.get('access-control-request-method') : null) ?? method;
  let lookup = targets.find(asked, path, host);
  if (lookup.kind === 'method' && asked === 'HEAD') lookup = targets.find('GET', path, host);
  if (lookup.kind === 'method' && asked !== method) lookup = targets.find(method, path, host);
  if (lookup.kind === 'found') return { ok: true, value: { match: lookup.match, configuration } };
  if (lookup.kind === 'missing') return fail('request.not-found', `Nothing answers ${path}.`);
  return fail('request.method', `${path} takes ${lookup.allowed.join(', ')}.`, { allow: lookup.allowed });
}

function answer(exchange: Exchange, match: Match<Target>): Response | Promise<Response> {
  const { cors } = match.target.policies;
  if (cors === undefined) return counted(exchange, match);
  const origin = exchange.headers.get('origin');
  const permission = origin === null ? undefined : preflight(cors, exchange, origin);
  return permission ?? counted(exchange, match).then((response) => allowCaller(cors, origin, response));
}

/** Never rejects: a failure is an answer too. */
async function counted(exchange: Exchange, match: Match<Target>): Promise<Response> {
  const { env, ctx, target, receivedAt } = exchange;
  let caller = '';
  let response: Response;
  try {
    const identifying = authenticateExchange(match.target.policies.auth, exchange);
    const identity = identifying instanceof Promise ? await identifying : identifying;
    if (identity.ok) {
      caller = identity.value === undefined ? '' : callerOf(identity.value);
      response = await limited(exchange, match, identity.value);
    } else response = problemResponse(identity.fault);
  } catch (thrown) {
    response = failed(thrown);
  }
  recordTraffic(env, ctx, { target, version: exchange.version, caller }, response.status, receivedAt);
  return response;
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
  return admission instanceof Promise
    ? admission.then((late) => admitted(late, exchange, match, identity))
    : admitted(admission, exchange, match, identity);
}

async function admitted(
  admission: Admission,
  exchange: Exchange,
  match: Match<Target>,
  identity: Identity | undefined,
): Promise<Response> {
  if (!admission.ok) {
    const { fault: reason, headers } = admission;
    return withHeaders(problemResponse(reason, isObject(reason.data) ? reason.data : undefined), headers);
  }
  const { headers = [], release } = admission;
  try {
    const response = withHeaders(await work(exchange, match, identity), headers);
    return release === undefined ? response : releaseAtEnd(response, release, exchange.ctx);
  } catch (thrown) {
    release?.();
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

const withHeaders = (response: Response, given: readonly (readonly [string, string])[]): Response =>
  given.length === 0
    ? response
    : edited(response, (headers) => {
        for (const [name, value] of given) headers.set(name, value);
      });
