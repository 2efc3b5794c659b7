/** HTTP → chain: match, authenticate, validate, run, respond. Nothing on this way leaves the isolate. */

import { authenticate } from './authenticate.ts';
import { readBody } from './body.ts';
import { httpEvent } from './event.ts';
import { tablesOf, type HttpTarget } from './tables.ts';
import type { Match } from './router.ts';
import { randomId } from './random-id.ts';
import { inputOf } from '../core/chain/input.ts';
import type { RunResponse, RunState, TriggerEvent } from '../core/engine/state.ts';
import { recordOf } from '../core/engine/view.ts';
import { fail, fault, faultOf, problemResponse, type Fault, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { acceptAndWait, acceptRuns } from '../runtime/accept.ts';
import { startFailureChain } from '../runtime/calls.ts';
import {
  checkConfiguration,
  checkInBackground,
  currentConfiguration,
  versionFor,
  type Configuration,
} from '../runtime/configuration.ts';
import { hostOf } from '../runtime/host.ts';
import { runInline } from '../runtime/inline.ts';
import { recordInline } from '../runtime/recorder.ts';
import type { RunAnswer } from '../runtime/answers.ts';

type Found = Result<{ readonly match: Match<HttpTarget>; readonly configuration: Configuration }>;

/** @param path of the request, as received */
export async function handleHttp(request: Request, path: string, env: Env, ctx: ExecutionContext): Promise<Response> {
  try {
    const { method } = request;
    const loaded = currentConfiguration(env);
    const configuration = loaded instanceof Promise ? await loaded : loaded;
    checkInBackground(env, ctx);
    let found = find(configuration, method, path);
    if (!found.ok) {
      // Another isolate may have published the route a moment ago.
      const checked = await checkConfiguration(env, LIMITS.configurationMissMilliseconds);
      if (checked !== configuration) found = find(checked, method, path);
    }
    return found.ok ? await answer(request, method, env, ctx, found.value) : refusal(found.fault);
  } catch (thrown) {
    const reason = faultOf(thrown);
    console.error('request failed', reason.code, reason.detail ?? reason.message);
    return problemResponse(reason);
  }
}

function find(configuration: Configuration, method: string, path: string): Found {
  const { routes } = tablesOf(configuration);
  const lookup = routes.find(method, path);
  if (lookup.kind === 'found') return { ok: true, value: { match: lookup.match, configuration } };
  if (lookup.kind === 'missing') return fail('request.not-found', `No chain answers ${path}.`);
  if (method === 'HEAD' && lookup.allowed.includes('GET')) return find(configuration, 'GET', path);
  return fail('request.method', `${path} takes ${lookup.allowed.join(', ')}.`, { data: lookup.allowed });
}

function refusal(reason: Fault): Response {
  const response = problemResponse(reason);
  if (Array.isArray(reason.data)) response.headers.set('allow', reason.data.join(', '));
  return response;
}

async function answer(
  request: Request,
  method: string,
  env: Env,
  ctx: ExecutionContext,
  { match, configuration }: Extract<Found, { ok: true }>['value'],
): Promise<Response> {
  const receivedAt = Date.now();
  const { headers } = request;
  const { trigger } = match.target;
  const chain = versionFor(match.target.chain, undefined);
  if (trigger.auth === 'key') {
    const checking = authenticate(env, configuration, headers, chain.name, receivedAt);
    const key = checking instanceof Promise ? await checking : checking;
    if (!key.ok) return problemResponse(key.fault);
  }
  const body = await readBody(method, request);
  if (!body.ok) return problemResponse(body.fault);
  const event = httpEvent(request, match.params, body.value, receivedAt);
  const making = inputOf(chain.plan, trigger, event);
  const input = making instanceof Promise ? await making : making;
  const issues = chain.plan.validateInput?.(input) ?? [];
  if (issues.length > 0) {
    return problemResponse(fault('input.invalid', 'The input does not match the schema of the chain.', { issues }));
  }
  const prefer = preferenceOf(headers.get('prefer'));
  return chain.plan.mode === 'inline' && !prefer.async
    ? inline(env, ctx, { chain, trigger }, event, input)
    : durable(request, env, { chain, trigger }, event, input, prefer);
}

async function inline(
  env: Env,
  ctx: ExecutionContext,
  { chain, trigger }: HttpTarget,
  event: TriggerEvent,
  input: unknown,
): Promise<Response> {
  const id = `run_i_${randomId()}`;
  const start = { id, version: chain.version, trigger: trigger.name, event, input };
  const { answered, ended } = runInline(chain.plan, start, hostOf(env), Math.random);
  const run = answered instanceof Promise ? await answered : answered;
  if (ended instanceof Promise && run.status === 'running') {
    ctx.waitUntil(ended.then((last) => concluded(last, env, ctx)));
  } else concluded(run, env, ctx);
  return responseOf(run);
}

function concluded(run: RunState, env: Env, ctx: ExecutionContext): void {
  recordInline(run, env, ctx);
  if (run.plan.onFailure !== undefined) ctx.waitUntil(startFailureChain(env, recordOf(run)));
}

function responseOf(run: RunState): Response {
  const { id } = run.start;
  if (run.response !== undefined) return chosenResponse(id, run.response, run.response.body);
  if (run.status !== 'succeeded') return failedResponse(id, run.fault);
  return jsonResponse(id, run.output === undefined ? undefined : JSON.stringify(run.output));
}

function jsonResponse(id: string, json: string | undefined): Response {
  if (json === undefined) return new Response(null, { status: 204, headers: { 'tidegate-run': id } });
  return new Response(json, { headers: { 'content-type': 'application/json', 'tidegate-run': id } });
}

/** `Response` throws where one of these has a body. */
const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([204, 205, 304]);

/** What `flow.respond` said: a text is sent as it is, anything else as JSON. */
function chosenResponse(id: string, { status, headers }: Omit<RunResponse, 'body'>, body: unknown): Response {
  const sent = new Headers(headers);
  sent.set('tidegate-run', id);
  if (body === undefined || body === null || NULL_BODY_STATUSES.has(status)) {
    return new Response(null, { status, headers: sent });
  }
  const text = typeof body === 'string' && sent.has('content-type');
  if (!sent.has('content-type')) sent.set('content-type', 'application/json');
  return new Response(text ? body : JSON.stringify(body), { status, headers: sent });
}

function failedResponse(id: string, reason: (Fault & { readonly step?: string }) | undefined): Response {
  const shown: Fault & { readonly step?: string } = reason ?? fault('internal.unexpected', 'The run failed.');
  const response = problemResponse(shown, {
    run: id,
    ...(shown.step === undefined ? {} : { step: shown.step }),
    // Of other failures the data is for the author: it may be an upstream's reply.
    ...(shown.code === 'run.failed' ? { data: shown.data } : {}),
  });
  response.headers.set('tidegate-run', id);
  return response;
}

interface Preference {
  readonly async: boolean;
  readonly waitSeconds: number | undefined;
}

const NO_PREFERENCE: Preference = { async: false, waitSeconds: undefined };

/** `Prefer: respond-async` and `wait=<seconds>` of RFC 7240. */
function preferenceOf(header: string | null): Preference {
  if (header === null) return NO_PREFERENCE;
  const wait = /(?:^|[,;\s])wait=(\d{1,4})\b/.exec(header)?.[1];
  return { async: /\brespond-async\b/i.test(header), waitSeconds: wait === undefined ? undefined : Number(wait) };
}

async function durable(
  request: Request,
  env: Env,
  { chain, trigger }: HttpTarget,
  event: TriggerEvent,
  input: unknown,
  prefer: Preference,
): Promise<Response> {
  const run = { chain: chain.name, version: chain.version, trigger: trigger.name, event, input, colo: coloOf(request) };
  const waits = !prefer.async && (trigger.respond === 'result' || prefer.waitSeconds !== undefined);
  if (!waits) {
    const [acceptance] = await acceptRuns(env, undefined, [run]);
    return acceptedResponse(request, acceptance?.id ?? '');
  }
  const waitMilliseconds = Math.min((prefer.waitSeconds ?? Infinity) * 1000, LIMITS.resultWaitMilliseconds);
  const { id, answer: reached } = await acceptAndWait(env, run, waitMilliseconds);
  return reached === undefined ? acceptedResponse(request, id) : answeredResponse(id, reached);
}

/** The data centre that the request came to; unknown on a machine of one's own. */
const coloOf = ({ cf }: Request): string | undefined => (typeof cf?.['colo'] === 'string' ? cf['colo'] : undefined);

function acceptedResponse(request: Request, id: string): Response {
  const url = `${new URL(request.url).origin}/_/api/v1/runs/${id}`;
  return Response.json({ id, url }, { status: 202, headers: { location: url, 'tidegate-run': id } });
}

function answeredResponse(id: string, { status, response, output, fault: reason, failure }: RunAnswer): Response {
  if (response !== undefined) {
    return chosenResponse(id, response, response.body === undefined ? undefined : JSON.parse(response.body));
  }
  return status === 'succeeded'
    ? jsonResponse(id, output)
    : failedResponse(id, reason && { ...reason, data: failure && JSON.parse(failure) });
}
