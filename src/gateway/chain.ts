/** HTTP → chain: validate, run, respond. Inline, nothing on this way leaves the isolate. */

import { readBody } from './body.ts';
import { httpEvent } from './event.ts';
import type { Exchange, Identity } from './exchange.ts';
import { randomId } from './random-id.ts';
import { NULL_BODY_STATUSES } from './response.ts';
import type { ChainTarget } from './tables.ts';
import { inputOf } from '../core/chain/input.ts';
import type { RunResponse, RunState, TriggerEvent } from '../core/engine/state.ts';
import { recordOf } from '../core/engine/view.ts';
import { fault, problemResponse, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { acceptAndWait, acceptRuns } from '../runtime/accept.ts';
import { startFailureChain } from '../runtime/calls.ts';
import type { ActiveVersion } from '../runtime/configuration.ts';
import { hostOf } from '../runtime/host.ts';
import { runInline } from '../runtime/inline.ts';
import { recordInline } from '../runtime/recorder.ts';
import type { RunAnswer } from '../runtime/answers.ts';

export async function answerChain(exchange: Exchange, asked: Asked): Promise<Response> {
  const { request, method, headers, params, receivedAt, env, ctx } = exchange;
  const { chain, trigger, identity } = asked;
  const body = await readBody(method, request);
  if (!body.ok) return problemResponse(body.fault);
  const event = httpEvent(request, params, body.value, receivedAt, identity);
  const making = inputOf(chain.plan, trigger, event);
  const input = making instanceof Promise ? await making : making;
  const issues = chain.plan.validateInput?.(input) ?? [];
  if (issues.length > 0) {
    return problemResponse(fault('input.invalid', 'The input does not match the schema of the chain.', { issues }));
  }
  const prefer = preferenceOf(headers.get('prefer'));
  return chain.plan.mode === 'inline' && !prefer.async
    ? inline(env, ctx, asked, event, input)
    : durable(request, env, asked, event, input, prefer);
}

/** The trigger that was asked, and the version that answers. */
interface Asked {
  readonly chain: ActiveVersion;
  readonly trigger: ChainTarget['trigger'];
  /** Two requests with the same one are one durable run. */
  readonly dedupeKey: string | undefined;
  readonly identity: Identity | undefined;
}

async function inline(
  env: Env,
  ctx: ExecutionContext,
  { chain, trigger }: Asked,
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
  { chain, trigger, dedupeKey }: Asked,
  event: TriggerEvent,
  input: unknown,
  prefer: Preference,
): Promise<Response> {
  const run = {
    chain: chain.name,
    version: chain.version,
    trigger: trigger.name,
    event,
    input,
    colo: coloOf(request),
    ...(dedupeKey !== undefined && { dedupeKey }),
  };
  const waits = !prefer.async && (trigger.respond === 'result' || prefer.waitSeconds !== undefined);
  if (!waits) {
    const [acceptance] = await acceptRuns(env, dedupeKey, [run]);
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
