/**
 * The front of everything that is the owner's: match → preflight → authenticate → target → headers. A stage
 * that can answer from memory does so at once, so that a request leaves the isolate only for its work.
 */

import { authenticateExchange } from './auth/index.ts';
import { answerChain } from './chain.ts';
import { allowCaller, preflight } from './cors.ts';
import { hostnameOf } from './event.ts';
import type { Exchange, Identity } from './exchange.ts';
import { answerRoute } from './route.ts';
import type { Match } from './router.ts';
import { tablesOf, type Target } from './tables.ts';
import { fail, fault, faultOf, problemResponse, type Fault, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import {
  checkConfiguration,
  checkInBackground,
  currentConfiguration,
  type Configuration,
} from '../runtime/configuration.ts';
import { recordTraffic } from '../telemetry/traffic.ts';

type Found = Result<{ readonly match: Match<Target>; readonly configuration: Configuration }>;

/** @param path of the request, as received */
export async function handleRequest(
  request: Request,
  path: string,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  try {
    const { method, url } = request;
    const loaded = currentConfiguration(env);
    const configuration = loaded instanceof Promise ? await loaded : loaded;
    checkInBackground(env, ctx);
    let found = find(configuration, request, method, url, path);
    if (!found.ok) {
      // Another isolate may have published the route a moment ago.
      const checked = await checkConfiguration(env, LIMITS.configurationMissMilliseconds);
      if (checked !== configuration) found = find(checked, request, method, url, path);
    }
    if (!found.ok) return refusal(found.fault);
    const { match } = found.value;
    const exchange: Exchange = {
      request,
      method,
      url,
      path,
      headers: request.headers,
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

function find(configuration: Configuration, request: Request, method: string, url: string, path: string): Found {
  const { targets } = tablesOf(configuration);
  const host = targets.hosted ? hostnameOf(url) : '';
  // A preflight asks for a method of which it is none.
  const asked = (method === 'OPTIONS' ? request.headers.get('access-control-request-method') : null) ?? method;
  let lookup = targets.find(asked, path, host);
  if (lookup.kind === 'method' && asked === 'HEAD') lookup = targets.find('GET', path, host);
  if (lookup.kind === 'method' && asked !== method) lookup = targets.find(method, path, host);
  if (lookup.kind === 'found') return { ok: true, value: { match: lookup.match, configuration } };
  if (lookup.kind === 'missing') return fail('request.not-found', `Nothing answers ${path}.`);
  return fail('request.method', `${path} takes ${lookup.allowed.join(', ')}.`, { data: lookup.allowed });
}

function refusal(reason: Fault): Response {
  const response = problemResponse(reason);
  if (Array.isArray(reason.data)) response.headers.set('allow', reason.data.join(', '));
  return response;
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
    const admitted = authenticateExchange(match.target.policies.auth, exchange);
    const identity = admitted instanceof Promise ? await admitted : admitted;
    if (identity.ok) {
      caller = identity.value === undefined ? '' : callerOf(identity.value);
      response = await work(exchange, match);
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

function work(exchange: Exchange, { target, values }: Match<Target>): Response | Promise<Response> {
  if (target.kind === 'route') return answerRoute(exchange, target, values);
  // What a preflight matched is the method that it asks for.
  if (exchange.method === 'OPTIONS') {
    return refusal(fault('request.method', `${exchange.path} takes ${target.trigger.method}.`));
  }
  return answerChain(exchange, target);
}
